"""Reading COCO data sets: image entries with their annotations.

Entries stay as in the file, so that a broken one does not make the others unreadable. Masks are
validated by `segmentations`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samkit.errors import DataError
from samkit.files import read_json
from samkit.formats.coco import UNLABELLED_MARK


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoImage:
    """An entry of `images`.

    Attributes:
        entry: as in the file; may be anything unless `is_valid`.
        annotations: those of the image, without crowds (`iscrowd`), which are not instances.
    """

    entry: Any
    annotations: list[dict[str, Any]]

    @property
    def is_valid(self) -> bool:
        """Whether the entry has a file name and an id."""
        return (
            isinstance(self.entry, dict)
            and isinstance(self.entry.get("file_name"), str)
            and isinstance(self.entry.get("id"), int | str)
        )

    @property
    def file_name(self) -> str:
        """The image's path below the folder of images.

        Raises:
            DataError: the entry is not valid.
        """
        if not self.is_valid:
            raise DataError(f"not an image's entry: {self.entry!r:.60}")
        return str(self.entry["file_name"])


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoFile:
    """A COCO JSON file.

    Attributes:
        images: in the file's order.
        category_names: by id, as text.
        unlabelled: ids of the categories that samkit marks as "no class", as text.
    """

    images: list[CocoImage]
    category_names: Mapping[str, str]
    unlabelled: frozenset[str]

    def file_names(self) -> dict[str, str]:
        """File names of all valid images by their ids, as text."""
        return {str(one.entry["id"]): one.file_name for one in self.images if one.is_valid}

    def category_name(self, annotation: Mapping[str, Any]) -> str | None:
        """Name of an annotation's category; None if the file does not list it."""
        return self.category_names.get(str(annotation.get("category_id")))

    def class_name(self, annotation: Mapping[str, Any]) -> str | None:
        """Like `category_name`, but None for masks that were exported without a class."""
        is_unlabelled = str(annotation.get("category_id")) in self.unlabelled
        return None if is_unlabelled else self.category_name(annotation)


def read_coco(path: str | os.PathLike[str]) -> CocoFile:
    """Read a COCO JSON file and sort its annotations by image.

    Ids are compared as text. Annotations that are broken, or of an image that is not listed, are
    left out.

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
    by_image: dict[str, list[dict[str, Any]]] = {}
    for one in annotations:
        if isinstance(one, dict) and not one.get("iscrowd"):
            by_image.setdefault(str(one.get("image_id")), []).append(one)
    names, unlabelled = _categories(parts.get("categories"))
    return CocoFile(
        images=[
            CocoImage(entry=entry, annotations=by_image.get(_id_text(entry), []))
            for entry in entries
        ],
        category_names=names,
        unlabelled=unlabelled,
    )


def _id_text(entry: Any) -> str:
    """An entry's id as text; without an id, one that matches no annotation."""
    number = entry.get("id") if isinstance(entry, dict) else None
    return "" if number is None else str(number)


def _categories(entries: Any) -> tuple[dict[str, str], frozenset[str]]:
    """Names of categories by id, and the ids of those marked as no class."""
    names, unlabelled = {}, set()
    for one in entries if isinstance(entries, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            key = str(one.get("id"))
            names[key] = one["name"]
            extras = one.get("samkit")
            if isinstance(extras, dict) and extras.get(UNLABELLED_MARK):
                unlabelled.add(key)
    return names, frozenset(unlabelled)
