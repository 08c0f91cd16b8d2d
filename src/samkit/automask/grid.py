"""Where to look: regular points, overlapping crops and tiles."""

import math

import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]

# Coarse to fine: first every fourth point in x and y, then every second, then all.
PASS_STRIDES = (4, 2, 1)


def grid_points(points_per_side: int, size_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The centres of n x n equal cells, (n * n, 2) in xy, row by row."""
    height, width = size_hw
    fractions = (np.arange(points_per_side) + 0.5) / points_per_side
    y, x = np.meshgrid(fractions * height, fractions * width, indexing="ij")
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def coarse_to_fine(points_per_side: int) -> npt.NDArray[np.int64]:
    """The order in which a grid's points are taken so that each pass spreads over all of it."""
    y, x = np.divmod(np.arange(points_per_side**2), points_per_side)
    turn = np.full(points_per_side**2, len(PASS_STRIDES))
    for number, stride in reversed(list(enumerate(PASS_STRIDES))):
        middle = stride // 2
        turn[(x % stride == middle) & (y % stride == middle)] = number
    return np.argsort(turn, kind="stable")


def crop_boxes(size_hw: tuple[int, int], layer: int, overlap: float) -> list[Box]:
    """The 2^layer x 2^layer equal crops of a photo; layer 0 is the photo itself.

    Args:
        size_hw: of the photo.
        layer: each layer halves the crops and what they share.
        overlap: what neighbouring crops of layer 1 share, of the photo's shorter side.
    """
    count = 2**layer
    shared = int(overlap * min(size_hw) * 2 / count)
    crop_hw = [math.ceil((shared * (count - 1) + side) / count) for side in size_hw]
    return window_boxes(size_hw, (crop_hw[0], crop_hw[1]), (count, count))


def tile_boxes(size_hw: tuple[int, int], tile_px: int, overlap_px: int) -> list[list[Box]]:
    """Rows of the fewest square tiles that cover a photo and share at least `overlap_px`."""
    tile_hw = (min(tile_px, size_hw[0]), min(tile_px, size_hw[1]))
    step = tile_px - overlap_px
    rows, cols = (
        1 + math.ceil((side - tile) / step) for side, tile in zip(size_hw, tile_hw, strict=True)
    )
    boxes = window_boxes(size_hw, tile_hw, (rows, cols))
    return [boxes[row * cols : (row + 1) * cols] for row in range(rows)]


def window_boxes(
    size_hw: tuple[int, int], window_hw: tuple[int, int], counts: tuple[int, int]
) -> list[Box]:
    """Windows of one size, evenly spread over a photo from edge to edge, row by row."""
    (window_h, window_w), (rows, cols) = window_hw, counts
    tops = np.linspace(0, size_hw[0] - window_h, rows).round().astype(int).tolist()
    lefts = np.linspace(0, size_hw[1] - window_w, cols).round().astype(int).tolist()
    return [(left, top, left + window_w, top + window_h) for top in tops for left in lefts]
