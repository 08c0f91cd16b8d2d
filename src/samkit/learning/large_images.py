"""Lessons from images by tiles: masks in the regions that the model saw when it was asked.

The page records what was in view when the model answered. Of a mask without that, such as an
imported or painted one, the view is chosen as a person would: the object fills up to a half of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from samkit.dataengine import given_prompts, list_annotations, prompted_views
from samkit.errors import PromptError
from samkit.formats import Region, level_sizes
from samkit.geometry import crop_rle, rle_area, rle_box_xyxy
from samkit.learning.lesson_images import ImageRegion, Lesson
from samkit.types import GivenPrompts

if TYPE_CHECKING:
    from samkit.dataengine import Annotation, Store, StoredImage

REGIONS_PER_IMAGE = 32  # at most; as much as this many images
LEVEL_IMAGES = 8  # the latest ones, by which masks are looked for at a level
LEAST_VIEW = 1024  # pixels of the image: what a model takes

View = tuple[float, float, float, float]


def region_lessons(store: Store, image: StoredImage) -> Iterator[tuple[ImageRegion, Lesson]]:
    """Yield the lessons of an image by tiles, at most 32: those with the most masks.

    They have no rejected masks, of which nobody knows in which region they were.
    """
    height, width = image.size_hw
    sizes = level_sizes((width, height))
    views, given = prompted_views(store, image.id), given_prompts(store, image.id)
    found: dict[Region, list[Annotation]] = {}
    for mask in list_annotations(store, image.id):
        if mask.area_px:
            region = region_of(mask, views.get(mask.id), sizes)
            found.setdefault(region, []).append(mask)
    most = sorted(found, key=lambda region: len(found[region]), reverse=True)  # stable
    for region in most[:REGIONS_PER_IMAGE]:
        rles, prompts = [], []
        for mask in found[region]:
            rle = crop_rle(
                mask.rle, corner_xy=region.corner_xy, size_hw=region.size_hw, factor=region.factor
            )
            if rle_area(rle):  # else it is too small to be seen at this level
                rles.append(rle)
                prompts.append(in_region(given.get(mask.id, GivenPrompts()), region))
        if rles:
            yield ImageRegion(image, region), Lesson(tuple(rles), tuple(prompts), ())


def in_region(given: GivenPrompts, region: Region) -> GivenPrompts:
    """Prompts in a region's own pixels; some may lie outside of it."""
    box = given.box_xyxy
    return GivenPrompts(
        clicks=tuple((*region.point(x, y), label) for x, y, label in given.clicks),
        box_xyxy=None if box is None else (*region.point(*box[:2]), *region.point(*box[2:])),
    )


def usual_level(store: Store, images: Sequence[StoredImage]) -> int:
    """The level of pyramids at which people made the most masks; 0 without any.

    Args:
        images: finished images by tiles, of which the latest ones count.
    """
    counts: Counter[int] = Counter()
    for image in images[-LEVEL_IMAGES:]:
        for seen, lesson in region_lessons(store, image):
            counts[seen.region.level] += len(lesson.rles)
    return counts.most_common(1)[0][0] if counts else 0


def region_of(mask: Annotation, view: View | None, sizes_wh: list[tuple[int, int]]) -> Region:
    """The region in which a mask was made, or would be.

    Args:
        view: what was in view when the model answered; None if that is unknown.
        sizes_wh: of the levels of the image's pyramid.
    """
    box = rle_box_xyxy(mask.rle)
    if view is not None:
        try:
            region = Region.of(view, sizes_wh)
        except PromptError:  # a history that somebody else wrote
            region = None
        if region is not None and region.has(box):
            return region
    return Region.of(usual_view(box), sizes_wh)


def usual_view(box_xyxy: tuple[int, int, int, int]) -> View:
    """A square view of an object that fills up to a half of it; neighbours share views.

    Its side is a power of two, and it begins at a multiple of half of that.
    """
    x0, y0, x1, y1 = box_xyxy
    side = max(LEAST_VIEW, 2 ** math.ceil(math.log2(2 * max(x1 - x0, y1 - y0))))
    step = side / 2
    left, top = (
        step * math.floor((centre - side / 4) / step) for centre in ((x0 + x1) / 2, (y0 + y1) / 2)
    )
    return left, top, left + side, top + side
