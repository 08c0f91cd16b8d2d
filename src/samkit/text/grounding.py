"""Phrase grounding: detection followed by non-maximum suppression within each phrase.

Source: arXiv:2401.14159, which prompts SAM with detected boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samkit.arrays import RgbImage
from samkit.errors import ConfigError
from samkit.geometry import nms
from samkit.text.detections import Detections
from samkit.text.detectors import Detector, check_share

NMS_THRESH = 0.7


def ground(
    detector: Detector,
    image: RgbImage,
    phrases: Sequence[str],
    *,
    box_thresh: float | None = None,
    nms_thresh: float = NMS_THRESH,
    max_boxes: int | None = None,
) -> Detections:
    """Find what phrases name, one box per object.

    Args:
        image: uint8 RGB (H, W, 3).
        box_thresh: from 0 to 1; boxes with a higher score are kept. None: the detector's default.
        nms_thresh: from 0 to 1; of boxes of one phrase with a larger IoU, the best is kept.
        max_boxes: number of boxes to keep, those with the highest scores. None: all.

    Raises:
        PromptError: no phrases, an empty one, or one that is too long.
        ImageError: the image is of the wrong type or shape, or too elongated for the network.
        ConfigError: a threshold is not from 0 to 1, or `max_boxes` is less than 1.
    """
    check_share("nms_thresh", nms_thresh)
    if max_boxes is not None and max_boxes < 1:
        raise ConfigError(f"max_boxes must be 1 or more, or None for all; got {max_boxes!r}")
    detections = detector.detect(image, phrases, box_thresh=box_thresh)
    distinct = per_class_nms(detections, nms_thresh)
    return distinct.select(np.arange(len(distinct))[:max_boxes])


def per_class_nms(detections: Detections, iou_thresh: float) -> Detections:
    """Suppress each box that overlaps a better one of the same phrase.

    Args:
        iou_thresh: from 0 to 1; boxes with a larger IoU overlap.

    Raises:
        ConfigError: the threshold is not from 0 to 1.
    """
    check_share("iou_thresh", iou_thresh)
    names = np.array(detections.phrases, dtype=object)
    is_best = np.zeros(len(detections), bool)
    for phrase in dict.fromkeys(detections.phrases):
        is_best[nms(detections.boxes_xyxy, np.flatnonzero(names == phrase), iou_thresh)] = True
    return detections.select(is_best)
