"""Writing COCO data sets: images, masks as RLEs, and categories, which name the masks.

`samkit.annotations` reads them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samkit.files import replacing, write_bytes
from samkit.formats.categories import Categories
from samkit.formats.json_list import JsonList, json_list
from samkit.types import Masks

# Marks the category of masks without a class, to tell it from a class of that name.
UNLABELLED_MARK = "unlabelled"


class CocoWriter:
    """Writes a data set image by image; only short entries of earlier images stay in memory."""

    def __init__(self, annotations: JsonList) -> None:
        self._annotations = annotations
        self.images: list[dict[str, Any]] = []

    def add_image(
        self,
        file_name: str,
        size_hw: tuple[int, int],
        annotations: Iterable[Mapping[str, Any]],
        **extras: Any,
    ) -> None:
        """Write an image's annotations; ids of images and annotations start at 1.

        Args:
            file_name: the image's path below the folder of images.
            size_hw: height and width of the image.
            annotations: fields of each mask: segmentation, area, bbox, iscrowd, category_id, ...
            extras: more fields of the image's entry.
        """
        image_id = len(self.images) + 1
        self.images.append(_image(image_id, file_name, size_hw) | extras)
        for fields in annotations:
            number = self._annotations.num_items + 1
            self._annotations.add({"id": number, "image_id": image_id, **fields})


@contextmanager
def coco_writer(
    path: str | os.PathLike[str], categories: Callable[[], Sequence[Mapping[str, Any]]]
) -> Iterator[CocoWriter]:
    """Open a COCO file for writing; on any error, nothing is written.

    Args:
        path: the JSON file.
        categories: called at the end, after all masks.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": ')
        with json_list(file) as annotations:
            writer = CocoWriter(annotations)
            yield writer
        rest = {"images": writer.images, "categories": categories()}
        file.write(f", {json.dumps(rest)[1:]}")


def write_coco(
    path: str | os.PathLike[str],
    images: Iterable[tuple[str, Masks]],
    *,
    classes: Iterable[str] = (),
) -> Path:
    """Write many images, given one after another as (file name, masks), as one COCO data set.

    Masks with a phrase belong to the category of that name; their score is the phrase's, and
    `predicted_iou` is their predicted IoU. The score of masks without a phrase is their predicted
    IoU. `stability_score` is present if it was measured. Only one image's masks are in memory at a
    time.

    Args:
        path: the JSON file.
        images: file name and masks of each image.
        classes: the first categories, whether or not there are masks of them.

    Raises:
        OutputError: the file cannot be written.
    """
    categories = Categories(classes)
    with coco_writer(path, lambda: category_entries(categories)) as writer:
        for file_name, masks in images:
            writer.add_image(file_name, masks.size_hw, _annotations(masks, categories))
    return Path(path)


def _annotations(masks: Masks, categories: Categories) -> Iterator[dict[str, Any]]:
    for index, fields in enumerate(masks.to_coco()):
        phrase, score = fields.pop("phrase", None), fields.pop("phrase_score", None)
        fields["category_id"] = categories.number(phrase)
        if score is not None:
            fields["predicted_iou"] = fields["score"]
        if phrase and score is not None:
            fields["score"] = score
        if masks.stability is not None:
            fields["stability_score"] = float(masks.stability[index])
        yield {"iscrowd": 0, **fields}


def category_entries(categories: Categories) -> list[dict[str, Any]]:
    """All categories in COCO's form; that of masks without a class has a mark for our reader."""
    entries: list[dict[str, Any]] = []
    for number, name in categories.items():
        mark = {"samkit": {UNLABELLED_MARK: True}} if number == categories.unlabelled else {}
        entries.append({"id": number, "name": name, **mark})
    return entries


def coco_dataset(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Build a COCO data set from image records of `samkit segment`.

    Args:
        records: for each image `image` (its path), `width`, `height` and `masks`, each of which has
            segmentation, area, bbox and predicted_iou (or another score), and may have phrase and
            phrase_score.

    Returns:
        images, annotations and categories, ready for JSON; numbers start at 1.

    Source: cocodataset.org, data format of object detection; `score` as in its results format.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories = Categories()
    for image_id, record in enumerate(records, start=1):
        images.append(_image(image_id, record["image"], (record["height"], record["width"])))
        for mask in record["masks"]:
            score = mask["score"] if "score" in mask else mask["predicted_iou"]
            ids = {"id": len(annotations) + 1, "image_id": image_id, "iscrowd": 0}
            fields = {key: mask[key] for key in ("segmentation", "area", "bbox")}
            fields["score"] = mask.get("phrase_score", score) if mask.get("phrase") else score
            fields["category_id"] = categories.number(mask.get("phrase"))
            annotations.append(ids | fields)
    return {
        "images": images,
        "annotations": annotations,
        "categories": category_entries(categories),
    }


def write_coco_records(path: str | os.PathLike[str], records: Sequence[Mapping[str, Any]]) -> Path:
    """Write the masks of all records as one COCO data set; return its path.

    See `coco_dataset`.
    """
    write_bytes(path, json.dumps(coco_dataset(records)).encode())
    return Path(path)


def _image(image_id: int, file_name: str, size_hw: tuple[int, int]) -> dict[str, Any]:
    height, width = size_hw
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}
