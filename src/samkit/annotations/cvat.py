"""Reading CVAT's XML files "for images", version 1.1; datumaro writes them as well.

Shapes of one group and label are one mask, as in the COCO files that CVAT exports.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from samkit.annotations.model import (
    BROKEN,
    AnnotatedImage,
    AnnotatedMask,
    AnnotationList,
    Fault,
    ReadOptions,
    Shape,
    fault_of,
    find_files,
    with_size,
)
from samkit.annotations.numbers import coordinate
from samkit.annotations.shapes import (
    BOX_FAULT,
    BoxRle,
    box_shape,
    ellipse_shape,
    join_groups,
    polygon_shape,
)
from samkit.annotations.xml_files import read_xml, xml_root
from samkit.errors import DataError
from samkit.formats import OCCLUDED, parse_attribute

FORMAT = "cvat"
ROOT = "annotations"
NO_GROUP = (None, "", "0")
# What else CVAT has besides masks, polygons, boxes and ellipses.
OTHERS = ("points", "polyline", "skeleton", "cuboid")


def open_cvat(path: Path, options: ReadOptions) -> AnnotationList:
    """Read an XML file, or all of CVAT's in a folder.

    Raises:
        DataError: there are none, or the file is not CVAT's.
    """
    files = [path]
    if path.is_dir():
        files = [one for one in find_files(path, ".xml") if xml_root(one) == ROOT]
        if not files:
            raise DataError(f"{path} has no XML file of CVAT")
    images: list[AnnotatedImage] = []
    faults: list[Fault] = []
    for file in files:
        try:
            _read_file(file, options, images, faults)
        except DataError as error:  # noqa: PERF203 - one broken file leaves the others
            if not path.is_dir():
                raise
            faults.append(Fault(text=str(error), num_annotations=0))
    return AnnotationList(FORMAT, images, faults)


def _read_file(
    file: Path, options: ReadOptions, images: list[AnnotatedImage], faults: list[Fault]
) -> None:
    """Add a file's images, and what belongs to none of them."""
    root = read_xml(file)
    if root.tag != ROOT:
        raise DataError(f"{file} is not CVAT's: expected <{ROOT}>, got <{root.tag!s:.40}>")
    numeric = numeric_attributes(root)
    for element in root:
        if element.tag == "image" and element.get("name"):
            images.append(_read_image(element, file, options, numeric))
        elif element.tag == "image":
            faults.append(Fault(text="an image has no name", num_annotations=len(element)))
        elif element.tag == "track":
            faults.append(_track_fault(element))


def _track_fault(track: ET.Element) -> Fault:
    text = (
        f"track {track.get('id', '')!s:.20} ({track.get('label', '')!s:.40}): tracks of videos are"
        " not read: export the task as CVAT for images"
    )
    return Fault(text=text, num_annotations=len(track))


def numeric_attributes(root: ET.Element) -> frozenset[str]:
    """Names of the attributes that are numbers for all labels that have them."""
    kinds: dict[str, set[str]] = {}
    for one in root.iterfind("meta//attribute"):
        kinds.setdefault(one.findtext("name") or "", set()).add(one.findtext("input_type") or "")
    return frozenset(name for name, inputs in kinds.items() if inputs == {"number"})


def _read_image(
    element: ET.Element, file: Path, options: ReadOptions, numeric: Collection[str]
) -> AnnotatedImage:
    tags = [one.get("label", "") for one in element.findall("tag")]
    masks: list[tuple[str | None, AnnotatedMask]] = []
    faults: list[Fault] = []
    for number, shape in enumerate(element.iterfind("*"), start=1):
        where = f"shape {number} ({shape.tag!s:.20})"
        if shape.tag == "tag":
            if shape.find("attribute") is not None:
                text = f"{where}: attributes of tags are not read"
                faults.append(Fault(text=text, num_annotations=0))
            continue
        try:
            masks.append(_read_shape(shape, where, options, numeric))
        except (DataError, *BROKEN) as error:
            faults.append(fault_of(error, where))
    image = AnnotatedImage(
        name=element.attrib["name"],
        file=file,
        masks=join_groups(masks),
        faults=tuple(faults),
        tags=tuple(tag for tag in tags if tag),
    )
    return with_size(image, element.get("height"), element.get("width"))


def _read_shape(
    element: ET.Element, where: str, options: ReadOptions, numeric: Collection[str]
) -> tuple[str | None, AnnotatedMask]:
    """A shape's group and mask."""
    group, label = element.get("group_id"), element.get("label")
    mask = AnnotatedMask(
        where=where,
        shape=cvat_shape(element, options),
        class_name=label or None,
        attributes=cvat_attributes(element, numeric),
    )
    return None if group in NO_GROUP else group, mask


def cvat_attributes(element: ET.Element, numeric: Collection[str]) -> dict[str, str | bool | float]:
    """The attributes of a shape, by name."""
    found: dict[str, str | bool | float] = {}
    for one in element.findall("attribute"):
        name, value = one.get("name"), (one.text or "").strip()
        if name and value:
            found[name] = _to_number(value) if name in numeric else parse_attribute(value)
    return found | ({OCCLUDED: True} if element.get("occluded") == "1" else {})


def _to_number(text: str) -> str | float:
    try:
        return coordinate(text)
    except ValueError:
        return text


def cvat_shape(element: ET.Element, options: ReadOptions) -> Shape:
    """What a shape's element describes.

    Raises:
        DataError: it is malformed, or no mask.
    """
    given, kind = element.attrib, element.tag
    rotation = _number(given.get("rotation", "0"), "rotation")
    if kind == "mask":
        edges = _numbers(given, "left", "top", "width", "height")
        if not all(one.is_integer() for one in edges):
            raise DataError("its left, top, width and height must be whole numbers")
        left, top, width, height = (int(one) for one in edges)
        return BoxRle(_attribute(given, "rle"), (left, top, width, height))
    if kind == "polygon":
        return polygon_shape(np.array(_points(_attribute(given, "points"))))
    if kind == "ellipse":
        x, y, radius_x, radius_y = _numbers(given, "cx", "cy", "rx", "ry")
        return ellipse_shape(x, y, radius_x, radius_y, rotation=rotation)
    if kind == "box":
        if not options.boxes:
            raise DataError(BOX_FAULT)
        x0, y0, x1, y1 = _numbers(given, "xtl", "ytl", "xbr", "ybr")
        return box_shape(x0, y0, x1, y1, rotation=rotation)
    raise DataError("it is not a mask" if kind in OTHERS else "it is not a shape of CVAT")


def _attribute(given: dict[str, str], name: str) -> str:
    if name not in given:
        raise DataError(f"it has no {name}")
    return given[name]


def _numbers(given: dict[str, str], *names: str) -> list[float]:
    return [_number(_attribute(given, name), name) for name in names]


def _number(text: str, name: str) -> float:
    try:
        return coordinate(text)
    except ValueError as error:
        raise DataError(f"its {name} must be a number of pixels; got {text!r:.40}") from error


def _points(text: str) -> list[tuple[float, float]]:
    """Points x,y;x,y;... of which the last may have a semicolon as well."""
    found = []
    for point in (one for one in text.split(";") if one.strip()):
        values = point.split(",")
        if len(values) != 2:
            raise DataError(f"its points must be like 1,2;3,4;5,6; got {point.strip()!r:.40}")
        found.append((_number(values[0], "x"), _number(values[1], "y")))
    return found
