"""Masks that people rejected: where a click asks for nothing, and what is compared there."""

import numpy as np
import pytest
import torch

from samkit.datasets import Sample
from samkit.errors import DataError
from samkit.geometry import decode_rle, encode_rle
from samkit.training.data.loader import BatchLoader
from samkit.training.data.placement import plain_placement
from samkit.training.data.rejected import place_rejected, unwanted_region
from sample_fixtures import ListSource

SIDE = 32


def box(x0, y0, x1, y1, size_hw=(SIDE, SIDE)):
    mask = np.zeros(size_hw, bool)
    mask[y0:y1, x0:x1] = True
    return encode_rle(mask)


def test_a_rejected_mask_without_another_is_unwanted_as_a_whole():
    rejected = box(2, 2, 12, 12)
    assert unwanted_region(rejected, [box(20, 20, 30, 30)]) == (rejected, None)
    assert unwanted_region(rejected, []) == (rejected, None)


def test_what_people_made_is_wanted():
    region, place = unwanted_region(box(0, 0, 20, 10), [box(25, 0, 30, 9), box(0, 0, 8, 10)])
    assert place == 1
    assert np.array_equal(decode_rle(region), decode_rle(box(8, 0, 20, 10)))


def test_a_mask_that_was_corrected_a_little_is_no_prompt():
    # Of 100 pixels, 49 are in no mask.
    made = np.zeros((SIDE, SIDE), bool)
    made[0:10, 0:5], made[0, 5] = True, True
    region, place = unwanted_region(box(0, 0, 10, 10), [encode_rle(made)])
    assert (region, place) == (None, 0)


def place(rejected, made, most=4, truth_size=SIDE, void=None):
    ignored = np.zeros((truth_size, truth_size), bool) if void is None else void
    return place_rejected(
        rejected,
        made,
        plain_placement((SIDE, SIDE), SIDE),
        truth_size,
        ignored,
        rng=np.random.default_rng(0),
        most=most,
    )


def test_regions_and_truths_are_placed():
    found = place([box(0, 0, 20, 10), box(20, 20, 30, 30)], [box(0, 0, 8, 10)])
    assert found.regions.shape == found.truths.shape == (2, SIDE, SIDE)
    areas = torch.stack([found.regions.sum((1, 2)), found.truths.sum((1, 2))], 1)
    assert sorted(areas.tolist()) == [[100, 0], [120, 80]]
    assert place([box(0, 0, 20, 10), box(20, 20, 30, 30)], [], most=1).regions.shape[0] == 1


def test_nothing_that_counts_is_nothing():
    assert place([], []) is None
    assert place([box(0, 0, 8, 8)], [box(0, 0, 8, 8)]) is None
    assert place([box(0, 0, 8, 8)], [], void=np.ones((SIDE, SIDE), bool)) is None


def test_batches_have_them_by_image(recipe):
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    mask = box(0, 0, 8, 8)
    samples = [
        Sample(key="a", image=blank, rles=(mask,)),
        Sample(key="b", image=blank, rles=(mask,), rejected=(box(16, 16, 32, 32),) * 3),
    ]
    with BatchLoader(ListSource(samples), recipe(), SIDE, SIDE, seed=0) as loader:
        batch = next(loader).to(torch.device("cpu"))
    assert batch.rejected.shape == (2, SIDE, SIDE)  # two of three
    assert [batch.keys[at] for at in batch.rejected_index] == ["b", "b"]
    assert batch.rejected[0].nonzero()[0].tolist() == [16, 16]
    assert not batch.rejected_truths.any()
    with BatchLoader(ListSource(samples[:1]), recipe(), SIDE, SIDE, seed=0) as loader:
        batch = next(loader).to(torch.device("cpu"))
    assert batch.rejected is batch.rejected_truths is batch.rejected_index is None


def test_rejected_masks_are_of_the_images_size():
    with pytest.raises(DataError, match="masks must have the image's size"):
        Sample(key="a", image=np.zeros((8, 8, 3), np.uint8), rles=(), rejected=(box(0, 0, 3, 3),))
