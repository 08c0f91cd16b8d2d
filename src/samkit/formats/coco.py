"""COCO data sets: photos, masks as run-length codes, one category."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samkit.files import replacing
from samkit.types import Masks

CATEGORY = {"id": 1, "name": "object"}


def coco_dataset(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One COCO data set of the masks of several photos.

    Args:
        records: for each photo image (its path), width, height and masks, each of which has
            segmentation, area, bbox and predicted_iou.

    Returns:
        images, annotations and categories, as JSON takes them; numbers start at 1.

    Source: cocodataset.org, data format of object detection; `score` as in its results format.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, start=1):
        images.append(_image(image_id, record["image"], (record["height"], record["width"])))
        for mask in record["masks"]:
            fields = {key: mask[key] for key in ("segmentation", "area", "bbox")}
            fields["score"] = mask["predicted_iou"]
            annotations.append(_annotation(len(annotations) + 1, image_id, fields))
    return {"images": images, "annotations": annotations, "categories": [CATEGORY]}


def coco_annotations(masks: Masks, *, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
    """COCO's annotations of one photo; with `stability_score` where it was measured."""
    annotations = [
        _annotation(number, image_id, fields)
        for number, fields in enumerate(masks.to_coco(), start=first_id)
    ]
    if masks.stability is not None:
        for annotation, stability in zip(annotations, masks.stability, strict=True):
            annotation["stability_score"] = float(stability)
    return annotations


def write_coco(path: str | os.PathLike[str], photos: Iterable[tuple[str, Masks]]) -> Path:
    """Write one COCO data set of many photos, given one after another as (file name, masks).

    Only one photo's masks are held at a time, and the file is written whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    images: list[dict[str, Any]] = []
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for image_id, (file_name, masks) in enumerate(photos, start=1):
            images.append(_image(image_id, file_name, masks.size_hw))
            for annotation in coco_annotations(masks, image_id=image_id, first_id=count + 1):
                file.write((", " if count else "") + json.dumps(annotation))
                count += 1
        file.write(f'], "images": {json.dumps(images)}, "categories": {json.dumps([CATEGORY])}}}')
    return Path(path)


def _image(image_id: int, file_name: str, size_hw: tuple[int, int]) -> dict[str, Any]:
    height, width = size_hw
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}


def _annotation(number: int, image_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation of a mask's fields: segmentation, area, bbox and score."""
    where = {"id": number, "image_id": image_id, "category_id": CATEGORY["id"], "iscrowd": 0}
    return where | dict(fields)
