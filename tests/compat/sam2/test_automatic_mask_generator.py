"""The drop-in's mask generator, used as programs written for `sam2` use it."""

import inspect

import numpy as np
import pytest

import samkit
from samkit.compat.auto_masks import OUTPUT_MODES
from samkit.compat.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from samkit.compat.sam2.errors import ImageFormatError, SettingError
from samkit.proposals import AutoMaskConfig, AutoMasker

DEFAULTS = {
    "points_per_side": 32,
    "points_per_batch": 64,
    "pred_iou_thresh": 0.8,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "mask_threshold": 0.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "point_grids": None,
    "min_mask_region_area": 0,
    "output_mode": "binary_mask",
    "use_m2m": False,
    "multimask_output": True,
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
EASY = {
    "points_per_side": 3,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 0.999,
}


@pytest.fixture
def sure(model):
    """A model that draws discs around the points, more or less, instead of noise."""
    head = model.network.mask_decoder.iou_prediction_head.layers[-1]
    head.weight.data.zero_()
    head.bias.data.copy_(head.bias.new_tensor([1.0, 3.0, 2.0, 1.5]))
    return model


def test_names_and_defaults_are_the_originals():
    parameters = inspect.signature(SAM2AutomaticMaskGenerator).parameters
    assert [*parameters] == ["model", *DEFAULTS, "kwargs"]
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS


def test_records_are_the_auto_maskers_masks(sure, frames):
    records = SAM2AutomaticMaskGenerator(sure, **EASY, crop_n_layers=1).generate(frames[0])
    config = AutoMaskConfig(
        points_per_side=3,
        iou_thresh=0.0,
        stability_thresh=0.0,
        box_nms_thresh=0.999,
        crop_layers=1,
        crop_points_downscale=1,
    )
    predictor = samkit.Predictor(sure.network, model_name="tiny_sam2")
    expected = AutoMasker(predictor, config).generate(frames[0])
    assert len(records) == len(expected) > 0
    for index, (record, mask) in enumerate(zip(records, expected.to_arrays(), strict=True)):
        assert set(record) == KEYS
        np.testing.assert_array_equal(record["segmentation"], mask)
        assert record["area"] == mask.sum()
        assert record["predicted_iou"] == expected.scores[index]
        assert record["point_coords"] == [expected.points_xy[index].tolist()]


@pytest.mark.parametrize("mode", OUTPUT_MODES)
def test_masks_have_the_form_that_is_asked_for(sure, frames, mode):
    (record, *_) = SAM2AutomaticMaskGenerator(sure, **EASY, output_mode=mode).generate(frames[0])
    found = record["segmentation"]
    if mode == "binary_mask":
        assert (found.shape, found.dtype) == ((60, 100), bool)
    else:
        assert found["size"] == [60, 100]
        assert isinstance(found["counts"], list) == (mode == "uncompressed_rle")


def test_single_masks_have_their_own_scores(sure, frames):
    records = SAM2AutomaticMaskGenerator(sure, **EASY, multimask_output=False).generate(frames[0])
    # The single mask is unstable here, so that the best of the others answers.
    best = 1 / (1 + np.exp(-3.0))
    assert {round(record["predicted_iou"], 5) for record in records} == {round(best, 5)}
    assert len(records) <= 9


def test_masks_are_asked_for_once_more_before_they_are_judged(sure, frames):
    plain = SAM2AutomaticMaskGenerator(sure, **EASY).generate(frames[0])
    again = SAM2AutomaticMaskGenerator(sure, **EASY, use_m2m=True).generate(frames[0])
    assert len(again) > 0
    areas = [{record["area"] for record in records} for records in (plain, again)]
    assert areas[0] != areas[1]
    strict = EASY | {"pred_iou_thresh": 0.96, "use_m2m": True}
    assert SAM2AutomaticMaskGenerator(sure, **strict).generate(frames[0]) == []


def test_a_model_in_training_stays_in_training(sure, frames):
    sure.sam_mask_decoder.train()
    generator = SAM2AutomaticMaskGenerator(sure, **EASY)
    records = generator.generate(frames[0])
    assert sure.sam_mask_decoder.decoder.training
    assert not sure.image_encoder.training
    sure.eval()
    again = generator.generate(frames[0])
    assert [one["area"] for one in again] == [one["area"] for one in records]


def test_the_settings_of_the_well_known_script_are_taken(sure, frames):
    generator = SAM2AutomaticMaskGenerator(
        model=sure,
        points_per_side=4,
        points_per_batch=128,
        pred_iou_thresh=0.7,
        stability_score_thresh=0.0,
        stability_score_offset=0.7,
        crop_n_layers=1,
        box_nms_thresh=0.7,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=25.0,
        use_m2m=True,
    )
    for record in sorted(generator.generate(frames[0]), key=lambda one: one["area"], reverse=True):
        assert record["area"] >= 25
        assert record["segmentation"].sum() == record["area"]


def test_a_model_of_the_hub_is_loaded(hub, network):
    generator = SAM2AutomaticMaskGenerator.from_pretrained(
        "facebook/sam2.1-hiera-tiny", device="cpu", points_per_side=5
    )
    assert generator.predictor.model.network is network
    assert generator.config.points_per_side == 5
    assert hub == [("sam2.1_hiera_tiny",) * 2]


def test_wrong_settings_are_one_line(model, frames, refusal):
    for settings, message in (
        ({"output_mode": "png"}, "output_mode must be one of"),
        ({"points_per_side": None}, "give either points_per_side or point_grids"),
        ({"mask_threshold": 0.5}, "mask_threshold must be 0 here; got 0.5"),
        ({"pred_iou_thresh": 3.0}, "iou_thresh"),
    ):
        with refusal(SettingError, message):
            SAM2AutomaticMaskGenerator(model, **settings)
    with pytest.raises(ImageFormatError):
        SAM2AutomaticMaskGenerator(model).generate(frames[0][..., 0])
