"""Masks as `Detections` of supervision, and back.

Shape legend: M masks, H x W the image's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.errors import DataError
from samkit.extras import require_package
from samkit.types import Masks

if TYPE_CHECKING:
    from samkit.video import VideoAnswer

CLASS_NAME = "class_name"  # supervision's name for words in `Detections.data`


def to_detections(found: Masks | VideoAnswer) -> Any:
    """Make `supervision.Detections` of an image's masks, or of a frame's objects.

    Masks are dense there: M x H x W bytes. Words become class names, and class numbers in the order
    of their first use. Objects of a video have their numbers as tracker ids; absent ones are left
    out.

    Raises:
        ConfigError: supervision is not installed.
    """
    require_package("supervision", "Detections")
    import supervision

    if not isinstance(found, Masks):
        there = np.flatnonzero(found.present)
        masks = found.masks[there]
        boxes = np.array([found.results[row].box_xyxy for row in there], np.float32)
        return supervision.Detections(
            xyxy=boxes.reshape(-1, 4),
            mask=masks,
            confidence=found.scores[there],
            tracker_id=np.array(found.object_ids, np.int64)[there],
        )
    named: dict[str, Any] = {}
    if found.phrases is not None:
        numbers = {phrase: number for number, phrase in enumerate(dict.fromkeys(found.phrases))}
        named = {
            "class_id": np.array([numbers[phrase] for phrase in found.phrases], np.int64),
            "data": {CLASS_NAME: np.array(found.phrases, np.str_)},
        }
    return supervision.Detections(
        xyxy=found.boxes_xyxy.astype(np.float32),
        mask=found.to_arrays(),
        confidence=found.scores,
        **named,
    )


def from_detections(detections: Any) -> Masks:
    """Make masks of `supervision.Detections`; class names become phrases.

    Detections without confidence get the score 1.

    Raises:
        DataError: they have no masks.
    """
    if detections.mask is None:
        raise DataError(
            "these detections have boxes alone: prompt with them, as"
            " predictor.predict(embedding, boxes=detections.xyxy)"
        )
    scores = detections.confidence
    if scores is None:
        scores = np.ones(len(detections), np.float32)
    masks = Masks.from_arrays(np.asarray(detections.mask, bool), scores)
    names = detections.data.get(CLASS_NAME)
    if names is None:
        return masks
    return masks.with_columns(
        phrases=tuple(str(name) for name in names), phrase_scores=masks.scores
    )
