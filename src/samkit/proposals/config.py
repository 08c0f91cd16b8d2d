"""Settings of automatic mask generation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from samkit.checks import check_number
from samkit.errors import ConfigError

# From the published implementation: crops of an image with a shorter side of 1500 share 512 pixels.
CROP_OVERLAP = 512 / 1500

# Type and allowed range of each number.
RANGES: Mapping[str, tuple[type, float, float]] = MappingProxyType(
    {
        "points_per_side": (int, 1, 512),
        "crop_layers": (int, 0, 5),
        "crop_points_downscale": (int, 1, 512),
        "crop_overlap": (float, 0, 1),
        "iou_thresh": (float, 0, 1),
        "iou_slack": (float, 0, 1),
        "stability_thresh": (float, 0, 1),
        "stability_offset": (float, 0, math.inf),
        "box_nms_thresh": (float, 0, 1),
        "crop_nms_thresh": (float, 0, 1),
        "min_area_px": (int, 0, 2**31 - 1),
        "max_area_fraction": (float, 0, 1),
        "max_proposals": (int, 1, 2000),
        "objectness_thresh": (float, 0, 1),
    }
)


@dataclass(frozen=True, kw_only=True)
class AutoMaskConfig:
    """Settings for proposing and filtering masks of everything in an image.

    Attributes:
        points_per_side: the image is prompted at a regular grid of this many points, squared.
        crop_layers: layer i (from 1) cuts the image into 2^i x 2^i overlapping crops, each of which
            is embedded and prompted separately: finds small objects, at a cost proportional to the
            number of crops.
        crop_points_downscale: the grid in crops of layer i has this many times fewer points per
            side, to the power of i.
        crop_overlap: overlap of first-layer crops as a fraction of the image's shorter side; halved
            in each further layer.
        iou_thresh: minimum predicted IoU; 0 accepts all masks, even the few with a predicted IoU
            below 0. None is the model's own: 0.88 for published models, see
            `samkit.Predictor.iou_thresh`.
        iou_slack: how much lower than the model's own `iou_thresh` becomes, where it is None.
        stability_thresh: minimum stability, which is the IoU between the masks cut at the logits
            +offset and -offset.
        stability_offset: offset of these two logits.
        box_nms_thresh: maximum IoU of the boxes of two masks of one crop; above it, the mask with
            the lower predicted IoU is dropped.
        crop_nms_thresh: maximum IoU of the boxes of two masks of different crops; above it, the
            mask from the larger crop is dropped.
        min_area_px: smaller islands are removed (each mask keeps its largest part) and smaller
            holes filled; then duplicates are dropped again, changed masks first.
        max_area_fraction: masks that cover a larger fraction of the image are dropped.
        adaptive: go through points from coarse to fine and skip those that enough masks cover:
            fewer decodes, and fewer masks of small details.
        proposer: "grid" prompts by the grid of points; "learned" by the boxes of the proposal head
            in this package that belongs to the model's image encoder; else a head's file.
        max_proposals: maximum number of boxes of a head, in each crop.
        objectness_thresh: minimum objectness of a head's boxes.
    """

    points_per_side: int = 32
    crop_layers: int = 0
    crop_points_downscale: int = 2
    crop_overlap: float = CROP_OVERLAP
    iou_thresh: float | None = None
    iou_slack: float = 0.0
    stability_thresh: float = 0.95
    stability_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_nms_thresh: float = 0.7
    min_area_px: int = 0
    max_area_fraction: float = 1.0
    adaptive: bool = False
    proposer: str = "grid"
    max_proposals: int = 200
    objectness_thresh: float = 0.03

    def __post_init__(self) -> None:
        for name, (kind, low, high) in RANGES.items():
            if getattr(self, name) is not None or name != "iou_thresh":
                check_number(name, getattr(self, name), kind, low, high)
        if not isinstance(self.adaptive, (bool, np.bool_)):
            raise ConfigError(f"adaptive must be True or False; got {self.adaptive!r}")
        if not isinstance(self.proposer, str) or not self.proposer:
            raise ConfigError(f"proposer must be grid, learned or a file; got {self.proposer!r}")

    def for_model(self, iou_thresh: float) -> "AutoMaskConfig":
        """These settings for a model with its own `iou_thresh`, which then is a number."""
        if self.iou_thresh is not None:
            return self
        return replace(self, iou_thresh=max(0.0, iou_thresh - self.iou_slack))

    @property
    def min_iou_pred(self) -> float:
        """Minimum predicted IoU of a mask, of settings for a model."""
        assert self.iou_thresh is not None
        return self.iou_thresh if self.iou_thresh > 0 else -math.inf

    def points_in_layer(self, layer: int) -> int:
        """Points per side in each crop of a layer; layer 0 is the full image."""
        points: int = self.points_per_side // self.crop_points_downscale**layer
        return max(1, points)


PRESETS: Mapping[str, AutoMaskConfig] = MappingProxyType(
    {
        # Boxes of the proposal head instead of a grid: their objectness says more of a mask than
        # its predicted IoU, which is no threshold here (docs/proposals.md).
        "instant": AutoMaskConfig(
            proposer="learned",
            objectness_thresh=0.1,
            iou_thresh=0.0,
            stability_thresh=0.8,
            min_area_px=100,
        ),
        # A third of the default's decodes for 91% of its average recall of human segmentations;
        # 16 x 16 points take a quarter for 81% (docs/performance.md).
        "fast": AutoMaskConfig(points_per_side=24, adaptive=True),
        # The fully automatic stage of SA-1B. Source: arXiv:2304.02643, appendix B.
        "paper": AutoMaskConfig(crop_layers=2, min_area_px=100, max_area_fraction=0.95),
        # More points, and masks that the paper rejects as too uncertain.
        "thorough": AutoMaskConfig(
            points_per_side=64,
            crop_layers=2,
            iou_slack=0.08,
            stability_thresh=0.9,
            box_nms_thresh=0.8,
            min_area_px=25,
        ),
    }
)
