"""Parts of images too large for a model to see whole, at a level of their pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from samkit.errors import PromptError
from samkit.formats.pyramid import TILE_SIDE, finest_level

# Longest side of what a model sees of a part of an image: twice what it takes, so that small parts
# of an answer are not lost between pixels.
REGION_SIDE = 2048


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a large image that a model sees, at a level of its pyramid.

    Attributes:
        level: of the pyramid; each pixel there is 2 ** level pixels of the image wide.
        box_xyxy: whole pixels of that level, far edges exclusive.
    """

    level: int
    box_xyxy: tuple[int, int, int, int]

    @classmethod
    def of(
        cls, view_xyxy: tuple[float, float, float, float], sizes_wh: Sequence[tuple[int, int]]
    ) -> Region:
        """The region of what is in view, in pixels of the image.

        Args:
            sizes_wh: of the levels of the image's pyramid.

        Raises:
            PromptError: nothing of the image is in view.
        """
        width, height = sizes_wh[0]
        x0, y0, x1, y1 = view_xyxy
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise PromptError(f"the view must show some of the image; got {view_xyxy}")
        size = (math.ceil(x1 - x0), math.ceil(y1 - y0))
        level = finest_level(REGION_SIDE, size, len(sizes_wh))
        factor = 1 << level
        wide, high = sizes_wh[level]
        box = (
            math.floor(x0 / factor),
            math.floor(y0 / factor),
            min(wide, math.ceil(x1 / factor)),
            min(high, math.ceil(y1 / factor)),
        )
        return cls(level=level, box_xyxy=box)

    @property
    def factor(self) -> int:
        """Pixels of the image along a side of a pixel of the region."""
        return 1 << self.level

    @property
    def corner_xy(self) -> tuple[int, int]:
        """Where the region begins, in pixels of the image."""
        return self.box_xyxy[0] * self.factor, self.box_xyxy[1] * self.factor

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in its own pixels."""
        x0, y0, x1, y1 = self.box_xyxy
        return y1 - y0, x1 - x0

    @property
    def key(self) -> str:
        """Identifies the region among those of an image."""
        return "-".join(str(value) for value in (self.level, *self.box_xyxy))

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A place of the image in the region's own pixels."""
        left, top = self.corner_xy
        return (x - left) / self.factor, (y - top) / self.factor

    def has(self, box_xyxy: tuple[int, int, int, int]) -> bool:
        """Whether a box of the image, far edges exclusive, is within the region."""
        x0, y0 = self.point(*box_xyxy[:2])
        x1, y1 = self.point(*box_xyxy[2:])
        height, width = self.size_hw
        return x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height


def level_sizes(size_wh: tuple[int, int]) -> list[tuple[int, int]]:
    """Width and height of the levels of an image's pyramid, whose last one is a single tile."""
    sizes = [size_wh]
    while max(sizes[-1]) > TILE_SIDE:
        width, height = sizes[-1]
        sizes.append(((width + 1) // 2, (height + 1) // 2))
    return sizes
