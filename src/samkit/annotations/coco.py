"""Reading COCO data sets: one JSON file of images, annotations and categories.

Entries stay as in the file until they are asked for, so that a broken one does not make the others
unreadable. Numbers are compared by value: 7, 7.0 and "7" are one id.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samkit.annotations.model import (
    BROKEN,
    SHAPE_ATTRIBUTES,
    AnnotatedImage,
    AnnotatedMask,
    AnnotationList,
    Fault,
    ReadOptions,
    describe,
    find_files,
    folder_of,
    named_values,
    read_each,
    take_options,
    text_or_empty,
    with_size,
    words_of,
)
from samkit.annotations.numbers import id_text, number_or_none
from samkit.annotations.segmentations import CocoSegmentation
from samkit.annotations.shapes import BOX_FAULT
from samkit.errors import DataError
from samkit.files import read_json
from samkit.formats import CROWD, OCCLUDED, UNLABELLED_MARK

FORMAT = "coco"
# Roboflow's file in the folder of the images that it names.
BESIDE_IMAGES = "_annotations.coco.json"


# COCO's own files of one split: person_keypoints_ has the same masks as instances_, others none.
INSTANCES = "instances_"
OTHER_TASKS = ("captions_", "image_info_", "labels_", "panoptic_", "person_keypoints_", "stuff_")


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoImage:
    """An entry of `images` with the annotations that name it, as in the file."""

    entry: dict[str, Any]
    annotations: list[tuple[int, dict[str, Any]]]

    @property
    def file_name(self) -> str:
        """The image's path below the folder of images."""
        return str(self.entry["file_name"])


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoFile:
    """A COCO JSON file.

    Attributes:
        path: the file.
        images: in the file's order.
        category_names: by id; None for the category that samkit marks as "no class".
        shared_categories: ids that several categories have.
        faults: entries that are broken, or belong to nothing.
        has_categories: whether the file lists any.
    """

    path: Path
    images: list[CocoImage]
    category_names: Mapping[str, str | None]
    shared_categories: frozenset[str]
    faults: tuple[Fault, ...]
    has_categories: bool

    def file_names(self) -> dict[str, str]:
        """File names of all images by their ids, as text."""
        return {id_text(one.entry["id"]): one.file_name for one in self.images}

    def class_name(self, annotation: Mapping[str, Any]) -> str | None:
        """Name of an annotation's category; None for one without a class.

        Raises:
            DataError: it names no category, or one that the file does not list.
        """
        number = annotation.get("category_id")
        if number is None and not self.has_categories:
            return None
        if number is None:
            raise DataError("it has no category")
        key = id_text(number)
        if key not in self.category_names:
            raise DataError(f"its category {number!r:.40} is not listed")
        if key in self.shared_categories:
            raise DataError(f"several categories have its category's id {number!r:.40}")
        return self.category_names[key]


def read_coco(path: str | os.PathLike[str]) -> CocoFile:
    """Read a COCO JSON file and sort its annotations by image.

    Raises:
        DataError: the file is missing, not JSON, or not a COCO file.
    """
    document = read_json(path)
    parts = document if isinstance(document, dict) else {}
    entries, annotations = parts.get("images"), parts.get("annotations")
    if not isinstance(entries, list) or not isinstance(annotations, list):
        raise DataError(
            f"{Path(path)} is not a COCO file: expected the lists `images` and `annotations`"
        )
    images, faults = _images(entries)
    faults += _sort_annotations(annotations, images)
    categories = parts.get("categories")
    listed = categories if isinstance(categories, list) else []
    names, shared, category_faults = _categories(listed)
    return CocoFile(
        path=Path(path),
        images=[image for image in images.values() if image is not None],
        category_names=names,
        shared_categories=frozenset(shared),
        faults=(*faults, *category_faults),
        has_categories=bool(names),
    )


def open_coco(path: Path, options: ReadOptions) -> AnnotationList:
    """Read a COCO JSON file, or all of a folder, as a set of annotations.

    Raises:
        DataError: not a COCO file, or a folder without one.
    """
    others: list[Fault] = []
    if not path.is_dir():
        files = [read_coco(path)]
    else:
        paths, others = _choose_files(find_files(path, ".json"))
        files = [file for _, file in read_each(paths, read_coco, others, raises=False)]
        if not files:
            raise DataError(f"{path} has no COCO file: {others[0].text}")
    images = (
        take_options(_annotated(file, image, path, options), options)
        for file in files
        for image in file.images
    )
    faults = [fault for file in files for fault in file.faults]
    return AnnotationList(FORMAT, images, [*faults, *others])


def _choose_files(paths: list[Path]) -> tuple[list[Path], list[Fault]]:
    """Files of instances, and faults of others that have the same images for other tasks."""
    splits = {one.name.removeprefix(INSTANCES) for one in paths if one.name.startswith(INSTANCES)}
    chosen, faults = [], []
    for one in paths:
        task = next((task for task in OTHER_TASKS if one.name.startswith(task)), None)
        if task is not None and one.name.removeprefix(task) in splits:
            text = f"{one} is not read: its images are those of {INSTANCES}..."
            faults.append(Fault(text=text, num_annotations=0))
        else:
            chosen.append(one)
    return chosen, faults


def _images(entries: list[Any]) -> tuple[dict[str, CocoImage | None], list[Fault]]:
    """Images by id; None for an id that several have, whose annotations could be of either."""
    images: dict[str, CocoImage | None] = {}
    faults = []
    for index, entry in enumerate(entries, start=1):
        if not _is_image(entry):
            text = f"not an image's entry: {entry!r:.60}"
            faults.append(Fault(text=f"image {index}: {text}", num_annotations=0))
            continue
        key = id_text(entry["id"])
        earlier = images.get(key)
        if key not in images:
            images[key] = CocoImage(entry=entry, annotations=[])
        elif earlier is None or earlier.file_name != entry["file_name"]:
            images[key] = None
            text = f"image {index}: several images have the id {entry['id']!r:.40}"
            faults.append(Fault(text=f"{text}, among them {entry['file_name']}", num_annotations=0))
    return images, faults


def _is_image(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("file_name"), str)
        and entry["file_name"].strip() != ""
        and isinstance(entry.get("id"), int | float | str)
        and not isinstance(entry.get("id"), bool)
    )


def _sort_annotations(
    annotations: list[Any], images: Mapping[str, CocoImage | None]
) -> Iterator[Fault]:
    """Give each annotation to its image; yield a fault for each that has none."""
    for index, one in enumerate(annotations, start=1):
        where = f"annotation {_name(one, index)}"
        if not isinstance(one, dict):
            yield Fault(text=f"{where}: not an annotation: {one!r:.60}")
            continue
        number = one.get("image_id")
        key = id_text(number)
        image = images.get(key)
        if number is None:
            yield Fault(text=f"{where}: it names no image")
        elif key not in images:
            yield Fault(text=f"{where}: its image {number!r:.40} is not listed")
        elif image is None:
            yield Fault(text=f"{where}: several images have its image's id {number!r:.40}")
        else:
            image.annotations.append((index, one))


def _name(annotation: Any, index: int) -> str:
    """An annotation's id; without one, its place in the list."""
    number = annotation.get("id") if isinstance(annotation, dict) else None
    return f"{number!s:.40}" if isinstance(number, int | str) else f"no. {index}"


def _categories(entries: list[Any]) -> tuple[dict[str, str | None], set[str], list[Fault]]:
    """Names of categories by id, None for the one that is marked as no class; ids of several."""
    names: dict[str, str | None] = {}
    shared = set()
    faults = []
    for index, one in enumerate(entries, start=1):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or "id" not in one:
            text = f"category {index}: it needs an id and a name: {one!r:.60}"
            faults.append(Fault(text=text, num_annotations=0))
            continue
        key, extras = id_text(one["id"]), one.get("samkit")
        marked = isinstance(extras, dict) and bool(extras.get(UNLABELLED_MARK))
        name = None if marked or not one["name"].strip() else one["name"]
        if names.setdefault(key, name) != name:
            shared.add(key)
            text = f"category {index}: {name!r:.40} has the id of {names[key]!r:.40}"
            faults.append(Fault(text=text, num_annotations=0))
    return names, shared, faults


def _annotated(
    file: CocoFile, image: CocoImage, root: Path, options: ReadOptions
) -> AnnotatedImage:
    masks, faults, notes = [], [], []
    for index, one in image.annotations:
        where = f"annotation {_name(one, index)}"
        try:
            masks.append(_mask(file, one, where, options))
        except DataError as error:
            faults.append(Fault(text=f"{where}: {error}"))
        except BROKEN as error:
            faults.append(Fault(text=f"{where} is broken: {describe(error)}"))
    unclear = sum(one.is_crowd and CROWD not in one.attributes for one in masks)
    if unclear:
        notes.append(
            f"{unclear} mask{'s are' if unclear > 1 else ' is'} marked iscrowd, as CVAT marks all"
            " that are no polygons: not taken for crowds"
        )
    entry = image.entry
    found = entry.get("samkit")
    extras = found if isinstance(found, dict) else {}
    annotated = AnnotatedImage(
        name=image.file_name,
        file=file.path,
        folder=_folder(file.path, root),
        split=_split(file.path, root),
        masks=tuple(masks),
        review=text_or_empty(extras.get("review")),
        comment=text_or_empty(extras.get("comment")),
        faults=tuple(faults),
        notes=tuple(notes),
        tags=words_of(extras.get("tags")),
    )
    return with_size(annotated, entry.get("height"), entry.get("width"))


def _split(path: Path, root: Path) -> str:
    """Split of a file among several: the name of its folder in Roboflow's, else its own."""
    if not root.is_dir():
        return ""
    return folder_of(path, root) if path.name == BESIDE_IMAGES else path.stem


def _folder(path: Path, root: Path) -> str | None:
    """Where a file's names are looked for first: beside it, for Roboflow's files."""
    if path.name != BESIDE_IMAGES:
        return None
    return folder_of(path, root if root.is_dir() else path.parent)


def _mask(
    file: CocoFile, annotation: Mapping[str, Any], where: str, options: ReadOptions
) -> AnnotatedMask:
    """Read an annotation; samkit's own fields, if any, are more exact than the standard ones."""
    found = annotation.get("samkit")
    extras = found if isinstance(found, dict) else {}
    return AnnotatedMask(
        where=where,
        shape=CocoSegmentation(_segmentation(annotation, options)),
        class_name=file.class_name(annotation),
        score=number_or_none(extras.get("score", annotation.get("score"))),
        stability=number_or_none(extras.get("stability", annotation.get("stability_score"))),
        stage=text_or_empty(extras.get("stage")),
        is_crowd=_is_true(annotation.get("iscrowd")),
        attributes=_attributes(annotation, by_cvat=not extras),
    )


def _attributes(annotation: Mapping[str, Any], *, by_cvat: bool) -> dict[str, Any]:
    """Attributes as CVAT writes them, and `iscrowd` where it says that the mask is a crowd."""
    found = named_values(annotation.get("attributes"))
    values = {name: value for name, value in found.items() if name not in SHAPE_ATTRIBUTES}
    if _is_true(annotation.get("iscrowd")) and not (by_cvat and OCCLUDED in found):
        values[CROWD] = True
    return values


def _segmentation(annotation: Mapping[str, Any], options: ReadOptions) -> Any:
    """An annotation's mask, or its box if boxes are wanted as masks."""
    segmentation = annotation.get("segmentation")
    box = annotation.get("bbox")
    if segmentation or not isinstance(box, list) or len(box) != 4:
        return segmentation
    if not options.boxes:
        raise DataError(BOX_FAULT)
    x, y, width, height = (float(value) for value in box)
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def _is_true(value: Any) -> bool:
    """Whether a flag is set, which may be 0, 1, "0", "1", or missing."""
    return str(value).strip().lower() not in ("0", "0.0", "false", "none", "")
