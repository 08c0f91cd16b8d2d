"""Placement of images and masks in the model space, plain or augmented.

Masks are placed in the target space: the model space at another resolution, reduced by area.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from samkit.arrays import BoolArray, FloatArray
from samkit.geometry import CoordMap, Rle, decode_rle_patch, rle_box_xyxy
from samkit.image_spec import Fit, ImageSpec
from samkit.predict import normalise, resize_image

COVERED = 0.5  # fraction of a cell that a mask must cover to contain it
# Sums of fractions of pixels may fall short of one half by this.
ROUNDING = 1e-9
# For a mask that covers half of no cell: fraction of the coverage of its best covered cell.
THIN_COVERED = 0.5


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Transform of an image to the model space: flip, resize, then crop or pad.

    Attributes:
        original_hw: height and width of the image.
        resized_hw: height and width of the resized image before cropping, in model pixels.
        corner_xy: pixel of the resized image at the top left corner of the model space; (0, 0)
            unless the resized image is larger than the model space.
        flipped: whether the image is mirrored left to right.
        model_size: side of the model space.
        fit: of an image that is not cropped; see `ImageSpec`.
    """

    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    corner_xy: tuple[int, int]
    flipped: bool
    model_size: int
    fit: Fit = "pad"

    @property
    def visible_hw(self) -> tuple[int, int]:
        """Size of the visible part, which begins in the top left corner of the model space."""
        (height, width), (x, y) = self.resized_hw, self.corner_xy
        return min(height - y, self.model_size), min(width - x, self.model_size)

    @property
    def is_cropped(self) -> bool:
        """Whether a part of the image is cut off."""
        return self.visible_hw != self.resized_hw

    @property
    def scale_hw(self) -> tuple[float, float]:
        """Pixels of the model space per pixel of the image, in y and x."""
        (height, width), (resized_h, resized_w) = self.original_hw, self.resized_hw
        return resized_h / height, resized_w / width

    @property
    def visible_area_px(self) -> float:
        """Visible area, in pixels of the original image."""
        (height, width), (scale_y, scale_x) = self.visible_hw, self.scale_hw
        return (height / scale_y) * (width / scale_x)


def place_points(xy: npt.NDArray[np.float32], placement: Placement) -> npt.NDArray[np.float32]:
    """Place pixel indices (M, 2) of the image in the model space; NaN where they are cut off."""
    scale_y, scale_x = placement.scale_hw
    x, y = (xy[:, 0] + 0.5) * scale_x, (xy[:, 1] + 0.5) * scale_y
    if placement.flipped:
        x = placement.resized_hw[1] - x
    x, y = x - placement.corner_xy[0], y - placement.corner_xy[1]
    height, width = placement.visible_hw
    is_visible = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    placed = np.stack([x, y], axis=1) - 0.5
    return np.where(is_visible[:, None], placed, np.nan).astype(np.float32)


def place_box(
    box_xyxy: tuple[float, float, float, float], placement: Placement
) -> tuple[float, float, float, float] | None:
    """Place a box of the image in the model space: its visible part; None without any."""
    (scale_y, scale_x), (left, top) = placement.scale_hw, placement.corner_xy
    x0, x1 = (x * scale_x for x in box_xyxy[::2])
    if placement.flipped:
        x0, x1 = placement.resized_hw[1] - x1, placement.resized_hw[1] - x0
    y0, y1 = (y * scale_y for y in box_xyxy[1::2])
    height, width = placement.visible_hw
    x0, x1 = max(x0 - left, 0), min(x1 - left, width)
    y0, y1 = max(y0 - top, 0), min(y1 - top, height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def plain_placement(original_hw: tuple[int, int], model_size: int, fit: Fit = "pad") -> Placement:
    """Placement as in prediction: the longest side, or both, fill the model space."""
    coords = CoordMap(original_hw=original_hw, model_size=model_size, fit=fit)
    return Placement(
        original_hw=original_hw,
        resized_hw=coords.resized_hw,
        corner_xy=(0, 0),
        flipped=False,
        model_size=model_size,
        fit=fit,
    )


def draw_placement(
    original_hw: tuple[int, int],
    model_size: int,
    rng: np.random.Generator,
    *,
    scale_jitter: tuple[float, float] | None,
    flip: bool,
    fit: Fit = "pad",
) -> Placement:
    """Draw a random placement.

    Args:
        original_hw: height and width of the image.
        model_size: side of the model space.
        rng: random generator; the number of values drawn from it is always the same.
        scale_jitter: range of the factor, drawn uniformly, by which the longest side exceeds
            `model_size`; larger images are cropped at a uniform position, smaller ones padded.
            None is factor 1.
        flip: mirror images with probability one half.
        fit: see `ImageSpec`.

    Source: large-scale jitter of arXiv:2012.07177, section 3. Deviations: a small image stays in
    the top left corner, where SAM's padding leaves it, instead of at a random position.
    """
    coin, scale_at, x_at, y_at = rng.uniform(size=4)
    low, high = scale_jitter or (1.0, 1.0)
    longest = max(1, round(model_size * (low + (high - low) * scale_at)))
    coords = CoordMap(original_hw=original_hw, model_size=longest, fit=fit)
    resized_h, resized_w = coords.resized_hw
    corner_x = int(x_at * (max(0, resized_w - model_size) + 1))
    corner_y = int(y_at * (max(0, resized_h - model_size) + 1))
    return Placement(
        original_hw=original_hw,
        resized_hw=(resized_h, resized_w),
        corner_xy=(corner_x, corner_y),
        flipped=flip and bool(coin < 0.5),
        model_size=model_size,
        fit=fit,
    )


def place_image(image: npt.NDArray[np.uint8], placement: Placement) -> Tensor:
    """Transform an image (H, W, 3) to the model space: pixels (3, S, S), normalised, zero-padded.

    Without augmentation, they equal those of prediction bit for bit.
    """
    if placement.flipped:
        image = np.ascontiguousarray(image[:, ::-1])
    if placement.is_cropped:
        visible = _resize_part(image, placement)
    else:
        # Here the model space is as large as the resized image: only `resized_hw` matters.
        longest = max(placement.resized_hw)
        coords = CoordMap(original_hw=placement.original_hw, model_size=longest, fit=placement.fit)
        visible = resize_image(image, coords)
    return normalise(visible, ImageSpec(size=placement.model_size))[0]


def _resize_part(image: npt.NDArray[np.uint8], placement: Placement) -> npt.NDArray[np.uint8]:
    """Resize only the visible part of an image."""
    (height, width), (scale_y, scale_x) = placement.visible_hw, placement.scale_hw
    x, y = placement.corner_xy
    box = (x / scale_x, y / scale_y, (x + width) / scale_x, (y + height) / scale_y)
    # Rounding may put the far edge past the image's, which Pillow refuses.
    box = (*box[:2], min(box[2], image.shape[1]), min(box[3], image.shape[0]))
    full = Image.fromarray(image)
    return np.asarray(full.resize((width, height), Image.Resampling.BILINEAR, box=box))


def place_mask(
    rle: Rle,
    placement: Placement,
    truth_size: int,
    *,
    min_area_px: int = 0,
    max_area_fraction: float = 1.0,
) -> BoolArray | None:
    """Transform a mask to the target space: the cells of which it covers at least half.

    A mask that covers half of no cell, such as a wire, keeps the cells that it covers best: at
    least half as much as its best covered one. So no visible mask becomes empty.

    Args:
        rle: mask of the original image.
        placement: placement of the image.
        truth_size: side T of the target space in cells.
        min_area_px: minimum visible area in a cropped image, in image pixels.
        max_area_fraction: maximum fraction of a cropped image's visible part that the mask covers.

    Returns:
        mask (T, T), not empty; None if none of it is visible, or too little or too much.
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


def ignored_cells(void: Rle | None, placement: Placement, truth_size: int) -> BoolArray:
    """Cells (T, T) of the target space without ground truth: padding, and void pixels.

    Cells that show a part of the image, however small, are no padding: a mask may keep them.

    Args:
        void: mask of the original image; at least half of a cell must be void.
    """
    ignored = np.ones((truth_size, truth_size), bool)
    height, width = (
        math.ceil(side * truth_size / placement.model_size - ROUNDING)
        for side in placement.visible_hw
    )
    ignored[:height, :width] = False
    if void is not None:
        coverage, (x, y) = cell_coverage(void, placement, truth_size)
        height, width = coverage.shape
        ignored[y : y + height, x : x + width] |= coverage >= COVERED * (1 - ROUNDING)
    return ignored


def cell_coverage(
    rle: Rle, placement: Placement, truth_size: int
) -> tuple[FloatArray, tuple[int, int]]:
    """Compute the fraction of each cell that a mask covers, in the part of the space where it lies.

    Returns:
        coverage (h, w), possibly without cells; x and y of its first cell.
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
    """Find the cells of an axis in which the pixels start..stop of an image lie.

    Args:
        start: first pixel.
        stop: pixel after the last.
        cells_per_px: cells per pixel.
        corner: number of cells cropped off before the first visible one.
        count: number of visible cells.

    Returns:
        index of the first cell; edges (n + 1,) of the n cells, in pixels after `start`.
    """
    first = min(max(int(np.floor(start * cells_per_px - corner)), 0), count)
    last = min(max(int(np.ceil(stop * cells_per_px - corner)), first), count)
    edges = (np.arange(first, last + 1) + corner) / cells_per_px - start
    return first, np.asarray(edges, np.float64)


def _sums_between(values: npt.NDArray[np.bool_] | FloatArray, edges: FloatArray) -> FloatArray:
    """Sum the rows (N, M) between edges; a row that an edge cuts counts in part."""
    count = len(values)
    if count == 0:
        return np.zeros((len(edges) - 1, values.shape[1]))
    positions = edges.clip(0, count)
    cut = np.minimum(positions.astype(np.int64), count - 1)  # the row that each edge cuts
    kind = np.int32 if values.dtype == np.bool_ else np.float64
    sums = np.cumsum(values, axis=0, dtype=kind)
    # Up to each edge: the sum through the row that it cuts, less the part after the edge.
    rest = (cut + 1 - positions)[:, None]
    until = sums[cut] - rest * values[cut]
    return np.diff(until, axis=0)
