"""Lessons from images by tiles: regions as people saw them, and masks relative to these."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import (
    NewEvent,
    Store,
    add_images,
    create_project,
    create_user,
    list_images,
    open_pyramid,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.formats import Region
from samkit.geometry import decode_rle, encode_rle
from samkit.learning import Learner, learn_recipe
from samkit.learning.large_images import usual_view
from samkit.learning.lessons import Lessons, read_lessons
from samkit.predict import EmbeddingCache
from samkit.types import GivenPrompts
from samkit.web import WebConfig

HEIGHT, WIDTH = 900, 1300
VIEW = [300.0, 200.0, 700.0, 500.0]


def box_mask(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Slide:
    """A project with an image of 1.2 megapixels, which a person finishes."""

    def __init__(self, store, root):
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        bands = (x / WIDTH, y / HEIGHT, 0.5 + 0.5 * np.sin(x / 25) * np.cos(y / 30))
        self.pixels = np.rint(255 * np.stack(bands, -1)).astype(np.uint8)
        root.mkdir()
        Image.fromarray(self.pixels).save(root / "a.png")
        self.store = store
        self.project = create_project(store, name="slide", root=root)
        add_images(store, self.project.id)
        (self.image,) = list_images(store, self.project.id).items
        self.ann = create_user(store, name="ann", role="admin").id
        take_image(store, self.image.id, self.ann)

    def mask(self, mask, *events):
        made = [NewEvent(kind=kind, data=data) for kind, data in events]
        rle = encode_rle(mask)
        save_annotation(self.store, image_id=self.image.id, user_id=self.ann, rle=rle, events=made)

    def finish(self):
        submit_image(self.store, self.image.id, self.ann)


@pytest.fixture
def slide(tmp_path):
    with Store.open(tmp_path / "store.db") as store:
        yield Slide(store, tmp_path / "images")


@pytest.fixture
def learner(slide, tiny, tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 3)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 3)
    cache = EmbeddingCache(tmp_path / "embeddings")
    folder = tmp_path / "learning"
    own = replace(recipe, judged=False)
    return Learner(slide.store, tiny, cache, folder, recipe=own, max_pixels=10**6)


def lessons(learner, slide):
    """The side of the split that the image is on."""
    (side,) = [one for one in learner.examples(slide.project.id) if len(one)]
    return side


def test_masks_are_in_the_part_that_was_in_view(slide, learner):
    """The latest view, since it shows all prompts; the click is relative to it."""
    mask = box_mask(400, 300, 480, 330)
    earlier = ("point", {"xy": [410, 310], "label": 1, "view": [0, 0, 1300, 900]})
    slide.mask(mask, earlier, ("point", {"xy": [500, 310], "label": 0, "view": VIEW}))
    slide.mask(box_mask(600, 400, 620, 410), ("box", {"xyxy": [600, 400, 620, 410], "view": VIEW}))
    slide.mask(box_mask(500, 400, 510, 410), ("choose", {"of": "everything", "view": VIEW}))
    slide.finish()
    side = lessons(learner, slide)
    assert [image.region for image in side.images] == [
        Region(level=0, box_xyxy=(300, 200, 700, 500))
    ]
    sample = side[0]
    part = slide.pixels[200:500, 300:700].astype(float)
    assert np.abs(sample.image - part).mean() < 4  # JPEG
    assert np.array_equal(decode_rle(sample.rles[0]), mask[200:500, 300:700])
    assert sample.given[0] == GivenPrompts(((110, 110, 1), (200, 110, 0)))
    assert sample.given[1] == GivenPrompts(box_xyxy=(300, 200, 320, 210))
    assert sample.given[2] == GivenPrompts()
    assert sample.rejected == ()


def test_wide_views_are_seen_at_a_coarser_level(slide, learner, monkeypatch):
    from samkit.formats import region

    monkeypatch.setattr(region, "REGION_SIDE", 400)
    mask = box_mask(400, 300, 480, 330)
    slide.mask(mask, ("point", {"xy": [410, 311], "label": 1, "view": [200, 100, 1000, 700]}))
    slide.finish()
    side = lessons(learner, slide)
    assert side.images[0].region == Region(level=1, box_xyxy=(100, 50, 500, 350))
    sample = side[0]
    assert sample.image.shape == (300, 400, 3)
    expected = mask[100:700, 200:1000].reshape(300, 2, 400, 2).mean((1, 3)) > 0.5
    assert np.array_equal(decode_rle(sample.rles[0]), expected)
    assert sample.given == (GivenPrompts(((105, 105.5, 1),)),)


@pytest.mark.parametrize("view", [None, [0, 0, 450, 900], [5000, 0, 6000, 9], "all", [1, 2]])
def test_without_a_view_that_has_the_mask_a_usual_one_is_taken(slide, learner, view):
    """Such as of imported masks, and of those that were painted beyond what was in view."""
    mask = box_mask(400, 300, 480, 330)
    data = {"xy": [410, 310], "label": 1}
    slide.mask(mask, ("point", data if view is None else {**data, "view": view}))
    slide.finish()
    side = lessons(learner, slide)
    assert side.images[0].region == Region(level=0, box_xyxy=(0, 0, 1024, 900))
    assert np.array_equal(decode_rle(side[0].rles[0]), mask[:, :1024])


@pytest.mark.parametrize("size", [1, 300, 511, 512, 513, 3000, 20000])
def test_a_usual_view_has_the_object_in_the_middle(size):
    rng = np.random.default_rng(size)
    for x, y in rng.integers(0, 40000, (50, 2)).tolist():
        x0, y0, x1, y1 = usual_view((x, y, x + size, y + size // 2 + 1))
        side = x1 - x0
        assert side == y1 - y0
        assert x0 <= x
        assert x + size <= x1
        assert y0 <= y
        assert y + size // 2 + 1 <= y1
        assert side == 1024 or 1 / 4 < size / side <= 1 / 2


def test_a_few_regions_of_an_image_teach(slide, learner, monkeypatch):
    from samkit.learning import large_images

    monkeypatch.setattr(large_images, "REGIONS_PER_IMAGE", 2)
    for number in range(4):
        view = [300 * number, 0, 300 * number + 300, 300]
        for place in range(1 + number % 3):
            x = 300 * number + 20 + 40 * place
            click = ("point", {"xy": [x, 20], "label": 1, "view": view})
            slide.mask(box_mask(x - 10, 10, x + 10, 30), click)
    slide.finish()
    side = lessons(learner, slide)
    assert [len(side.masks(index)) for index in range(len(side))] == [3, 2]
    assert [image.region.corner_xy for image in side.images] == [(600, 0), (300, 0)]
    assert len(set(side.groups)) == 1


def test_the_learner_takes_regions(slide, learner, monkeypatch, tmp_path):
    """Through the server's tiles, and with embeddings of exactly these regions."""
    monkeypatch.setattr("samkit.learning.examples.is_held_out", lambda _checksum: False)
    slide.mask(
        box_mask(400, 300, 480, 330), ("point", {"xy": [410, 310], "label": 1, "view": VIEW})
    )
    slide.finish()
    config = WebConfig(cache_folder=learner.cache.folder)
    open_pyramid(slide.store, slide.image, config.tile_folder)
    (tiles,) = config.tile_folder.iterdir()
    before = tiles.stat().st_ino
    learned = learner.learn(slide.project.id)
    assert (learned.num_images, learned.num_masks) == (1, 1)
    assert [one.stat().st_ino for one in config.tile_folder.iterdir()] == [before]
    side = lessons(learner, slide)
    cached = learner.cache.images(learner.base.encoder_checksum)
    assert cached == {side.images[0].pixels_key}
    assert slide.image.pixels_key not in cached
    # Proposal heads and confidences need all masks of what they see.
    assert [len(one) for one in learner.image_examples(slide.project.id)] == [0, 0]
    Lessons(tmp_path / "round", side, num_finished=1).save()
    assert read_lessons(learner.files, tmp_path / "round").images.content() == side.content()
