"""Prompts that people gave for a mask, read from its history, whoever wrote that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from samkit.types import Click, GivenPrompts

XY, XYXY = 2, 4


def after_event(given: GivenPrompts, kind: str, data: Mapping[str, Any]) -> GivenPrompts:
    """A mask's prompts after one more event; events that are not valid change nothing.

    A box that cuts off a part of a mask is no prompt for the mask.
    """
    clicks, index = given.clicks, data.get("index")
    if kind == "point":
        return given._replace(clicks=clicks + _clicks([data.get("xy")], [data.get("label")]))
    if kind == "box" and data.get("label", 1) == 1:
        return given._replace(box_xyxy=_box(data.get("xyxy")) or given.box_xyxy)
    if kind == "remove" and data.get("box"):
        return given._replace(box_xyxy=None)
    if kind in {"move", "remove"} and isinstance(index, int) and 0 <= index < len(clicks):
        moved = _clicks([data.get("xy")], [clicks[index][2]]) if kind == "move" else ()
        return given._replace(clicks=clicks[:index] + moved + clicks[index + 1 :])
    return given


def read_prompts(prompts: Mapping[str, Any]) -> GivenPrompts:
    """Prompts of an object in a frame of a video: `points`, `labels` and `box`."""
    clicks = _clicks(prompts.get("points") or (), prompts.get("labels") or ())
    return GivenPrompts(clicks=clicks, box_xyxy=_box(prompts.get("box")))


def are_numbers(value: object, count: int) -> TypeGuard[list[float]]:
    """Whether a value of JSON is a list of so many numbers."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
            for one in value
        )
    )


def _clicks(points: Sequence[object], labels: Sequence[object]) -> tuple[Click, ...]:
    return tuple(
        (float(xy[0]), float(xy[1]), int(label))
        for xy, label in zip(points, labels, strict=False)
        if are_numbers(xy, XY) and isinstance(label, int) and label in {0, 1}
    )


def _box(xyxy: object) -> tuple[float, float, float, float] | None:
    if not are_numbers(xyxy, XYXY):
        return None
    x0, y0, x1, y1 = map(float, xyxy)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
