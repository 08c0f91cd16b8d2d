"""CVAT's XML "for images", version 1.1: masks without loss."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from samkit.files import replacing
from samkit.formats.attributes import OCCLUDED, Attributes, AttributeSpec, attribute_text
from samkit.geometry import decode_rle_patch, rle_counts
from samkit.types import Masks

VERSION = "1.1"
INPUTS = {"flag": "checkbox", "choice": "select", "number": "number", "text": "text"}


class CvatWriter:
    """Writes images with their masks, one after another."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._num_images = 0

    def add_image(
        self,
        file_name: str,
        masks: Masks,
        labels: Sequence[str],
        sources: Sequence[str],
        *,
        attributes: Sequence[Attributes] | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """Write an image with its masks, of which empty ones are left out.

        Args:
            file_name: the image's path below the folder of images.
            masks: M masks.
            labels: the M masks' classes.
            sources: the M masks' origins: manual, semi-auto, auto or file.
            attributes: the M masks' values by name.
            tags: of the image.
        """
        height, width = masks.size_hw
        self._file.write(
            f'  <image id="{self._num_images}" name={quoteattr(file_name)} width="{width}"'
            f' height="{height}">\n'
        )
        self._num_images += 1
        boxes: list[list[int]] = masks.boxes_xyxy.tolist()
        every = [{}] * len(masks) if attributes is None else attributes
        for rle, (x0, y0, x1, y1), label, source, values in zip(
            masks.rles, boxes, labels, sources, every, strict=True
        ):
            if x1 > x0:
                runs = rle_counts(decode_rle_patch(rle, (x0, y0, x1, y1)).T)  # row by row
                occluded = int(bool(values.get(OCCLUDED)))
                self._file.write(
                    f"    <mask label={quoteattr(label)} source={quoteattr(source)}"
                    f' occluded="{occluded}" rle="{", ".join(map(str, runs))}" left="{x0}"'
                    f' top="{y0}" width="{x1 - x0}" height="{y1 - y0}" z_order="0">'
                    f"{attribute_values(values)}</mask>\n"
                )
        for tag in tags:
            self._file.write(f'    <tag label={quoteattr(tag)} source="manual"></tag>\n')
        self._file.write("  </image>\n")


@contextmanager
def cvat_writer(
    path: str | os.PathLike[str],
    labels: Callable[[], Sequence[str]],
    *,
    attributes: Callable[[], Sequence[AttributeSpec]] = tuple,
    tags: Callable[[], Sequence[str]] = tuple,
) -> Iterator[CvatWriter]:
    """Open an XML file for writing; on any error, nothing is written.

    Args:
        path: the file.
        labels: called at the end: all classes.
        attributes: called at the end: what masks of each class may have.
        tags: called at the end: all tags of images, which are labels in CVAT.

    Raises:
        OutputError: the file cannot be written.

    Source: CVAT's documentation, "CVAT for image" 1.1, and `cvat_sdk.masks` for the runs.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        # Images are written aside, since the classes come first, and are known at the end.
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=temporary.parent) as images,
    ):
        yield CvatWriter(images)
        classes, specs = labels(), attributes()
        names = "".join(label_definition(one, specs) for one in classes)
        names += "".join(label_definition(one) for one in tags() if one not in classes)
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
            f"  <version>{VERSION}</version>\n  <meta><task><name>samkit</name>"
            f"<mode>annotation</mode><labels>{names}</labels></task></meta>\n"
        )
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write("</annotations>\n")


def label_definition(
    name: str, attributes: Sequence[AttributeSpec] = (), *, mutable: bool = False
) -> str:
    """A label and its attributes, as a task's `meta` has them.

    Args:
        mutable: whether the attributes change along a track.
    """
    inner = "".join(_definition(one, mutable) for one in attributes if one.name != OCCLUDED)
    return f"<label><name>{escape(name)}</name><attributes>{inner}</attributes></label>"


def _definition(spec: AttributeSpec, mutable: bool) -> str:  # noqa: FBT001
    values = "false" if spec.kind == "flag" else "\n".join(spec.choices)
    return (
        f"<attribute><name>{escape(spec.name)}</name><mutable>{mutable}</mutable>"
        f"<input_type>{INPUTS[spec.kind]}</input_type>"
        f"<default_value>{escape(values.partition(chr(10))[0])}</default_value>"
        f"<values>{escape(values)}</values></attribute>"
    )


def attribute_values(values: Attributes) -> str:
    """The attributes of a shape as elements; that it is occluded is said elsewhere."""
    return "".join(
        f"<attribute name={quoteattr(name)}>{escape(attribute_text(value))}</attribute>"
        for name, value in values.items()
        if name != OCCLUDED
    )
