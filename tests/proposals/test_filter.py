"""The filter's rules one by one, on known masks."""

import numpy as np
import pytest

from proposals.scenery import SURE, SceneryPredictor, Thing, make_image
from samkit.errors import ConfigError
from samkit.geometry import boxes_from_masks
from samkit.geometry.overlap import nms
from samkit.geometry.resize import logits_to_original
from samkit.geometry.stability import stability_score
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.proposals.filter import filter_crop, touches_inner_border
from samkit.types import Masks

SIZE = (256, 256)  # as large as the model space: a logit is 4 x 4 pixels
IMAGE = make_image(*SIZE)


def mask_all(*things, image=IMAGE, **settings):
    config = AutoMaskConfig(**{"points_per_side": 16, **settings})
    return AutoMasker(SceneryPredictor(*things), config).generate(image)


def found_things(masks, things):
    """Which of the things some mask is of."""
    arrays = masks.to_arrays()
    truth = [thing.mask(masks.size_hw) for thing in things]
    return [
        number
        for number, mask in enumerate(truth)
        if any((mask & a).sum() > 0.9 * (mask | a).sum() for a in arrays)
    ]


# --- Thresholds ---


def test_each_thing_is_found_once_however_many_points_hit_it():
    things = [Thing((16, 16, 112, 112)), Thing((128, 64, 240, 240), 0.95)]
    masks = mask_all(*things)
    assert len(masks) == 2
    assert found_things(masks, things) == [0, 1]
    assert masks.scores.tolist() == pytest.approx([0.95, 0.9])  # the best first


def test_predicted_iou_must_reach_the_threshold():
    things = [Thing((16, 16, 112, 112), 0.8), Thing((128, 128, 240, 240), 0.85)]
    assert found_things(mask_all(*things, iou_thresh=0.85), things) == [1]
    assert found_things(mask_all(*things, iou_thresh=0.8), things) == [0, 1]
    assert len(mask_all(*things, iou_thresh=0.9)) == 0


def test_without_a_threshold_it_is_the_models_own():
    things = [Thing((16, 16, 112, 112), 0.8), Thing((128, 128, 240, 240), 0.9)]
    predictor = SceneryPredictor(*things)
    config = AutoMaskConfig(points_per_side=16)
    assert found_things(AutoMasker(predictor, config).generate(IMAGE), things) == [1]
    predictor.iou_thresh = 0.75
    masker = AutoMasker(predictor, config)
    assert found_things(masker.generate(IMAGE), things) == [0, 1]
    assert masker.propose(IMAGE).config.iou_thresh == 0.75


def test_no_threshold_takes_what_is_predicted_to_be_below_0():
    things = [Thing((16, 16, 112, 112), -0.1), Thing((128, 128, 240, 240), 0.85)]
    assert found_things(mask_all(*things, iou_thresh=0), things) == [0, 1]
    assert found_things(mask_all(*things, iou_thresh=0.01), things) == [1]


def test_stability_must_reach_the_threshold():
    unsure = Thing((128, 128, 240, 240), logit=0.9)
    things = [Thing((16, 16, 112, 112)), unsure]
    assert found_things(mask_all(*things), things) == [0]
    assert found_things(mask_all(*things, stability_offset=0.5), things) == [0]
    assert found_things(mask_all(*things, stability_offset=0.2), things) == [0, 1]
    assert found_things(mask_all(*things, stability_thresh=0), things) == [0, 1]


def test_stability_is_told_at_the_images_size():
    thing = Thing((40, 52, 161, 203), logit=4)
    predictor = SceneryPredictor(thing)
    image = make_image(180, 240)
    masks = AutoMasker(predictor, AutoMaskConfig(stability_thresh=0.5)).generate(image)
    embedding = predictor.embed(image)
    logits = predictor.render(thing, embedding).astype(np.float32)
    image_logits = logits_to_original(logits, embedding.coords)
    assert masks.stability.tolist() == pytest.approx([stability_score(image_logits, 1)])
    np.testing.assert_array_equal(masks.to_arrays()[0], image_logits > 0)


def test_masks_over_the_largest_area_are_dropped_before_they_suppress_others():
    # The frame has the same box as the whole image, and a lower predicted IoU.
    image = Thing((0, 0, 256, 256), 0.99)
    frame = Thing((0, 0, 256, 256), 0.9, holes=((64, 64, 192, 192),))
    assert found_things(mask_all(image, frame), [image, frame]) == [0]
    masks = mask_all(image, frame, max_area_fraction=0.95)
    assert found_things(masks, [image, frame]) == [1]
    assert masks.areas[0] / 256**2 == pytest.approx(0.75, abs=0.02)
    assert len(mask_all(image, frame, max_area_fraction=0.5)) == 0


def test_boxes_and_areas_are_exactly_the_masks():
    things = [Thing((17, 9, 101, 55)), Thing((70, 66, 222, 240), holes=((100, 100, 141, 141),))]
    masks = mask_all(*things, image=make_image(250, 231))
    arrays = masks.to_arrays()
    assert len(masks) == 2
    np.testing.assert_array_equal(masks.boxes_xyxy, boxes_from_masks(arrays))
    np.testing.assert_array_equal(masks.areas, arrays.sum(axis=(1, 2)))
    for (x, y), mask in zip(masks.points_xy, arrays, strict=True):
        assert mask[int(y), int(x)]


# --- Doubles within a crop ---


def test_of_two_masks_with_overlapping_boxes_the_surer_stays():
    # IoU of the boxes: 96 x 80 / (96 x 96) = 0.83.
    things = [Thing((32, 32, 128, 128), 0.9), Thing((32, 32, 128, 112), 0.95)]
    assert found_things(mask_all(*things), things) == [1]
    assert found_things(mask_all(*things, box_nms_thresh=0.9), things) == [0, 1]


def test_unstable_masks_do_not_suppress_others():
    unsure = Thing((32, 32, 128, 112), 0.95, logit=0.9)
    things = [Thing((32, 32, 128, 128), 0.9), unsure]
    assert found_things(mask_all(*things), things) == [0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou_thresh", [0.3, 0.7])
def test_lazy_suppression_equals_measuring_all_masks(seed, iou_thresh):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 120, (40, 2))
    size = rng.integers(6, 130, (40, 2))
    size[20:], corner[20:] = size[:20] + rng.integers(-8, 8, (20, 2)), corner[:20]
    boxes = np.concatenate([corner, corner + size.clip(4)], axis=1).clip(0, 200)
    things = [Thing(tuple(box), float(s)) for box, s in zip(boxes, rng.random(40), strict=True)]
    things = [t for t in things if t.mask((200, 200)).any()]
    predictor = SceneryPredictor(*things)
    config = AutoMaskConfig(
        points_per_side=8, iou_thresh=0, stability_thresh=0.5, box_nms_thresh=iou_thresh
    )
    image = make_image(200, 200)
    proposals = AutoMasker(predictor, config).propose(image)
    kept = filter_crop(proposals.crops[0], (200, 200), config)

    embedding = predictor.embed(image)
    candidates = proposals.crops[0].candidates
    logits = [
        logits_to_original(predictor.render(thing, embedding).astype(np.float32), embedding.coords)
        for thing in things
    ]
    by_score = {np.float32(thing.iou_pred): one for thing, one in zip(things, logits, strict=True)}
    whole = np.array([by_score[score] for score in candidates.iou_pred])
    stable = [stability_score(one, 1) >= 0.5 for one in whole]
    order = np.argsort(-candidates.iou_pred, kind="stable")
    expected = nms(boxes_from_masks(whole > 0), order[np.array(stable)[order]], iou_thresh)
    assert len(expected) >= 5
    assert [mask.score for mask in kept] == candidates.iou_pred[expected].tolist()


# --- Crops ---


def test_thing_cut_off_by_an_inner_border_is_dropped():
    # The 2 x 2 crops of 172 pixels have inner borders at 172 and 85.
    thing = Thing((110, 30, 160, 80))  # all of it is in both upper crops
    masks = mask_all(thing, crop_layers=1, crop_nms_thresh=1)
    crops = {tuple(crop) for crop in masks.crops_xyxy.tolist()}
    # 12 pixels from the left one's inner border, 25 from the right one's.
    assert crops == {(0, 0, 256, 256), (85, 0, 256, 172)}


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((50, 50, 150, 150), False),
        ((50, 50, 179, 150), False),
        ((50, 50, 180, 150), True),  # 20 pixels from the crop's border at 200
        ((50, 50, 200, 150), True),
        ((50, 50, 150, 185), True),
        ((0, 0, 150, 150), False),  # the image's own border
        ((15, 15, 150, 150), False),
    ],
)
def test_inner_borders_are_those_within_the_image(box, touches):
    crop = (0, 0, 200, 200)
    assert touches_inner_border(np.array([box]), crop, (400, 400)).tolist() == [touches]
    assert touches_inner_border(np.array([box]), crop, (200, 200)).tolist() == [False]
    # The same, on the other side of the image.
    turned = (400 - box[2], 400 - box[3], 400 - box[0], 400 - box[1])
    crop = (200, 200, 400, 400)
    assert touches_inner_border(np.array([turned]), crop, (400, 400)).tolist() == [touches]


def test_of_doubles_in_several_crops_the_most_zoomed_stays():
    # The whole image is surer of it, and yet the crop's is finer.
    thing = Thing((30, 30, 60, 60), lambda area: 0.95 if area == 256**2 else 0.9)
    masks = mask_all(thing, crop_layers=1)
    assert masks.crops_xyxy.tolist() == [[0, 0, 172, 172]]
    assert masks.scores.tolist() == pytest.approx([0.9])
    both = mask_all(thing, crop_layers=1, crop_nms_thresh=1)
    assert both.crops_xyxy.tolist() == [[0, 0, 256, 256], [0, 0, 172, 172]]


def test_masks_of_crops_lie_where_they_belong():
    things = [Thing((20, 24, 60, 70)), Thing((190, 200, 230, 240)), Thing((20, 190, 64, 230))]
    masks = mask_all(*things, crop_layers=2)
    assert found_things(masks, things) == [0, 1, 2]
    assert len(masks) == 3
    for crop, box, point in zip(masks.crops_xyxy, masks.boxes_xyxy, masks.points_xy, strict=True):
        assert (box[:2] >= crop[:2]).all()
        assert (box[2:] <= crop[2:]).all()
        assert (point >= box[:2]).all()
        assert (point < box[2:]).all()
        assert (crop[2:] - crop[:2] < 200).all()  # seen by a crop


# --- Small regions ---


def test_small_holes_are_filled_and_large_ones_are_not():
    thing = Thing((32, 32, 200, 200), holes=((60, 60, 68, 68), (100, 100, 140, 140)))
    (mask,) = mask_all(thing).to_arrays()
    assert not mask[62:66, 62:66].any()
    (clean,) = mask_all(thing, min_area_px=100).to_arrays()
    assert clean[56:72, 56:72].all()
    assert not clean[105:135, 105:135].any()
    (full,) = mask_all(thing, min_area_px=2000).to_arrays()
    assert full[34:198, 34:198].all()


def island_thing():
    """A square with a small island to the right, which makes its box larger."""
    holes = ((120, 32, 160, 128), (160, 44, 168, 128))
    return Thing((32, 32, 168, 128), 0.95, holes=holes)


def test_small_islands_are_dropped_and_boxes_made_anew():
    thing = island_thing()
    masks = mask_all(thing)
    assert masks.boxes_xyxy.tolist() == [[32, 32, 168, 128]]
    masks = mask_all(thing, min_area_px=300)
    assert masks.boxes_xyxy.tolist() == [[32, 32, 120, 128]]
    np.testing.assert_array_equal(masks.boxes_xyxy, boxes_from_masks(masks.to_arrays()))
    assert masks.areas.tolist() == masks.to_arrays().sum(axis=(1, 2)).tolist()
    assert masks.areas[0] == pytest.approx(88 * 96, abs=4)  # corners are rounded


def test_after_cleaning_masks_that_needed_none_are_preferred():
    # With its island, the first mask's box is so different that both stay; without, it is a double.
    dirty, pure = island_thing(), Thing((32, 32, 116, 128), 0.9)
    assert len(mask_all(dirty, pure)) == 2
    masks = mask_all(dirty, pure, min_area_px=300)
    assert masks.scores.tolist() == pytest.approx([0.9])


def test_largest_part_of_a_small_mask_stays():
    thing = Thing((32, 32, 60, 60))
    masks = mask_all(thing, min_area_px=5000)
    assert len(masks) == 1
    assert masks.areas[0] == pytest.approx(28 * 28, abs=4)


# --- Proposals and filters apart ---


def several_things():
    return [
        Thing((16, 16, 112, 112), 0.9),
        Thing((16, 16, 112, 100), 0.93),
        Thing((128, 16, 240, 100), 0.97, logit=6),
        Thing((30, 130, 90, 250), 0.86, holes=((50, 150, 56, 156),)),
        Thing((140, 140, 200, 200), 0.99),
    ]


def proposed(**settings):
    config = AutoMaskConfig(points_per_side=16, iou_thresh=0.8, stability_thresh=0.7, **settings)
    masker = AutoMasker(SceneryPredictor(*several_things()), config)
    return masker, masker.propose(IMAGE)


def assert_equal_masks(one: Masks, other: Masks):
    assert one.rles == other.rles
    assert one.size_hw == other.size_hw
    for name in ("boxes_xyxy", "areas", "scores", "stability", "points_xy", "crops_xyxy"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iou_thresh": 0.92},
        {"iou_thresh": 0.98},
        {"stability_thresh": 0.93},
        {"box_nms_thresh": 0.9},
        {"box_nms_thresh": 0},
        {"min_area_px": 200},
        {"max_area_fraction": 0.1},
        {"crop_nms_thresh": 0.1},
        {"iou_thresh": 0.85, "stability_thresh": 0.9, "min_area_px": 100},
    ],
)
@pytest.mark.parametrize("crop_layers", [0, 1])
def test_filtering_equals_generating_with_the_tighter_settings(changes, crop_layers):
    masker, proposals = proposed(crop_layers=crop_layers)
    settings = {"iou_thresh": 0.8, "stability_thresh": 0.7, "crop_layers": crop_layers, **changes}
    expected = mask_all(*several_things(), **settings)
    before = len(masker.predictor.asked)
    assert_equal_masks(masker.filter(proposals, **changes), expected)
    assert len(masker.predictor.asked) == before


def test_generate_is_filter_of_propose():
    masker, proposals = proposed(crop_layers=1, min_area_px=50)
    expected = masker.filter(proposals)
    assert_equal_masks(masker.generate(IMAGE), expected)
    assert_equal_masks(masker.filter(proposals), expected)  # proposals are not used up
    assert len(proposals) > len(expected)


@pytest.mark.parametrize(("name", "floor"), [("iou_thresh", "0.8"), ("stability_thresh", "0.7")])
def test_thresholds_below_those_of_the_proposals_are_refused(name, floor, refusal):
    masker, proposals = proposed()
    with refusal(ConfigError, f"{name} must be at least {floor}", "got 0.5", "propose again"):
        masker.filter(proposals, **{name: 0.5})
    looser = AutoMasker(masker.predictor, AutoMaskConfig(iou_thresh=0.5, stability_thresh=0.5))
    with refusal(ConfigError, "must be at least", "got 0.5"):
        looser.filter(proposals)
    other = AutoMasker(masker.predictor, AutoMaskConfig(stability_offset=2))
    with refusal(ConfigError, "stability_offset must be 1", "got 2", "propose again"):
        other.filter(proposals)


def test_filters_are_checked(refusal):
    masker, proposals = proposed()
    with refusal(ConfigError, "iou_thresh must be a number from 0 to 1", "got 2"):
        masker.filter(proposals, iou_thresh=2)


# --- Nothing found ---


@pytest.mark.parametrize("settings", [{}, {"min_area_px": 10}, {"crop_layers": 1}])
def test_image_without_things_has_no_masks(settings):
    masks = mask_all(**settings)
    assert len(masks) == 0
    assert masks.size_hw == SIZE
    assert masks.to_arrays().shape == (0, *SIZE)
    assert masks.boxes_xyxy.shape == (0, 4)
    assert masks.points_xy.shape == (0, 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (200, 3), (5, 5)])
def test_tiny_and_narrow_images_are_handled(shape):
    height, width = shape
    thing = Thing((0, 0, width, height), logit=SURE)
    image = make_image(height, width)
    masks = mask_all(thing, image=image, points_per_side=4, min_area_px=3)
    assert masks.areas.tolist() == [height * width]
    assert masks.boxes_xyxy.tolist() == [[0, 0, width, height]]
    in_crops = mask_all(thing, image=image, points_per_side=4, crop_layers=3)
    assert in_crops.areas.max() == height * width
