"""CVAT's XML "for images", version 1.1: masks without loss."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from samkit.files import replacing
from samkit.geometry import decode_rle_patch, rle_counts
from samkit.types import Masks

VERSION = "1.1"


class CvatWriter:
    """Writes images with their masks, one after another."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._num_images = 0

    def add_image(
        self, file_name: str, masks: Masks, labels: Sequence[str], sources: Sequence[str]
    ) -> None:
        """Write an image with its masks, of which empty ones are left out.

        Args:
            file_name: the image's path below the folder of images.
            masks: M masks.
            labels: the M masks' classes.
            sources: the M masks' origins: manual, semi-auto, auto or file.
        """
        height, width = masks.size_hw
        self._file.write(
            f'  <image id="{self._num_images}" name={quoteattr(file_name)} width="{width}"'
            f' height="{height}">\n'
        )
        self._num_images += 1
        boxes: list[list[int]] = masks.boxes_xyxy.tolist()
        for rle, (x0, y0, x1, y1), label, source in zip(
            masks.rles, boxes, labels, sources, strict=True
        ):
            if x1 > x0:
                runs = rle_counts(decode_rle_patch(rle, (x0, y0, x1, y1)).T)  # row by row
                self._file.write(
                    f"    <mask label={quoteattr(label)} source={quoteattr(source)}"
                    f' occluded="0" rle="{", ".join(map(str, runs))}" left="{x0}" top="{y0}"'
                    f' width="{x1 - x0}" height="{y1 - y0}" z_order="0"></mask>\n'
                )
        self._file.write("  </image>\n")


@contextmanager
def cvat_writer(
    path: str | os.PathLike[str], labels: Callable[[], Sequence[str]]
) -> Iterator[CvatWriter]:
    """Open an XML file for writing; on any error, nothing is written.

    Args:
        path: the file.
        labels: called at the end: all classes.

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
        names = "".join(
            f"<label><name>{escape(label)}</name><attributes></attributes></label>"
            for label in labels()
        )
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
            f"  <version>{VERSION}</version>\n  <meta><task><name>samkit</name>"
            f"<mode>annotation</mode><labels>{names}</labels></task></meta>\n"
        )
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write("</annotations>\n")
