"""Bounding boxes of masks: (x0, y0, x1, y1) in pixels, far edges exclusive."""

import numpy as np
import numpy.typing as npt


def boxes_from_masks(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Tight boxes (M, 4) around masks (M, H, W); zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), np.int64)
    for box, mask in zip(boxes, masks, strict=True):
        cols = np.flatnonzero(mask.any(axis=0))
        rows = np.flatnonzero(mask.any(axis=1))
        if len(cols):
            box[:] = cols[0], rows[0], cols[-1] + 1, rows[-1] + 1
    return boxes


def xyxy_to_xywh(boxes_xyxy: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Convert corners (..., 4) to corner and size, COCO's box layout."""
    corner, far = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return np.concatenate([corner, far - corner], axis=-1)


def xywh_to_xyxy(boxes_xywh: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Convert corner and size (..., 4), COCO's box layout, to corners."""
    corner, size = boxes_xywh[..., :2], boxes_xywh[..., 2:]
    return np.concatenate([corner, corner + size], axis=-1)
