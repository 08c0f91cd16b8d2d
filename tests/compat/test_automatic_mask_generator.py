"""The drop-in mask generator, used as programs written for `segment_anything` use it."""

import inspect

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

import samkit
from samkit.compat.segment_anything import SamAutomaticMaskGenerator
from samkit.compat.segment_anything.build_sam import to_network
from samkit.compat.segment_anything.errors import ImageFormatError, SettingError
from samkit.compat.segment_anything.modeling import Sam
from samkit.errors import ConfigError
from samkit.proposals import AutoMaskConfig, AutoMasker

DEFAULTS = {
    "points_per_side": 32,
    "points_per_batch": 64,
    "pred_iou_thresh": 0.88,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "point_grids": None,
    "min_mask_region_area": 0,
    "output_mode": "binary_mask",
}
KEYS = {
    "segmentation",
    "area",
    "bbox",
    "predicted_iou",
    "point_coords",
    "stability_score",
    "crop_box",
}
EASY = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


def scores(records):
    return [(record["bbox"], record["stability_score"]) for record in records]


def test_names_and_defaults_are_the_originals():
    parameters = inspect.signature(SamAutomaticMaskGenerator).parameters
    assert [*parameters] == ["model", *DEFAULTS]
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS


def test_records_are_the_auto_maskers_masks(sam, image):
    records = SamAutomaticMaskGenerator(sam, **EASY, crop_n_layers=1).generate(image)
    config = AutoMaskConfig(
        points_per_side=3,
        iou_thresh=0.0,
        stability_thresh=0.0,
        crop_layers=1,
        crop_points_downscale=1,
    )
    predictor = samkit.Predictor(to_network(sam), model_name="tiny")
    expected = AutoMasker(predictor, config).generate(image)
    assert len(records) == len(expected) > 0
    for index, (record, mask) in enumerate(zip(records, expected.to_arrays(), strict=True)):
        assert set(record) == KEYS
        assert record["segmentation"].dtype == bool
        np.testing.assert_array_equal(record["segmentation"], mask)
        assert record["area"] == mask.sum()
        x, y, width, height = record["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum()
        assert record["predicted_iou"] == expected.scores[index]
        assert record["stability_score"] == expected.stability[index]
        assert record["point_coords"] == [expected.points_xy[index].tolist()]
        left, top, crop_w, crop_h = record["crop_box"]
        corners = [left, top, left + crop_w, top + crop_h]
        assert corners == expected.crops_xyxy[index].tolist()


def test_output_modes_hold_the_same_masks(sam, image):
    binary, counts, coded = (
        SamAutomaticMaskGenerator(sam, **EASY, output_mode=mode).generate(image)
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    )
    assert len(binary) == len(counts) == len(coded) > 0
    for one, listed, code in zip(binary, counts, coded, strict=True):
        mask = one["segmentation"]
        assert listed["segmentation"]["size"] == list(mask.shape)
        assert sum(listed["segmentation"]["counts"]) == mask.size
        packed = coco_mask.frPyObjects(listed["segmentation"], *mask.shape)
        np.testing.assert_array_equal(coco_mask.decode(packed), mask)
        assert isinstance(code["segmentation"]["counts"], str)
        np.testing.assert_array_equal(coco_mask.decode(code["segmentation"]), mask)


def test_settings_go_to_the_config(sam):
    generator = SamAutomaticMaskGenerator(
        sam,
        points_per_side=5,
        pred_iou_thresh=0.1,
        stability_score_thresh=0.2,
        stability_score_offset=0.3,
        box_nms_thresh=0.4,
        crop_n_layers=2,
        crop_nms_thresh=0.5,
        crop_overlap_ratio=0.6,
        crop_n_points_downscale_factor=3,
        min_mask_region_area=7,
    )
    assert generator.config == AutoMaskConfig(
        points_per_side=5,
        iou_thresh=0.1,
        stability_thresh=0.2,
        stability_offset=0.3,
        box_nms_thresh=0.4,
        crop_layers=2,
        crop_nms_thresh=0.5,
        crop_overlap=0.6,
        crop_points_downscale=3,
        min_area_px=7,
    )


def test_masks_are_of_the_weights_as_they_are_now(sam, image):
    generator = SamAutomaticMaskGenerator(sam, **EASY)
    before = generator.generate(image)
    conv = sam.image_encoder.neck[2]
    conv.weight.data.neg_()  # in place, past torch's count of versions
    after = generator.generate(image)
    assert scores(after) != scores(before)
    assert scores(after) == scores(SamAutomaticMaskGenerator(sam, **EASY).generate(image))
    conv.weight.data.neg_()
    assert scores(generator.generate(image)) == scores(before)


@pytest.mark.parametrize("change", ["hook", "module", "assembled by hand", "method"])
def test_a_changed_model_is_asked_through_its_modules(sam, image, change):
    expected = SamAutomaticMaskGenerator(sam, **EASY, crop_n_layers=1).generate(image)
    assert to_network(sam) is not None
    if change == "hook":
        sam.image_encoder.register_forward_hook(lambda module, args, output: output)
    elif change == "module":
        sam.image_encoder.blocks[0].attn.qkv = torch.nn.Sequential(
            sam.image_encoder.blocks[0].attn.qkv
        )
    elif change == "method":
        sam.mask_decoder.predict_masks = sam.mask_decoder.predict_masks
    else:
        sam = Sam(sam.image_encoder, sam.prompt_encoder, sam.mask_decoder)
    assert to_network(sam) is None
    records = SamAutomaticMaskGenerator(sam, **EASY, crop_n_layers=1).generate(image)
    assert len(records) == len(expected) > 0
    for one, other in zip(records, expected, strict=True):
        assert one["point_coords"] == other["point_coords"]
        assert one["bbox"] == other["bbox"]
        assert (one["segmentation"] != other["segmentation"]).mean() < 1e-3
        assert one["stability_score"] == pytest.approx(other["stability_score"], abs=1e-2)


def test_an_empty_answer_is_an_empty_list(sam, image):
    sam.mask_decoder.iou_prediction_head.layers[-1].bias.data.fill_(0.1)
    sure = {**EASY, "pred_iou_thresh": 0.5}
    assert SamAutomaticMaskGenerator(sam, **sure).generate(image) == []
    sam.config = None  # through the modules
    assert SamAutomaticMaskGenerator(sam, **sure).generate(image) == []


def test_own_points_are_those_that_masks_answer(sam, image):
    points = np.array([[0.25, 0.5], [0.75, 0.5]])
    settings = {**EASY, "points_per_side": None, "point_grids": [points]}
    records = SamAutomaticMaskGenerator(sam, **settings).generate(image)
    height, width = image.shape[:2]
    asked = {tuple(point) for point in (points * (width, height)).tolist()}
    assert {tuple(record["point_coords"][0]) for record in records} <= asked
    assert records


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"output_mode": "polygons"}, "binary_mask, uncompressed_rle, coco_rle"),
        ({"points_per_side": None}, "points_per_side"),
        ({"point_grids": [np.zeros((1, 2))]}, "points_per_side"),
        ({"pred_iou_thresh": 2}, "iou_thresh must be"),
    ],
)
def test_bad_settings_are_refused(settings, part, sam, refusal):
    with refusal(SettingError, part):
        SamAutomaticMaskGenerator(sam, **settings)


def test_points_outside_of_the_image_are_refused(sam, image, refusal):
    settings = {**EASY, "points_per_side": None, "point_grids": [np.ones((1, 2))]}
    with refusal(ConfigError, "less than 1"):
        SamAutomaticMaskGenerator(sam, **settings).generate(image)


@pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3))])
def test_other_images_are_refused(image, sam, refusal):
    with refusal(ImageFormatError, "image must be uint8 (H, W, 3)"):
        SamAutomaticMaskGenerator(sam, **EASY).generate(image)
