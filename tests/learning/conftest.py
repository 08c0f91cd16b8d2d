"""Fixtures: a project of drawn scenes, a tiny model, and a learner that takes few steps."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import randomise_weights
from samkit.dataengine import (
    Store,
    add_images,
    create_project,
    create_user,
    list_images,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.datasets import open_data
from samkit.geometry import decode_rle, encode_rle
from samkit.learning import Learner, LearnRecipe
from samkit.learning.examples import is_held_out
from samkit.models import CONFIGS, Sam
from samkit.predict import EmbeddingCache, Predictor

NUM_IMAGES = 24


@pytest.fixture(scope="session")
def tiny():
    torch.manual_seed(0)
    model = Sam(copy.deepcopy(CONFIGS["tiny"]))
    randomise_weights(model)
    return Predictor(model, model_name="tiny")


@pytest.fixture(scope="session")
def scenes():
    return open_data(f"scenes:count={NUM_IMAGES},size=64,seed=3,things=3")


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory, scenes):
    root = tmp_path_factory.mktemp("scenes")
    for index in range(len(scenes)):
        Image.fromarray(scenes[index].image).save(root / f"{index:02}.png")
    return root


class Team:
    """A project of scenes, and a robot that finishes images with their true masks."""

    def __init__(self, store, root, scenes):
        self.store, self.scenes = store, scenes
        self.project = create_project(store, name="scenes", root=root)
        add_images(store, self.project.id)
        self.robot = create_user(store, name="ann", role="admin").id
        self.images = list_images(store, self.project.id).items

    def halves(self):
        """Images to begin with, all that judge among them, and others."""
        judging = [image for image in self.images if is_held_out(image.sha256)]
        learned = [image for image in self.images if not is_held_out(image.sha256)]
        return judging + learned[:8], learned[8:]

    def finish(self, images, *, shift=0, change=None):
        """Submit images with their masks, moved to the right to make them wrong, or changed."""
        for image in images:
            take_image(self.store, image.id, self.robot)
            for rle in self.scenes[int(image.path[:2])].rles:
                moved = rle if not shift else shifted(rle, shift)
                if change is not None:
                    moved = encode_rle(change(decode_rle(rle)))
                save_annotation(self.store, image_id=image.id, user_id=self.robot, rle=moved)
            submit_image(self.store, image.id, self.robot)


def shifted(rle, by):
    return encode_rle(np.roll(decode_rle(rle), by, axis=1))


@pytest.fixture
def team(tmp_path, scene_folder, scenes):
    with Store.open(tmp_path / "store.db") as store:
        yield Team(store, scene_folder, scenes)


@pytest.fixture
def recipe():
    return LearnRecipe(images_per_batch=2, masks_per_image=1, corrections=1, general=None)


@pytest.fixture
def make_learner(team, tiny, tmp_path, recipe):
    def make(**changes):
        from dataclasses import replace

        return Learner(
            team.store,
            tiny,
            EmbeddingCache(tmp_path / "embeddings"),
            tmp_path / "learning",
            recipe=replace(recipe, **changes),
            max_pixels=10**6,
        )

    return make
