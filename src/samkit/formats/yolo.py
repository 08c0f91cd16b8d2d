"""YOLO's segmentation labels: one line of text for each mask, its outline as one polygon."""

from collections.abc import Sequence

from samkit.geometry.polygons import Ring, joined_outline
from samkit.geometry.rle import decode_rle_patch
from samkit.types import Masks

CLASS_NUMBER = 0  # of anything, where masks have no class
LEAST_POINTS = 3  # a line with fewer is taken for a box
DIGITS = 7  # a thousandth of a pixel at 10,000 pixels


def yolo_labels(masks: Masks, *, class_numbers: Sequence[int] | None = None) -> str:
    """Label file of one image: `0 x y x y ...` for each mask, coordinates from 0 to 1.

    `class_numbers` has the class of each mask, which is written in place of the 0.

    Points are centres of pixels on the rim: cut down to whole pixels, as Ultralytics does when it
    draws masks, they are those pixels again.

    What is lost, since a line has one polygon: parts and holes are joined by lines of one pixel's
    width. Scores are not part of the format, and empty masks have no outline.

    Source: docs.ultralytics.com, data sets for instance segmentation.
    """
    lines = []
    numbers = [CLASS_NUMBER] * len(masks) if class_numbers is None else class_numbers
    for rle, box_xyxy, number in zip(masks.rles, masks.boxes_xyxy, numbers, strict=True):
        outline = joined_outline(decode_rle_patch(rle, box_xyxy))
        if len(outline):
            lines.append(_line(number, outline + box_xyxy[:2], masks.size_hw))
    return "".join(lines)


def _line(number: int, outline: Ring, size_hw: tuple[int, int]) -> str:
    height, width = size_hw
    points = outline.tolist()
    points += [points[-1]] * (LEAST_POINTS - len(points))
    values = (f"{(x + 0.5) / width:.{DIGITS}g} {(y + 0.5) / height:.{DIGITS}g}" for x, y in points)
    return f"{number} {' '.join(values)}\n"
