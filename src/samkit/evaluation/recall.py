"""The `recall` protocol: average recall (AR@1000) of automatic masks from a grid of points.

A grid of 64 x 64 points, each answered with three masks, without crops or filters; of masks whose
boxes have an IoU over 0.9 only the one with the highest predicted IoU is kept. Masks are ranked by
the mean of predicted IoU and stability, and the best 10, 100 and 1000 count. Average recall is the
mean over the IoU thresholds 0.50, 0.55, ... 0.95, by COCO's matching with a single class.

Source: arXiv:2304.02643, section 7.3 and appendix D.3. Deviations: none known.
Where images have several annotators, each annotator's masks are evaluated separately: see
`annotators.Annotators`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from samkit.datasets import Sample
from samkit.evaluation.annotators import ONE_ANNOTATOR, Annotators, count_masks
from samkit.evaluation.coco_matching import AREAS, IOU_THRESHOLDS, found_truths, match_masks
from samkit.evaluation.protocol import Curve, Result, Summary
from samkit.evaluation.truth import find_known
from samkit.geometry import Rle
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.types import ImageEmbedding, Masks

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

LIMITS = (10, 100, 1000)
PUBLISHED_POINTS, PUBLISHED_NMS = 64, 0.9


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The `recall` protocol.

    Attributes:
        points_per_side: 64 as published, which takes long on a CPU.
        box_nms_thresh: masks whose boxes have a larger IoU are duplicates.
        annotators: who drew which masks.
    """

    points_per_side: int = PUBLISHED_POINTS
    box_nms_thresh: float = PUBLISHED_NMS
    annotators: Annotators = ONE_ANNOTATOR

    def __post_init__(self) -> None:
        self.config()  # checks the numbers

    def config(self) -> AutoMaskConfig:
        """Settings of automatic mask generation."""
        return AutoMaskConfig(
            points_per_side=self.points_per_side,
            iou_thresh=0,
            stability_thresh=0,
            box_nms_thresh=self.box_nms_thresh,
        )

    @property
    def name(self) -> str:
        return "recall"

    def settings(self) -> dict[str, Any]:
        return {
            "points_per_side": self.points_per_side,
            "box_nms_thresh": self.box_nms_thresh,
            "annotators": self.annotators.checksum,
        }

    def differences(self) -> tuple[str, ...]:
        parts = []
        if (side := self.points_per_side) != PUBLISHED_POINTS:
            parts.append(
                f"{side} x {side} points instead of {PUBLISHED_POINTS} x {PUBLISHED_POINTS}"
            )
        if self.box_nms_thresh != PUBLISHED_NMS:
            parts.append(
                f"duplicates from box IoU {self.box_nms_thresh:g} instead of {PUBLISHED_NMS}"
            )
        return tuple(parts)

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        found = rank(generate_masks(predictor, embedding, sample, self.config()))
        numbers, rles = find_known(found.rles, sample)
        return recall_result(rles, found.scores[numbers], self.annotators.of(sample))

    def summarise(self, results: Sequence[Result]) -> Summary:
        truths = np.sum([result["truths"] for result in results], axis=0)  # (A,)
        found = np.sum([result["found"] for result in results], axis=0)  # (A, M, T)
        metrics: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for area, name in enumerate(AREAS):
            if not len(results) or truths[area] == 0:
                continue
            recall = found[area] / truths[area]
            suffix = "" if name == "all" else f"_{name}"
            for limit, own in zip(LIMITS, recall, strict=True):
                if name == "all" or limit == LIMITS[-1]:
                    metrics[f"ar_{limit}{suffix}"] = float(own.mean())
            if name == "all":
                curves["recall_by_iou"] = Curve(
                    x=tuple(IOU_THRESHOLDS.tolist()), y=tuple(recall[-1].tolist())
                )
        return Summary(metrics=metrics, curves=curves)


def generate_masks(
    predictor: Predictor, embedding: ImageEmbedding, sample: Sample, config: AutoMaskConfig
) -> Masks:
    """Generate automatic masks of an image that is already embedded, without crops of it."""
    if config.crop_layers:
        raise ValueError(f"crops are not embedded; got crop_layers {config.crop_layers}")
    cached = cast("Predictor", _Embedded(predictor, embedding))
    return AutoMasker(cached, config).generate(sample.image)


def rank(masks: Masks) -> Masks:
    """The best masks by the mean of predicted IoU and stability, which becomes their score."""
    if masks.stability is None:
        raise ValueError("masks must have their stability; got none")
    score = (masks.scores + masks.stability) / 2
    order = np.argsort(-score, kind="stable")[: LIMITS[-1]]
    ranked = masks.select(order)
    ranked.scores[:] = score[order]
    return ranked


def recall_result(
    found: Sequence[Rle], scores: npt.ArrayLike, groups: Sequence[Sequence[Rle]]
) -> Result:
    """Count the true masks found, by area, limit and IoU threshold.

    Args:
        found: masks, the best first.
        scores: of the masks.
        groups: true masks of each annotator.
    """
    truths = np.zeros(len(AREAS), np.int64)
    counts = np.zeros((len(AREAS), len(LIMITS), len(IOU_THRESHOLDS)), np.int64)
    for group in groups:
        matches = match_masks(found, scores, group, max_masks=LIMITS[-1])
        truths += [one.truths for one in matches]
        counts += [found_truths(one, LIMITS) for one in matches]
    return {
        "masks": count_masks(groups),
        "proposals": len(found),
        "truths": truths.tolist(),
        "found": counts.tolist(),
    }


class _Embedded:
    """A predictor for one image that is already embedded."""

    def __init__(self, predictor: Predictor, embedding: ImageEmbedding) -> None:
        self._predictor, self._embedding = predictor, embedding
        self.iou_thresh = predictor.iou_thresh

    def embed(self, image: object) -> ImageEmbedding:  # noqa: ARG002 - always the same image
        return self._embedding

    def decode_points(self, *args: Any, **kwargs: Any) -> Any:
        return self._predictor.decode_points(*args, **kwargs)

    def decode_boxes(self, *args: Any, **kwargs: Any) -> Any:
        return self._predictor.decode_boxes(*args, **kwargs)

    @property
    def encoder_checksum(self) -> str:
        return self._predictor.encoder_checksum

    @property
    def backend(self) -> Any:
        return self._predictor.backend
