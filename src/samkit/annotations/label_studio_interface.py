"""Label Studio's labelling interface: where a task's image is, and which control draws masks."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from samkit.annotations.xml_files import parse_xml
from samkit.errors import DataError


@dataclass(frozen=True, kw_only=True)
class LabelInterface:
    """An image, and the brush for masks on it.

    Attributes:
        image: name of the image's tag.
        key: under which a task's data has the image's URL.
        brush: name of the control.
        labels: of the brush, in their order.
    """

    image: str
    key: str
    brush: str
    labels: tuple[str, ...]


def read_label_interface(text: str) -> LabelInterface:
    """Read a labelling interface: the first image that has a brush.

    Raises:
        DataError: it is not XML, or no image has a brush with labels.

    Source: labelstud.io, tags Image and BrushLabels.
    """
    root = parse_xml(text, name="the labelling interface")
    keys = {
        tag.get("name", ""): tag.get("value", "").removeprefix("$") for tag in root.iter("Image")
    }
    for brush in root.iter("BrushLabels"):
        image = brush.get("toName", "")
        if keys.get(image):
            return LabelInterface(
                image=image, key=keys[image], brush=brush.get("name", ""), labels=_labels(brush)
            )
    raise DataError(
        "the labelling interface needs an Image, and BrushLabels whose toName is the image's name"
    )


def _labels(control: ET.Element) -> tuple[str, ...]:
    return tuple(value for one in control.iter("Label") if (value := one.get("value", "")))
