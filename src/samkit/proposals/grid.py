"""Point grids, overlapping crops and tiles."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError
from samkit.proposals.config import AutoMaskConfig

Box = tuple[int, int, int, int]

# Coarse to fine: first every fourth point in x and y, then every second, then all.
PASS_STRIDES = (4, 2, 1)


def grid_points(points_per_side: int) -> npt.NDArray[np.float64]:
    """Centres (n * n, 2) of n x n equal cells in xy, row by row, as fractions of the sides."""
    fractions = (np.arange(points_per_side) + 0.5) / points_per_side
    y, x = np.meshgrid(fractions, fractions, indexing="ij")
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def check_grids(
    grids: Sequence[npt.ArrayLike], config: AutoMaskConfig
) -> list[npt.NDArray[np.float64]]:
    """Validate point grids: points (P, 2) for each crop layer, as fractions of a crop's sides.

    Raises:
        ConfigError: the grids are invalid.
    """
    if config.adaptive:
        raise ConfigError("adaptive takes the regular grid; got point_grids")
    layers = config.crop_layers + 1
    if len(grids) != layers:
        raise ConfigError(f"point_grids must be one for each of {layers} layers; got {len(grids)}")
    points = [np.asarray(grid, np.float64) for grid in grids]
    for grid in points:
        if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
            raise ConfigError(f"each of point_grids must be (P, 2); got {grid.shape}")
        if not ((grid >= 0) & (grid < 1)).all():
            raise ConfigError("point_grids must be fractions, at least 0 and less than 1")
    return points


def coarse_to_fine(points_per_side: int) -> npt.NDArray[np.int64]:
    """Order of a grid's points such that each pass is spread over the full grid."""
    y, x = np.divmod(np.arange(points_per_side**2), points_per_side)
    turn = np.full(points_per_side**2, len(PASS_STRIDES))
    for number, stride in reversed(list(enumerate(PASS_STRIDES))):
        middle = stride // 2
        turn[(x % stride == middle) & (y % stride == middle)] = number
    return np.argsort(turn, kind="stable")


def crop_boxes(size_hw: tuple[int, int], layer: int, overlap: float) -> list[Box]:
    """The 2^layer x 2^layer crops of an image, row by row; layer 0 is the full image.

    Args:
        size_hw: size of the image.
        layer: each layer halves the crops and their overlap.
        overlap: overlap of first-layer crops as a fraction of the image's shorter side.
    """
    count = 2**layer
    shared = int(overlap * min(size_hw) * 2 / count)
    y_ranges, x_ranges = (_crop_ranges(side, count, shared) for side in size_hw)
    return [(x0, y0, x1, y1) for y0, y1 in y_ranges for x0, x1 in x_ranges]


def _crop_ranges(side: int, count: int, shared: int) -> list[tuple[int, int]]:
    """Equal ranges that overlap by `shared`; the last may be shorter."""
    length = math.ceil((side + shared * (count - 1)) / count)
    starts = [min(number * (length - shared), side - 1) for number in range(count)]
    return [(start, min(start + length, side)) for start in starts]


def tile_boxes(size_hw: tuple[int, int], tile_px: int, overlap_px: int) -> list[Box]:
    """Fewest square tiles that cover an image and overlap by at least `overlap_px`, row by row."""
    y_ranges, x_ranges = (_tile_ranges(side, tile_px, overlap_px) for side in size_hw)
    return [(x0, y0, x1, y1) for y0, y1 in y_ranges for x0, x1 in x_ranges]


def _tile_ranges(side: int, length: int, shared: int) -> list[tuple[int, int]]:
    """Equal ranges, evenly spaced from end to end."""
    length = min(length, side)
    count = 1 + math.ceil((side - length) / (length - shared)) if side > length else 1
    starts = np.linspace(0, side - length, count).round().astype(int).tolist()
    return [(start, start + length) for start in starts]
