"""Import of masks from other programs, for images that the project already has.

Images are matched by their path below the root, or by their name where it is unique. Importing a
file again adds nothing.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import select

from samkit.dataengine.database import Store
from samkit.dataengine.exchange.readers import (
    ForeignImage,
    ForeignMask,
    read_coco_images,
    read_label_images,
    read_labelme_images,
    read_sa1b_images,
)
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find_locked
from samkit.dataengine.schema import ImageRow
from samkit.dataengine.values import REVIEWS, STAGES, NewEvent, check_choice
from samkit.dataengine.work import (
    MadeMask,
    add_made_masks,
    add_missing_classes,
    get_project,
    is_held,
    list_classes,
)
from samkit.errors import StoreError
from samkit.formats import base_name, page_export_name

READERS = {
    "coco": read_coco_images,
    "labelme": read_labelme_images,
    "png": read_label_images,
    "sa1b": read_sa1b_images,
}
ORIGIN = "import"  # also the kind of the event that each mask begins with


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Result of an import.

    Attributes:
        num_images: images of the project that the files had masks for.
        num_added: new masks.
        num_known: masks that an earlier import added.
        faults: one line for each file, image or mask that was skipped.
    """

    num_images: int
    num_added: int
    num_known: int
    faults: tuple[str, ...]


def import_masks(
    store: Store,
    project_id: int,
    path: str | os.PathLike[str],
    *,
    file_format: str,
    user_id: int,
    on_image: Callable[[int], None] | None = None,
) -> ImportReport:
    """Add masks from files to the images of a project.

    Args:
        path: coco: the JSON file; labelme and sa1b: a folder of JSON files; png: a folder of
            label images, named like the images.
        file_format: coco, labelme, png or sa1b.
        user_id: a reviewer or admin, to be recorded as the masks' author.
        on_image: called with the number of images done.

    Raises:
        StoreError: no such project or format, or the user is not a reviewer.
        DataError: the file or folder as a whole cannot be read.
    """
    check_choice("a format", file_format, tuple(READERS))
    get_project(store, project_id)
    with store.read() as session:
        acting_user(session, user_id, REVIEWERS)
    task = _Import(store=store, project_id=project_id, user_id=user_id)
    task.run(READERS[file_format](Path(path)), on_image)
    return ImportReport(
        num_images=task.num_images,
        num_added=task.num_added,
        num_known=task.num_known,
        faults=tuple(task.faults),
    )


@dataclass(kw_only=True)
class _Import:
    """A running import."""

    store: Store
    project_id: int
    user_id: int
    num_images: int = 0
    num_added: int = 0
    num_known: int = 0
    faults: list[str] = field(default_factory=list)

    def run(self, images: Iterable[ForeignImage], on_image: Callable[[int], None] | None) -> None:
        index = _ImageIndex(self.store, self.project_id)
        classes = {one.name: one.id for one in list_classes(self.store, self.project_id)}
        for number, image in enumerate(images):
            if on_image is not None:
                on_image(number)
            self.faults += [f"{image.name}: {fault}" for fault in image.faults]
            image_id = index.find(image.name)
            if image_id is None:
                if image.masks or not image.faults:
                    self.faults.append(f"{image.name}: the project has no image of this name")
                continue
            names = (one.class_name for one in image.masks)
            faults = add_missing_classes(self.store, self.project_id, names, classes)
            self.faults += [f"{image.name}: {fault}" for fault in faults]
            try:
                self._add(image_id, image, classes)
                self.num_images += 1
            except StoreError as error:
                self.faults.append(f"{image.name}: {error}")

    def _add(self, image_id: int, image: ForeignImage, classes: dict[str, int]) -> None:
        """Add one image's masks, in one transaction."""
        with self.store.write() as session:
            row = find_locked(session, ImageRow, image_id, "image")
            if is_held(row, self.store, but_by=self.user_id):
                raise StoreError("somebody is working on it: import it again later")
            untouched = row.num_masks == 0 and row.review == "none"
            added = add_made_masks(
                session,
                self.store,
                row,
                [_to_made_mask(mask, image.name) for mask in image.masks],
                user_id=self.user_id,
                class_ids=classes,
                origin=ORIGIN,
            )
            if untouched and image.review in REVIEWS:
                row.review, row.comment = image.review, image.comment
                row.open = image.review not in ("submitted", "accepted")
                row.version += 1
        self.num_added += added.num_added
        self.num_known += added.num_known
        self.faults += [f"{image.name}: {fault}" for fault in added.faults]


def _to_made_mask(mask: ForeignMask, file: str) -> MadeMask:
    return MadeMask(
        segmentation=mask.segmentation,
        class_name=mask.class_name,
        score=mask.score,
        stability=mask.stability,
        stage=mask.stage if mask.stage in STAGES else "imported",
        event=NewEvent(kind=ORIGIN, data={"file": file}),
    )


class _ImageIndex:
    """Looks up a project's images by path or name, with or without suffix."""

    def __init__(self, store: Store, project_id: int) -> None:
        query = select(ImageRow.id, ImageRow.path).where(ImageRow.project_id == project_id)
        self._by_key: dict[str, int | None] = {}
        with store.read() as session:
            found: list[Any] = list(session.execute(query))
        # Whole paths first, which are unique; a key that several images share finds none.
        for image_id, path in found:
            self._by_key[path] = image_id
        for make in (
            lambda pure: page_export_name(str(pure)),
            lambda pure: base_name(str(pure)),
            lambda pure: pure.name,
            lambda pure: page_export_name(pure.name),
            lambda pure: base_name(pure.name),
        ):
            shared: dict[str, int | None] = {}
            for image_id, path in found:
                key = make(PurePosixPath(path))
                shared[key] = None if key in shared else image_id
            for key, image in shared.items():
                self._by_key.setdefault(key, image)

    def find(self, name: str) -> int | None:
        pure = PurePosixPath(name)
        for key in (name, pure.name):
            if self._by_key.get(key) is not None:
                return self._by_key[key]
        return None
