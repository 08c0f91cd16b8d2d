"""Reading LabelMe's JSON files: one for each image, shapes with labels."""

import base64
import binascii
import io
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from samkit.errors import FormatError
from samkit.formats.image import MAX_PIXELS
from samkit.geometry import Rle, encode_rle

BoolMask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class LabelMeFile:
    """What a file holds.

    Attributes:
        image: its image's path, as the file names it, with forward slashes.
        size_hw: of the image.
        labels: of each mask.
        rles: the masks. Shapes of one label and group are one mask.
        faults: of shapes that are no masks or broken, one line each.
    """

    image: str
    size_hw: tuple[int, int]
    labels: tuple[str, ...]
    rles: tuple[Rle, ...]
    faults: tuple[str, ...]


def read_labelme(path: str | os.PathLike[str]) -> LabelMeFile:
    """Read a file: polygons, rectangles, circles and masks.

    Pixels on a shape's outline belong to it, as LabelMe itself draws shapes.

    Raises:
        FormatError: missing, damaged, or another kind of file.
    """
    try:
        document = json.loads(Path(path).read_bytes())
        image = str(document["imagePath"]).replace("\\", "/")
        size_hw = (int(document["imageHeight"]), int(document["imageWidth"]))
        shapes = list(document["shapes"])
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise FormatError(f"{path} is not a file of LabelMe: {error}") from error
    if min(size_hw) < 1 or math.prod(size_hw) > MAX_PIXELS:
        raise FormatError(f"{path}: an image of {size_hw[1]} x {size_hw[0]} pixels cannot be")
    masks: dict[tuple[str, object], BoolMask] = {}
    faults = []
    for number, shape in enumerate(shapes, start=1):
        try:
            mask = _draw(shape, size_hw)
            group = shape.get("group_id")
            key = (str(shape["label"]), ("alone", number) if group is None else str(group))
        except FormatError as error:  # noqa: PERF203 - of one, the others are not affected
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


def _draw(shape: Any, size_hw: tuple[int, int]) -> BoolMask:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    # Pillow takes long for what is far outside, and no NaN.
    far = 2 * max(size_hw)
    if not all(-far <= value <= 2 * far for point in points for value in point):
        raise FormatError("a point lies far outside of the image")
    height, width = size_hw
    if kind == "mask":
        return _paste(shape["mask"], points, size_hw)
    page = Image.new("1", (width, height))
    pen = ImageDraw.Draw(page)
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
        raise FormatError(f"{kind!r:.40} of {len(points)} points is no mask")
    return np.array(page, bool)


def _paste(code: str, points: list[tuple[float, float]], size_hw: tuple[int, int]) -> BoolMask:
    """A mask that is kept as the PNG of its box, whose corners are the points, both inclusive."""
    (x0, y0), (x1, y1) = ((int(x), int(y)) for x, y in points)
    try:
        with Image.open(io.BytesIO(base64.b64decode(code, validate=True))) as opened:
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
