"""Prompted points and their batches; the full pipeline on a real image."""

import re

import numpy as np
import pytest
import skimage.data
from PIL import Image

import samkit
from proposals.scenery import SceneryPredictor, Thing, make_image
from proposals.test_filter import assert_equal_masks
from samkit import AutoMaskConfig, AutoMasker
from samkit.errors import ConfigError, ImageError, PromptError
from samkit.geometry import boxes_from_masks
from samkit.proposals.grid import crop_boxes, grid_points
from samkit.proposals.proposers import PROMPTS_AT_ONCE
from samkit.weights import CATALOG, DEFAULT_MODEL, PUBLISHED_IOU_THRESH


def ask(*things, image=None, **settings):
    predictor = SceneryPredictor(*things)
    image = make_image(200, 300) if image is None else image
    masks = AutoMasker(predictor, AutoMaskConfig(**settings)).generate(image)
    return predictor, masks


def test_points_of_the_grid_are_asked():
    predictor, _ = ask(points_per_side=5)
    assert predictor.crops == [(0, 0, 300, 200)]
    np.testing.assert_allclose(predictor.asked, grid_points(5) * (300, 200))


def test_points_of_all_crops_are_asked():
    predictor, _ = ask(points_per_side=8, crop_layers=2, crop_points_downscale=3)
    expected = [box for layer in (0, 1, 2) for box in crop_boxes((200, 300), layer, 512 / 1500)]
    assert predictor.crops == expected
    points = [
        grid_points(count) * (x1 - x0, y1 - y0) + np.array([x0, y0])
        for count, (x0, y0, x1, y1) in zip([8] + [2] * 4 + [1] * 16, expected, strict=True)
    ]
    np.testing.assert_allclose(predictor.asked, np.concatenate(points))


def test_an_image_that_is_embedded_is_not_embedded_again():
    image = make_image(200, 300)
    things = (Thing((10, 10, 60, 60)), Thing((100, 40, 220, 160)))
    predictor, expected = ask(*things, image=image, crop_layers=1)
    embedding = SceneryPredictor(*things).embed(image)
    again = SceneryPredictor(*things)
    masker = AutoMasker(again, AutoMaskConfig(crop_layers=1))
    assert_equal_masks(masker.generate(image, embedding=embedding), expected)
    assert again.crops == predictor.crops[1:]


def test_the_embedding_of_an_image_of_another_size_is_refused(refusal):
    predictor = SceneryPredictor()
    embedding = predictor.embed(make_image(90, 120))
    with refusal(PromptError, "of (90, 120) pixels (height, width), and this one has (80, 120)"):
        AutoMasker(predictor).generate(make_image(80, 120), embedding=embedding)


def test_own_points_are_asked_in_each_layer():
    predictor = SceneryPredictor()
    grids = [[[0.5, 0.25], [0, 0.999]], [[0.1, 0.1]]]
    AutoMasker(predictor, AutoMaskConfig(crop_layers=1), point_grids=grids).generate(
        make_image(200, 300)
    )
    crops = crop_boxes((200, 300), 1, 512 / 1500)
    in_crops = [(x0 + (x1 - x0) / 10, y0 + (y1 - y0) / 10) for x0, y0, x1, y1 in crops]
    np.testing.assert_allclose(predictor.asked, [(150, 50), (0, 199.8), *in_crops])


@pytest.mark.parametrize(
    ("grids", "settings", "message"),
    [
        ([[[0.5, 0.5]]], {"crop_layers": 1}, "point_grids must be one for each of 2 layers; got 1"),
        ([[0.5, 0.5]], {}, "each of point_grids must be (P, 2); got (2,)"),
        ([np.zeros((0, 2))], {}, "each of point_grids must be (P, 2); got (0, 2)"),
        ([[[0.5, 1]]], {}, "point_grids must be fractions, at least 0 and less than 1"),
        ([[[0.5, np.nan]]], {}, "point_grids must be fractions"),
        ([[[0.5, 0.5]]], {"adaptive": True}, "adaptive takes the regular grid"),
    ],
)
def test_what_are_no_points_is_refused(grids, settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        AutoMasker(SceneryPredictor(), AutoMaskConfig(**settings), point_grids=grids)


def test_points_come_in_portions():
    predictor, _ = ask(points_per_side=12)
    assert predictor.batches == [PROMPTS_AT_ONCE, PROMPTS_AT_ONCE, 144 - 2 * PROMPTS_AT_ONCE]


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("crop_layers", [0, 1])
def test_progress_counts_all_points(adaptive, crop_layers):
    config = AutoMaskConfig(points_per_side=12, crop_layers=crop_layers, adaptive=adaptive)
    predictor = SceneryPredictor(Thing((0, 0, 300, 200)))
    calls = []
    AutoMasker(predictor, config).generate(
        make_image(200, 300), on_progress=lambda *call: calls.append(call)
    )
    total = 144 + crop_layers * 4 * 36
    assert {call[1] for call in calls} == {total}
    done = [call[0] for call in calls]
    assert done == sorted(set(done))
    assert done[-1] == total
    assert len(done) == len(predictor.batches)


def test_image_may_be_a_file_an_image_or_an_array(tmp_path):
    image = make_image(200, 300)
    thing = Thing((40, 40, 160, 140))
    _, expected = ask(thing, image=image)
    assert len(expected) == 1
    Image.fromarray(image).save(tmp_path / "a.png")
    for given in (tmp_path / "a.png", Image.fromarray(image), image.astype(np.uint16) * 257):
        _, masks = ask(thing, image=given)
        assert_equal_masks(masks, expected)


def test_image_that_cannot_be_read_is_refused(tmp_path, refusal):
    masker = AutoMasker(SceneryPredictor())
    for method in (masker.generate, masker.propose, masker.generate_tiled):
        with refusal(ImageError, "no such file"):
            method(tmp_path / "a.png")


def test_default_settings_are_those_of_the_config():
    own = AutoMaskConfig().for_model(PUBLISHED_IOU_THRESH)
    assert AutoMasker(SceneryPredictor()).config == own


# --- The embedded model on a real image ---

EIGHT = AutoMaskConfig(points_per_side=8).for_model(CATALOG[DEFAULT_MODEL].iou_thresh)


@pytest.fixture(scope="module")
def predictor():
    return samkit.Predictor.load()


@pytest.fixture(scope="module")
def image():
    return skimage.data.coffee()


@pytest.fixture(scope="module")
def coffee_masks(predictor, image):
    return AutoMasker(predictor, EIGHT).generate(image)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_cup_is_found(predictor, image, coffee_masks):
    # On the cup, where a click means the cup with its saucer.
    answer = predictor.predict(predictor.embed(image), points=[[220, 170]], labels=[1])
    clicked = answer.best().masks[0]
    assert max(iou(mask, clicked) for mask in coffee_masks.to_arrays()) > 0.9


def test_the_embedded_head_finds_the_cup_with_a_fifth_of_the_prompts(predictor, image):
    answer = predictor.predict(predictor.embed(image), points=[[220, 170]], labels=[1])
    masks = AutoMasker(predictor, proposer="learned").generate(image)
    assert 5 <= len(masks) <= 200
    assert max(iou(mask, answer.best().masks[0]) for mask in masks.to_arrays()[:20]) > 0.9


def test_masks_of_a_image_are_sane(image, coffee_masks):
    masks = coffee_masks
    assert 5 <= len(masks) <= 100
    arrays = masks.to_arrays()
    assert masks.size_hw == image.shape[:2]
    np.testing.assert_array_equal(masks.boxes_xyxy, boxes_from_masks(arrays))
    np.testing.assert_array_equal(masks.areas, arrays.sum(axis=(1, 2)))
    assert (np.diff(masks.scores) <= 0).all()
    assert masks.scores.min() >= EIGHT.iou_thresh
    assert masks.scores.max() < 1.1
    assert masks.stability.min() >= EIGHT.stability_thresh
    assert masks.stability.max() <= 1
    assert (masks.crops_xyxy == [0, 0, image.shape[1], image.shape[0]]).all()
    grid = {tuple(point) for point in (grid_points(8) * image.shape[1::-1]).tolist()}
    assert {tuple(point) for point in masks.points_xy.tolist()} <= grid


def test_proposing_and_filtering_gives_the_same_masks_again(predictor, image, coffee_masks):
    masker = AutoMasker(predictor, EIGHT)
    proposals = masker.propose(image)
    assert_equal_masks(masker.filter(proposals), coffee_masks)
    # Doubles are dropped by predicted IoU, so that a higher threshold only takes the best.
    middle = float(np.median(coffee_masks.scores))
    best = coffee_masks.select(coffee_masks.scores >= middle)
    assert 0 < len(best) < len(coffee_masks)
    assert_equal_masks(masker.filter(proposals, iou_thresh=middle), best)


def test_large_image_in_tiles(predictor, image):
    config = AutoMaskConfig(points_per_side=3)
    tiling = samkit.proposals.TileConfig(tile_px=400, overlap_px=200)
    masks = AutoMasker(predictor, config).generate_tiled(image, tiling)
    arrays = masks.to_arrays()
    assert len(masks) > 0
    assert masks.size_hw == image.shape[:2]
    np.testing.assert_array_equal(masks.boxes_xyxy, boxes_from_masks(arrays))
    np.testing.assert_array_equal(masks.areas, arrays.sum(axis=(1, 2)))
    for (x, y), crop in zip(masks.points_xy, masks.crops_xyxy, strict=True):
        assert crop[0] <= x < crop[2]
        assert crop[1] <= y < crop[3]
