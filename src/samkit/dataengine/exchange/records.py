"""Records to export: a project's images with their masks."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.rows import to_annotation
from samkit.dataengine.schema import AnnotationRow
from samkit.dataengine.values import Annotation, Review, StoredImage
from samkit.dataengine.work import list_classes, list_images
from samkit.errors import ConfigError
from samkit.formats import base_name, page_export_name
from samkit.types import Masks

IMAGES_AT_ONCE = 200
ALL, TRAIN, VAL = "all", "train", "val"
SPLIT_BITS = 32


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """An image, its masks in the order they were made, and their classes' names.

    Attributes:
        image: the image, whose path is that of the exported file; see `page_export_name`.
        source: its path in the project.
    """

    image: StoredImage
    source: str
    annotations: tuple[Annotation, ...]
    class_names: tuple[str | None, ...]

    @property
    def base(self) -> str:
        """The image's path without its suffix, from which the names of mask files derive."""
        return base_name(self.image.path)

    def masks(self) -> Masks:
        """Return the masks as one value; scores that were not measured are NaN."""
        every = self.annotations
        measured = [np.nan if one.stability is None else one.stability for one in every]
        return Masks(
            rles=tuple(one.rle for one in every),
            boxes_xyxy=np.array([one.box_xyxy for one in every], np.int64).reshape(-1, 4),
            areas=np.array([one.area_px for one in every], np.int64),
            scores=np.array([np.nan if one.score is None else one.score for one in every], "f4"),
            stability=np.array(measured, np.float32),
            size_hw=self.image.size_hw,
        )


def split_of(sha256: str, val_fraction: float) -> str:
    """Assign an image to a split by its content alone, so that adding images moves no other.

    Args:
        sha256: hash of the image's content.
        val_fraction: fraction of images for validation, in [0, 1); 0 makes a single split "all".

    Raises:
        ConfigError: val_fraction is out of range.
    """
    if not 0 <= val_fraction < 1:
        raise ConfigError(f"val_fraction must be at least 0 and below 1; got {val_fraction:g}")
    if val_fraction == 0:
        return ALL
    place = int(sha256[: SPLIT_BITS // 4], 16) / 2**SPLIT_BITS
    return VAL if place < val_fraction else TRAIN


def read_records(
    store: Store, project_id: int, *, states: Sequence[Review]
) -> Iterator[ImageRecord]:
    """Iterate over a project's images in these states, with and without masks."""
    names = {one.id: one.name for one in list_classes(store, project_id)}
    after: int | None = 0
    while after is not None:
        page = list_images(store, project_id, after=after, limit=IMAGES_AT_ONCE, review=states)
        masks = _masks_of(store, page.items)
        for image in page.items:
            found = tuple(masks[image.id])
            yield ImageRecord(
                image=replace(image, path=page_export_name(image.path)),
                source=image.path,
                annotations=found,
                class_names=tuple(names.get(one.class_id or 0) for one in found),
            )
        after = page.next_after


def _masks_of(store: Store, images: tuple[StoredImage, ...]) -> dict[int, list[Annotation]]:
    """Read the masks of several images by one query."""
    sizes = {image.id: image.size_hw for image in images}
    query = select(AnnotationRow).where(
        AnnotationRow.image_id.in_(list(sizes)), ~AnnotationRow.deleted
    )
    found: dict[int, list[Annotation]] = defaultdict(list)
    with store.read() as session:
        for row in session.scalars(query.order_by(AnnotationRow.id)):
            found[row.image_id].append(to_annotation(row, sizes[row.image_id]))
    return found
