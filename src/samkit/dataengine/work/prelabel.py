"""Masks to begin with: automatic ones, with classes where text names them, before people come.

Whatever makes the masks is passed in, so that this room needs no model. An image is done with all
of its masks or not at all: a run that was stopped goes on where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pycocotools import mask as coco_mask
from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find, find_locked, to_image
from samkit.dataengine.schema import AnnotationRow, ImageRow, SubmissionRow
from samkit.dataengine.values import NewEvent, Stage, StoredImage
from samkit.dataengine.work.adding import MadeMask, add_made_masks, add_missing_classes
from samkit.dataengine.work.image_files import read_stored_image
from samkit.dataengine.work.projects import get_project, list_classes
from samkit.dataengine.work.queue import is_held
from samkit.dataengine.work.sources import ImageSource
from samkit.errors import DatabaseError, ImageError, StoreError
from samkit.formats.image import MAX_PIXELS, RgbImage
from samkit.types import Masks

Generate: TypeAlias = Callable[[RgbImage], Masks]

STAGE: Stage = "fully-automatic"
ORIGIN = "prelabel"
NOBODY = 0  # no user has this number: whoever holds an image, it is left alone
SAME_THING_IOU = 0.7  # as for boxes in samkit.proposals


@dataclass(frozen=True, kw_only=True)
class PrelabelReport:
    """What became of a project's images.

    Attributes:
        num_images: that were looked at, those on which nothing was found included.
        num_added: masks.
        num_labelled: of these, masks with a class.
        num_left: images that were left for another run, since somebody holds them or has begun
            them meanwhile.
        faults: of images and masks that were left out, one line each.
    """

    num_images: int
    num_added: int
    num_labelled: int
    num_left: int
    faults: tuple[str, ...]


def prelabel_images(
    store: Store,
    project_id: int,
    generate: Generate,
    *,
    user_id: int,
    on_image: Callable[[int, int], None] | None = None,
    only_empty: bool = True,
    again: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PrelabelReport:
    """Add automatic masks to the images of a project that nobody has begun.

    Masks get the stage "fully-automatic", and their phrase as class; a class that the project does
    not have yet is added. Images that somebody has submitted, that were reviewed, that are held, or
    that have had masks before are left alone, and so is an image on which an earlier run has found
    nothing.

    Args:
        store: where.
        project_id: of the project.
        generate: makes the masks of an image uint8 RGB (H, W, 3), such as `AutoMasker.generate` or
            `ClassMasker.generate`. What it raises ends the run, but an ImageError, which is told.
        user_id: a reviewer or admin, who counts as the masks' maker.
        on_image: told how many images of how many are done, at first 0.
        only_empty: leave out images that have, or had, any masks. If false, such images get the
            masks of things that have none yet, once.
        again: also images on which an earlier run has found nothing, such as with other classes.
        max_pixels: larger images are faults, before they are decoded.

    Raises:
        StoreError: no such project, its root is not there, or not by a reviewer.
    """
    ImageSource(get_project(store, project_id).root)  # told once, not for each image
    with store.read() as session:
        acting_user(session, user_id, REVIEWERS)
    run = _Run(
        store=store,
        project_id=project_id,
        generate=generate,
        user_id=user_id,
        only_empty=only_empty,
        again=again,
        max_pixels=max_pixels,
    )
    numbers = run.images()
    tell = on_image or (lambda done, total: None)  # noqa: ARG005
    tell(0, len(numbers))
    for done, image_id in enumerate(numbers, start=1):
        run.do(image_id)
        tell(done, len(numbers))
    return run.report()


@dataclass(kw_only=True)
class _Run:
    """One run, and what it counts."""

    store: Store
    project_id: int
    generate: Generate
    user_id: int
    only_empty: bool
    again: bool
    max_pixels: int
    num_images: int = 0
    num_added: int = 0
    num_labelled: int = 0
    num_left: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._class_ids = {one.name: one.id for one in list_classes(self.store, self.project_id)}

    def report(self) -> PrelabelReport:
        return PrelabelReport(
            num_images=self.num_images,
            num_added=self.num_added,
            num_labelled=self.num_labelled,
            num_left=self.num_left,
            faults=tuple(self.faults),
        )

    def images(self) -> Sequence[int]:
        """Numbers of the images that nobody has begun; some may be held."""
        query = select(ImageRow.id).where(ImageRow.project_id == self.project_id, self._unbegun())
        with self.store.read() as session:
            return session.scalars(query.order_by(ImageRow.id)).all()

    def do(self, image_id: int) -> None:
        """One image, or a line that says why not."""
        with self.store.read() as session:
            row = find(session, ImageRow, image_id, "image")
            image, is_free = to_image(row), self._is_free(session, row)
        if not is_free:
            self.num_left += 1
            return
        try:
            pixels = read_stored_image(self.store, image, max_pixels=self.max_pixels)
            self._add(image, self.generate(pixels))
        except DatabaseError:  # of all images
            raise
        except (ImageError, StoreError) as error:
            self._note(image, str(error))

    def _add(self, image: StoredImage, masks: Masks) -> None:
        """An image's masks, in one transaction."""
        made = made_masks(masks)
        names = [one.class_name for one in made]
        for fault in add_missing_classes(self.store, self.project_id, names, self._class_ids):
            self._note(image, fault)
        with self.store.write() as session:
            row = find_locked(session, ImageRow, image.id, "image")
            if not self._is_free(session, row):
                self.num_left += 1
                return
            added = add_made_masks(
                session,
                self.store,
                row,
                made if self.only_empty else _unlike_present(session, row, made),
                user_id=self.user_id,
                class_ids=self._class_ids,
                origin=ORIGIN,
            )
            if row.num_masks == 0:
                row.stage = STAGE  # the mark of an image on which nothing was found
        self.num_images += 1
        self.num_added += added.num_added
        self.num_labelled += added.num_labelled
        for fault in added.faults:
            self._note(image, fault)

    def _note(self, image: StoredImage, fault: str) -> None:
        line = " ".join(fault.split())
        self.faults.append(line if image.path in line else f"{image.path}: {line}")

    def _is_free(self, session: Session, row: ImageRow) -> bool:
        """Whether nobody holds an image, and nobody has begun it."""
        if is_held(row, self.store, but_by=NOBODY):
            return False
        query = select(ImageRow.id).where(ImageRow.id == row.id, self._unbegun())
        return session.scalar(query) is not None

    def _unbegun(self) -> ColumnElement[bool]:
        """Images that this run is for, whoever holds them."""
        masks = AnnotationRow.image_id == ImageRow.id  # deleted ones too: people have been there
        earlier = AnnotationRow.request_id.startswith(f"{ORIGIN}:")
        has_masks = exists().where(masks if self.only_empty else and_(masks, earlier))
        unbegun = and_(
            ImageRow.review == "none",
            # Of several annotators, all shall begin with the same masks.
            ~exists().where(SubmissionRow.image_id == ImageRow.id),
            ~has_masks,
        )
        if self.again:
            return unbegun
        return and_(unbegun, or_(ImageRow.stage != STAGE, exists().where(masks)))


def made_masks(masks: Masks) -> list[MadeMask]:
    """Automatic masks of an image as they are added: phrases are classes, "" is none."""
    count = len(masks)
    phrases = masks.phrases or ("",) * count
    stability = [None] * count if masks.stability is None else masks.stability.tolist()
    sure = [None] * count if masks.phrase_scores is None else masks.phrase_scores.tolist()
    return [
        MadeMask(
            segmentation=masks.rles[index],
            class_name=phrases[index] or None,
            score=float(masks.scores[index]),
            stability=stability[index],
            stage=STAGE,
            event=_event(phrases[index], sure[index]),
        )
        for index in range(count)
    ]


def _event(phrase: str, score: float | None) -> NewEvent:
    """What a mask comes from: words, or none."""
    if not phrase:
        return NewEvent(kind="import", data={"origin": ORIGIN})
    return NewEvent(kind="text", data={"phrase": phrase, "phrase_score": score})


def _unlike_present(session: Session, image: ImageRow, made: list[MadeMask]) -> list[MadeMask]:
    """Those of some masks whose thing has no mask on the image yet."""
    query = select(AnnotationRow.counts).where(
        AnnotationRow.image_id == image.id, ~AnnotationRow.deleted
    )
    size = [image.height, image.width]
    present = [{"size": size, "counts": counts} for counts in session.scalars(query)]
    if not made or not present:
        return made
    ious = coco_mask.iou([one.segmentation for one in made], present, [0] * len(present))
    return [one for one, row in zip(made, ious, strict=True) if row.max() <= SAME_THING_IOU]
