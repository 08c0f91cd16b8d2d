"""Run-length encoding of mask logits at the image's size, without building the mask.

The result equals that of `logits_to_original(...) > 0`, which on an image of 24 megapixels spends
most of its time on pixels far from the mask's border. Down a column of the image, though, pixels
lie between rows of the model space, of which there are fewer: where two neighbouring rows have the
same sign, so do all pixels between them, and only pixels between rows of different signs are
computed.
"""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from samkit.arrays import IntArray, Logits
from samkit.geometry.coords import CoordMap
from samkit.geometry.resize import logits_to_original
from samkit.geometry.rle import Rle, encode_rle


def logits_to_rle(logits: Logits, coords: CoordMap) -> Rle:
    """Encode the pixels whose upsampled logits are above 0.

    Args:
        logits: (S / 4, S / 4), one mask, for a model size of S.
        coords: the image's coordinate spaces.
    """
    (height, width), (resized_h, resized_w) = coords.original_hw, coords.resized_hw
    if height < resized_h or width < resized_w:  # some model-space rows lie between no pixels
        return encode_rle(logits_to_original(logits, coords) > 0)
    side = coords.model_size
    model = cv2.resize(logits, (side, side), interpolation=cv2.INTER_LINEAR)
    rows = np.ascontiguousarray(model[:resized_h, :resized_w])
    touched = np.flatnonzero((rows > 0).any(axis=1))
    if not len(touched):
        return _encode(np.zeros(0, np.int64), (height, width))
    # One more row on each side: the mask's border lies between it and the first one inside.
    first, stop = max(0, int(touched[0]) - 1), min(resized_h, int(touched[-1]) + 2)
    # In OpenCV's order: along rows first, then between rows.
    resized = cv2.resize(rows[first:stop], (width, stop - first), interpolation=cv2.INTER_LINEAR)
    wide = np.asarray(resized, np.float32)
    place, part = _between_rows(resized_h, height)
    return _encode(_turns(wide, first, resized_h, place, part), (height, width))


def _between_rows(num_rows: int, num_pixels: int) -> tuple[IntArray, Logits]:
    """For each pixel of a column, the row above it (-1 if none) and its distance below that row."""
    exact = (np.arange(num_pixels) + 0.5) * (num_rows / num_pixels) - 0.5
    place = np.floor(exact).astype(np.int64)
    return place, (exact - place).astype(np.float32)


def _turns(wide: Logits, first: int, num_rows: int, place: IntArray, part: Logits) -> IntArray:
    """Column-major pixel indices at which the mask begins and ends.

    Args:
        wide: (n, W) logits of some rows; all other rows are not above 0.
        first: index of the first of these rows.
        num_rows: number of rows in the model space.
        place: (H,) the row above each pixel of a column.
        part: (H,) distance of the pixel below that row, in rows.
    """
    height = len(place)
    inside = wide > 0
    # Searching in storage order and then sorting by column is much faster.
    row, column = np.divmod(np.flatnonzero(inside[1:] != inside[:-1]), inside.shape[1])
    order = np.argsort(column, kind="stable")
    row, column = row[order], column[order]
    # The pixels between each such row and the next.
    start = np.searchsorted(place, row + first, side="left")
    stop = np.searchsorted(place, row + first, side="right")
    num_steps = int((stop - start).max(initial=0))
    pixel = start[:, None] + np.arange(num_steps)
    beyond = pixel >= stop[:, None]
    pixel = np.minimum(pixel, stop[:, None] - 1)
    # Rounded as OpenCV does it (a difference in float32, then one fused step), so that the same
    # pixels are above 0.
    upper, lower = wide[row, column], wide[row + 1, column]
    rise = (lower - upper).astype(np.float64)
    between = upper[:, None] + rise[:, None] * part[pixel] > 0
    # The state before and after those pixels: the row's sign, or the last pixel of the rows above.
    last = between[np.arange(len(row)), stop - start - 1]
    before, after = inside[row, column], inside[row + 1, column]
    follows = (column[1:] == column[:-1]) & (row[1:] == row[:-1] + 1)
    before[1:][follows] = last[:-1][follows]
    after[:-1][follows] = last[:-1][follows]
    between = np.where(beyond, after[:, None], between)
    states = np.concatenate([before[:, None], between, after[:, None]], axis=1)
    crossing, step = np.nonzero(states[:, 1:] != states[:, :-1])
    turns = column[crossing] * height + start[crossing] + step
    # Columns that end in another state than the next one begins with.
    top = inside[0] if first == 0 else np.zeros(inside.shape[1], bool)
    reaches_end = first + len(wide) == num_rows
    bottom = inside[-1] if reaches_end else np.zeros(inside.shape[1], bool)
    seams = np.flatnonzero(top != np.concatenate([[False], bottom[:-1]])) * height
    return np.sort(np.concatenate([turns, seams]))


def _encode(turns: IntArray, size_hw: tuple[int, int]) -> Rle:
    height, width = size_hw
    counts = np.diff(turns, prepend=0, append=height * width)
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
