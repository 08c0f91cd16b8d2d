"""Points that are skipped because enough masks cover them."""

import numpy as np
import pytest

from proposals.scenery import SceneryPredictor, Thing, make_image
from proposals.test_filter import assert_equal_masks
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.proposals.adaptive import COVERING_CANDIDATES
from samkit.proposals.grid import coarse_to_fine, grid_points

IMAGE = make_image(256, 256)


def ask(*things, **settings):
    predictor = SceneryPredictor(*things)
    config = AutoMaskConfig(**{"points_per_side": 32, "adaptive": True, **settings})
    return predictor, AutoMasker(predictor, config).generate(IMAGE)


def points_within(points, box):
    x, y = np.array(points).T
    return int(((x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])).sum())


def test_image_without_masks_is_asked_everywhere_coarse_to_fine():
    predictor, _ = ask()
    expected = 256 * grid_points(32)[coarse_to_fine(32)]
    np.testing.assert_allclose(predictor.asked, expected)


def test_points_in_known_things_are_left_out():
    thing = Thing((0, 0, 128, 256))
    predictor, masks = ask(thing)
    _, expected = ask(thing, adaptive=False)
    inside = points_within(predictor.asked, thing.box_xyxy)
    assert points_within(predictor.asked, (128, 0, 256, 256)) == 512
    # The first 64 points, of which half are inside, come before any answer.
    assert inside == 32
    assert expected.boxes_xyxy.tolist() == masks.boxes_xyxy.tolist()


def test_few_masks_do_not_cover():
    points = 256 * grid_points(32)[coarse_to_fine(32)]
    first = points[:64]
    # One row of the first portion hits the thing, up to a column.
    for hits in (COVERING_CANDIDATES - 1, COVERING_CANDIDATES):
        right = int(np.sort(np.unique(first[:, 0]))[hits - 1]) + 2
        thing = Thing((0, int(first[0, 1]) - 6, right, int(first[0, 1]) + 6))
        assert points_within(first, thing.box_xyxy) == hits
        predictor, _ = ask(thing)
        inside = points_within(predictor.asked, thing.box_xyxy)
        if hits == COVERING_CANDIDATES:
            assert inside == hits
        else:
            assert inside > hits


@pytest.mark.parametrize("unsure", [{"iou_pred": 0.5}, {"logit": 0.5}])
def test_uncertain_masks_do_not_cover(unsure):
    predictor, masks = ask(Thing((0, 0, 256, 256), **unsure))
    assert len(predictor.asked) == 1024
    assert len(masks) == 0


def test_crops_are_adaptive_each_on_their_own():
    predictor, masks = ask(Thing((0, 0, 256, 256)), crop_layers=1)
    assert len(predictor.crops) == 5
    # All of the first portion, which is all of the coarsest passes, and no more.
    assert predictor.batches == [64] * 5
    assert len(masks) == 1


def test_adaptive_answers_are_the_same_again():
    things = [Thing((10, 10, 90, 90)), Thing((60, 100, 200, 240), 0.95), Thing((20, 20, 50, 60))]
    _, masks = ask(*things)
    assert_equal_masks(ask(*things)[1], masks)
    assert len(masks) == 3
