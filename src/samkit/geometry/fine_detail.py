"""Masks that follow the image's edges more finely than the cells of their logits.

Upsampled logits know nothing of the pixels between two cells. Near a mask's outline their
probabilities are therefore filtered with the image as guide: within each window the mask becomes a
linear function of the colour, so that its outline comes to lie where the colour changes.

Source: He, Sun, Tang, Guided image filtering, TPAMI 2013, with a colour guide. In large images the
coefficients are computed on fewer pixels, as in He, Sun, Fast guided filter, arXiv:1505.00996.
Deviations: windows whose colours do not explain the probabilities leave them as they are, and so
does the filter away from the outline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, Logits, RgbImage
from samkit.geometry.coords import CoordMap
from samkit.geometry.stability import MASK_THRESHOLD

# Chosen on images of three data sets, and checked on others; see docs/quality.md.
RADIUS = 1.8  # of the filter's windows, in cells of the logits
SMOOTHNESS = 3e-4  # variance of a colour, from 0 to 1, below which it is hardly followed
# Share of the probabilities' variance in a window that its colours explain: none of the linear
# function is taken below the first, and all of it above the second. Otherwise objects of few cells
# and of their ground's colours would be blurred away.
EXPLAINED = (0.3, 0.5)
LEAST_VARIANCE = 1e-4  # variance of probabilities that are all the same: nothing is explained
BAND = 2.0  # distance from the outline up to which pixels may change, in cells
# Coefficients are computed on every second, third, ... pixel as long as cells keep this many.
MIN_CELL_PX = 3
# Small tiles follow an outline closely; the bound in pixels is that of the memory.
TILE = 32  # cells
MAX_TILE_PX = 512
SURE_LOGIT = 30.0  # beyond, a probability in float32 is 0 or 1
BORDER = cv2.BORDER_REFLECT

Values = npt.NDArray[np.float32]
Pair = tuple[int, int]  # along x and y


def fine_mask(logits: Logits, coords: CoordMap, pixels: RgbImage) -> BoolArray:
    """Cut a mask whose outline follows the image's edges.

    Args:
        logits: (H, W) of a mask, upsampled to the image's size.
        coords: the image's coordinate spaces, which say how coarse the logits were.
        pixels: the image.

    Returns:
        the mask (H, W): that of the logits, except for pixels near its outline.
    """
    mask = np.asarray(logits > MASK_THRESHOLD)
    found = mask.copy()
    scale = _Scale.of(coords)
    for rows, tall in scale.tiles(np.asarray(mask.any(axis=1)), axis=1):
        for cols, wide in scale.tiles(np.asarray(mask[tall].any(axis=0)), axis=0):
            inner = _within(rows, tall), _within(cols, wide)
            near = _near_outline(mask[tall, wide], scale.band)[inner]
            if near.any():
                inside = _filtered(logits[tall, wide], pixels[tall, wide], scale)[inner] > 0.5
                found[rows, cols][near] = inside[near]
    return found


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Lengths of the filter for an image, in pixels along x and y.

    Attributes:
        step: from one pixel that coefficients are computed of to the next.
        radius: of the windows, in steps.
        band: distance from the outline up to which pixels may change.
        halo: what a tile needs around it, a multiple of the step.
        tile: side of a tile, likewise.
    """

    step: Pair
    radius: Pair
    band: Pair
    halo: Pair
    tile: Pair

    @classmethod
    def of(cls, coords: CoordMap) -> _Scale:
        """The lengths for an image."""
        axes = []
        for cell in (coords.logits_stride / coords.scale_xy).tolist():
            step = max(1, int(cell // MIN_CELL_PX))
            radius = max(1, round(RADIUS * cell / step))
            band = max(1, round(BAND * cell))
            # Values are averaged twice, and coefficients are interpolated from one step farther.
            halo = _rounded_up(max(band, (2 * radius + 1) * step), step)
            tile = _rounded_up(min(MAX_TILE_PX, int(TILE * cell)), step)
            axes.append((step, radius, band, halo, max(tile, halo)))
        names = ("step", "radius", "band", "halo", "tile")
        return cls(**dict(zip(names, zip(*axes, strict=True), strict=True)))

    def tiles(self, occupied: BoolArray, *, axis: int) -> Iterator[tuple[slice, slice]]:
        """Tiles along an axis that a mask or its halo reaches, each without and with its halo.

        They lie on a grid of the full image, so that the mask does not decide what is averaged.

        Args:
            occupied: (L,) where the mask is along the axis.
            axis: 0 for x, 1 for y.
        """
        places, halo, tile = np.flatnonzero(occupied), self.halo[axis], self.tile[axis]
        if not len(places):
            return
        length = len(occupied)
        first = max(0, int(places[0]) - halo) // tile * tile
        last = min(length, int(places[-1]) + 1 + halo)
        for start in range(first, last, tile):
            stop = min(length, start + tile)
            yield slice(start, stop), slice(max(0, start - halo), min(length, stop + halo))


def _rounded_up(length: int, step: int) -> int:
    return -(-length // step) * step


def _within(part: slice, larger: slice) -> slice:
    """A part of an axis in a larger part of it."""
    return slice(part.start - larger.start, part.stop - larger.start)


def _near_outline(mask: BoolArray, distance: Pair) -> BoolArray:
    """Pixels (h, w) with both inside and outside within a distance."""
    size = (2 * distance[0] + 1, 2 * distance[1] + 1)
    count = cv2.boxFilter(
        np.ascontiguousarray(mask).view(np.uint8),
        cv2.CV_32S,
        size,
        normalize=False,
        borderType=BORDER,
    )
    return np.asarray((count > 0) & (count < size[0] * size[1]))


def _filtered(logits: Logits, pixels: RgbImage, scale: _Scale) -> Values:
    """The probability (h, w) of each pixel, filtered with the image as guide."""
    guide = np.asarray(pixels, np.float32) / np.float32(255)
    inside = np.asarray(1 / (1 + np.exp(-logits.clip(-SURE_LOGIT, SURE_LOGIT))), np.float32)
    if scale.step == (1, 1):
        return guided_line(guide, inside, scale.radius).at(guide, inside)
    height, width = logits.shape
    padded_wh = _rounded_up(width, scale.step[0]), _rounded_up(height, scale.step[1])
    few_wh = padded_wh[0] // scale.step[0], padded_wh[1] // scale.step[1]
    beyond = (0, padded_wh[1] - height, 0, padded_wh[0] - width)

    def shrunk(array: Values) -> Values:
        padded = np.asarray(cv2.copyMakeBorder(array, *beyond, BORDER))
        return np.asarray(cv2.resize(padded, few_wh, interpolation=cv2.INTER_AREA), np.float32)

    def enlarged(array: Values) -> Values:
        large = cv2.resize(array, padded_wh, interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[:height, :width], np.float32)

    line = guided_line(shrunk(guide), shrunk(inside), scale.radius)
    line = GuidedLine(
        slopes=enlarged(line.slopes), offset=enlarged(line.offset), share=enlarged(line.share)
    )
    return line.at(guide, inside)


@dataclass(frozen=True, kw_only=True, eq=False)
class GuidedLine:
    """Values as a linear function of the colour at each pixel, and of themselves.

    Attributes:
        slopes: (h, w, 3) by colour.
        offset: (h, w).
        share: (h, w) of the values themselves, from 0 to 1, where the colour does not explain them.
    """

    slopes: Values
    offset: Values
    share: Values

    def at(self, guide: Values, values: Values) -> Values:
        """The function (h, w) of colours (h, w, 3) and values (h, w)."""
        return _dot(self.slopes, guide) + self.offset + self.share * values


def guided_line(guide: Values, values: Values, radius_xy: Pair) -> GuidedLine:
    """Fit values by the colours in windows around each pixel.

    Args:
        guide: (h, w, 3) colours from 0 to 1.
        values: (h, w) from 0 to 1.
        radius_xy: windows have 2 r + 1 pixels along each axis.

    Returns:
        the mean of the functions of all windows that contain a pixel.
    """
    size = (2 * radius_xy[0] + 1, 2 * radius_xy[1] + 1)

    def mean(array: Values) -> Values:
        return np.asarray(cv2.blur(array, size, borderType=BORDER), np.float32)

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    following = [1, 2, 0]  # green, blue, red
    variance = mean(guide * guide) - mean_guide * mean_guide + np.float32(SMOOTHNESS)
    # Of red and green, green and blue, blue and red.
    mixed = mean(guide * guide[..., following]) - mean_guide * mean_guide[..., following]
    slopes = _solve(variance, mixed, covariance)
    offset = mean_values - _dot(slopes, mean_guide)
    total = mean(values * values) - mean_values * mean_values + np.float32(LEAST_VARIANCE)
    explained = _dot(slopes, covariance) / total
    none, full = EXPLAINED
    weight = np.asarray(((explained - none) / (full - none)).clip(0, 1), np.float32)
    return GuidedLine(
        slopes=mean(slopes * weight[..., None]),
        offset=mean(offset * weight),
        share=mean(1 - weight),
    )


def _dot(one: Values, other: Values) -> Values:
    """The products (h, w) of colours (h, w, 3)."""
    return np.asarray(np.einsum("hwc,hwc->hw", one, other), np.float32)


def _solve(diagonal: Values, mixed: Values, right: Values) -> Values:
    """Solve symmetric positive definite equations of three unknowns at each pixel.

    By elimination, which stays exact enough where the three colours are all but equal; the adjugate
    matrix does not.

    Args:
        diagonal: (h, w, 3).
        mixed: (h, w, 3), elements 01, 12 and 20.
        right: (h, w, 3), the right sides.
    """
    d0, d1, d2 = np.moveaxis(diagonal, -1, 0)
    m01, m12, m20 = np.moveaxis(mixed, -1, 0)
    r0, r1, r2 = np.moveaxis(right, -1, 0)
    f01, f02 = m01 / d0, m20 / d0
    d1, m12, r1 = d1 - f01 * m01, m12 - f01 * m20, r1 - f01 * r0
    f12 = m12 / d1
    d2, r2 = d2 - f02 * m20 - f12 * m12, r2 - f02 * r0 - f12 * r1
    x2 = r2 / d2
    x1 = r1 / d1 - f12 * x2
    x0 = r0 / d0 - f01 * x1 - f02 * x2
    return np.stack([x0, x1, x2], axis=-1)
