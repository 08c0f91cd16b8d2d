"""COCO's three ways to write down a mask, to one: polygons and run-length codes of two kinds.

Everything is checked before pycocotools sees it, whose C code trusts what it gets.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from samkit.errors import DataError
from samkit.geometry import Rle

IntArray = npt.NDArray[np.int64]

# Compressed counts: 5 bits of a number in each character, the lowest first; bit 5 says that more
# follow, bit 4 of the last one is the sign. Source: cocodataset.org's mask API.
FIRST_CHARACTER, BITS, MORE, SIGN = 48, 5, 32, 16
MOST_CHARACTERS = 7  # of one number: 35 bits, more than any image has pixels
# Polygons may run over the image's edge, but not far: pycocotools walks along every pixel of them.
OUTSIDE = 1.0  # of the image's sides


def read_rles(
    segmentations: Iterable[Any], size_hw: tuple[int, int]
) -> tuple[tuple[Rle, ...], tuple[str, ...]]:
    """Codes of the segmentations of one image, and a line for each that is broken."""
    rles, faults = read_numbered_rles(segmentations, size_hw)
    return tuple(rles.values()), faults


def read_numbered_rles(
    segmentations: Iterable[Any], size_hw: tuple[int, int]
) -> tuple[dict[int, Rle], tuple[str, ...]]:
    """The same, with each code's place among the segmentations, from 0."""
    rles, faults = {}, []
    for place, segmentation in enumerate(segmentations):
        try:
            rles[place] = segmentation_rle(segmentation, size_hw)
        except DataError as error:  # noqa: PERF203 - of one, the others are not affected
            faults.append(f"annotation {place + 1}: {error}")
    return rles, tuple(faults)


def segmentation_rle(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """Run-length code of a COCO `segmentation`.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...], or a run-length code {size, counts} with
            compressed or plain counts.
        size_hw: of the image.

    Raises:
        DataError: malformed, or of another size.
    """
    if isinstance(segmentation, dict):
        return _from_code(segmentation, size_hw)
    if isinstance(segmentation, list) and segmentation:
        polygons = [_polygon(one, size_hw) for one in segmentation]
        return _merged(coco_mask.frPyObjects(polygons, *size_hw), size_hw)
    raise DataError(
        f"a segmentation must be polygons or a run-length code; got {segmentation!r:.40}"
    )


def compressed_counts(code: str) -> IntArray:
    """Lengths of runs, the first one of background, from COCO's compressed counts.

    Raises:
        DataError: not such a code.
    """
    digits = np.frombuffer(code.encode("latin-1", "replace"), np.uint8).astype(np.int64)
    digits -= FIRST_CHARACTER
    if not len(digits) or digits.min() < 0 or digits.max() >= 2 * MORE or digits[-1] & MORE:
        raise DataError(f"malformed run-length code {code!r:.40}")
    ends = np.flatnonzero((digits & MORE) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MOST_CHARACTERS:
        raise DataError(f"malformed run-length code {code!r:.40}")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((digits & (MORE - 1)) << (BITS * place), starts)
    counts -= np.where(digits[ends] & SIGN, 1 << (BITS * lengths), 0)
    # From the fourth on, each is stored as the difference to the one two before it.
    counts[1::2] = counts[1::2].cumsum()
    counts[2::2] = counts[2::2].cumsum()
    return np.asarray(counts, np.int64)


def _from_code(segmentation: dict[str, Any], size_hw: tuple[int, int]) -> Rle:
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
    code = coco_mask.frPyObjects({"size": list(size_hw), "counts": plain.tolist()}, *size_hw)
    return {"size": list(size_hw), "counts": code["counts"].decode("ascii")}


def _check_counts(counts: npt.NDArray[Any], size_hw: tuple[int, int]) -> None:
    """Check that runs fill the image: a code that was cut short does not."""
    area = size_hw[0] * size_hw[1]
    if counts.min() < 0 or counts.max() > area or counts.sum() != area:
        raise DataError(
            f"a run-length code must cover the image's {area} pixels; it has"
            f" {counts.sum()} in {len(counts)} runs, the shortest of {counts.min()}"
        )


def _polygon(points: Any, size_hw: tuple[int, int]) -> list[float]:
    """A checked polygon x, y, x, y, ..."""
    try:
        flat = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        flat = np.zeros((0, 0))
    if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2:
        raise DataError(
            f"a polygon must be at least three points [x, y, x, y, x, y]; got {points!r:.60}"
        )
    height, width = size_hw
    places_xy, sides_xy = flat.reshape(-1, 2), np.array([width, height])
    # Also false for NaN.
    if not ((places_xy >= -OUTSIDE * sides_xy) & (places_xy <= (1 + OUTSIDE) * sides_xy)).all():
        raise DataError(f"a polygon lies far outside of its image of {width} x {height} pixels")
    return [float(value) for value in flat]


def _merged(codes: list[Any], size_hw: tuple[int, int]) -> Rle:
    code = coco_mask.merge(codes)
    return {"size": list(size_hw), "counts": code["counts"].decode("ascii")}
