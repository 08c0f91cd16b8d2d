"""Reading datumaro's JSON files, version 1.0.

Shapes of one group and label are one mask, as in the COCO files that datumaro exports.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from samkit.annotations.model import (
    BROKEN,
    SHAPE_ATTRIBUTES,
    AnnotatedImage,
    AnnotatedMask,
    AnnotationList,
    Fault,
    ReadOptions,
    Shape,
    fault_of,
    find_files,
    named_values,
    read_each,
    take_options,
    with_size,
    words_of,
)
from samkit.annotations.numbers import coordinate, to_integer
from samkit.annotations.segmentations import CocoSegmentation
from samkit.annotations.shapes import (
    BOX_FAULT,
    box_shape,
    ellipse_shape,
    join_groups,
    polygon_shape,
)
from samkit.errors import DataError
from samkit.files import read_json
from samkit.formats import CROWD, has_image_suffix

FORMAT = "datumaro"
IMAGES = "images"
# What we say of masks, as attributes.
OUR_ATTRIBUTES = ("score", "stability")
LEFT_OUT = (*SHAPE_ATTRIBUTES, *OUR_ATTRIBUTES)
STAGES = ("assisted-manual", "semi-automatic", "fully-automatic", "imported")


def is_datumaro(document: Any) -> bool:
    """Whether a JSON file's content is datumaro's."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("items"), list)
        and isinstance(document.get("categories"), dict)
    )


def open_datumaro(path: Path, options: ReadOptions) -> AnnotationList:
    """Read a JSON file, or all of datumaro's in a folder.

    Raises:
        DataError: there are none, or the file is not datumaro's.
    """
    files = find_files(path, ".json") if path.is_dir() else [path]
    images: list[AnnotatedImage] = []
    faults: list[Fault] = []
    found = False
    for file, document in read_each(files, read_json, faults, raises=not path.is_dir()):
        if not is_datumaro(document):
            continue
        found = True
        names = _class_names(document["categories"])
        for number, item in enumerate(document["items"], start=1):
            image = _read_item(item, file, path, names, options)
            if image is None:
                faults.append(Fault(text=f"item {number} has no id", num_annotations=_count(item)))
            else:
                images.append(image)
    if not found:
        raise DataError(f"{path} is not datumaro's: expected `categories` and a list of `items`")
    return AnnotationList(FORMAT, images, faults)


def _class_names(categories: dict[str, Any]) -> list[Any]:
    """Names in the order of their numbers; what is not a name leaves its number unnamed."""
    label = categories.get("label")
    labels = label.get("labels") if isinstance(label, dict) else None
    entries = labels if isinstance(labels, list) else []
    return [one.get("name") if isinstance(one, dict) else None for one in entries]


def _count(item: Any) -> int:
    """Number of annotations in an item."""
    found = item.get("annotations") if isinstance(item, dict) else None
    return len(found) if isinstance(found, list) else 0


def _read_item(
    item: Any, file: Path, root: Path, names: list[Any], options: ReadOptions
) -> AnnotatedImage | None:
    """An item's image; None if it does not say which one it is."""
    name = item.get("id") if isinstance(item, dict) else None
    if not isinstance(name, str) or not name:
        return None
    masks: list[tuple[Hashable, AnnotatedMask]] = []
    faults: list[Fault] = []
    found = item.get("annotations")
    for number, one in enumerate(found if isinstance(found, list) else [], start=1):
        where = f"annotation {number}"
        try:
            masks.append(_read_annotation(one, where, names, options))
        except (DataError, *BROKEN) as error:
            faults.append(fault_of(error, where))
    path = _image_path(item)
    # datumaro names its copy of sub/b.png, whose id is sub/b, sub_b.png.
    of_id = (name.rpartition("/")[2], name.replace("/", "_"))
    is_by_id = not path or _without_suffix(path) in of_id
    annotated = AnnotatedImage(
        name=name if is_by_id else path,
        has_suffix=not is_by_id,
        file=file,
        folder=_image_folder(file, root),
        split=file.stem,
        masks=join_groups(masks),
        faults=tuple(faults),
        tags=words_of(named_values(item.get("attr")).get("tags")),
    )
    image = item.get("image")
    size = image.get("size") if isinstance(image, dict) else None
    height, width = size if isinstance(size, list) and len(size) == 2 else (None, None)
    return take_options(with_size(annotated, height, width), options)


def _image_path(item: dict[str, Any]) -> str:
    """The path of an item's image, which need not be like the item's id; empty if unknown."""
    parts = (item.get("image"), item.get("media"))
    paths = (one.get("path") for one in parts if isinstance(one, dict))
    return next((one for one in paths if isinstance(one, str) and has_image_suffix(one)), "")


def _without_suffix(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]


def _image_folder(file: Path, root: Path) -> str:
    """Where datumaro leaves the images of annotations/SUBSET.json."""
    folder = file.parent.parent / IMAGES / file.stem
    top = root if folder.is_relative_to(root) else file.parent.parent
    return folder.relative_to(top).as_posix()


def _read_annotation(
    one: Any, where: str, names: list[Any], options: ReadOptions
) -> tuple[Hashable, AnnotatedMask]:
    """An annotation's group and mask."""
    if not isinstance(one, dict):
        raise DataError(f"not an annotation: {one!r:.60}")
    label, group = one.get("label_id"), one.get("group")
    class_name = None
    if label is not None:
        number = to_integer(label)
        if not 0 <= number < len(names) or not isinstance(names[number], str):
            raise DataError(f"its label {number} is not listed")
        class_name = names[number]
    attributes = one.get("attributes")
    mask = AnnotatedMask(
        where=where,
        shape=_shape(one, options),
        class_name=class_name,
        is_crowd=isinstance(attributes, dict) and attributes.get("is_crowd") is True,
        attributes=_attributes(named_values(attributes)),
    )
    return str(group) if group else None, mask


def _attributes(found: dict[str, Any]) -> dict[str, Any]:
    """What is said of the object: neither of its shape, nor ours of its mask."""
    values = {name: value for name, value in found.items() if name not in LEFT_OUT}
    if values.get("stage") in STAGES:
        del values["stage"]
    if values.pop("is_crowd", None) is True:
        values[CROWD] = True
    return values


def _shape(one: dict[str, Any], options: ReadOptions) -> Shape:
    kind = one.get("type")
    if kind == "mask":
        return CocoSegmentation(one["rle"])
    if kind == "polygon":
        values = [coordinate(value) for value in one["points"]]
        return polygon_shape(np.array(values))
    if kind == "ellipse":
        x0, y0, x1, y1 = (coordinate(value) for value in one["points"])
        return ellipse_shape((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)
    if kind not in ("bbox", "rotated_bbox"):
        raise DataError(f"{kind!r:.40} is not a mask")
    if not options.boxes:
        raise DataError(BOX_FAULT)
    if kind == "bbox":
        x, y, width, height = (coordinate(value) for value in one["bbox"])
        return box_shape(x, y, x + width, y + height)
    x, y, width, height, rotation = (coordinate(value) for value in one["points"])
    half_w, half_h = width / 2, height / 2
    return box_shape(x - half_w, y - half_h, x + half_w, y + half_h, rotation=rotation)
