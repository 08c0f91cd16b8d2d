"""Settings of automatic masks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from samkit.errors import ConfigError

# From the published implementation: crops of an image whose shorter side is 1500 share 512 pixels.
CROP_OVERLAP = 512 / 1500

# Of each number: its type, the lowest and the highest value that makes sense.
RANGES: Mapping[str, tuple[type, float, float]] = MappingProxyType(
    {
        "points_per_side": (int, 1, 512),
        "crop_layers": (int, 0, 5),
        "crop_points_downscale": (int, 1, 512),
        "crop_overlap": (float, 0, 1),
        "iou_thresh": (float, 0, 1),
        "stability_thresh": (float, 0, 1),
        "stability_offset": (float, 0, math.inf),
        "box_nms_thresh": (float, 0, 1),
        "crop_nms_thresh": (float, 0, 1),
        "min_area_px": (int, 0, 2**31 - 1),
        "max_area_fraction": (float, 0, 1),
    }
)


@dataclass(frozen=True, kw_only=True)
class AutoMaskConfig:
    """How masks of everything in an image are proposed and filtered.

    Attributes:
        points_per_side: the image is asked at a regular grid of so many points, squared.
        crop_layers: layer i (from 1) cuts the image into 2^i x 2^i overlapping crops, each of which
            is looked at on its own: small things are found, each layer takes as long as the number
            of its crops.
        crop_points_downscale: the grid in crops of layer i has so many times fewer points a side,
            to the power of i.
        crop_overlap: what crops of the first layer share, of the image's shorter side; half of that
            in each further layer.
        iou_thresh: masks need a predicted IoU of at least this; 0 takes all, also the few that a
            network predicts to be below 0.
        stability_thresh: ... and a stability of at least this: the IoU between the mask cut at the
            logits +offset and -offset.
        stability_offset: that offset.
        box_nms_thresh: of two masks of one crop whose boxes have a larger IoU, the one with the
            lower predicted IoU is dropped.
        crop_nms_thresh: of two masks of different crops, that of the larger crop.
        min_area_px: smaller islands are dropped (each mask keeps its largest part) and smaller
            holes filled; then doubles are dropped again, changed masks first.
        max_area_fraction: masks that cover more of the image are dropped.
        adaptive: points go from coarse to fine, and those where enough masks were found before are
            left out: fewer decodes, and fewer masks of small details.
    """

    points_per_side: int = 32
    crop_layers: int = 0
    crop_points_downscale: int = 2
    crop_overlap: float = CROP_OVERLAP
    iou_thresh: float = 0.88
    stability_thresh: float = 0.95
    stability_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_nms_thresh: float = 0.7
    min_area_px: int = 0
    max_area_fraction: float = 1.0
    adaptive: bool = False

    def __post_init__(self) -> None:
        for name, (kind, low, high) in RANGES.items():
            check_number(name, getattr(self, name), kind, low, high)
        if not isinstance(self.adaptive, (bool, np.bool_)):
            raise ConfigError(f"adaptive must be True or False; got {self.adaptive!r}")

    @property
    def least_iou_pred(self) -> float:
        """What a mask's predicted IoU must reach."""
        return self.iou_thresh if self.iou_thresh > 0 else -math.inf

    def points_in_layer(self, layer: int) -> int:
        """Points along one side of each crop of a layer; layer 0 is the whole image."""
        points: int = self.points_per_side // self.crop_points_downscale**layer
        return max(1, points)


def check_number(name: str, value: object, kind: type, low: float, high: float) -> None:
    """Check that a setting is a number of a kind, within a range.

    Raises:
        ConfigError: it is not.
    """
    types = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if isinstance(value, types) and not isinstance(value, bool) and low <= value <= high:
        return
    noun = "a whole number" if kind is int else "a number"
    limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
    raise ConfigError(f"{name} must be {noun} {limits}; got {value!r}")


PRESETS: Mapping[str, AutoMaskConfig] = MappingProxyType(
    {
        # A third of the default's decodes for 91% of its average recall of human segmentations;
        # 16 x 16 points are a quarter for 81% (docs/performance.md).
        "fast": AutoMaskConfig(points_per_side=24, adaptive=True),
        # The fully automatic stage of SA-1B. Source: arXiv:2304.02643, appendix B.
        "paper": AutoMaskConfig(crop_layers=2, min_area_px=100, max_area_fraction=0.95),
        # More points, and masks that the paper thinks too uncertain.
        "thorough": AutoMaskConfig(
            points_per_side=64,
            crop_layers=2,
            iou_thresh=0.8,
            stability_thresh=0.9,
            box_nms_thresh=0.8,
            min_area_px=25,
        ),
    }
)
