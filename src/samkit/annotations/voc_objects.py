"""Objects in Pascal VOC's XML files, and in those of the old LabelMe for the web."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from samkit.annotations.model import BROKEN, SHAPE_ATTRIBUTES, Fault, Shape, describe
from samkit.annotations.numbers import coordinate, stated_size
from samkit.annotations.shapes import JoinedShapes, PixelPolygon, polygon_shape
from samkit.annotations.xml_files import read_xml
from samkit.errors import DataError
from samkit.formats import VOC_FLAGS, parse_attribute

ROOT = "annotation"
MIN_VALUES = 6  # three points
FIRST_PIXEL = 1  # in VOC, whose far edges are inclusive
EDGES = ("xmin", "ymin", "xmax", "ymax")
NO_NUMBER, YES = "", "1"
YES_WORDS = ("1", "true", "True", "yes")


@dataclass(frozen=True, kw_only=True)
class VocObject:
    """An object of an XML file.

    Attributes:
        where: names it in faults.
        shape: its polygons; None if it has none.
        box_xyxy: edges in pixels, of which the first is from 0 to 1; None if it has none.
        problem: why its mask is not read, if it has one that is not.
        attributes: VOC's flags, and values by name as datumaro writes them.
    """

    where: str
    class_name: str | None = None
    shape: Shape | None = None
    box_xyxy: tuple[float, float, float, float] | None = None
    problem: str = ""
    attributes: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VocObjects:
    """An XML file's objects in its order, also those that are broken; and the image's size."""

    objects: tuple[VocObject, ...] = ()
    size_hw: tuple[int, int] | None = None
    faults: tuple[Fault, ...] = ()


def read_objects(path: Path) -> VocObjects:
    """Read an XML file.

    Raises:
        DataError: it is missing, damaged, or of another kind.
    """
    root = read_xml(path)
    if root.tag != ROOT:
        raise DataError(f"{path} is not as in VOC: expected <{ROOT}>, got <{root.tag!s:.40}>")
    objects = [_read(one, index) for index, one in enumerate(root.findall("object"), start=1)]
    parts = len(root.findall("object/part"))
    text = f"{parts} parts of objects have boxes but no masks"
    return VocObjects(
        objects=tuple(objects),
        size_hw=_size(root),
        faults=(Fault(text=text, num_annotations=parts),) if parts else (),
    )


def _size(root: ET.Element) -> tuple[int, int] | None:
    if root.find("imagesize") is not None:
        return stated_size(_text(root, "imagesize/nrows"), _text(root, "imagesize/ncols"))
    return stated_size(_text(root, "size/height"), _text(root, "size/width"))


def _text(element: ET.Element, path: str) -> str | None:
    """Text of an element below; None if there is none."""
    found = element.findtext(path)
    return found.strip() if found else None


def _read(element: ET.Element, number: int) -> VocObject:
    where, name = f"object {number}", _text(element, "name")
    problem, shape, box = "", None, None
    try:
        box = _box(element)
        polygons = [_polygon(one) for one in element.findall("polygon") if len(one)]
        if _text(element, "deleted") == YES:
            problem = "it is deleted"
        elif element.find("segm/mask") is not None:
            problem = "its mask is in a picture of the old LabelMe, which is not read"
        elif polygons:
            shape = JoinedShapes(tuple(polygons)) if len(polygons) > 1 else polygons[0]
    except DataError as error:
        problem = str(error)
    except BROKEN as error:
        problem = f"it is broken: {describe(error)}"
    return VocObject(
        where=where,
        class_name=name,
        shape=shape,
        box_xyxy=box,
        problem=problem,
        attributes=_attributes(element),
    )


def _attributes(element: ET.Element) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {}
    for one in element.findall("attributes/attribute"):
        name, value = _text(one, "name"), _text(one, "value")
        if name and value is not None and name not in SHAPE_ATTRIBUTES:
            found[name] = parse_attribute(value)
    flags = {flag: _text(element, flag) for flag in VOC_FLAGS}
    return found | {flag: True for flag, value in flags.items() if value in YES_WORDS}


def _box(element: ET.Element) -> tuple[float, float, float, float] | None:
    """Edges of a box; whole numbers count pixels from 1, others are edges, as from CVAT."""
    box = element.find("bndbox")
    if box is None:
        return None
    x0, y0, x1, y1 = (coordinate(_text(box, edge) or NO_NUMBER) for edge in EDGES)
    counts = all(one.is_integer() for one in (x0, y0, x1, y1)) and min(x0, y0) >= FIRST_PIXEL
    return (x0 - FIRST_PIXEL, y0 - FIRST_PIXEL, x1, y1) if counts else (x0, y0, x1, y1)


def _polygon(element: ET.Element) -> Shape:
    """A polygon <x1>, <y1>, <x2>, ... through pixels that count from 1, or of LabelMe's <pt>."""
    points = element.findall("pt")
    if points:
        pairs = [(coordinate(_text(one, "x")), coordinate(_text(one, "y"))) for one in points]
        return polygon_shape(np.array(pairs))
    values = [coordinate(one.text) for one in element]
    if len(values) < MIN_VALUES or len(values) % 2:
        raise DataError(f"a polygon must be at least three points; it has {len(values)} numbers")
    # From the pixels' centres, as supervision reads them: any point in a pixel means the pixel.
    return PixelPolygon(tuple(value - FIRST_PIXEL + 0.5 for value in values))
