"""Validation of settings."""

import dataclasses

import numpy as np
import pytest

from samkit.errors import ConfigError
from samkit.proposals import PRESETS, AutoMaskConfig, TileConfig
from samkit.proposals.config import RANGES
from samkit.weights import PUBLISHED_IOU_THRESH


def test_defaults_are_those_of_the_published_implementation():
    config = AutoMaskConfig()
    assert config.points_per_side == 32
    assert config.crop_layers == 0
    assert config.crop_overlap == pytest.approx(512 / 1500)
    assert (config.iou_thresh, config.stability_thresh, config.stability_offset) == (None, 0.95, 1)
    assert config.for_model(PUBLISHED_IOU_THRESH).iou_thresh == 0.88
    assert (config.box_nms_thresh, config.crop_nms_thresh) == (0.7, 0.7)
    assert (config.min_area_px, config.max_area_fraction) == (0, 1)
    assert not config.adaptive


def test_paper_preset_is_the_papers():
    # 32 x 32 points, 2 x 2 crops with 16 x 16 and 4 x 4 with 8 x 8.
    paper = PRESETS["paper"]
    assert [paper.points_in_layer(layer) for layer in range(paper.crop_layers + 1)] == [32, 16, 8]
    assert (paper.iou_thresh, paper.stability_thresh, paper.stability_offset) == (None, 0.95, 1)
    assert (paper.box_nms_thresh, paper.crop_nms_thresh) == (0.7, 0.7)
    assert (paper.min_area_px, paper.max_area_fraction) == (100, 0.95)


def test_presets_ask_ever_more():
    assert list(PRESETS) == ["instant", "fast", "paper", "thorough"]

    def points(config):
        layers = range(config.crop_layers + 1)
        return sum(4**layer * config.points_in_layer(layer) ** 2 for layer in layers)

    assert PRESETS["instant"].proposer == "learned"  # 200 boxes at most
    assert PRESETS["instant"].max_proposals < points(PRESETS["fast"])
    assert points(PRESETS["fast"]) <= points(AutoMaskConfig())
    assert points(AutoMaskConfig()) < points(PRESETS["paper"]) < points(PRESETS["thorough"])


def test_thresholds_follow_the_models_own():
    thorough = PRESETS["thorough"]
    assert thorough.for_model(PUBLISHED_IOU_THRESH).iou_thresh == pytest.approx(0.8)
    assert thorough.for_model(0.5).iou_thresh == pytest.approx(0.42)
    assert thorough.for_model(0.05).iou_thresh == 0
    assert AutoMaskConfig(iou_thresh=0.7).for_model(0.5).iou_thresh == 0.7


def test_each_layer_has_at_least_one_point():
    config = AutoMaskConfig(points_per_side=5, crop_points_downscale=3)
    assert [config.points_in_layer(layer) for layer in range(4)] == [5, 1, 1, 1]


def test_every_number_has_a_range():
    fields = {field.name for field in dataclasses.fields(AutoMaskConfig)}
    assert fields - set(RANGES) == {"adaptive", "proposer"}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [-1, float("nan"), "1", None, True])
def test_nonsense_is_refused(name, value, refusal):
    if name == "iou_thresh" and value is None:
        return  # the model's own
    with refusal(ConfigError, f"{name} must be", f"got {value!r}"):
        AutoMaskConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("points_per_side", 0, "a whole number from 1 to 512"),
        ("points_per_side", 1.5, "a whole number"),
        ("points_per_side", 513, "from 1 to 512"),
        ("crop_layers", 6, "from 0 to 5"),
        ("iou_thresh", 1.01, "a number from 0 to 1"),
        ("max_area_fraction", 2, "from 0 to 1"),
        ("stability_offset", -0.1, "a number of at least 0"),
    ],
)
def test_refusals_tell_the_range(name, value, expected, refusal):
    with refusal(ConfigError, name, expected, f"got {value}"):
        AutoMaskConfig(**{name: value})


def test_adaptive_is_yes_or_no(refusal):
    with refusal(ConfigError, "adaptive must be True or False", "got 1"):
        AutoMaskConfig(adaptive=1)


def test_limits_and_numpy_numbers_are_taken():
    AutoMaskConfig(points_per_side=np.int64(1), iou_thresh=np.float32(0.5), stability_thresh=0)
    AutoMaskConfig(iou_thresh=1, box_nms_thresh=1, max_area_fraction=0, stability_offset=0)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"tile_px": 8}, ["tile_px", "from 16"]),
        ({"overlap_px": 513}, ["overlap_px", "from 0 to 512", "got 513"]),
        ({"tile_px": 100, "overlap_px": 51}, ["overlap_px", "from 0 to 50"]),
        ({"seam_iou_thresh": 0}, ["seam_iou_thresh must be above 0"]),
        ({"seam_iou_thresh": 1.5}, ["seam_iou_thresh", "from 0 to 1"]),
    ],
)
def test_tiling_is_checked(settings, parts, refusal):
    with refusal(ConfigError, *parts):
        TileConfig(**settings)
