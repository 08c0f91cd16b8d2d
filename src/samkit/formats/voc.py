"""Pascal VOC segmentation: label images of instances and classes, and an XML file of boxes."""

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from samkit.errors import FormatError
from samkit.formats.attributes import Attributes, attribute_text
from samkit.formats.png import label_map, write_png
from samkit.types import Masks

VOC_FLAGS = ("truncated", "difficult", "occluded")
MAX_NUMBER = 254  # in VOC's 8-bit label images 255 is "void", 0 the background


def voc_instances(masks: Masks) -> npt.NDArray[np.uint8]:
    """Draw a label image (H, W) of instances, numbered from 1; smaller masks cover larger ones.

    Raises:
        FormatError: more masks than VOC can number.
    """
    if len(masks) > MAX_NUMBER:
        raise FormatError(
            f"VOC holds at most {MAX_NUMBER} masks an image; got {len(masks)}; png holds more"
        )
    return label_map(masks).astype(np.uint8)


def voc_classes(
    instances: npt.NDArray[np.uint8], class_numbers: Sequence[int]
) -> npt.NDArray[np.uint8]:
    """Turn a label image (H, W) of instances into one of classes.

    Args:
        instances: instances as returned by `voc_instances`.
        class_numbers: one for each mask, 1 to 254.

    Raises:
        FormatError: more classes than VOC can number.
    """
    if any(not 1 <= number <= MAX_NUMBER for number in class_numbers):
        raise FormatError(f"VOC numbers classes from 1 to {MAX_NUMBER}")
    table = np.array([0, *class_numbers], np.uint8)
    return np.asarray(table[instances], np.uint8)


def write_voc_png(path: str | os.PathLike[str], labels: npt.NDArray[np.uint8]) -> Path:
    """Write a label image (H, W) with VOC's colours; return its path."""
    return write_png(path, labels, palette=voc_palette())


def voc_palette() -> list[int]:
    """VOC's 256 colours as R, G, B, R, ...: the bits of a number go to the three in turn.

    Source: the VOC development kit's colour map.
    """
    colors = []
    for number in range(256):
        rgb = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                rgb[channel] |= ((number >> (3 * place + channel)) & 1) << (7 - place)
        colors += rgb
    return colors


def voc_labelmap(class_names: Sequence[str]) -> str:
    """Build the list of classes with their colours in label images, which CVAT and Datumaro read.

    Source: CVAT's documentation, Pascal VOC.
    """
    colors = np.array(voc_palette()).reshape(-1, 3).tolist()
    lines = [
        f"{name}:{red},{green},{blue}::\n"
        for name, (red, green, blue) in zip(("background", *class_names), colors, strict=False)
    ]
    return "".join(["# label:color_rgb:parts:actions\n", *lines])


def voc_xml(
    masks: Masks,
    *,
    file_name: str,
    class_names: Sequence[str],
    attributes: Sequence[Attributes] | None = None,
) -> bytes:
    """Build the XML file of one image: name, box and attributes of each mask, in order.

    Boxes are in VOC's pixels: the first one is 1, far edges are inclusive.

    Args:
        masks: M masks.
        file_name: the image's.
        class_names: the M masks' classes.
        attributes: the M masks' values by name. Those that VOC has no element for are in
            <attributes>, as from datumaro.

    Source: the VOC2012 development kit.
    """
    height, width = masks.size_hw
    root = ET.Element("annotation")
    _text(root, "filename", file_name)
    size = ET.SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        _text(size, name, value)
    _text(root, "segmented", int(len(masks) > 0))
    every = [{}] * len(masks) if attributes is None else attributes
    boxes = masks.boxes_xyxy.tolist()
    for name, (x0, y0, x1, y1), values in zip(class_names, boxes, every, strict=True):
        thing = ET.SubElement(root, "object")
        _text(thing, "name", name)
        _text(thing, "pose", "Unspecified")
        for flag in VOC_FLAGS:
            _text(thing, flag, int(bool(values.get(flag))))
        box = ET.SubElement(thing, "bndbox")
        for field, edge in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):
            _text(box, field, edge)
        others = {key: value for key, value in values.items() if key not in VOC_FLAGS}
        inner = ET.SubElement(thing, "attributes") if others else thing
        for key, value in others.items():
            one = ET.SubElement(inner, "attribute")
            _text(one, "name", key)
            _text(one, "value", attribute_text(value))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8"))


def _text(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)
