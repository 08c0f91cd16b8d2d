"""Records to export: a project's images with their masks."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import to_annotation, to_image
from samkit.dataengine.schema import AnnotationRow, ImageRow, RevisionRow
from samkit.dataengine.team_schema import HoneyPotMaskRow
from samkit.dataengine.values import Annotation, Review, StoredImage
from samkit.dataengine.work import answer_versions, list_classes
from samkit.errors import ConfigError
from samkit.formats import base_name, page_export_name
from samkit.geometry import Rle, rle_area, rle_box_xyxy
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
    """Iterate over a project's images in these states, with and without masks.

    Honey pots count as accepted images with the masks of their answers, whatever is on them now.
    """
    names = {one.id: one.name for one in list_classes(store, project_id)}
    after: int | None = 0
    while after is not None:
        images, after = _images_after(store, project_id, after, states)
        masks = _masks_of(store, images)
        for image in images:
            found = tuple(masks[image.id])
            yield ImageRecord(
                image=replace(image, path=page_export_name(image.path)),
                source=image.path,
                annotations=found,
                class_names=tuple(names.get(one.class_id or 0) for one in found),
            )


def _images_after(
    store: Store, project_id: int, after: int, states: Sequence[Review]
) -> tuple[tuple[StoredImage, ...], int | None]:
    """Read the next images in these states, and where to go on; None after the last one."""
    has_state = and_(ImageRow.review.in_(states), ~ImageRow.honey_pot)
    if "accepted" in states:
        has_state = or_(has_state, ImageRow.honey_pot)
    query = select(ImageRow).where(ImageRow.project_id == project_id, ImageRow.id > after)
    with store.read() as session:
        ordered = query.where(has_state).order_by(ImageRow.id).limit(IMAGES_AT_ONCE)
        rows = session.scalars(ordered).all()
        images = tuple(_as_exported(session, row) for row in rows)
    return images, images[-1].id if len(images) == IMAGES_AT_ONCE else None


def _as_exported(session: Session, row: ImageRow) -> StoredImage:
    image = to_image(row)
    if not row.honey_pot:
        return image
    number = len(answer_versions(session, row.id))
    return replace(image, review="accepted", open=False, num_masks=number)


def _masks_of(store: Store, images: tuple[StoredImage, ...]) -> dict[int, list[Annotation]]:
    """Read the masks of several images by one query."""
    sizes = {image.id: image.size_hw for image in images}
    query = select(AnnotationRow).where(
        AnnotationRow.image_id.in_(list(sizes)),
        ~AnnotationRow.deleted,
        ImageRow.id == AnnotationRow.image_id,
        ~ImageRow.honey_pot,
    )
    answers = (
        select(AnnotationRow, RevisionRow)
        .join(HoneyPotMaskRow, HoneyPotMaskRow.annotation_id == AnnotationRow.id)
        .join(
            RevisionRow,
            and_(
                RevisionRow.annotation_id == HoneyPotMaskRow.annotation_id,
                RevisionRow.version == HoneyPotMaskRow.version,
            ),
        )
        .join(ImageRow, ImageRow.id == AnnotationRow.image_id)
        .where(AnnotationRow.image_id.in_(list(sizes)), ImageRow.honey_pot)
        .order_by(AnnotationRow.id)
    )
    found: dict[int, list[Annotation]] = defaultdict(list)
    with store.read() as session:
        for row in session.scalars(query.order_by(AnnotationRow.id)):
            found[row.image_id].append(to_annotation(row, sizes[row.image_id]))
        for row, state in session.execute(answers):
            found[row.image_id].append(_as_it_was(row, state, sizes[row.image_id]))
    return found


def _as_it_was(row: AnnotationRow, state: RevisionRow, size_hw: tuple[int, int]) -> Annotation:
    """Return an annotation in an earlier state."""
    rle: Rle = {"size": list(size_hw), "counts": state.counts}
    return replace(
        to_annotation(row, size_hw),
        rle=rle,
        box_xyxy=rle_box_xyxy(rle),
        area_px=rle_area(rle),
        class_id=state.class_id,
        score=state.score,
        stability=state.stability,
        attributes=state.attributes,
        version=state.version,
        deleted=state.deleted,
    )
