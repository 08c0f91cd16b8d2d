"""Reading COCO's forms of a mask (polygons, plain and compressed RLEs) into compressed RLEs.

Everything is validated before it reaches pycocotools, whose C code trusts its input.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from samkit.annotations.model import Drawn
from samkit.annotations.spaces import resize_rle
from samkit.arrays import FloatArray, IntArray
from samkit.errors import DataError
from samkit.geometry import Rle

# Compressed counts: 5 bits of a number per character, the lowest first; bit 5 means that more
# follow, bit 4 of the last character is the sign. Source: cocodataset.org's mask API.
FIRST_CHARACTER, BITS, MORE, SIGN = 48, 5, 32, 16
MAX_CHARACTERS = 7  # of one number: 35 bits, more than any image has pixels
# Polygons may cross the image's edge, but not go far: pycocotools visits every pixel of an edge.
MAX_OUTSIDE = 1.0  # of the image's sides


@dataclass(frozen=True)
class CocoSegmentation:
    """A mask in one of COCO's forms, not checked yet.

    Attributes:
        value: polygons [[x, y, x, y, ...], ...] in pixels of the file's space, one polygon alone,
            or an RLE {size, counts} of the space's size.
    """

    value: Any

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        if isinstance(self.value, dict):
            return Drawn(resize_rle(_from_rle(self.value, space_hw), size_hw))
        return _from_polygons(self.value, space_hw, size_hw)


def segmentation_rle(segmentation: Any, size_hw: tuple[int, int]) -> Rle:
    """RLE of a COCO `segmentation`, of which no part is broken.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...], or an RLE {size, counts} with compressed or
            plain counts.
        size_hw: the image's size.

    Raises:
        DataError: it is malformed, or of another size.
    """
    drawn = CocoSegmentation(segmentation).draw(size_hw, size_hw)
    if drawn.fault:
        raise DataError(drawn.fault)
    return drawn.rle


def read_rles(
    segmentations: Iterable[Any], size_hw: tuple[int, int]
) -> tuple[tuple[Rle, ...], tuple[str, ...]]:
    """Read the RLEs of one image's segmentations; also one line about each broken one."""
    rles, faults = [], []
    for index, segmentation in enumerate(segmentations):
        try:
            rles.append(segmentation_rle(segmentation, size_hw))
        except DataError as error:  # noqa: PERF203 - one broken mask leaves the others
            faults.append(f"annotation {index + 1}: {error}")
    return tuple(rles), tuple(faults)


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
    if not isinstance(size, list | tuple) or list(size) != list(size_hw):
        raise DataError(f"a mask must have the image's size {list(size_hw)}; got {size!r:.40}")
    if isinstance(counts, str):
        _check_counts(compressed_counts(counts), size_hw)
        return {"size": list(size_hw), "counts": counts}
    plain = _integers(counts)
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


def _integers(counts: Any) -> IntArray:
    """Run lengths from a list of whole numbers, which pandas may have made floats."""
    try:
        values = np.array(counts)
        with np.errstate(invalid="ignore"):  # NaN and infinity, which are refused below
            integers = values.astype(np.int64) if values.dtype.kind in "iuf" else None
    except (ValueError, TypeError, OverflowError):
        integers = None
    if integers is None or integers.ndim != 1 or not len(integers) or (integers != values).any():
        raise DataError(f"counts must be a string or whole numbers; got {counts!r:.40}")
    return integers


def _from_polygons(value: Any, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
    """Draw polygons; those that are broken are left out and told, if any other is good."""
    if not isinstance(value, list) or not value:
        raise DataError(f"a segmentation must be polygons or a run-length code; got {value!r:.40}")
    flat = [value] if all(_is_number(one) for one in value) else value
    polygons, faults = [], []
    for points in flat:
        try:
            polygons.append(_polygon(points, space_hw))
        except DataError as error:  # noqa: PERF203 - one broken polygon leaves the others
            faults.append(str(error))
    if not polygons:
        raise DataError(faults[0])
    scale = np.array(size_hw[::-1]) / space_hw[::-1]
    drawn = [(one * scale).ravel().tolist() for one in polygons]
    part = f"{len(faults)} of {len(flat)} polygons left out: {faults[0]}" if faults else ""
    return Drawn(_merged(coco_mask.frPyObjects(drawn, *size_hw), size_hw), part)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _polygon(points: Any, space_hw: tuple[int, int]) -> FloatArray:
    """Check a polygon x, y, x, y, ... and return its points (N, 2)."""
    try:
        flat = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        flat = np.zeros((0, 0))
    if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2:
        raise DataError(
            f"a polygon must be at least three points [x, y, x, y, x, y]; got {points!r:.60}"
        )
    height, width = space_hw
    points_xy, size_wh = flat.reshape(-1, 2), np.array([width, height])
    low_xy, high_xy = -MAX_OUTSIDE * size_wh, (1 + MAX_OUTSIDE) * size_wh
    if not ((points_xy >= low_xy) & (points_xy <= high_xy)).all():  # also false for NaN
        raise DataError(f"a polygon lies far outside of its image of {width} x {height} pixels")
    return points_xy


def _merged(rles: list[Any], size_hw: tuple[int, int]) -> Rle:
    merged = coco_mask.merge(rles)
    return {"size": list(size_hw), "counts": merged["counts"].decode("ascii")}
