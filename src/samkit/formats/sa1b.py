"""JSON files as in the SA-1B data set: one per image, with masks as COCO RLEs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samkit.errors import DataError, FormatError
from samkit.files import read_json, write_bytes
from samkit.geometry import rle_area, rle_box_xyxy, xywh_to_xyxy, xyxy_to_xywh
from samkit.types import Masks

NO_POINT = (np.nan, np.nan)  # for masks that answer no point
IMAGE_ID_BITS = 52  # integers that are exact even in JSON readers that only have 64-bit floats


def image_id_from_name(file_name: str) -> int:
    """Image id derived from the name alone, so that it is the same in every run."""
    digest = hashlib.sha256(file_name.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - IMAGE_ID_BITS)


def sa1b_document(masks: Masks, *, file_name: str, image_id: int | None = None) -> dict[str, Any]:
    """Build the SA-1B document of one image's masks.

    Args:
        masks: all masks of the image.
        file_name: the image's name.
        image_id: default: derived from the name.

    Returns:
        `image` and `annotations`, ready for JSON. Annotation ids start at 1. Scores that were not
        measured (NaN) are null; masks that answer no point have empty point_coords. Phrases are
        in `phrase` and `phrase_score`, which SA-1B itself does not have.

    Source: arXiv:2304.02643, the data set's released files.
    """
    height, width = masks.size_hw
    full_image = np.tile(np.array([0, 0, width, height]), (len(masks), 1))
    crops_xyxy = full_image if masks.crops_xyxy is None else masks.crops_xyxy
    boxes_xywh = xyxy_to_xywh(masks.boxes_xyxy)
    crops_xywh = xyxy_to_xywh(crops_xyxy)
    annotations = [
        {
            "id": index + 1,
            "segmentation": rle,
            "area": int(masks.areas[index]),
            "bbox": boxes_xywh[index].tolist(),
            "predicted_iou": _number_or_null(masks.scores[index]),
            "stability_score": None
            if masks.stability is None
            else _number_or_null(masks.stability[index]),
            "point_coords": _point(masks, index),
            "crop_box": crops_xywh[index].tolist(),
        }
        | _phrase(masks, index)
        for index, rle in enumerate(masks.rles)
    ]
    image = {
        "image_id": image_id_from_name(file_name) if image_id is None else image_id,
        "width": width,
        "height": height,
        "file_name": file_name,
    }
    return {"image": image, "annotations": annotations}


def _point(masks: Masks, index: int) -> list[list[float]]:
    """The point that a mask answers, in a list that is empty if it answers none."""
    if masks.points_xy is None or np.isnan(masks.points_xy[index]).any():
        return []
    return [masks.points_xy[index].tolist()]


def _phrase(masks: Masks, index: int) -> dict[str, Any]:
    if masks.phrases is None or masks.phrase_scores is None:
        return {}
    return {
        "phrase": masks.phrases[index],
        "phrase_score": _number_or_null(masks.phrase_scores[index]),
    }


def _number_or_null(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def masks_from_sa1b(document: Mapping[str, Any]) -> Masks:
    """Read masks from an SA-1B document with all its fields, such as `sa1b_document` builds.

    Raises:
        FormatError: keys are missing, or values disagree.
    """
    try:
        image, annotations = document["image"], document["annotations"]
        size_hw = (int(image["height"]), int(image["width"]))
        rles = tuple(one["segmentation"] for one in annotations)
        areas = np.array([int(one["area"]) for one in annotations], np.int64)
        # Not the file's boxes, which need not be tight.
        boxes_xyxy = np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4)
        crops_xywh = np.array([one["crop_box"] for one in annotations], np.float64).reshape(-1, 4)
        stability = np.array([one["stability_score"] for one in annotations], np.float32)
        points = np.array([(one["point_coords"] or [NO_POINT])[0] for one in annotations], float)
        measured, answers = not np.isnan(stability).all(), not np.isnan(points).all()
        named = [one for one in annotations if isinstance(one.get("phrase"), str)]
        phrases = tuple(one["phrase"] for one in named) if named else None
        phrase_scores = [one.get("phrase_score") for one in named]
        masks = Masks(
            rles=rles,
            boxes_xyxy=boxes_xyxy,
            areas=areas,
            scores=np.array([one["predicted_iou"] for one in annotations], np.float32),
            size_hw=size_hw,
            stability=stability if measured else None,
            points_xy=points if answers else None,
            crops_xyxy=xywh_to_xyxy(crops_xywh.round().astype(np.int64)),
            phrases=phrases,
            # None becomes NaN: not measured
            phrase_scores=np.array(phrase_scores, np.float32) if named else None,
        )
        sizes = {tuple(rle["size"]) for rle in rles}
        # An RLE that was truncated or changed has another area.
        rle_areas = np.array([rle_area(rle) for rle in rles], np.int64)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"not masks as in SA-1B: {type(error).__name__} {error}") from error
    if sizes - {size_hw}:
        raise FormatError(f"masks must have the image's size {size_hw}; got {sorted(sizes)}")
    wrong = np.flatnonzero(rle_areas != areas)
    if len(wrong):
        first = wrong[0]
        raise FormatError(
            f"mask {first + 1} must have an area of {areas[first]} px;"
            f" its RLE has {rle_areas[first]}"
        )
    return masks


def write_sa1b(
    path: str | os.PathLike[str], masks: Masks, *, file_name: str, image_id: int | None = None
) -> Path:
    """Write one image's masks as an SA-1B file; return its path. See `sa1b_document`."""
    document = sa1b_document(masks, file_name=file_name, image_id=image_id)
    write_bytes(path, json.dumps(document).encode())
    return Path(path)


def read_sa1b(path: str | os.PathLike[str]) -> Masks:
    """Read one image's masks from an SA-1B file, such as `write_sa1b` writes.

    Raises:
        FormatError: the file is missing, damaged, or of another kind.
    """
    try:
        document = read_json(path)
    except DataError as error:
        raise FormatError(str(error)) from error
    try:
        return masks_from_sa1b(document)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
