"""Exported video parts beside PyTorch: the same objects followed through the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samkit.arrays import BoolArray, RgbImage
from samkit.export.compared import Compared, images, mask_iou
from samkit.predict import Predictor
from samkit.video import VideoPredictor

FRAMES = 6
SIDE_SHARE, STEP_SHARE = 0.8, 0.02  # of the sample's shorter side: a frame's side, its way


def compare_tracking(plain: Predictor, other: Predictor, num_frames: int = FRAMES) -> Compared:
    """Compare the masks of objects given by a point, a box and a mask, through moving frames."""
    found = [follow(VideoPredictor(one), frames(num_frames)) for one in (plain, other)]
    ious = [mask_iou(*pair) for pair in zip(found[0].masks, found[1].masks, strict=True)]
    errors = np.abs(np.subtract(found[0].scores, found[1].scores))
    return Compared(
        masks=len(ious),
        mean_iou=float(np.mean(ious)),
        least_iou=float(min(ious)),
        largest_iou_error=float(errors.max()),
    )


@dataclass(frozen=True)
class Followed:
    """Masks (H, W) of all objects in all frames, and their predicted IoUs."""

    masks: list[BoolArray]
    scores: list[float]


def follow(predictor: VideoPredictor, clip: Sequence[RgbImage]) -> Followed:
    """Follow objects through a clip; one is corrected in the middle."""
    height, width = clip[0].shape[:2]
    at = np.array([width, height])
    square = np.zeros((height, width), bool)
    square[height // 2 : -height // 5, width // 5 : width // 2] = True
    video = predictor.open(list(clip))
    video.prompt(0, object_id=1, points=[0.5 * at], labels=[1])
    video.prompt(0, object_id=2, boxes=[*(0.1 * at), *(0.6 * at)])
    video.prompt(1, object_id=3, mask=square)
    answers = list(video.propagate())
    video.prompt(len(clip) // 2, object_id=1, points=[0.4 * at, 0.9 * at], labels=[1, 0])
    answers += list(video.propagate(start=len(clip) // 2))
    return Followed(
        masks=[mask for answer in answers for mask in answer.masks],
        scores=[float(score) for answer in answers for score in answer.scores],
    )


def frames(count: int) -> list[RgbImage]:
    """A window that moves over the sample image."""
    sample = next(images())
    side, step = (int(share * min(sample.shape[:2])) for share in (SIDE_SHARE, STEP_SHARE))
    return [
        np.ascontiguousarray(sample[step * number :, 2 * step * number :][:side, :side])
        for number in range(count)
    ]
