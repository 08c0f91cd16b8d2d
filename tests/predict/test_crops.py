"""Crops around small objects: where they lie, and what is cached."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit import Predictor
from samkit.errors import PromptError
from samkit.predict import crops as crops_module
from samkit.predict.crops import CropCache, choose_crop

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture
def predictor(tiny_sam):
    """A fresh one for each test, with empty caches."""
    return Predictor(tiny_sam, model_name="tiny")


@st.composite
def boxes(draw):
    height, width = draw(st.integers(20, 2000)), draw(st.integers(20, 2000))
    x0, y0 = draw(st.floats(0, width - 2)), draw(st.floats(0, height - 2))
    x1, y1 = draw(st.floats(x0 + 1, width)), draw(st.floats(y0 + 1, height))
    return np.array([x0, y0, x1, y1]), (height, width)


@given(boxes())
def test_a_crop_contains_the_box_and_is_at_most_half_of_the_image(given_box):
    box, (height, width) = given_box
    crop = choose_crop(box, (height, width))
    longer = max(box[2] - box[0], box[3] - box[1])
    if crop is None:
        side = 2**0.5 * max(128, 1.6 * longer)
        assert side > max(height, width) / 2
        return
    x0, y0, x1, y1 = crop
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert x0 <= box[0]
    assert y0 <= box[1]
    assert x1 >= box[2] - 1
    assert y1 >= box[3] - 1
    assert max(x1 - x0, y1 - y0) <= max(height, width) / 2
    assert max(x1 - x0, y1 - y0) >= min(128, width, height)


def test_crops_have_few_sizes_and_places():
    first = choose_crop(np.array([400, 300, 440, 330]), (1000, 1500))
    assert first == (352, 256, 480, 384)
    assert choose_crop(np.array([398, 303, 441, 331]), (1000, 1500)) == first
    # A larger object, a crop at the border, and an object that is large in the image.
    assert choose_crop(np.array([400, 300, 500, 330]), (1000, 1500)) == (362, 226, 543, 407)
    assert choose_crop(np.array([1490, 990, 1500, 1000]), (1000, 1500)) == (1372, 872, 1500, 1000)
    assert choose_crop(np.array([0, 0, 600, 600]), (1000, 1500)) is None


def test_a_crop_is_embedded_once_as_an_image_of_its_own(predictor):
    embedding = predictor.embed(IMAGE)
    box = (30, 20, 90, 80)
    found = predictor.crops.embed(embedding, IMAGE, box)
    expected = predictor.encode(IMAGE[20:80, 30:90])
    np.testing.assert_array_equal(found.features.grid, expected.features.grid)
    assert found.coords == expected.coords
    assert predictor.crops.embed(embedding, IMAGE, box) is found


def test_pixels_are_those_embedded_or_those_given(predictor, refusal):
    embedding = predictor.embed(IMAGE)
    np.testing.assert_array_equal(predictor.crops.pixels(embedding, None, needed_by="it"), IMAGE)
    other = 255 - IMAGE
    assert predictor.crops.pixels(embedding, other, needed_by="it") is other
    with refusal(PromptError, "image must be the embedded one, of 120 x 90 pixels; got 90 x 120"):
        predictor.crops.pixels(embedding, np.zeros((120, 90, 3), np.uint8), needed_by="it")


def test_pixels_are_those_at_the_time_of_embedding(predictor):
    image = IMAGE.copy()
    embedding = predictor.embed(image)
    image[:] = 0
    np.testing.assert_array_equal(predictor.crops.pixels(embedding, None, needed_by="it"), IMAGE)


def test_pixels_are_cached_up_to_a_limit_while_the_embedding_is_in_use(
    predictor, monkeypatch, refusal
):
    monkeypatch.setattr(crops_module, "PIXELS_BYTES", 2 * IMAGE.nbytes)
    embeddings = [predictor.embed(IMAGE) for _ in range(3)]
    crops = predictor.crops
    assert [crops.has_pixels(one) for one in embeddings] == [False, True, True]
    with refusal(PromptError, "fine=True looks at the image again, whose pixels are not cached"):
        crops.pixels(embeddings[0], None, needed_by="fine=True")
    del embeddings[2]
    gc.collect()
    assert len(crops._pixels) == 1


def test_the_crops_used_last_are_cached_up_to_a_limit(predictor, monkeypatch):
    monkeypatch.setattr(crops_module, "CROPS_CACHED", 3)
    encoded = []

    def encode(pixels):
        encoded.append(pixels.shape)
        return predictor.encode(pixels)

    crops = CropCache(encode)
    one, two = predictor.embed(IMAGE), predictor.embed(IMAGE)
    boxes = [(0, 0, 40 + number, 40) for number in range(3)]
    crops.embed(one, IMAGE, boxes[0])
    crops.embed(two, IMAGE, boxes[0])
    crops.embed(two, IMAGE, boxes[1])
    crops.embed(two, IMAGE, boxes[2])  # in place of the other image's
    assert len(encoded) == 4
    for box in boxes:
        crops.embed(two, IMAGE, box)
    assert len(encoded) == 4
    crops.embed(one, IMAGE, boxes[0])  # in place of the oldest of the other image
    assert len(encoded) == 5
    crops.embed(two, IMAGE, boxes[1])
    assert len(encoded) == 5
    crops.embed(two, IMAGE, boxes[0])
    assert len(encoded) == 6


def test_a_changed_array_changes_no_cached_pixels_and_a_huge_one_is_not_copied(
    predictor, monkeypatch
):
    image = IMAGE.copy()
    embedding = predictor.encode(image)
    image[:] = 0
    np.testing.assert_array_equal(predictor.crops.pixels(embedding, None, needed_by="x"), IMAGE)

    class Uncopied(np.ndarray):
        def copy(self, *_):
            raise AssertionError("copied")

    monkeypatch.setattr(crops_module, "PIXELS_BYTES", IMAGE.nbytes - 1)
    predictor.crops.add(embedding, IMAGE.view(Uncopied), copy=True)
