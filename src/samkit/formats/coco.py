"""COCO data sets: images, masks as run-length codes; categories are what masks are called."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samkit.files import replacing
from samkit.types import Masks

OBJECT = "object"  # what masks without a phrase are called


class Categories:
    """Numbers of phrases from 1: of known ones first, then as they come; "object" where is none."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for phrase in known:
            self.number(phrase)

    def number(self, phrase: str | None) -> int:
        """Number of a phrase's category."""
        return self._numbers.setdefault(phrase or OBJECT, len(self._numbers) + 1)

    def entries(self) -> list[dict[str, Any]]:
        """All categories; "object" alone where there were no masks."""
        if not self._numbers:
            self.number(OBJECT)
        return [{"id": number, "name": name} for name, number in self._numbers.items()]


def coco_dataset(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One COCO data set of the masks of several images.

    Args:
        records: for each image image (its path), width, height and masks, each of which has
            segmentation, area, bbox and predicted_iou, and may have phrase and phrase_score.

    Returns:
        images, annotations and categories, as JSON takes them; numbers start at 1.

    Source: cocodataset.org, data format of object detection; `score` as in its results format.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories = Categories()
    for image_id, record in enumerate(records, start=1):
        images.append(_image(image_id, record["image"], (record["height"], record["width"])))
        for mask in record["masks"]:
            fields = {key: mask[key] for key in ("segmentation", "area", "bbox")}
            score = mask["predicted_iou"]
            fields["score"] = mask.get("phrase_score", score) if mask.get("phrase") else score
            fields["category_id"] = categories.number(mask.get("phrase"))
            annotations.append(_annotation(len(annotations) + 1, image_id, fields))
    return {"images": images, "annotations": annotations, "categories": categories.entries()}


def coco_annotations(
    masks: Masks, *, image_id: int, first_id: int = 1, categories: Categories | None = None
) -> list[dict[str, Any]]:
    """COCO's annotations of one image; with `stability_score` where it was measured.

    Masks that have phrases are of those categories, and their score is the phrase's; the predicted
    IoU is kept as `predicted_iou`. The score of masks that no phrase fits is their predicted IoU.
    """
    categories = Categories() if categories is None else categories
    annotations = []
    for index, fields in enumerate(masks.to_coco()):
        phrase, score = fields.pop("phrase", None), fields.pop("phrase_score", None)
        fields["category_id"] = categories.number(phrase)
        if score is not None:
            fields["predicted_iou"] = fields["score"]
        if phrase and score is not None:
            fields["score"] = score
        if masks.stability is not None:
            fields["stability_score"] = float(masks.stability[index])
        annotations.append(_annotation(first_id + index, image_id, fields))
    return annotations


def write_coco(
    path: str | os.PathLike[str],
    images: Iterable[tuple[str, Masks]],
    *,
    classes: Iterable[str] = (),
) -> Path:
    """Write one COCO data set of many images, given one after another as (file name, masks).

    Only one image's masks are held at a time, and the file is written whole or not at all.
    `classes` are the first categories, whether there are masks of them or not.

    Raises:
        OutputError: the file cannot be written.
    """
    entries: list[dict[str, Any]] = []
    categories = Categories(classes)
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for image_id, (file_name, masks) in enumerate(images, start=1):
            entries.append(_image(image_id, file_name, masks.size_hw))
            for annotation in coco_annotations(
                masks, image_id=image_id, first_id=count + 1, categories=categories
            ):
                file.write((", " if count else "") + json.dumps(annotation))
                count += 1
        file.write(f'], "images": {json.dumps(entries)}')
        file.write(f', "categories": {json.dumps(categories.entries())}}}')
    return Path(path)


def _image(image_id: int, file_name: str, size_hw: tuple[int, int]) -> dict[str, Any]:
    height, width = size_hw
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}


def _annotation(number: int, image_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation of a mask's fields: segmentation, area, bbox, score and category."""
    where = {"id": number, "image_id": image_id, "iscrowd": 0}
    return where | dict(fields)
