"""Points of prompts with their labels, for one prompt or for a batch, also of different lengths.

Shape legend: P prompts, N points of the longest prompt.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray, IntArray
from samkit.errors import PromptError

PADDING = -1
# Labels that mark padding: SAM's, and that of the processors of `transformers`.
PADDING_LABELS = (PADDING, -10)
LABELS = (1, 0, *PADDING_LABELS)
Rows = list[FloatArray]


def detached(value: Any) -> Any:
    """A tensor, or a list of tensors, without its gradients, which NumPy refuses."""
    if isinstance(value, list | tuple):
        return [detached(item) if hasattr(item, "detach") else item for item in value]
    return value.detach() if hasattr(value, "detach") else value


def read_array(value: npt.ArrayLike | None, name: str) -> FloatArray | None:
    """Convert anything that NumPy accepts to a float array; None stays None.

    Raises:
        PromptError: it is not numbers in a regular array.
    """
    if value is None:
        return None
    try:
        return np.asarray(detached(value), np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        shown = " ".join(repr(value).split())
        message = f"{name} must be numbers in a regular array; got {shown:.60}"
        raise PromptError(message) from error


def read_points(
    points: npt.ArrayLike | None, labels: npt.ArrayLike | None
) -> tuple[FloatArray | None, IntArray | None]:
    """Validate points (2,), (N, 2) or (P, N, 2) and their labels, which default to foreground.

    Points of a batch may differ in number, as lists of P arrays (N_i, 2) and (N_i,), or as arrays
    with the label -1 where there is no point.

    Returns:
        points (N, 2) or (P, N, 2) and labels of the same axes: 1, 0, or -1 for padding, which is at
        the end of each prompt.

    Raises:
        PromptError: shapes disagree, or a value is not a coordinate or label.
    """
    rows = _rows(points)
    if _differ(rows):
        points, labels = _pad(rows, labels)
    points_xy, kinds = read_array(points, "points"), read_array(labels, "labels")
    if kinds is not None and not np.isin(kinds, LABELS).all():
        bad = kinds[~np.isin(kinds, LABELS)].flat[0]
        raise PromptError(
            f"labels must be 1 (foreground), 0 (background) or -1 (no point); got {bad:g}"
        )
    if points_xy is None:
        if kinds is not None:
            raise PromptError("labels need points; got labels alone")
        return None, None
    if points_xy.shape == (2,):
        points_xy = points_xy[None]
        kinds = kinds[None] if kinds is not None and kinds.ndim == 0 else kinds
    if points_xy.ndim not in (2, 3) or points_xy.shape[-1] != 2:
        raise PromptError(f"points must be (2,), (N, 2) or (P, N, 2); got {points_xy.shape}")
    if kinds is None:
        kinds = np.ones(points_xy.shape[:-1])
    if kinds.shape != points_xy.shape[:-1]:
        raise PromptError(
            f"points and labels must agree in number; got points {points_xy.shape}"
            f" and labels {kinds.shape}"
        )
    return _padding_last(points_xy, kinds.astype(np.int64))


def _rows(value: object) -> Rows | None:
    """The prompts' own points (N_i, 2), or labels (N_i,), of a list; None if it is not one."""
    if not isinstance(value, list | tuple):
        return None
    try:
        return [np.asarray(detached(row), np.float64) for row in value]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None  # reported where the value is read as one array


def _differ(rows: Rows | None) -> TypeGuard[Rows]:
    """Whether rows are points of prompts that differ in their number; some may have none."""
    if rows is None or not all(row.size == 0 or row.shape[1:] == (2,) for row in rows):
        return False
    return len({len(row) for row in rows if row.ndim}) > 1


def _pad(rows: Rows, labels: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Pad points (N_i, 2) and labels (N_i,) of P prompts to one length."""
    lengths = [len(row) for row in rows]
    kinds = [np.ones(length) for length in lengths] if labels is None else _rows(labels)
    if kinds is None or [kind.shape for kind in kinds] != [(length,) for length in lengths]:
        got = "one array" if kinds is None else ", ".join(str(kind.size) for kind in kinds)
        raise PromptError(
            "points and labels must agree in number; got points of"
            f" {', '.join(map(str, lengths))} and labels of {got}"
        )
    points_xy = np.zeros((len(rows), max(lengths), 2))
    padded = np.full((len(rows), max(lengths)), PADDING, np.float64)
    for index, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        points_xy[index, : len(row)] = row.reshape(-1, 2)
        padded[index, : len(row)] = kind
    return points_xy, padded


def _padding_last(points_xy: FloatArray, labels: IntArray) -> tuple[FloatArray, IntArray]:
    """Move padding to the end of each prompt, and cut off what is padding in all of them."""
    is_point = ~np.isin(labels, PADDING_LABELS)
    if is_point.all():
        return points_xy, labels
    order = np.argsort(~is_point, axis=-1, kind="stable")
    order = order[..., : is_point.sum(axis=-1).max()]
    is_point = np.take_along_axis(is_point, order, axis=-1)
    points_xy = np.take_along_axis(points_xy, order[..., None], axis=-2)
    labels = np.take_along_axis(labels, order, axis=-1)
    return np.where(is_point[..., None], points_xy, 0), np.where(is_point, labels, PADDING)
