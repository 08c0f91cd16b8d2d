"""The `boxes` protocol: instance AP with boxes as prompts.

Each box is answered with a single mask. Boxes come from a detector, read from a file of COCO
results, whose scores the masks then get; or, without such a file, from the true masks, scored by
predicted IoU, which measures the masks' quality apart from any detector's.

AP is COCO's, over IoU thresholds 0.50 to 0.95 and at most 100 masks per image, but without classes,
which the data sets here do not have.

Source: arXiv:2304.02643, section 7.4. Deviation: no classes. Where images have several annotators,
each annotator's masks are evaluated separately: see `annotators.Annotators`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.arrays import FloatArray
from samkit.datasets import Sample
from samkit.errors import DataError
from samkit.evaluation.annotators import (
    ONE_ANNOTATOR,
    Annotators,
    count_masks,
)
from samkit.evaluation.coco_matching import (
    AREAS,
    Matches,
    match_masks,
    matches_from_json,
    matches_to_json,
    mean_precision,
)
from samkit.evaluation.protocol import Result, Summary, both_means
from samkit.evaluation.truth import find_known, image_mask, mask_iou
from samkit.files import file_sha256, read_json
from samkit.geometry import Rle, decode_rle, encode_rle, rle_area, rle_box_xyxy
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor


MAX_MASKS = 100
AP50, AP75 = 0, 5  # of the IoU thresholds 0.50, 0.55, ... 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectedBoxes:
    """Boxes that a detector found in a data set.

    Attributes:
        boxes: by image key, boxes (D, 4) as x0, y0, x1, y1, and scores (D,).
        sha256: checksum of the file they were read from.
    """

    boxes: Mapping[str, tuple[FloatArray, FloatArray]]
    sha256: str


def read_detections(
    path: str | os.PathLike[str], image_keys: Mapping[str, str] | None = None
) -> DetectedBoxes:
    """Read boxes from a file of COCO results.

    Args:
        path: a JSON list of {"image_id", "bbox": [x, y, w, h], "score"}.
        image_keys: image key by `image_id` as text; an `image_id` that is not in it is taken as the
            key itself.

    Raises:
        DataError: the file cannot be read, or is not such a list.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{os.fspath(path)} must be a list of detections; got another JSON value")
    by_image: dict[str, list[list[float]]] = {}
    for number, entry in enumerate(entries):
        try:
            image, score = str(entry["image_id"]), float(entry["score"])
            x, y, width, height = (float(value) for value in entry["bbox"])
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(
                f"{os.fspath(path)}: detection {number} must have image_id, bbox [x, y, w, h] and"
                f" score; got {entry!s:.60}"
            ) from error
        if width > 0 and height > 0 and np.isfinite([x, y, width, height, score]).all():
            by_image.setdefault((image_keys or {}).get(image, image), []).append(
                [x, y, width, height, score]
            )
    boxes = {}
    for key, rows in by_image.items():
        table = np.array(rows, np.float64)
        corner, sides = table[:, :2], table[:, 2:4]
        boxes[key] = (np.hstack([corner, corner + sides]), table[:, 4])
    return DetectedBoxes(boxes=boxes, sha256=file_sha256(path))


@dataclass(frozen=True, kw_only=True)
class BoxPrompts:
    """The `boxes` protocol.

    Attributes:
        detections: boxes of a detector; None for those of the true masks.
        annotators: who drew which masks.
    """

    detections: DetectedBoxes | None = None
    annotators: Annotators = ONE_ANNOTATOR

    @property
    def name(self) -> str:
        return "boxes"

    def settings(self) -> dict[str, Any]:
        return {
            "detections": None if self.detections is None else self.detections.sha256,
            "annotators": self.annotators.checksum,
        }

    def differences(self) -> tuple[str, ...]:
        boxes = (
            () if self.detections is not None else ("boxes of the true masks, not a detector's",)
        )
        return (*boxes, "no classes")

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        groups = [
            [rle for rle in group if rle_area(rle) > 0] for group in self.annotators.of(sample)
        ]
        size_px = sample.image.shape[0] * sample.image.shape[1]
        result: Result = {
            "masks": count_masks(groups),
            "area_fractions": [rle_area(rle) / size_px for group in groups for rle in group],
            "ious": [],
            "matches": [],
        }
        if self.detections is not None:
            rles, scores = self._cut_out_detections(predictor, embedding, sample)
            for group in groups:
                result["matches"].append(match_as_json(rles, scores, group))
            return result
        for group in groups:
            boxes = np.array([rle_box_xyxy(rle) for rle in group], np.float64).reshape(-1, 4)
            cut, scores = cut_out(predictor, embedding, boxes)
            rles = list(sample.without_void(cut))
            result["matches"].append(match_as_json(rles, scores, group))
            result["ious"] += [
                mask_iou(decode_rle(one), decode_rle(true))
                for one, true in zip(rles, group, strict=True)
            ]
        return result

    def _cut_out_detections(
        self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample
    ) -> tuple[list[Rle], FloatArray]:
        """Masks of the detector's best boxes that overlap the image, and the boxes' scores.

        Void pixels are taken out of them, and masks of void pixels alone are left out.
        """
        assert self.detections is not None
        boxes, scores = self.detections.boxes.get(sample.key, (np.zeros((0, 4)), np.zeros(0)))
        height, width = embedding.coords.original_hw
        overlaps = (boxes[:, :2] < (width, height)).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
        boxes, scores = boxes[overlaps], scores[overlaps]
        order = np.argsort(-scores, kind="stable")[:MAX_MASKS]
        cut, _ = cut_out(predictor, embedding, boxes[order])
        numbers, rles = find_known(cut, sample)
        return rles, scores[order][numbers]

    def summarise(self, results: Sequence[Result]) -> Summary:
        images = [
            [matches_from_json(area) for area in group]
            for result in results
            for group in result["matches"]
        ]
        metrics = average_precision(images)
        metrics |= both_means("box_miou", [result["ious"] for result in results])
        return Summary(metrics=metrics)


def cut_out(
    predictor: Predictor, embedding: ImageEmbedding, boxes_xyxy: FloatArray
) -> tuple[list[Rle], FloatArray]:
    """Single masks for boxes (P, 4) of an image, and their predicted IoU (P,)."""
    if not len(boxes_xyxy):
        return [], np.zeros(0)
    answer = predictor.predict(embedding, boxes=boxes_xyxy, multimask=False)
    rles = [encode_rle(image_mask(logits[0], answer.coords)) for logits in answer.logits]
    return rles, np.asarray(answer.iou_pred[:, 0], np.float64)


def match_as_json(
    found: Sequence[Rle], scores: FloatArray, truth: Sequence[Rle]
) -> list[dict[str, Any]]:
    """The matches of an image for each of `AREAS`, as JSON."""
    matches = match_masks(found, scores, truth, max_masks=MAX_MASKS)
    return [matches_to_json(one) for one in matches]


def average_precision(images: Sequence[Sequence[Matches]]) -> dict[str, float]:
    """COCO's AP, AP50, AP75 and AP by area; metrics without a true mask are left out."""
    if not images:
        return {}
    precision = mean_precision(images, MAX_MASKS)
    parts = {"box_ap": precision[:, :, 0]}
    parts |= {"box_ap50": precision[AP50, :, 0], "box_ap75": precision[AP75, :, 0]}
    for area, name in enumerate(AREAS[1:], start=1):
        parts[f"box_ap_{name}"] = precision[:, :, area]
    defined = {name: part[part > -1] for name, part in parts.items()}
    return {name: float(part.mean()) for name, part in defined.items() if part.size}
