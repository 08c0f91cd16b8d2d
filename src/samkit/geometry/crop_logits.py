"""Mask logits of an image, and of a crop of it that is embedded on its own.

Both are squares of the same size; those of the crop are finer. They are resampled from one space
to the other directly, so that the cost does not depend on the image's size.
"""

from __future__ import annotations

import cv2
import numpy as np

from samkit.arrays import FloatArray, IntArray, Logits
from samkit.geometry.coords import CoordMap
from samkit.geometry.resize import SURE

# A crop of an image: x0, y0, x1, y1 in its pixels, with exclusive far edges.
CropBox = tuple[int, int, int, int]


def crop_of_logits(
    logits: Logits, coords: CoordMap, box_xyxy: CropBox, crop_coords: CoordMap
) -> Logits:
    """Resample the logits of an image to the logits space of a crop.

    Args:
        logits: (S, S) of the whole image.
        coords: the image's coordinate spaces.
        box_xyxy: the crop.
        crop_coords: the crop's coordinate spaces.

    Returns:
        logits (S, S); the padding is outside.
    """
    side = crop_coords.logits_size
    scale, offset = _axes(coords, box_xyxy, crop_coords)
    matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    resampled = cv2.warpAffine(
        logits,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    found = np.asarray(resampled, np.float32)
    height, width = -(-np.array(crop_coords.resized_hw) // crop_coords.logits_stride)
    found[height:] = found[:, width:] = -SURE
    return found


def put_crop_logits(
    logits: Logits, coords: CoordMap, crop_logits: Logits, box_xyxy: CropBox, crop_coords: CoordMap
) -> Logits:
    """Return the logits of an image with those of a crop in their place, as coarse as the others.

    Args:
        logits: (S, S) of the whole image.
        coords: the image's coordinate spaces.
        crop_logits: (S, S) of the crop.
        box_xyxy: the crop.
        crop_coords: the crop's coordinate spaces.
    """
    scale, offset = _axes(coords, box_xyxy, crop_coords)
    # Averaged first over the cells of the crop that one cell of the image covers.
    cells = np.maximum(1, np.round(1 / scale)).astype(int).tolist()
    smooth = cv2.blur(crop_logits, cells, borderType=cv2.BORDER_REPLICATE)
    columns, rows = (_cells_inside(axis, coords, box_xyxy) for axis in (0, 1))
    if not len(columns) or not len(rows):
        return logits
    found = logits.copy()
    x, y = np.meshgrid((columns - offset[0]) / scale[0], (rows - offset[1]) / scale[1])
    found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = cv2.remap(
        smooth,
        x.astype(np.float32),
        y.astype(np.float32),
        interpolation=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return found


def _axes(
    coords: CoordMap, box_xyxy: CropBox, crop_coords: CoordMap
) -> tuple[FloatArray, FloatArray]:
    """Scale and offset (2,) in x and y from cells of the crop's logits to those of the image's."""
    per_pixel = coords.scale_xy / coords.logits_stride
    per_cell = crop_coords.logits_stride / crop_coords.scale_xy
    scale = per_cell * per_pixel
    corner = np.array(box_xyxy[:2], np.float64)
    return scale, (corner + per_cell / 2) * per_pixel - 0.5


def _cells_inside(axis: int, coords: CoordMap, box_xyxy: CropBox) -> IntArray:
    """Cells of the image's logits along an axis whose centres lie in the crop."""
    per_pixel = coords.scale_xy[axis] / coords.logits_stride
    centres = (np.arange(coords.logits_size) + 0.5) / per_pixel
    return np.flatnonzero((centres >= box_xyxy[axis]) & (centres < box_xyxy[axis + 2]))
