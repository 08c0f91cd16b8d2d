"""Prompts that people gave for masks that are finished."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Click: TypeAlias = tuple[float, float, int]


class GivenPrompts(NamedTuple):
    """Prompts that people gave to get one mask, in pixels of the image; none if nobody knows.

    Attributes:
        clicks: x, y and label of each, 1 foreground and 0 background, in their order.
        box_xyxy: None without a box. With one, the mask began with it.
    """

    clicks: tuple[Click, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None

    @property
    def first_xy(self) -> tuple[float, float] | None:
        """The click that the mask began with: the first one in it; None if it began otherwise."""
        first = self._first
        return None if first is None else self.clicks[first][:2]

    @property
    def corrections(self) -> tuple[Click, ...]:
        """The clicks that the mask did not begin with."""
        first = self._first
        return tuple(click for index, click in enumerate(self.clicks) if index != first)

    @property
    def _first(self) -> int | None:
        if self.box_xyxy is not None:
            return None
        return next((index for index, (*_, label) in enumerate(self.clicks) if label == 1), None)
