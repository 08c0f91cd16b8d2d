"""Import of masks from other programs, for images that the project already has.

Importing a file again adds nothing. Whatever a file holds is added, known from before, or left out
for a reason, and the report's numbers add up.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from samkit.annotations import (
    AnnotatedImage,
    AnnotatedMask,
    AnnotationSet,
    DrawnImage,
    Fault,
    ImageNames,
    ReadOptions,
    draw_image,
    faults_of_nothing,
    find_suspicions,
    open_annotations,
    place_notes,
)
from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find_locked
from samkit.dataengine.schema import ImageRow
from samkit.dataengine.values import REVIEWS, STAGES, NewEvent
from samkit.dataengine.work import (
    AttributeValue,
    ImageSource,
    Labelling,
    MadeMask,
    add_made_masks,
    add_missing_classes,
    add_to_labelling,
    get_labelling,
    get_project,
    is_held,
    is_open,
    kind_of,
    list_classes,
    record_tags,
)
from samkit.errors import DataError, ImageError, StoreError
from samkit.formats import UPRIGHT, page_export_name, read_size_and_orientation, split_page
from samkit.geometry import Rle

ORIGIN = "import"  # also the kind of the event that each mask begins with


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Result of an import.

    Attributes:
        file_format: the format that was read.
        num_annotations: annotations in the files: `num_added`, `num_known`, `num_joined` and
            `num_left_out` together.
        num_images: images of the project that the files had masks for.
        num_added: new masks.
        num_known: masks that an earlier import added.
        num_joined: annotations that are parts of these masks, besides the first of each.
        num_left_out: annotations that are none of these.
        faults: one line for each thing that was left out: an annotation, or a file or image with
            all its annotations.
        notes: one line for each image whose annotations were understood in an unusual way.
    """

    file_format: str
    num_annotations: int
    num_images: int
    num_added: int
    num_known: int
    num_joined: int
    num_left_out: int
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def import_masks(
    store: Store,
    project_id: int,
    path: str | os.PathLike[str],
    *,
    user_id: int,
    file_format: str | None = None,
    options: ReadOptions | None = None,
    on_image: Callable[[int], None] | None = None,
) -> ImportReport:
    """Add masks from files to the images of a project.

    Images are found by the paths or names that the files state, and by where the files are.

    Args:
        path: a file or folder; see `samkit.annotations.FORMATS`.
        user_id: a reviewer or admin, to be recorded as the masks' author.
        file_format: a key of `samkit.annotations.FORMATS`; None: it is detected.
        options: what annotations are read as.
        on_image: called with the number of images done.

    Raises:
        StoreError: no such project, or the user is not a reviewer.
        DataError: the file or folder as a whole cannot be read.
        ConfigError: no such format.
    """
    source = ImageSource(get_project(store, project_id).root)
    with store.read() as session:
        acting_user(session, user_id, REVIEWERS)
    annotations = open_annotations(Path(path), file_format, options)
    task = _Import(store=store, project_id=project_id, user_id=user_id, source=source)
    task.run(annotations, on_image)
    return task.report(annotations.format_name)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """An image of the project."""

    image_id: int
    path: str
    size_hw: tuple[int, int]


@dataclass(kw_only=True)
class _Import:
    """A running import."""

    store: Store
    project_id: int
    user_id: int
    source: ImageSource
    num_annotations: int = 0
    image_ids: set[int] = field(default_factory=set)
    num_added: int = 0
    num_known: int = 0
    num_joined: int = 0
    num_left_out: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labelling: Labelling = field(init=False)
    unfit: Counter[str] = field(default_factory=Counter)  # attributes that were left out

    def run(self, annotations: AnnotationSet, on_image: Callable[[int], None] | None) -> None:
        # Pages of a file go by the names that exports give them.
        found = _targets(self.store, self.project_id)
        targets = {page_export_name(path): target for path, target in found.items()}
        # Of two that would have one name, neither is found by it.
        names = ImageNames([page_export_name(path) for path in found])
        classes = {one.name: one.id for one in list_classes(self.store, self.project_id)}
        self.labelling = get_labelling(self.store, self.project_id)
        self._leave_out("", annotations.faults, counted=True)
        for index in range(len(annotations)):
            if on_image is not None:
                on_image(index)
            image = annotations.read(index)
            self.num_annotations += image.num_annotations
            if not image.name:
                self._leave_out("", faults_of_nothing(image))
                continue
            try:
                target = targets[self._find(names, image)]
                drawn = self._draw(image, target)
                self.notes += [
                    f"{image.name}: {note}" for note in place_notes(image.name, target.path)
                ]
                self._add(image, target, drawn, classes)
            except (DataError, ImageError, StoreError) as error:
                text = f"{error}" if not image.masks else f"{error}{_all_of(image.masks)}"
                lost = sum(one.num_annotations for one in image.masks)
                self._leave_out(image.name, [Fault(text=text, num_annotations=lost)])
                self._leave_out(image.name, image.faults)

    def report(self, file_format: str) -> ImportReport:
        self.faults += [
            f"{text}: left out of {count} mask{'' if count == 1 else 's'}"
            for text, count in self.unfit.items()
        ]
        accounted = self.num_added + self.num_known + self.num_joined + self.num_left_out
        if accounted != self.num_annotations:
            self.faults.append(
                f"of {self.num_annotations} annotations, {accounted} are accounted for: this is an"
                " error of samkit, please report it"
            )
        return ImportReport(
            file_format=file_format,
            num_annotations=self.num_annotations,
            num_images=len(self.image_ids),
            num_added=self.num_added,
            num_known=self.num_known,
            num_joined=self.num_joined,
            num_left_out=self.num_left_out,
            faults=tuple(self.faults),
            notes=tuple(self.notes),
        )

    def _find(self, names: ImageNames, image: AnnotatedImage) -> str:
        """The path of the image that a file means; beside it, if it lies among the images."""
        folder = image.folder
        root = self.source.folder
        if root is not None:
            place = image.file.resolve().parent
            if place.is_relative_to(root):
                folder = place.relative_to(root).as_posix()
                folder = "" if folder == "." else folder
        from_top = image.folder is None
        return names.find(image.name, folder=folder, from_top=from_top, has_suffix=image.has_suffix)

    def _draw(self, image: AnnotatedImage, target: _Target) -> DrawnImage:
        orientation = UPRIGHT
        if image.size_hw not in (None, target.size_hw):
            path, page = split_page(target.path)
            with self.source.open(path) as file:
                _, orientation = read_size_and_orientation(file, target.path, page=page or 1)
        return draw_image(image, target.size_hw, orientation)

    def _add(
        self, image: AnnotatedImage, target: _Target, drawn: DrawnImage, classes: dict[str, int]
    ) -> None:
        """Add one image's masks, in one transaction."""
        names = [one.class_name for one in drawn.masks]
        # Names that are not valid are told with the masks that have them.
        add_missing_classes(self.store, self.project_id, names, classes)
        self._offer(drawn.masks, image.tags)
        tags = [tag for tag in image.tags if tag in self.labelling.tags]
        with self.store.write() as session:
            row = find_locked(session, ImageRow, target.image_id, "image")
            if is_held(row, self.store, but_by=self.user_id):
                raise StoreError("somebody is working on it: import it again later")
            untouched = row.num_masks == 0 and row.review == "none"
            made = [
                _to_made_mask(mask, rle, image.name, self._attributes(mask))
                for mask, rle in zip(drawn.masks, drawn.rles, strict=True)
            ]
            added = add_made_masks(
                session,
                self.store,
                row,
                made,
                user_id=self.user_id,
                class_ids=classes,
                origin=ORIGIN,
            )
            if new := {*tags}.difference(row.tags):
                record_tags(session, self.store, row, [*row.tags, *new], user_id=self.user_id)
            if untouched and image.review in REVIEWS:
                row.review, row.comment = image.review, image.comment
                row.open = is_open(image.review)
                row.version += 1
        self.image_ids.add(target.image_id)
        self.num_added += added.num_added
        self.num_known += added.num_known
        suspicions = find_suspicions(drawn.rles, names)
        self.notes += [f"{image.name}: {note}" for note in (*drawn.notes, *suspicions)]
        self._leave_out(image.name, drawn.faults)
        for index, mask in enumerate(drawn.masks):
            if index in added.skipped:
                fault = Fault(text=added.skipped[index], num_annotations=mask.num_annotations)
                self._leave_out(image.name, [fault])
            else:
                self.num_joined += mask.num_annotations - 1

    def _offer(self, masks: Sequence[AnnotatedMask], tags: Sequence[str]) -> None:
        """Add the attributes and tags to the project that it does not have yet."""
        values = [pair for mask in masks for pair in mask.attributes.items()]
        kinds = {
            name: kind_of(value)
            for name, value in reversed(values)
            if self.labelling.find(name) is None and value not in (None, "")
        }
        unknown = {*tags}.difference(self.labelling.tags)
        if kinds or unknown:
            self.labelling, faults = add_to_labelling(self.store, self.project_id, kinds, unknown)
            self.faults += [one for one in faults if one not in self.faults]

    def _attributes(self, mask: AnnotatedMask) -> dict[str, AttributeValue]:
        """A mask's values that fit the project's attributes; the others are counted."""
        fitting: dict[str, AttributeValue] = {}
        for name, value in mask.attributes.items():
            try:
                fitting |= self.labelling.check({name: value})
            except StoreError as error:  # noqa: PERF203 - each may fail
                self.unfit[str(error)] += 1
        return fitting

    def _leave_out(self, name: str, faults: Iterable[Fault], *, counted: bool = False) -> None:
        """Record what was left out; `counted`: it is not among the images' annotations yet."""
        for fault in faults:
            self.faults.append(f"{name}: {fault.text}" if name else fault.text)
            self.num_left_out += fault.num_annotations
            if counted:
                self.num_annotations += fault.num_annotations


def _all_of(masks: Sequence[AnnotatedMask]) -> str:
    count = sum(one.num_annotations for one in masks)
    return f" ({count} annotation{'s' if count > 1 else ''} left out)"


def _targets(store: Store, project_id: int) -> dict[str, _Target]:
    """The project's images by their paths."""
    columns = (ImageRow.id, ImageRow.path, ImageRow.height, ImageRow.width)
    query = select(*columns).where(ImageRow.project_id == project_id)
    with store.read() as session:
        return {
            path: _Target(image_id=image_id, path=path, size_hw=(height, width))
            for image_id, path, height, width in session.execute(query)
        }


def _to_made_mask(
    mask: AnnotatedMask, rle: Rle, file: str, attributes: Mapping[str, AttributeValue]
) -> MadeMask:
    return MadeMask(
        segmentation=rle,
        class_name=mask.class_name,
        score=mask.score,
        stability=mask.stability,
        stage=mask.stage if mask.stage in STAGES else "imported",
        event=NewEvent(kind=ORIGIN, data={"file": file}),
        where=mask.where,
        attributes=attributes,
    )
