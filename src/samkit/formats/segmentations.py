"""Reading COCO's forms of a mask (polygons, plain and compressed RLEs) into compressed RLEs.

Everything is validated before it reaches pycocotools, whose C code trusts its input.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from samkit.arrays import IntArray
from samkit.errors import DataError
from samkit.geometry import Rle

# Compressed counts: 5 bits of a number per character, the lowest first; bit 5 means that more
# follow, bit 4 of the last character is the sign. Source: cocodataset.org's mask API.
FIRST_CHARACTER, BITS, MORE, SIGN = 48, 5, 32, 16
MAX_CHARACTERS = 7  # of one number: 35 bits, more than any image has pixels
# Polygons may cross the image's edge, but not go far: pycocotools visits every pixel of an edge.
MAX_OUTSIDE = 1.0  # of the image's sides


def read_rles(
    segmentations: Iterable[Any], size_hw: tuple[int, int]
) -> tuple[tuple[Rle, ...], tuple[str, ...]]:
    """Read the RLEs of one image's segmentations; also one line about each broken one."""
    rles, faults = read_numbered_rles(segmentations, size_hw)
    return tuple(rles.values()), faults


def read_numbered_rles(
    segmentations: Iterable[Any], size_hw: tuple[int, int]
) -> tuple[dict[int, Rle], tuple[str, ...]]:
    """Like `read_rles`, with each RLE's index among the segmentations, from 0."""
    rles, faults = {}, []
    for index, segmentation in enumerate(segmentations):
        try:
            rles[index] = segmentation_rle(segmentation, size_hw)
        except DataError as error:  # noqa: PERF203 - one broken mask leaves the others
            faults.append(f"annotation {index + 1}: {error}")
    return rles, tuple(faults)


def segmentation_rle(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """RLE of a COCO `segmentation`.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...], or an RLE {size, counts} with compressed or
            plain counts.
        size_hw: the image's size.

    Raises:
        DataError: it is malformed, or of another size.
    """
    if isinstance(segmentation, dict):
        return _from_rle(segmentation, size_hw)
    if isinstance(segmentation, list) and segmentation:
        polygons = [_polygon(one, size_hw) for one in segmentation]
        return _merged(coco_mask.frPyObjects(polygons, *size_hw), size_hw)
    raise DataError(
        f"a segmentation must be polygons or a run-length code; got {segmentation!r:.40}"
    )


def check_image_size(name: object, entry: Mapping[str, Any], size_hw: tuple[int, int]) -> None:
    """Check that an image has the size its entry states, if it states one.

    Raises:
        DataError: the size differs, and masks would be in the wrong place.
    """
    stated = (entry.get("height", size_hw[0]), entry.get("width", size_hw[1]))
    if stated != size_hw:
        raise DataError(
            f"{name} is {size_hw[1]} x {size_hw[0]} pixels, but"
            f" {stated[1]!r:.20} x {stated[0]!r:.20} in its annotations"
        )


def compressed_counts(counts: str) -> IntArray:
    """Decode COCO's compressed counts to run lengths; the first run is background.

    Raises:
        DataError: malformed.
    """
    digits = np.frombuffer(counts.encode("latin-1", "replace"), np.uint8).astype(np.int64)
    digits -= FIRST_CHARACTER
    if not len(digits) or digits.min() < 0 or digits.max() >= 2 * MORE or digits[-1] & MORE:
        raise DataError(f"malformed run-length code {counts!r:.40}")
    ends = np.flatnonzero((digits & MORE) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        raise DataError(f"malformed run-length code {counts!r:.40}")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & (MORE - 1)) << (BITS * place), starts)
    runs -= np.where(digits[ends] & SIGN, 1 << (BITS * lengths), 0)
    # From the fourth on, each is stored as the difference from the one two before it.
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return np.asarray(runs, np.int64)


def _from_rle(segmentation: dict[str, Any], size_hw: tuple[int, int]) -> Rle:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != list(size_hw):
        raise DataError(f"a mask must have the image's size {list(size_hw)}; got {size!r:.40}")
    if isinstance(counts, str):
        _check_counts(compressed_counts(counts), size_hw)
        return {"size": list(size_hw), "counts": counts}
    try:
        plain = np.array(counts)
    except (ValueError, OverflowError):
        plain = np.array(None)
    if plain.ndim != 1 or not np.issubdtype(plain.dtype, np.integer):
        raise DataError(f"counts must be a string or whole numbers; got {counts!r:.40}")
    _check_counts(plain, size_hw)
    rle = coco_mask.frPyObjects({"size": list(size_hw), "counts": plain.tolist()}, *size_hw)
    return {"size": list(size_hw), "counts": rle["counts"].decode("ascii")}


def _check_counts(counts: npt.NDArray[Any], size_hw: tuple[int, int]) -> None:
    """Check that the runs cover the image; those of a truncated RLE do not."""
    area = size_hw[0] * size_hw[1]
    if counts.min() < 0 or counts.max() > area or counts.sum() != area:
        raise DataError(
            f"a run-length code must cover the image's {area} pixels; it has"
            f" {counts.sum()} in {len(counts)} runs, the shortest of {counts.min()}"
        )


def _polygon(points: Any, size_hw: tuple[int, int]) -> list[float]:
    """Check a polygon x, y, x, y, ... and make its values floats."""
    try:
        flat = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        flat = np.zeros((0, 0))
    if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2:
        raise DataError(
            f"a polygon must be at least three points [x, y, x, y, x, y]; got {points!r:.60}"
        )
    height, width = size_hw
    points_xy, size_wh = flat.reshape(-1, 2), np.array([width, height])
    low_xy, high_xy = -MAX_OUTSIDE * size_wh, (1 + MAX_OUTSIDE) * size_wh
    if not ((points_xy >= low_xy) & (points_xy <= high_xy)).all():  # also false for NaN
        raise DataError(f"a polygon lies far outside of its image of {width} x {height} pixels")
    return [float(value) for value in flat]


def _merged(rles: list[Any], size_hw: tuple[int, int]) -> Rle:
    merged = coco_mask.merge(rles)
    return {"size": list(size_hw), "counts": merged["counts"].decode("ascii")}
