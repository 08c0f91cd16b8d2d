"""Pre-labelling: automatic masks, optionally with classes, for people to correct.

The mask generator is a parameter, so that this room needs no model. An image gets all of its masks
or none, so that an interrupted run can be resumed, and several runs share a project's images.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pycocotools import mask as coco_mask
from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from samkit.arrays import RgbImage
from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find_locked, to_image
from samkit.dataengine.schema import AnnotationRow, ImageRow, QualityAuditImageRow, SubmissionRow
from samkit.dataengine.values import NewEvent, Stage, StoredImage
from samkit.dataengine.work.adding import MadeMask, add_made_masks, add_missing_classes
from samkit.dataengine.work.classes import list_classes
from samkit.dataengine.work.image_files import read_image_below
from samkit.dataengine.work.image_jobs import ImageJobRun, held_images
from samkit.dataengine.work.leases import is_held
from samkit.dataengine.work.projects import get_project
from samkit.dataengine.work.sources import ImageSource
from samkit.errors import DatabaseError, ImageError, SamkitError, StoreError
from samkit.formats import MAX_PIXELS
from samkit.types import Masks

Generate: TypeAlias = Callable[[RgbImage], Masks]

STAGE: Stage = "fully-automatic"
ORIGIN = "prelabel"
NOBODY = 0  # id of no user: images are left alone whoever holds them
SAME_OBJECT_IOU = 0.7  # as for boxes in samkit.proposals


@dataclass(frozen=True, kw_only=True)
class PrelabelReport:
    """Result of pre-labelling a project.

    Attributes:
        num_images: number of images processed, including those on which nothing was found.
        num_added: number of masks added.
        num_labelled: number of added masks with a class.
        num_left: number of images left for another run, since somebody holds or has started them.
        faults: one line for each image or mask that was skipped.
    """

    num_images: int
    num_added: int
    num_labelled: int
    num_left: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class ImageGenerator:
    """Reads an image of a project and generates its masks, in any process that can read the files.

    Attributes:
        root: root of the project.
        max_pixels: larger images are not decoded.
    """

    root: str
    generate: Generate
    max_pixels: int

    @classmethod
    def of(
        cls, store: Store, project_id: int, generate: Generate, *, max_pixels: int = MAX_PIXELS
    ) -> "ImageGenerator":
        """Make one for a project.

        Raises:
            StoreError: no such project, or its root does not exist.
        """
        root = ImageSource(get_project(store, project_id).root).root
        return cls(root, generate, max_pixels)

    def __call__(self, image: StoredImage) -> Masks:
        """Read an image and generate its masks.

        Raises:
            ImageError, StoreError: it cannot be read, or has changed since it was added.
        """
        return self.generate(read_image_below(self.root, image, max_pixels=self.max_pixels))


class Prelabelling:
    """Pre-labelling of a project, in the steps that `samkit.batch` runs.

    `claim` and `commit` use the store; `generate` reads an image and generates its masks; `report`
    summarises the results.
    """

    def __init__(
        self,
        store: Store,
        project_id: int,
        generate: Callable[[StoredImage], Masks],
        *,
        user_id: int,
        only_empty: bool = True,
        again: bool = False,
        model_version_id: int | None = None,
    ) -> None:
        """Check the project and the user; see `samkit.batch.prelabel_images` for the arguments.

        Args:
            generate: reads an image and generates its masks, such as an `ImageGenerator`.
            model_version_id: the stored version that generates the masks, which their events name.

        Raises:
            StoreError: no such project, its root does not exist, or the user is not a reviewer.
        """
        # A root that is not there is one error here, not one for each image.
        ImageSource(get_project(store, project_id).root)
        with store.read() as session:
            acting_user(session, user_id, REVIEWERS)
        self.store = store
        self.project_id = project_id
        self.user_id = user_id
        self.only_empty = only_empty
        self.again = again
        self.generate = generate
        self.model_version_id = model_version_id
        self._run = ImageJobRun(store, ORIGIN)
        self._class_ids = {one.name: one.id for one in list_classes(store, project_id)}
        self._num_images = self._num_added = self._num_labelled = self._num_left = 0
        self._faults: list[str] = []

    def report(self) -> PrelabelReport:
        """Summarise the results so far."""
        return PrelabelReport(
            num_images=self._num_images,
            num_added=self._num_added,
            num_labelled=self._num_labelled,
            num_left=self._num_left,
            faults=tuple(self._faults),
        )

    def image_ids(self) -> Sequence[int]:
        """List the images that nobody has started, in order; some may be held."""
        return unstarted_images(
            self.store, self.project_id, only_empty=self.only_empty, again=self.again
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold what is claimed in the block until the block ends, however long it takes."""
        with self._run.renewing():
            yield

    def claim(self, image_id: int) -> StoredImage | Literal["theirs"] | None:
        """Take an image for this run.

        Returns:
            None if somebody holds or has started it in the meantime, or another run has failed with
            it; "theirs" while another run works on it.

        Raises:
            StoreError: no such image, or three runs ended while they worked on it.
        """
        with self.store.write() as session:
            row = find_locked(session, ImageRow, image_id, "image")
            if self._is_free(session, row):
                turn = self._run.claim(session, image_id, again=self.again)
                if turn == "ours":
                    return to_image(row)
                if turn == "theirs":
                    return turn
        self._num_left += 1
        return None

    def commit(self, image: StoredImage, masks: Masks) -> int | None:
        """Add an image's masks in one transaction.

        Returns:
            number of masks added; None if somebody has started the image in the meantime, or
            another run has it now, since this one seemed dead.
        """
        made = made_masks(masks, model_version_id=self.model_version_id)
        names = [one.class_name for one in made]
        for fault in add_missing_classes(self.store, self.project_id, names, self._class_ids):
            self._note(image, fault)
        with self.store.write() as session:
            row = find_locked(session, ImageRow, image.id, "image")
            is_ours = self._run.holds(session, image.id)
            self._run.finish(session, image.id)
            if not is_ours or not self._is_free(session, row):
                self._num_left += 1
                return None
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
                row.stage = STAGE  # marks an image on which nothing was found
        self._num_images += 1
        self._num_added += added.num_added
        self._num_labelled += added.num_labelled
        for fault in added.faults:
            self._note(image, fault)
        return added.num_added

    def is_fault(self, error: SamkitError) -> bool:
        """Whether an error concerns one image only, and not the store."""
        return isinstance(error, ImageError | StoreError) and not isinstance(error, DatabaseError)

    def add_fault(self, image: StoredImage | None, image_id: int, error: SamkitError) -> None:
        """Record an image that failed; `image` is None if it could not be claimed."""
        if image is not None:
            self._run.fail(image_id, " ".join(str(error).split()))
        if image is None:
            self._faults.append(" ".join(f"image {image_id}: {error}".split()))
        else:
            self._note(image, str(error))

    def _note(self, image: StoredImage, fault: str) -> None:
        line = " ".join(fault.split())
        self._faults.append(line if image.path in line else f"{image.path}: {line}")

    def _is_free(self, session: Session, row: ImageRow) -> bool:
        """Whether nobody holds an image and nobody has started it."""
        if is_held(row, self.store, but_by=NOBODY):
            return False
        unstarted = _unstarted(only_empty=self.only_empty, again=self.again)
        query = select(ImageRow.id).where(ImageRow.id == row.id, unstarted)
        return session.scalar(query) is not None


def unstarted_images(
    store: Store, project_id: int, *, only_empty: bool = True, again: bool = False
) -> Sequence[int]:
    """List the images of a project that nobody has started, in order; some may be held."""
    unstarted = _unstarted(only_empty=only_empty, again=again)
    query = select(ImageRow.id).where(ImageRow.project_id == project_id, unstarted)
    with store.read() as session:
        return session.scalars(query.order_by(ImageRow.id)).all()


def prelabelled_now(store: Store, project_id: int) -> Sequence[int]:
    """List the images of a project for which runs generate masks now."""
    with store.read() as session:
        return held_images(session, project_id, ORIGIN)


def _unstarted(*, only_empty: bool, again: bool) -> ColumnElement[bool]:
    """Select the images that a run is for, whoever holds them."""
    masks = AnnotationRow.image_id == ImageRow.id  # also deleted ones: somebody worked on them
    earlier = AnnotationRow.request_id.startswith(f"{ORIGIN}:")
    has_masks = exists().where(masks if only_empty else and_(masks, earlier))
    unstarted = and_(
        ImageRow.review == "none",
        # All of several annotators must start with the same masks.
        ~exists().where(SubmissionRow.image_id == ImageRow.id),
        # An audit has recorded which masks are automatic.
        ~exists().where(QualityAuditImageRow.image_id == ImageRow.id),
        ~has_masks,
    )
    if again:
        return unstarted
    return and_(unstarted, or_(ImageRow.stage != STAGE, exists().where(masks)))


def made_masks(masks: Masks, *, model_version_id: int | None = None) -> list[MadeMask]:
    """Convert masks to what the store adds; phrases become classes, "" no class."""
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
            event=_event(phrases[index], sure[index], model_version_id),
        )
        for index in range(count)
    ]


def _event(phrase: str, score: float | None, model_version_id: int | None) -> NewEvent:
    """Make the event that a mask comes from: text, or an import."""
    if not phrase:
        data = {"origin": ORIGIN}
        return NewEvent(kind="import", data=data, model_version_id=model_version_id)
    named = {"phrase": phrase, "phrase_score": score}
    return NewEvent(kind="text", data=named, model_version_id=model_version_id)


def _unlike_present(session: Session, image: ImageRow, made: list[MadeMask]) -> list[MadeMask]:
    """Return the masks of objects that have no mask on the image yet."""
    query = select(AnnotationRow.counts).where(
        AnnotationRow.image_id == image.id, ~AnnotationRow.deleted
    )
    size = [image.height, image.width]
    present = [{"size": size, "counts": counts} for counts in session.scalars(query)]
    if not made or not present:
        return made
    ious = coco_mask.iou([one.segmentation for one in made], present, [0] * len(present))
    return [one for one, row in zip(made, ious, strict=True) if row.max() <= SAME_OBJECT_IOU]
