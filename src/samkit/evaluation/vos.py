"""Measures of video object segmentation: J, the regions' IoU, and F, the outlines' F-measure.

Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation (CVPR 2016). An outline pixel is right within ceil(0.008 x diagonal) pixels of the
true outline. In the semi-supervised protocol, in which the first frame's mask is given, the first
and the last frame do not count. Means are over an object's frames, then over objects, then over
sequences. J&F is the mean of J and F.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np

from samkit.arrays import BoolArray
from samkit.datasets import VosSequence
from samkit.errors import DataError
from samkit.evaluation.robot import first_click
from samkit.evaluation.truth import mask_iou
from samkit.geometry import boxes_from_masks
from samkit.video import Video

TOLERANCE = 0.008  # of the diagonal
FirstPrompt = Literal["mask", "box", "click"]
FIRST_PROMPTS: tuple[FirstPrompt, ...] = get_args(FirstPrompt)


def region_similarity(mask: BoolArray, truth: BoolArray) -> float:
    """J: the IoU of two masks (H, W); 1 if both are empty."""
    return mask_iou(mask, truth)


def outline(mask: BoolArray) -> BoolArray:
    """Pixels (H, W) that differ from the one to the right, below, or both."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    edge: BoolArray = (mask != right) | (mask != below) | (mask != both)
    return edge


def outline_accuracy(mask: BoolArray, truth: BoolArray) -> float:
    """F: how much of two masks' outlines (H, W) lies near the other's; 1 if both have none."""
    radius = math.ceil(TOLERANCE * math.hypot(*mask.shape))
    rows, cols = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = (rows**2 + cols**2 <= radius**2).astype(np.uint8)
    found, wanted = outline(mask), outline(truth)
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    near_wanted = cv2.dilate(wanted.astype(np.uint8), disc) > 0
    near_found = cv2.dilate(found.astype(np.uint8), disc) > 0
    precision = (found & near_wanted).sum() / found.sum()
    recall = (wanted & near_found).sum() / wanted.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def prompt_objects(video: Video, truth: Mapping[int, BoolArray], how: FirstPrompt) -> None:
    """Prompt each object of the first frame by its mask, the box around it, or a click in it."""
    for number, mask in truth.items():
        prompt: dict[str, Any]
        if how == "mask":
            prompt = {"mask": mask}
        elif how == "box":
            prompt = {"boxes": boxes_from_masks(mask[None])[0]}
        else:
            click = first_click(mask)
            prompt = {"points": [[click.x, click.y]]}
        video.prompt(0, object_id=number, **prompt)


@dataclass(frozen=True, kw_only=True)
class ObjectScore:
    """J and F of one object, means over the frames that count."""

    j: float
    f: float

    @property
    def j_and_f(self) -> float:
        """Their mean."""
        return (self.j + self.f) / 2


def follow(video: Video, num_frames: int) -> Iterator[tuple[int, Mapping[int, BoolArray]]]:
    """Propagate, and yield each frame's index with the masks of all objects."""
    for answer in video.propagate(stop=num_frames):
        yield answer.index, dict(zip(answer.object_ids, answer.masks, strict=True))


def score_sequence(
    sequence: VosSequence, answers: Iterator[tuple[int, Mapping[int, BoolArray]]]
) -> dict[int, ObjectScore]:
    """J and F of the objects of the first frame.

    Args:
        sequence: frames with their true masks.
        answers: masks by object, for each frame from the first one on.
    """
    last = len(sequence.images) - 1
    scores: dict[int, list[tuple[float, float]]] = {number: [] for number in sequence.truth(0)}
    for index, masks in answers:
        if index in (0, last) or sequence.masks[index] is None:
            continue
        truth = sequence.truth(index)
        for number, own in scores.items():
            mask = masks[number]
            wanted = truth.get(number, np.zeros_like(mask))
            own.append((region_similarity(mask, wanted), outline_accuracy(mask, wanted)))
    return {number: _mean_score(own) for number, own in scores.items()}


def _mean_score(frames: Sequence[tuple[float, float]]) -> ObjectScore:
    if not frames:
        raise DataError("a sequence needs three frames with masks: the first and last do not count")
    j, f = np.mean(frames, axis=0)
    return ObjectScore(j=float(j), f=float(f))
