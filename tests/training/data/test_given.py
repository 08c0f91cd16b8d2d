"""Prompts that people gave for masks, from samples to batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samkit.datasets import Sample
from samkit.errors import DataError
from samkit.geometry import encode_rle
from samkit.training.data.given import place_given
from samkit.training.data.loader import BatchLoader
from samkit.training.data.placement import Placement, plain_placement
from samkit.types import GivenPrompts
from sample_fixtures import ListSource

SIDE = 32
CROPPED = Placement(
    original_hw=(40, 60), resized_hw=(80, 120), corner_xy=(30, 10), flipped=False, model_size=64
)


def test_prompts_are_placed_with_the_image():
    given = GivenPrompts(((20, 20, 1), (5, 20, 0), (30, 10, 0)), (10, 15, 25, 20))
    placed = place_given(given, CROPPED)
    # The second click and the left part of the box are cut off.
    assert placed.clicks == ((41 - 30.5, 41 - 10.5, 1), (61 - 30.5, 21 - 10.5, 0))
    assert placed.box_xyxy == (0, 30 - 10, 50 - 30, 40 - 10)
    mirrored = place_given(given, replace(CROPPED, flipped=True, corner_xy=(56, 10)))
    assert mirrored.box_xyxy == (120 - 50 - 56, 20, 120 - 20 - 56, 30)
    assert place_given(GivenPrompts(box_xyxy=(0, 0, 15, 40)), CROPPED) == GivenPrompts()
    plain = plain_placement((SIDE, SIDE), SIDE)
    assert place_given(given, plain) == given


def test_batches_have_the_prompts_of_their_masks(recipe):
    blank, mask = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), bool)
    mask[4:12, 4:12] = True
    rle = encode_rle(mask)
    boxed = GivenPrompts(((20, 3, 0),), (4, 4, 12, 12))
    clicked = GivenPrompts(((20, 3, 0), (5, 6, 1), (7, 8, 1)))
    samples = [
        Sample(key="a", image=blank, rles=(rle,)),
        Sample(key="b", image=blank, rles=(rle, rle), given=(boxed, clicked)),
    ]
    with BatchLoader(ListSource(samples), recipe(), SIDE, SIDE, seed=0) as loader:
        batch = next(loader).to(torch.device("cpu"))
    rows = {"a": [], "b": []}
    for row, image in enumerate(batch.image_index.tolist()):
        rows[batch.keys[image]].append(row)
    (unknown,), (box, click) = rows["a"], rows["b"]
    given = batch.given
    assert given.boxes_xyxy[box].tolist() == [4, 4, 12, 12]
    assert given.first_xy[click].tolist() == [5, 6]
    assert given.points_xy[click].tolist() == [[20, 3], [7, 8]]
    assert given.points_xy[box, 0].tolist() == [20, 3]
    assert given.labels[[unknown, box, click]].tolist() == [[-1, -1], [0, -1], [0, 1]]
    missing = (given.boxes_xyxy[[unknown, click]], given.first_xy[[unknown, box]])
    assert all(torch.isnan(one).all() for one in (*missing, given.points_xy[unknown]))
    with BatchLoader(ListSource(samples[:1]), recipe(), SIDE, SIDE, seed=0) as loader:
        assert next(loader).given is None


def test_prompts_are_one_for_each_mask():
    blank = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="given must be one for each of 0 masks; got 1"):
        Sample(key="a", image=blank, rles=(), given=(GivenPrompts(),))
