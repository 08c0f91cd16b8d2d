"""Phrases to boxes, one for each thing: a detector, then suppression of boxes around the same.

Source: arXiv:2401.14159, for boxes as prompts of SAM.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samkit.errors import ConfigError
from samkit.geometry.nms import nms
from samkit.text.detections import Detections
from samkit.text.detectors import Detector, ImageArray, check_share

NMS_THRESH = 0.7


def ground(
    detector: Detector,
    image: ImageArray,
    phrases: Sequence[str],
    *,
    box_thresh: float | None = None,
    nms_thresh: float = NMS_THRESH,
    most: int | None = None,
) -> Detections:
    """Find what phrases name, one box for each thing.

    Args:
        detector: what looks.
        image: uint8 RGB (H, W, 3).
        phrases: what to look for.
        box_thresh: from 0 to 1; boxes with a higher score are kept. That of the detector if None.
        nms_thresh: from 0 to 1; of boxes of one phrase with a larger IoU, the best is kept.
        most: boxes at most, those with the highest scores. All if None.

    Raises:
        PromptError: no phrases, an empty one, or one that is too long.
        ImageError: the image is of another type or shape, or too narrow for the network.
        ConfigError: a threshold outside of 0 to 1, or `most` is less than 1.
    """
    check_share("nms_thresh", nms_thresh)
    if most is not None and most < 1:
        raise ConfigError(f"most must be 1 or more, or None for all; got {most!r}")
    detections = detector.detect(image, phrases, box_thresh=box_thresh)
    kept = per_class_nms(detections, nms_thresh)
    return kept.select(np.arange(len(kept))[:most])


def per_class_nms(detections: Detections, iou_thresh: float) -> Detections:
    """Keep each box that overlaps no better one of the same phrase.

    Args:
        detections: of any phrases; those of different phrases do not suppress each other.
        iou_thresh: from 0 to 1; boxes with a larger IoU overlap.

    Raises:
        ConfigError: a threshold outside of 0 to 1.
    """
    check_share("iou_thresh", iou_thresh)
    names = np.array(detections.phrases, dtype=object)
    kept = np.zeros(len(detections), bool)
    for phrase in dict.fromkeys(detections.phrases):
        kept[nms(detections.boxes_xyxy, np.flatnonzero(names == phrase), iou_thresh)] = True
    return detections.select(kept)
