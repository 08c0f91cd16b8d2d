"""COCO data sets: photos, masks as run-length codes, one category."""

from collections.abc import Mapping, Sequence
from typing import Any

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
        images.append(
            {
                "id": image_id,
                "file_name": record["image"],
                "width": record["width"],
                "height": record["height"],
            }
        )
        for mask in record["masks"]:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY["id"],
                    "segmentation": mask["segmentation"],
                    "area": mask["area"],
                    "bbox": mask["bbox"],
                    "iscrowd": 0,
                    "score": mask["predicted_iou"],
                }
            )
    return {"images": images, "annotations": annotations, "categories": [CATEGORY]}
