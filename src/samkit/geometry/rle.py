"""COCO's compressed run-length encoding (RLE) of masks, by pycocotools."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask


class Rle(TypedDict):
    """A mask as COCO stores it in JSON: size [H, W] and compressed counts."""

    size: list[int]
    counts: str


def encode_rle(mask: npt.NDArray[np.bool_]) -> Rle:
    """Encode a mask (H, W)."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def encode_patch_rle(
    patch: npt.NDArray[np.bool_],
    corner_xy: tuple[int, int],
    size_hw: tuple[int, int],
    *,
    factor: int = 1,
) -> Rle:
    """Encode a mask (H, W) that is empty except for a patch (h, w), without building the mask.

    Args:
        patch: fastest when stored column by column.
        corner_xy: position in the mask of the patch's first pixel.
        size_hw: size of the full mask.
        factor: pixels of the mask along a side of each pixel of the patch; what would lie beyond
            the mask is cut off.
    """
    (patch_h, patch_w), (height, width), (x, y) = patch.shape, size_hw, corner_xy
    # Runs go down the columns. With one empty row below, each run ends in its own column.
    flat = np.zeros(1 + patch_w * (patch_h + 1), bool)
    flat[1:].reshape(patch_w, patch_h + 1)[:, :-1] = patch.T
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    column, row = np.divmod(changes, patch_h + 1)
    if factor > 1:
        rows = np.minimum(row * factor, height - y).reshape(-1, 2).repeat(factor, axis=0)
        columns = (column[::2, None] * factor + np.arange(factor)).reshape(-1, 1)
        keep = (rows[:, 0] < rows[:, 1]) & (x + columns[:, 0] < width)
        places = np.sort(((x + columns) * height + y + rows)[keep].reshape(-1))
    else:
        places = (x + column) * height + y + row  # pixel indices in the full mask: on, off, ...
    if y == 0 and patch_h * factor >= height:  # runs may continue in the next column
        ends, starts = places[1:-1:2], places[2::2]
        apart = ends != starts
        keep = np.ones(len(places), bool)
        keep[1:-1:2] = keep[2::2] = apart
        places = places[keep]
    counts = np.diff(places, prepend=0, append=height * width)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def place_rle(
    rle: Rle, *, corner_xy: tuple[int, int], size_hw: tuple[int, int], factor: int = 1
) -> Rle:
    """The mask of a part of an image, as a mask of the full image.

    Args:
        corner_xy: position of the part in the image.
        size_hw: size of the image.
        factor: pixels of the image along a side of each pixel of the part.
    """
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    corner = (corner_xy[0] + x0 * factor, corner_xy[1] + y0 * factor)
    patch = decode_rle_patch(rle, (x0, y0, x1, y1))
    return encode_patch_rle(patch, corner, size_hw, factor=factor)


def crop_rle(
    rle: Rle, *, corner_xy: tuple[int, int], size_hw: tuple[int, int], factor: int = 1
) -> Rle:
    """The part of a mask that is in a part of the image, as a mask of that part.

    The contrary of `place_rle`: of `factor` x `factor` pixels the middle one says what they are.
    The full mask is not built, however large it is.

    Args:
        corner_xy: position of the part in the image; it may reach beyond the image.
        size_hw: size of the part, in its own pixels.
        factor: pixels of the image along a side of each pixel of the part.
    """
    full_h, full_w = rle["size"]
    box = rle_box_xyxy(rle)
    places = []
    for axis, full in ((0, full_w), (1, full_h)):
        centres = corner_xy[axis] + factor * np.arange(size_hw[1 - axis]) + factor // 2
        seen = (centres >= box[axis]) & (centres < min(box[axis + 2], full))
        places.append((np.flatnonzero(seen), centres[seen]))
    (columns, x), (rows, y) = places
    if not len(columns) or not len(rows):
        return encode_patch_rle(np.zeros((0, 0), bool), (0, 0), size_hw)
    # Runs alternate, background first: a pixel is of the mask if an odd number of them end before.
    ends = np.cumsum(uncompressed_counts(rle))
    patch = np.searchsorted(ends, x[:, None] * full_h + y, side="right") % 2 == 1
    return encode_patch_rle(patch.T, (int(columns[0]), int(rows[0])), size_hw)


def uncompressed_counts(rle: Rle) -> npt.NDArray[np.int64]:
    """Run lengths of a compressed mask, column by column, background first.

    Each is stored in groups of five bits, the lowest first, with a bit that says whether more
    follow; from the fourth one on, as the difference to that of two runs before.
    """
    digits = np.frombuffer(rle["counts"].encode("ascii"), np.uint8).astype(np.int64) - ord("0")
    lasts = np.flatnonzero(digits < 0x20)
    firsts = np.r_[0, lasts[:-1] + 1]
    lengths = lasts - firsts + 1
    shifts = 5 * (np.arange(len(digits)) - np.repeat(firsts, lengths))
    values = np.add.reduceat((digits & 0x1F) << shifts, firsts)
    values -= ((digits[lasts] & 0x10) != 0).astype(np.int64) << (5 * lengths)  # negative ones
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def decode_rle(rle: Rle) -> npt.NDArray[np.bool_]:
    """Decode a mask (H, W)."""
    mask: npt.NDArray[np.bool_] = coco_mask.decode(rle).astype(bool)
    return mask


def decode_rle_patch(rle: Rle, box_xyxy: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Decode the part (h, w) of a mask inside a box, stored row by row."""
    x0, y0, x1, y1 = (int(edge) for edge in np.asarray(box_xyxy))
    # pycocotools returns column-major arrays, which NumPy and OpenCV are slow with.
    return np.ascontiguousarray(coco_mask.decode(rle)[y0:y1, x0:x1]).astype(bool)


def subtract_rle(rle: Rle, other: Rle) -> Rle:
    """The pixels of a mask that are not in another one of the same size."""
    if not coco_mask.area(coco_mask.merge([rle, other], intersect=True)):
        return rle
    return encode_rle(decode_rle(rle) & ~decode_rle(other))


def rle_area(rle: Rle) -> int:
    """Number of pixels in a mask."""
    return int(coco_mask.area(rle))


def rle_box_xyxy(rle: Rle) -> tuple[int, int, int, int]:
    """Tight box of a mask, far edges exclusive; zeros if empty."""
    x, y, width, height = (int(value) for value in coco_mask.toBbox(rle))
    return x, y, x + width, y + height


def rle_counts(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Uncompressed run lengths of a mask (H, W), column by column, background first."""
    flat = mask.ravel(order="F")
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(np.r_[0, turns, len(flat)]).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths
