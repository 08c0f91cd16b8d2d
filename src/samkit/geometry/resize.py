"""Upsampling of mask logits to the size of the image, and masks of this size as logits."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, Logits
from samkit.geometry.coords import CoordMap

# Logits that an image pixel is interpolated from along an axis: it lies between two neighbouring
# model-space pixels, four times as fine as the logits, each between two neighbouring logits.
TAPS = 3
# An image pixel above 0 has one of its logits above 0; the others are at most this far away.
PATCH_MARGIN = TAPS - 1
# Fraction of the logits above which it is faster to let OpenCV resize all of them.
LARGE_PATCH = 0.25
# Logits of a given mask. Of 6, 8, 10, 12 and 15 the value with which MobileSAM gives back most of
# 30 masks of three images: mean IoU 0.50, 0.56, 0.65, 0.76, 0.75.
SURE = 12.0

Box = tuple[int, int, int, int]


def logits_to_original(logits: Logits, coords: CoordMap) -> Logits:
    """Upsample mask logits to the image's size, as in SAM's evaluation.

    Bilinear to the model space, crop the padding, bilinear to the original size.

    Args:
        logits: (S / 4, S / 4), one mask, for a model size of S.
        coords: the image's coordinate spaces.

    Returns:
        logits (H, W).
    """
    side = coords.model_size
    resized_h, resized_w = coords.resized_hw
    height, width = coords.original_hw
    model = cv2.resize(logits, (side, side), interpolation=cv2.INTER_LINEAR)
    image = np.ascontiguousarray(model[:resized_h, :resized_w])
    original = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(original, np.float32)


def patch_to_original(
    patch: Logits, corner_xy: tuple[int, int], coords: CoordMap
) -> tuple[Logits, tuple[int, int]]:
    """`logits_to_original` for a patch of the logits.

    Both steps are linear and separable into rows and columns, so each axis is one banded matrix
    whose few bands are applied one by one. (Dense matrices would be as fast on an idle machine, but
    on a busy one the threads of NumPy's BLAS wait for each other: 100 times slower.)

    Args:
        patch: (h, w) logits.
        corner_xy: position of the patch in the logits space.
        coords: the image's coordinate spaces.

    Returns:
        logits of the image pixels that depend on the patch alone; position (x, y) in the image of
        the first of them.
    """
    (x, y), (height, width) = corner_xy, patch.shape
    rows, cols = _image_taps(coords)
    y_range = rows.inside(y, y + height)
    x_range = cols.inside(x, x + width)
    corner_image = (x_range.start, y_range.start)
    if patch.size > LARGE_PATCH * coords.logits_size**2:
        logits = np.zeros((coords.logits_size, coords.logits_size), np.float32)
        logits[y : y + height, x : x + width] = patch
        image = logits_to_original(logits, coords)
        return image[y_range.start : y_range.stop, x_range.start : x_range.stop], corner_image
    tall = rows.mix(patch, y, y_range)
    transposed = cols.mix(np.ascontiguousarray(tall.T), x, x_range)
    return transposed.T, corner_image


def used_logits(coords: CoordMap) -> tuple[int, int]:
    """Number of logit rows and columns that the image's pixels depend on; the rest is padding.

    The last of them may be the first of the padding.
    """
    rows, cols = _image_taps(coords)
    return int(rows.stop[-1]), int(cols.stop[-1])


def box_bounds(patch: Logits, corner_xy: tuple[int, int], coords: CoordMap) -> tuple[Box, Box]:
    """Bounds of a mask's box in the image, known before its logits are upsampled.

    Args:
        patch: (h, w) logits, including all that are above 0.
        corner_xy: position of the patch in the logits space.
        coords: the image's coordinate spaces.

    Returns:
        a box in the image inside the mask's tight box, and one around it.
    """
    x, y = corner_xy
    rows, cols = _image_taps(coords)
    inside = np.asarray(patch > 0).view(np.uint8)
    left, top, width, height = cv2.boundingRect(inside)
    if width == 0:
        return (0, 0, 0, 0), (0, 0, 0, 0)
    outer_x = cols.touching(x + left, x + left + width)
    outer_y = rows.touching(y + top, y + top + height)
    outer = (outer_x.start, outer_y.start, outer_x.stop, outer_y.stop)
    nothing = (outer[0], outer[1], outer[0], outer[1])
    if not (rows.is_dense and cols.is_dense):
        return nothing, outer
    # The 3 x 3 logits around each of these are above 0, and some pixel depends on them alone.
    core = cv2.erode(inside, np.ones((TAPS, TAPS), np.uint8))
    core = core[: max(0, rows.first[-1] + 2 - y), : max(0, cols.first[-1] + 2 - x)]
    left, top, width, height = cv2.boundingRect(core) if core.size else (0, 0, 0, 0)
    if width == 0:
        return nothing, outer
    inner_x = cols.inside(x + left - 1, x + left + width + 1)
    inner_y = rows.inside(y + top - 1, y + top + height + 1)
    return (inner_x.start, inner_y.start, inner_x.stop, inner_y.stop), outer


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisTaps:
    """Interpolation weights from logits to image pixels along one axis.

    Attributes:
        first: (N,) index of the first logit that each pixel depends on.
        weights: (N, TAPS) weights of that logit and the next ones.
        start, stop: (N,) range of logits with nonzero weight; neither ever decreases.
        is_dense: whether there are at least as many pixels as logits, so that for any three
            neighbouring logits some pixel depends on those alone.
    """

    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    is_dense: bool

    def touching(self, start: int, stop: int) -> range:
        """Pixels that depend on any of the logits start..stop."""
        low = int(np.searchsorted(self.stop, start, side="right"))
        high = int(np.searchsorted(self.start, stop, side="left"))
        return range(low, max(low, high))

    def inside(self, start: int, stop: int) -> range:
        """Pixels that depend on the logits start..stop alone."""
        low = int(np.searchsorted(self.start, start, side="left"))
        high = int(np.searchsorted(self.stop, stop, side="right"))
        return range(low, max(low, high))

    def mix(self, logits: Logits, offset: int, pixels: range) -> Logits:
        """Resize the first axis of logits (n, m), whose row 0 is logit row `offset`."""
        chosen = slice(pixels.start, pixels.stop)
        first, weights = self.first[chosen] - offset, self.weights[chosen, :, None]
        mixed = logits.take(first, axis=0, mode="clip")  # clipped: taps whose weight is zero
        mixed *= weights[:, 0]
        for tap in range(1, TAPS):
            part = logits.take(first + tap, axis=0, mode="clip")
            part *= weights[:, tap]
            mixed += part
        return mixed


def _image_taps(coords: CoordMap) -> tuple[AxisTaps, AxisTaps]:
    """Interpolation weights of rows and of columns."""
    (height, width), (resized_h, resized_w) = coords.original_hw, coords.resized_hw
    return (
        _axis_taps(coords.logits_size, coords.model_size, resized_h, height),
        _axis_taps(coords.logits_size, coords.model_size, resized_w, width),
    )


@lru_cache(maxsize=8)
def _axis_taps(logits_size: int, model_size: int, resized: int, original: int) -> AxisTaps:
    """Weights along one axis: logits to model space, crop the padding, to the image's size."""
    to_model, to_model_next, model_fraction = _bilinear(logits_size, model_size)
    to_image, to_image_next, image_fraction = _bilinear(resized, original)
    first = to_model[to_image]
    weights = np.zeros((original, TAPS))
    pixel = np.arange(original)
    for model_px, weight in ((to_image, 1 - image_fraction), (to_image_next, image_fraction)):
        fraction = model_fraction[model_px]
        weights[pixel, to_model[model_px] - first] += weight * (1 - fraction)
        weights[pixel, to_model_next[model_px] - first] += weight * fraction
    used = weights != 0
    return AxisTaps(
        first=first,
        weights=weights.astype(np.float32),
        start=first + used.argmax(axis=1),
        stop=first + TAPS - used[:, ::-1].argmax(axis=1),
        is_dense=resized * logits_size <= original * model_size,
    )


def _bilinear(
    size_in: int, size_out: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each output position, the two inputs it lies between and the weight of the second."""
    place = np.asarray((np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5, np.float64)
    place = place.clip(0, size_in - 1)
    low = np.asarray(place, np.int64)
    return low, np.minimum(low + 1, size_in - 1), place - low


def mask_to_logits(mask: BoolArray, coords: CoordMap) -> Logits:
    """Logits of a mask, such as the network would have answered.

    Cells that a mask covers in part get less; a mask that covers half of no cell keeps its best
    ones.

    Args:
        mask: (H, W) of the image's size, or already of the logits' size (S, S).
        coords: the image's coordinate spaces.

    Returns:
        logits (S, S) from -12 to 12; the padding is outside.
    """
    side = coords.logits_size
    covered: npt.NDArray[Any] = mask.astype(np.float32)
    if mask.shape != (side, side):
        height, width = coords.resized_hw
        model = np.zeros((coords.model_size, coords.model_size), np.float32)
        model[:height, :width] = cv2.resize(covered, (width, height), interpolation=cv2.INTER_AREA)
        covered = cv2.resize(model, (side, side), interpolation=cv2.INTER_AREA)
    most = float(covered.max())
    if 0 < most <= 0.5:
        covered = covered / most
    return np.asarray((2 * covered - 1) * SURE, np.float32)
