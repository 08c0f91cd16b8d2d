"""The `one-click` protocol: mIoU after one click in the middle of each object.

The click is the point of the mask farthest from its boundary (`robot`). Of the three masks that
answer it, the one with the highest predicted IoU is the model's choice (top-ranked), and the one
with the highest true IoU is what a user could choose (oracle).

Source: arXiv:2304.02643, section 7.1. Deviations: none with all masks of a data set; by default
some are chosen, see `differences`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.arrays import BoolArray, FloatArray
from samkit.datasets import Sample, SampleSource
from samkit.evaluation.protocol import Result, Summary, both_means
from samkit.evaluation.robot import first_click
from samkit.evaluation.truth import (
    MIN_AREA_PX,
    MaskChoice,
    area_fractions,
    image_mask,
    mask_iou,
    void_mask,
)
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor


@dataclass(frozen=True, kw_only=True, eq=False)
class OneClickAnswers:
    """Answers to P clicks, one in each of P masks.

    Attributes:
        ious: (P, M) IoU of each of M candidates with the true mask.
        iou_pred: (P, M) IoU predicted by the model.
    """

    ious: FloatArray
    iou_pred: FloatArray

    @classmethod
    def of(cls, result: Result) -> OneClickAnswers:
        """Read the answers of an image that has masks from what `OneClick.measure` recorded."""
        return cls(ious=np.array(result["ious"]), iou_pred=np.array(result["iou_pred"]))

    @property
    def top_ranked(self) -> FloatArray:
        """IoU (P,) of the candidate with the highest predicted IoU."""
        chosen = self.iou_pred.argmax(axis=1, keepdims=True)
        return np.take_along_axis(self.ious, chosen, axis=1)[:, 0]

    @property
    def oracle(self) -> FloatArray:
        """IoU (P,) of the best candidate."""
        best: FloatArray = self.ious.max(axis=1)
        return best


def one_click(
    predictor: Predictor,
    embedding: ImageEmbedding,
    masks: Sequence[BoolArray],
    void: BoolArray | None = None,
) -> OneClickAnswers:
    """Click once in each of P >= 1 masks (H, W) of an image, which contain no void pixels (H, W).

    Raises:
        DataError: a mask is empty.
    """
    clicks = [first_click(mask) for mask in masks]
    answer = predictor.predict(
        embedding,
        points=np.array([[(click.x, click.y)] for click in clicks], np.float64),
        labels=np.ones((len(clicks), 1)),
        multimask=True,
    )
    ious = [
        [mask_iou(image_mask(logits, answer.coords, void), mask) for logits in candidates]
        for candidates, mask in zip(answer.logits, masks, strict=True)
    ]
    return OneClickAnswers(ious=np.array(ious), iou_pred=np.asarray(answer.iou_pred, np.float64))


@dataclass(frozen=True, kw_only=True)
class OneClick:
    """The `one-click` protocol.

    Attributes:
        choice: which masks are clicked.
    """

    choice: MaskChoice = field(default_factory=MaskChoice)

    @property
    def name(self) -> str:
        return "one-click"

    def settings(self) -> dict[str, Any]:
        return asdict(self.choice)

    def differences(self) -> tuple[str, ...]:
        return self.choice.differences()

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        masks = self.choice.masks(sample)
        if not masks:
            return {"masks": 0, "area_fractions": [], "ious": [], "iou_pred": []}
        answers = one_click(predictor, embedding, masks, void_mask(sample))
        return {
            "masks": len(masks),
            "area_fractions": area_fractions(masks),
            "ious": answers.ious.tolist(),
            "iou_pred": answers.iou_pred.tolist(),
        }

    def summarise(self, results: Sequence[Result]) -> Summary:
        answers = [OneClickAnswers.of(result) for result in results if result["masks"]]
        return Summary(
            metrics=both_means("miou", [own.top_ranked.tolist() for own in answers])
            | both_means("oracle_miou", [own.oracle.tolist() for own in answers])
        )


@dataclass(frozen=True, kw_only=True)
class OneClickResult:
    """1-click mIoU over the masks of several images.

    Attributes:
        miou: mean over masks of the top-ranked candidates' IoU; NaN without masks.
        oracle_miou: mean over masks of the best candidates' IoU.
        miou_images: mean of the images' means of the top-ranked candidates' IoU.
        images: number of images.
        masks: number of masks.
    """

    miou: float
    oracle_miou: float
    miou_images: float
    images: int
    masks: int


def one_click_miou(
    predictor: Predictor,
    source: SampleSource,
    *,
    images: int | None = None,
    masks_per_image: int | None = 10,
    min_area_px: int = MIN_AREA_PX,
    seed: int = 0,
    embed: Callable[[Sample], ImageEmbedding] | None = None,
) -> OneClickResult:
    """Measure 1-click mIoU in one call, for example between epochs of training.

    Args:
        predictor: the current model, whose network is put into evaluation mode.
        images: number of images from the start of the data set; None for all.
        masks_per_image, min_area_px, seed: see `MaskChoice`.
        embed: source of embeddings, such as a cache; default `predictor.embed`.

    Raises:
        DataError: a sample is broken.
        ImageError: an image cannot be read.
    """
    choice = MaskChoice(masks_per_image=masks_per_image, min_area_px=min_area_px, seed=seed)
    protocol = OneClick(choice=choice)
    results = []
    for index in range(len(source) if images is None else min(images, len(source))):
        sample = source[index]
        embedding = predictor.embed(sample.image) if embed is None else embed(sample)
        results.append(protocol.measure(predictor, embedding, sample))
    metrics = protocol.summarise(results).metrics
    return OneClickResult(
        miou=metrics.get("miou", float("nan")),
        oracle_miou=metrics.get("oracle_miou", float("nan")),
        miou_images=metrics.get("miou_images", float("nan")),
        images=len(results),
        masks=sum(result["masks"] for result in results),
    )
