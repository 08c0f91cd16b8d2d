"""YOLO segmentation labels: one line per mask, with its outline as one polygon."""

import json
from collections.abc import Sequence

from samkit.geometry import Ring, decode_rle_patch, joined_outline
from samkit.types import Masks

CLASS_NUMBER = 0  # for masks without classes
MIN_POINTS = 3  # a line with fewer is read as a box
DIGITS = 7  # a thousandth of a pixel at 10,000 pixels


def yolo_labels(masks: Masks, *, class_numbers: Sequence[int] | None = None) -> str:
    """Build the label file of one image: `0 x y x y ...` for each mask, coordinates from 0 to 1.

    `class_numbers` replaces the 0 by each mask's class.

    Points are the centres of pixels on the outline: truncated to integers, as Ultralytics does when
    it draws masks, they are those pixels again.

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
    """Build the data.yaml of a data set in its own folder.

    Args:
        class_names: in the order of their numbers, from 0.
        train: the split in images/ and labels/ for training.
        val: the split for validation.

    Source: docs.ultralytics.com, data sets for instance segmentation.
    """
    # JSON strings are valid YAML, whatever a class is named.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(class_names))
    return f"path: .\ntrain: images/{train}\nval: images/{val}\nnames:\n{names}"


def _line(number: int, outline: Ring, size_hw: tuple[int, int]) -> str:
    height, width = size_hw
    points = outline.tolist()
    points += [points[-1]] * (MIN_POINTS - len(points))
    values = (f"{(x + 0.5) / width:.{DIGITS}g} {(y + 0.5) / height:.{DIGITS}g}" for x, y in points)
    return f"{number} {' '.join(values)}\n"
