"""What the mask generators of `segment_anything` and `sam2` have in common."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.compat.segment_anything.errors import SettingError
from samkit.errors import ConfigError
from samkit.geometry import Rle, decode_rle, rle_counts, xyxy_to_xywh
from samkit.predict import Predictor
from samkit.proposals import AutoMaskConfig
from samkit.types import Masks

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
# Embeddings never leave a call of `generate`, so nothing needs to tell them apart.
CHECKSUM = "of the model that is running"


class NetworkPredictor(Predictor):
    """The predictor without the checksum of its weights, which takes seconds for large models."""

    @cached_property
    def encoder_checksum(self) -> str:
        return CHECKSUM


def check_output(output_mode: str, points_per_side: int | None, point_grids: Any) -> None:
    """Check the form of masks, and that there is one kind of grid.

    Raises:
        SettingError: one is not as it should be.
    """
    if output_mode not in OUTPUT_MODES:
        raise SettingError(
            f"output_mode must be one of {', '.join(OUTPUT_MODES)}; got {output_mode!r}"
        )
    if (points_per_side is None) == (point_grids is None):
        raise SettingError("give either points_per_side or point_grids, and None for the other")


def read_settings(**settings: Any) -> AutoMaskConfig:
    """Settings of an AutoMasker.

    Raises:
        SettingError: one is out of range.
    """
    try:
        return AutoMaskConfig(**settings)
    except ConfigError as error:
        raise SettingError(str(error)) from error


def mask_records(masks: Masks, output_mode: str) -> list[dict[str, Any]]:
    """An AutoMasker's masks as the original's records, with masks in one of `OUTPUT_MODES`."""
    # An AutoMasker's masks always have these.
    assert masks.stability is not None
    assert masks.points_xy is not None
    assert masks.crops_xyxy is not None
    boxes_xywh = xyxy_to_xywh(masks.boxes_xyxy)
    crops_xywh = xyxy_to_xywh(masks.crops_xyxy)
    return [
        {
            "segmentation": segmentation(rle, output_mode),
            "area": int(masks.areas[index]),
            "bbox": boxes_xywh[index].tolist(),
            "predicted_iou": float(masks.scores[index]),
            "point_coords": [masks.points_xy[index].tolist()],
            "stability_score": float(masks.stability[index]),
            "crop_box": crops_xywh[index].tolist(),
        }
        for index, rle in enumerate(masks.rles)
    ]


def segmentation(rle: Rle, output_mode: str) -> npt.NDArray[np.bool_] | dict[str, Any]:
    """A mask in one of `OUTPUT_MODES`."""
    if output_mode == "coco_rle":
        return dict(rle)
    mask = decode_rle(rle)
    if output_mode == "uncompressed_rle":
        return {"size": list(rle["size"]), "counts": rle_counts(mask)}
    return np.ascontiguousarray(mask)
