"""Robots that annotate while a model learns: the command, its figures, and what is in the store."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from samkit.cli.main import main
from samkit.dataengine import (
    Learning,
    Store,
    annotation_events,
    count_finished_masks,
    encoder_of_version,
    list_annotations,
    list_images,
    list_learned_models,
)
from samkit.datasets import PickedData, open_data
from samkit.formats import write_coco
from samkit.geometry import decode_rle
from samkit.learning import Simulation, learn_recipe
from samkit.learning.simulate import TARGET_IOU, is_set_aside
from samkit.types import Masks
from samkit.weights import save_checkpoint

FIELDS = {
    "round",
    "model_version",
    "images",
    "clicks_per_mask",
    "seconds_per_image",
    "prefilled_accepted",
    "precision_prefilled",
    "held_out",
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 2)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 2)


@pytest.fixture
def coco_file(tmp_path, scenes):
    """A COCO file of the scenes, with its images."""
    folder = tmp_path / "data"
    folder.mkdir()
    images = []
    for index in range(len(scenes)):
        sample = scenes[index]
        Image.fromarray(sample.image).save(folder / f"{index:02}.png")
        masks = np.stack([decode_rle(rle) for rle in sample.rles])
        images.append((f"{index:02}.png", Masks.from_arrays(masks, np.ones(len(masks)))))
    write_coco(folder / "train.json", images)
    return folder / "train.json"


@pytest.fixture
def model_file(tmp_path, tiny):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny.model, path, name="tiny")
    return path


def test_the_command_prints_its_rounds(coco_file, model_file, tmp_path, capsys):
    output = tmp_path / "out"
    command = ["engine", "simulate", str(coco_file), "--rounds", "2", "--json"]
    command += ["--model", str(model_file), "-o", str(output), "--threads", "1"]
    assert main([*command, "--no-prefill"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((output / "rounds.json").read_text()) == printed
    with Image.open(output / "rounds.png") as picture:
        assert picture.width > 500
    first, second = printed["rounds"]
    assert first.keys() >= FIELDS
    assert first["held_out"].keys() >= {"clicks_per_mask", "frozen_clicks_per_mask", "iou_1"}
    assert (first["round"], second["round"]) == (1, 2)
    source = open_data(f"coco:{coco_file}")
    outside = [index for index in range(len(source)) if is_set_aside(source[index])]
    assert 1 <= len(outside) <= 12
    assert first["images"] + second["images"] == len(source) - len(outside)
    assert first["held_out"]["images"] == len(outside)
    # The model that never learns costs the same in each round.
    frozen = {one["held_out"]["frozen_clicks_per_mask"] for one in (first, second)}
    assert len(frozen) == 1
    with Store.open(output / "store.db") as store:
        images = list_images(store, 1).items
        masks = [one for image in images for one in list_annotations(store, image.id)]
        assert count_finished_masks(store, 1) == len(masks) == first["masks"] + second["masks"]
        clicks = sum(one.num_clicks for one in masks)
        spent = sum(one["clicks_per_mask"] * one["masks"] for one in (first, second))
        assert clicks == pytest.approx(spent)
    assert main(command) != 0
    assert "is not empty: give a new folder" in capsys.readouterr().err


def test_rounds_train_the_image_encoder_too_if_told_to(coco_file, model_file, tmp_path, capsys):
    output = tmp_path / "out"
    command = ["engine", "simulate", str(coco_file), "--rounds", "2", "--json", "--lora"]
    command += ["--model", str(model_file), "-o", str(output), "--threads", "1"]
    assert main([*command, "--no-prefill", "--no-judge", "--masks-per-image", "1"]) == 0
    rounds = json.loads(capsys.readouterr().out)["rounds"]
    with Store.open(output / "store.db") as store:
        models = list_learned_models(store, 1)
        encoders = {encoder_of_version(store, one.version.id) for one in models}
    assert [one.learns for one in models] == ["lora", "lora"]
    assert len(encoders) == 2
    assert {one["model_version"] for one in rounds} == {one.version.id for one in models}


def test_robots_keep_answers_that_are_good_and_paint_the_others(
    team, make_learner, scenes, tmp_path
):
    learner = make_learner()
    simulation = Simulation(
        PickedData(scenes, range(8)),
        learner,
        tmp_path / "robots",
        learning=Learning(max_clicks=2, paint_clicks=3),
        held_out=PickedData(scenes, range(8, 12)),
    )
    (only,) = simulation.rounds(1)
    store, seen = team.store, 0
    for image in list_images(store, simulation.project.id).items:
        assert image.review == "submitted"
        truths = [decode_rle(rle) for rle in scenes[int(Path(image.path).stem)].rles]
        for one in list_annotations(store, image.id):
            kinds = [event.kind for event in annotation_events(store, one.id)]
            mask = decode_rle(one.rle)
            best = max((mask & true).sum() / (mask | true).sum() for true in truths)
            painted = kinds[-1] == "brush"
            seen += 1
            assert best == 1 if painted else best >= TARGET_IOU
            assert kinds.count("brush") == (3 if painted else 0)
            assert 1 <= kinds.count("point") <= 2
            version = {event.model_version_id for event in annotation_events(store, one.id)}
            assert version - {None} == {learner.base_version.id}
    assert seen == only.masks == sum(len(scenes[index].rles) for index in range(8))


def test_prefilled_masks_are_left_or_deleted(
    team, make_learner, scenes, tmp_path, monkeypatch, rle_of_scene
):
    """With true masks and a wrong one on each image, robots accept the true ones."""
    from samkit.learning import prefill, simulate

    learner = make_learner()

    def generate(_self, image):
        sample = scenes[int(Path(image.path).stem)]
        masks = np.stack([*(decode_rle(rle) for rle in sample.rles[:1]), rle_of_scene(sample)])
        return Masks.from_arrays(masks, [0.9, 0.8])

    sure = SimpleNamespace(proposer="grid")
    monkeypatch.setattr(prefill.ConfidentMasks, "__call__", generate)
    monkeypatch.setattr(simulate, "learn_to_prefill", lambda *_, **__: sure)
    monkeypatch.setattr(simulate, "can_prefill", lambda confidence: confidence is sure)
    simulation = Simulation(
        PickedData(scenes, range(10)),
        learner,
        tmp_path / "robots",
        learning=Learning(max_clicks=1, prefill=True),
        held_out=PickedData(scenes, range(10, 12)),
    )
    first, second = simulation.rounds(2)
    assert (first.prefilled, first.precision_prefilled) == (0, None)
    assert (second.images, second.prefilled, second.prefilled_accepted) == (5, 10, 5)
    assert second.precision_prefilled == 0.5
    masks = sum(len(scenes[index].rles) for index in range(5, 10))
    assert second.masks == masks - 5  # those that robots still had to make


def test_masks_that_a_limit_leaves_out_are_not_rejected(
    team, make_learner, scenes, tmp_path, monkeypatch
):
    """Robots make one mask an image; all true ones that are there are left."""
    from samkit.dataengine import rejected_masks
    from samkit.learning import prefill, simulate

    def generate(_self, image):
        sample = scenes[int(Path(image.path).stem)]
        masks = np.stack([decode_rle(rle) for rle in sample.rles])
        return Masks.from_arrays(masks, np.full(len(masks), 0.9))

    monkeypatch.setattr(prefill.ConfidentMasks, "__call__", generate)
    sure = SimpleNamespace(proposer="grid")
    monkeypatch.setattr(simulate, "learn_to_prefill", lambda *_, **__: sure)
    monkeypatch.setattr(simulate, "can_prefill", lambda _: True)
    simulation = Simulation(
        PickedData(scenes, range(10)),
        make_learner(),
        tmp_path / "robots",
        learning=Learning(max_clicks=1, prefill=True),
        held_out=PickedData(scenes, range(10, 12)),
        masks_per_image=1,
    )
    first, second = simulation.rounds(2)
    assert first.masks == 5
    there = sum(len(scenes[index].rles) for index in range(5, 10))
    assert (second.prefilled, second.prefilled_accepted, second.masks) == (there, there, 0)
    images = list_images(team.store, simulation.project.id).items
    assert all(rejected_masks(team.store, image.id) == () for image in images)


@pytest.fixture
def rle_of_scene():
    def corner(sample):
        mask = np.zeros(sample.image.shape[:2], bool)
        mask[:3, :3] = True
        return mask

    return corner


def test_a_simulation_needs_images_on_both_sides(team, make_learner, scenes, tmp_path, refusal):
    from samkit.errors import DataError

    torch.manual_seed(0)
    with refusal(DataError, "0 to measure on", "a simulation needs both"):
        Simulation(
            PickedData(scenes, range(2)),
            make_learner(),
            tmp_path / "r",
            held_out=PickedData(scenes, []),
        )
