"""Reading LabelMe files: one JSON file per image, with labelled shapes."""

import base64
import binascii
import io
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from samkit.arrays import BoolArray
from samkit.errors import DataError, FormatError
from samkit.files import read_json
from samkit.formats.pixels import MAX_PIXELS
from samkit.geometry import Rle, encode_rle


@dataclass(frozen=True, kw_only=True)
class LabelMeFile:
    """The content of a LabelMe file.

    Attributes:
        image: the image's path as the file states it, with forward slashes.
        size_hw: the image's size.
        labels: label of each mask.
        rles: the masks; shapes of one label and group are one mask.
        faults: one line about each shape that is broken or has no area.
    """

    image: str
    size_hw: tuple[int, int]
    labels: tuple[str, ...]
    rles: tuple[Rle, ...]
    faults: tuple[str, ...]


def read_labelme(path: str | os.PathLike[str]) -> LabelMeFile:
    """Read the polygons, rectangles, circles and masks of a LabelMe file.

    Pixels on a shape's outline belong to it, as in LabelMe itself.

    Raises:
        FormatError: the file is missing, damaged, or of another kind.
    """
    try:
        document = read_json(path)
        image = str(document["imagePath"]).replace("\\", "/")
        size_hw = (int(document["imageHeight"]), int(document["imageWidth"]))
        shapes = list(document["shapes"])
    except DataError as error:
        raise FormatError(str(error)) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise FormatError(f"{path} is not a LabelMe file: {error}") from error
    if min(size_hw) < 1 or math.prod(size_hw) > MAX_PIXELS:
        raise FormatError(f"{path}: an image of {size_hw[1]} x {size_hw[0]} pixels is not possible")
    masks: dict[tuple[str, object], BoolArray] = {}
    faults = []
    for number, shape in enumerate(shapes, start=1):
        try:
            mask = _draw(shape, size_hw)
            group = shape.get("group_id")
            key = (str(shape["label"]), ("alone", number) if group is None else str(group))
        except FormatError as error:  # noqa: PERF203 - one broken shape leaves the others
            faults.append(f"shape {number}: {error}")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            faults.append(f"shape {number} is broken: {type(error).__name__} {error}")
        else:
            masks[key] = masks[key] | mask if key in masks else mask
    return LabelMeFile(
        image=image,
        size_hw=size_hw,
        labels=tuple(label for label, _ in masks),
        rles=tuple(encode_rle(mask) for mask in masks.values()),
        faults=tuple(faults),
    )


def _draw(shape: Any, size_hw: tuple[int, int]) -> BoolArray:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    # Pillow is slow on points far outside, and fails on NaN.
    far = 2 * max(size_hw)
    if not all(-far <= value <= 2 * far for point in points for value in point):
        raise FormatError("a point lies far outside of the image")
    height, width = size_hw
    if kind == "mask":
        return _paste(shape["mask"], points, size_hw)
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    if kind == "polygon" and len(points) >= 3:
        pen.polygon(points, outline=1, fill=1)
    elif kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=1, fill=1)
    elif kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    else:
        raise FormatError(f"{kind!r:.40} of {len(points)} points is not a mask")
    return np.array(canvas, bool)


def _paste(png: str, points: list[tuple[float, float]], size_hw: tuple[int, int]) -> BoolArray:
    """A mask stored as a base64 PNG of its box; the points are the box's corners, inclusive."""
    (x0, y0), (x1, y1) = ((int(x), int(y)) for x, y in points)
    try:
        with Image.open(io.BytesIO(base64.b64decode(png, validate=True))) as opened:
            fits = opened.size == (x1 - x0 + 1, y1 - y0 + 1)
            inside = 0 <= x0 <= x1 < size_hw[1] and 0 <= y0 <= y1 < size_hw[0]
            patch = np.array(opened.convert("1"), bool) if fits and inside else None
    except (OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise FormatError(f"its PNG cannot be read: {error}") from error
    if patch is None:
        raise FormatError("its PNG does not fit its points, or the image")
    mask = np.zeros(size_hw, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = patch
    return mask
