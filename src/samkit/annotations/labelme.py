"""Reading LabelMe and X-AnyLabeling files: one JSON file per image, with labelled shapes."""

import base64
import binascii
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from samkit.annotations.model import (
    BROKEN,
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    Drawn,
    Fault,
    ReadOptions,
    describe,
    fault_of,
    files_and_root,
    folder_of,
    named_values,
    with_size,
)
from samkit.annotations.numbers import id_text, number_or_none
from samkit.annotations.shapes import join_groups
from samkit.annotations.spaces import resize
from samkit.arrays import BoolArray
from samkit.errors import DataError
from samkit.files import read_json
from samkit.geometry import encode_rle

FORMAT = "labelme"
# Shapes that are drawn as polygons of their points; those with four corners come from
# X-AnyLabeling, which turns rectangles.
POLYGONS = ("polygon", "rectangle", "rotation", "quadrilateral", "oriented_rectangle")
CORNERS = 2  # points of a rectangle that states two opposite corners


@dataclass(frozen=True)
class LabelMeShape:
    """A shape as in the file: shape_type, points, ...

    Pixels on its outline belong to it, as in LabelMe itself.
    """

    entry: dict[str, Any]

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        try:
            return Drawn(encode_rle(_draw(self.entry, space_hw, size_hw)))
        except BROKEN as error:
            raise DataError(f"broken: {describe(error)}") from error


def open_labelme(path: Path, options: ReadOptions) -> AnnotationFiles:
    """Read the JSON files in a folder and its subfolders, or one file.

    Raises:
        DataError: there are none.
    """
    files, root = files_and_root(path, ".json")
    return AnnotationFiles(FORMAT, files, root=root, reader=read_labelme, options=options)


def read_labelme(path: Path, root: Path, _options: ReadOptions) -> AnnotatedImage:
    """Read the polygons, rectangles, circles and masks of a LabelMe file.

    Raises:
        DataError: the file is missing, damaged, or of another kind.
    """
    document = read_json(path)
    shapes = document.get("shapes") if isinstance(document, dict) else None
    if not isinstance(shapes, list):
        raise DataError(f"{path} is not a LabelMe file: it has no list of shapes")
    stated = document.get("imagePath")
    masks, faults = _group(shapes)
    image = AnnotatedImage(
        name=stated if isinstance(stated, str) and stated else path.with_suffix("").name,
        has_suffix=isinstance(stated, str) and bool(stated),
        file=path,
        folder=folder_of(path, root),
        masks=masks,
        faults=faults,
        tags=tuple(name for name, on in named_values(document.get("flags")).items() if on is True),
    )
    return with_size(image, document.get("imageHeight"), document.get("imageWidth"))


def _group(shapes: Sequence[Any]) -> tuple[tuple[AnnotatedMask, ...], tuple[Fault, ...]]:
    """Masks of shapes: those of one label and group are one."""
    masks, faults = [], []
    for number, shape in enumerate(shapes, start=1):
        where = f"shape {number}"
        try:
            _check(shape)
        except (DataError, *BROKEN) as error:
            faults.append(fault_of(error, where))
            continue
        group, label = shape.get("group_id"), shape.get("label")
        mask = AnnotatedMask(
            where=where,
            shape=LabelMeShape(shape),
            class_name=str(label) if label is not None and label != "" else None,
            score=number_or_none(shape.get("score")),
            attributes=_attributes(shape),
        )
        masks.append((None if group in (None, "", False) else id_text(group), mask))
    return join_groups(masks), tuple(faults)


def _attributes(shape: dict[str, Any]) -> dict[str, Any]:
    """Flags of a shape, and what X-AnyLabeling adds."""
    difficult = {"difficult": True} if shape.get("difficult") is True else {}
    return named_values(shape.get("flags")) | named_values(shape.get("attributes")) | difficult


def _check(shape: Any) -> None:
    """Check that a shape has an area; whether it fits the image, drawing tells.

    Raises:
        DataError: it has none, such as a line.
    """
    if not isinstance(shape, dict):
        raise DataError(f"not a shape: {shape!r:.60}")
    kind, points = shape.get("shape_type") or "polygon", _points(shape)
    needed = {"mask": 2, "circle": 2, "rectangle": CORNERS}.get(kind, 3)
    is_known = kind in POLYGONS or kind in ("mask", "circle")
    if not is_known or len(points) < needed:
        raise DataError(f"{kind!r:.40} of {len(points)} points is not a mask")


def _points(shape: dict[str, Any]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in shape["points"]]


def _draw(shape: dict[str, Any], space_hw: tuple[int, int], size_hw: tuple[int, int]) -> BoolArray:
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape)
    # Pillow is slow on points far outside, and fails on NaN.
    far = 2 * max(space_hw)
    if not all(-far <= value <= 2 * far for point in points for value in point):
        raise DataError("a point lies far outside of the image")
    if kind == "mask":
        return resize(_paste(shape["mask"], points, space_hw), size_hw)
    scale_y, scale_x = (new / old for new, old in zip(size_hw, space_hw, strict=True))
    points = [(x * scale_x, y * scale_y) for x, y in points]
    canvas = Image.new("1", size_hw[::-1])
    pen = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), edge = points[0], points[1]
        radius = math.dist((x, y), edge)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    elif len(points) == CORNERS:
        (x0, y0), (x1, y1) = points
        pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=1, fill=1)
    else:
        pen.polygon(points, outline=1, fill=1)
    return np.array(canvas, bool)


def _paste(png: str, points: list[tuple[float, float]], size_hw: tuple[int, int]) -> BoolArray:
    """A mask stored as a base64 PNG of its box; the points are the box's corners, inclusive."""
    (x0, y0), (x1, y1) = ((int(x), int(y)) for x, y in points[:2])
    try:
        with Image.open(io.BytesIO(base64.b64decode(png, validate=True))) as opened:
            fits = opened.size == (x1 - x0 + 1, y1 - y0 + 1)
            inside = 0 <= x0 <= x1 < size_hw[1] and 0 <= y0 <= y1 < size_hw[0]
            patch = np.array(opened.convert("1"), bool) if fits and inside else None
    except (OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise DataError(f"its PNG cannot be read: {' '.join(str(error).split())}") from error
    if patch is None:
        raise DataError("its PNG does not fit its points, or the image")
    mask = np.zeros(size_hw, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = patch
    return mask
