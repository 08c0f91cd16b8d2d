"""Masks in the target space: the model space at a side of its own, reduced by area."""

import numpy as np
import numpy.typing as npt

from samkit.geometry import Rle
from samkit.geometry.rle import decode_rle_patch, rle_box_xyxy
from samkit.training.data.augment import Placement

FloatArray = npt.NDArray[np.float64]
BoolMask = npt.NDArray[np.bool_]

COVERED = 0.5  # of a cell of the frame, from which on it is in the mask
# Sums of fractions of pixels may fall short of one half by this.
ROUNDING = 1e-9
# Where a mask covers one half of no cell: of the part that it covers of the cell it covers most.
THIN_COVERED = 0.5


def place_mask(
    rle: Rle,
    placement: Placement,
    truth_size: int,
    *,
    min_area_px: int = 0,
    max_area_fraction: float = 1.0,
) -> BoolMask | None:
    """An image's mask as it lies in the model space: the cells of which it covers at least half.

    A mask that covers half of no cell, such as a wire, keeps those that it covers best: at least
    half as much as the one that it covers most. So no visible mask becomes nothing.

    Args:
        rle: of the image.
        placement: of the image.
        truth_size: side T of the frame in cells.
        min_area_px: of a cropped image, the least that must be visible, in pixels of the image.
        max_area_fraction: ... and the most of what is visible that the mask may cover.

    Returns:
        mask (T, T), not empty; None where nothing of it is visible, or too little or too much.
    """
    coverage, (x, y) = cell_coverage(rle, placement, truth_size)
    scale_y, scale_x = placement.scale_hw
    cell = placement.model_size / truth_size
    visible_px = float(coverage.sum()) * cell * cell / (scale_y * scale_x)
    if visible_px <= ROUNDING:
        return None
    if placement.is_cropped:
        most_px = max_area_fraction * placement.visible_area_px
        if not min_area_px * (1 - ROUNDING) <= visible_px <= most_px * (1 + ROUNDING):
            return None
    most = float(coverage.max())
    least = COVERED if most >= COVERED * (1 - ROUNDING) else THIN_COVERED * most
    height, width = coverage.shape
    mask = np.zeros((truth_size, truth_size), bool)
    mask[y : y + height, x : x + width] = coverage >= least * (1 - ROUNDING)
    return mask


def cell_coverage(
    rle: Rle, placement: Placement, truth_size: int
) -> tuple[FloatArray, tuple[int, int]]:
    """How much of each cell a mask covers, from 0 to 1, in the part of the frame where it lies.

    Returns:
        coverage (h, w), which may have no cells; x and y of its first cell.
    """
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    patch = decode_rle_patch(rle, (x0, y0, x1, y1))
    if placement.flipped:
        width = placement.original_hw[1]
        patch, x0, x1 = patch[:, ::-1], width - x1, width - x0
    cell = placement.model_size / truth_size
    (corner_x, corner_y), (scale_y, scale_x) = placement.corner_xy, placement.scale_hw
    y, edges_y = _cell_edges(y0, y1, scale_y / cell, corner_y / cell, truth_size)
    x, edges_x = _cell_edges(x0, x1, scale_x / cell, corner_x / cell, truth_size)
    rows = _sums_between(patch, edges_y)
    cells = _sums_between(rows.T, edges_x).T
    return cells * (scale_y * scale_x / cell**2), (x, y)


def _cell_edges(
    start: int, stop: int, cells_per_px: float, corner: float, count: int
) -> tuple[int, FloatArray]:
    """Which cells of an axis the pixels start..stop lie in.

    Args:
        start: first pixel of the image.
        stop: the one after the last.
        cells_per_px: scale.
        corner: cells of the image that are before the frame.
        count: of the cells in the frame.

    Returns:
        number of the first; edges (n + 1,) of those n cells, in pixels after `start`.
    """
    first = min(max(int(np.floor(start * cells_per_px - corner)), 0), count)
    last = min(max(int(np.ceil(stop * cells_per_px - corner)), first), count)
    edges = (np.arange(first, last + 1) + corner) / cells_per_px - start
    return first, np.asarray(edges, np.float64)


def _sums_between(values: npt.NDArray[np.bool_] | FloatArray, edges: FloatArray) -> FloatArray:
    """Sums of the rows (N, M) between edges, of which those that an edge cuts count by part."""
    count = len(values)
    if count == 0:
        return np.zeros((len(edges) - 1, values.shape[1]))
    places = edges.clip(0, count)
    whole = np.minimum(places.astype(np.int64), count - 1)
    kind = np.int32 if values.dtype == np.bool_ else np.float64
    sums = np.cumsum(values, axis=0, dtype=kind)
    # Up to each edge: all rows but that which it cuts, and a part of that one.
    rest = (whole + 1 - places)[:, None]
    until = sums[whole] - rest * values[whole]
    return np.diff(until, axis=0)
