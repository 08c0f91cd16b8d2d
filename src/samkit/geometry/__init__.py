"""Pure array functions for coordinate spaces, boxes, outlines and run-length encoding."""

from samkit.geometry.boxes import boxes_from_masks, xywh_to_xyxy, xyxy_to_xywh
from samkit.geometry.coords import CoordMap
from samkit.geometry.crop_logits import CropBox, crop_of_logits, put_crop_logits
from samkit.geometry.farthest import FarthestPoint, farthest_point
from samkit.geometry.fine_detail import fine_mask
from samkit.geometry.outline import joined_outline
from samkit.geometry.overlap import box_iou, least_iou, nms
from samkit.geometry.polygons import Ring, mask_polygons
from samkit.geometry.regions import drop_small_islands, fill_small_holes
from samkit.geometry.resize import (
    box_bounds,
    logits_to_original,
    mask_to_logits,
    patch_to_original,
)
from samkit.geometry.rle import (
    Rle,
    crop_rle,
    decode_rle,
    decode_rle_patch,
    encode_patch_rle,
    encode_rle,
    place_rle,
    rle_area,
    rle_box_xyxy,
    rle_counts,
    subtract_rle,
)
from samkit.geometry.stability import (
    MASK_THRESHOLD,
    STABILITY_OFFSET,
    cut_patch,
    estimate_stability,
    stability_score,
)
from samkit.geometry.upsampled_rle import logits_to_rle

__all__ = [
    "MASK_THRESHOLD",
    "STABILITY_OFFSET",
    "CoordMap",
    "CropBox",
    "FarthestPoint",
    "Ring",
    "Rle",
    "box_bounds",
    "box_iou",
    "boxes_from_masks",
    "crop_of_logits",
    "crop_rle",
    "cut_patch",
    "decode_rle",
    "decode_rle_patch",
    "drop_small_islands",
    "encode_patch_rle",
    "encode_rle",
    "estimate_stability",
    "farthest_point",
    "fill_small_holes",
    "fine_mask",
    "joined_outline",
    "least_iou",
    "logits_to_original",
    "logits_to_rle",
    "mask_polygons",
    "mask_to_logits",
    "nms",
    "patch_to_original",
    "place_rle",
    "put_crop_logits",
    "rle_area",
    "rle_box_xyxy",
    "rle_counts",
    "stability_score",
    "subtract_rle",
    "xywh_to_xyxy",
    "xyxy_to_xywh",
]
