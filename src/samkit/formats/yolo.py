"""YOLO segmentation labels: one line per mask, with its outline as one polygon."""

import json
from collections.abc import Sequence

from samkit.formats.categories import OBJECT
from samkit.geometry import Ring, decode_rle_patch, joined_outline
from samkit.types import Masks

CLASS_NUMBER = 0  # for masks without classes
IMAGES = "images"
MIN_POINTS = 3  # a line with fewer is read as a box
# Of a pixel, in its width: rounding gives the pixel, also of numbers in single precision, which
# Ultralytics reads into, at 100,000 pixels.
CENTRE = 0.48
DIGITS = 7  # a thousandth of a pixel at 10,000 pixels


def yolo_labels(masks: Masks, *, class_numbers: Sequence[int] | None = None) -> str:
    """Build the label file of one image: `0 x y x y ...` for each mask, coordinates from 0 to 1.

    `class_numbers` replaces the 0 by each mask's class.

    Points are just before the centres of pixels on the outline: truncated to integers, as
    Ultralytics does when it draws masks, or rounded, as others do, they are those pixels again.

    Lossy, since a line has one polygon: parts and holes are joined by lines one pixel wide. Scores
    are not part of the format, and empty masks are left out.

    Source: docs.ultralytics.com, data sets for instance segmentation.
    """
    lines = []
    numbers = [CLASS_NUMBER] * len(masks) if class_numbers is None else class_numbers
    for rle, box_xyxy, number in zip(masks.rles, masks.boxes_xyxy, numbers, strict=True):
        outline = joined_outline(decode_rle_patch(rle, box_xyxy))
        if len(outline):
            lines.append(_line(number, outline + box_xyxy[:2], masks.size_hw))
    return "".join(lines)


def yolo_dataset_yaml(class_names: Sequence[str], *, train: str, val: str) -> str:
    """Build the data.yaml of a data set in its own folder, for which it need not name its place.

    Args:
        class_names: in the order of their numbers, from 0; if there are none, as in a data set
            without masks, one is named, since readers refuse a data set without classes.
        train: the split in images/ and labels/ for training.
        val: the split for validation.

    Source: docs.ultralytics.com, data sets for instance segmentation.
    """
    # JSON strings are valid YAML, whatever a class is named, but for the escapes of two halves of
    # a character, such as an emoji's.
    names = "".join(
        f"  {number}: {json.dumps(name, ensure_ascii=False)}\n"
        for number, name in enumerate(class_names or [OBJECT])
    )
    return f"train: images/{train}\nval: images/{val}\nnames:\n{names}"


def yolo_path(path: str) -> str:
    """Where an image is in a YOLO data set: folders called "images" get another name.

    Readers find an image's labels by its last folder of this name.
    """
    *folders, name = path.split("/")
    return "/".join([*(f"{one}_" if one == IMAGES else one for one in folders), name])


def _line(number: int, outline: Ring, size_hw: tuple[int, int]) -> str:
    points = outline.tolist()
    points += [points[-1]] * (MIN_POINTS - len(points))
    sides = size_hw[::-1]
    values = (
        f"{(place + CENTRE) / side:.{DIGITS}g}"
        for point in points
        for place, side in zip(point, sides, strict=True)
    )
    return f"{number} {' '.join(values)}\n"
