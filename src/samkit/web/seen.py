"""What a model sees of an image: all of it, or the part in view of one by tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from samkit.dataengine import StoredImage, read_stored_image
from samkit.formats import Region
from samkit.web.embedder import Encoded

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.geometry import Rle
    from samkit.web.state import ServerState

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a model sees of an image: all of it, or a region of one by tiles."""

    encoded: Encoded
    region: Region | None

    def points(self, points: Sequence[Point]) -> list[Point]:
        """Points of the image in what the model sees."""
        if self.region is None:
            return list(points)
        return [self.region.point(x, y) for x, y in points]

    def box(self, box: tuple[float, float, float, float] | None) -> tuple[float, ...] | None:
        """A box of the image in what the model sees."""
        if box is None:
            return None
        first, last = self.points([box[:2], box[2:]])
        return *first, *last

    def mask(self, rle: Rle, size_hw: tuple[int, int]) -> Rle:
        """A mask of what the model sees as one of the image."""
        if self.region is None:
            return rle
        from samkit.geometry import place_rle

        region = self.region
        return place_rle(rle, corner_xy=region.corner_xy, size_hw=size_hw, factor=region.factor)

    def part(self, rle: Rle) -> Rle:
        """A mask of the image as one of what the model sees; it may become empty."""
        if self.region is None:
            return rle
        from samkit.geometry import crop_rle

        region = self.region
        return crop_rle(
            rle, corner_xy=region.corner_xy, size_hw=region.size_hw, factor=region.factor
        )

    def read(self, studio: ServerState, image: StoredImage) -> RgbImage:
        """Pixels of what the model sees."""
        if self.region is not None:
            return studio.tiles.read(image, self.region)
        return read_stored_image(studio.store, image, max_pixels=studio.config.max_pixels)
