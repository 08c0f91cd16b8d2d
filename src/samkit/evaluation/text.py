"""The `text` protocol: IoU of the answers to phrases, and after one corrective click.

Each phrase of an image is prompted once. Its answer is compared with the best of all masks with
that phrase, since "a dog" may be any of two. Then the robot clicks where the answer is most wrong,
and the text is prompted again with the click and the mask; with a detector, the click and the mask
only.

Pairs show whether words are understood: of two phrases of an image that differ in one word, such as
"a red circle" and "a red square", the answer to one must agree more with its own mask than with the
other's. By chance, half of them do.

Source: ours; the click is that of arXiv:2102.06583.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.datasets import Sample
from samkit.evaluation.protocol import Result, Summary, both_means
from samkit.evaluation.robot import next_click
from samkit.evaluation.truth import MaskChoice, image_mask, mask_iou, void_mask
from samkit.geometry import decode_rle
from samkit.types import ImageEmbedding, MaskPrediction

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor


@dataclass(frozen=True, kw_only=True)
class TextToMask:
    """The `text` protocol.

    Attributes:
        choice: which masks are measured.
        text_model: name of the text model, recorded in the settings; None for the model's own.
    """

    choice: MaskChoice = field(default_factory=MaskChoice)
    text_model: str | None = None

    @property
    def name(self) -> str:
        return "text"

    def settings(self) -> dict[str, Any]:
        return {**asdict(self.choice), "text_model": self.text_model}

    def differences(self) -> tuple[str, ...]:
        return ("a protocol of samkit's own", *self.choice.differences())

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        truths = masks_by_phrase(sample, self.choice.choose(sample))
        result: Result = {"masks": len(truths), "ious": [], "corrected": [], "pairs": []}
        if not truths:
            return result
        void = void_mask(sample)
        answer = predictor.predict_text(
            embedding, list(truths), image=sample.image, multimask=True
        ).best()
        for phrase, masks in truths.items():
            number = best_answer(answer, phrase)
            if number is None:  # a detector found nothing
                result["ious"].append(0.0)
                result["corrected"].append(0.0)
                result["pairs"] += [False for other in truths if is_pair(phrase, other)]
                continue
            logits = answer.logits[number, 0]
            predicted = image_mask(logits, answer.coords, void)
            ious = [mask_iou(predicted, mask) for mask in masks]
            truth = masks[int(np.argmax(ious))]
            result["ious"].append(max(ious))
            # A detector would have to run again, and may find one phrase differently than among
            # several: there the click is given with the mask alone.
            text = phrase if predictor.reads_as_tokens else None
            result["corrected"].append(
                click_once(predictor, embedding, text, truth, logits, void=void)
            )
            result["pairs"] += [
                max(ious) > max(mask_iou(predicted, mask) for mask in truths[other])
                for other in truths
                if is_pair(phrase, other)
            ]
        return result

    def summarise(self, results: Sequence[Result]) -> Summary:
        metrics = both_means("text_miou", [result["ious"] for result in results])
        metrics |= both_means("text_corrected_miou", [result["corrected"] for result in results])
        pairs = [right for result in results for right in result["pairs"]]
        if pairs:
            metrics["text_pairs_right"] = sum(pairs) / len(pairs)
        return Summary(metrics=metrics)


def click_once(
    predictor: Predictor,
    embedding: ImageEmbedding,
    text: str | None,
    truth: BoolArray,
    logits: npt.NDArray[np.float32],
    *,
    void: BoolArray | None = None,
) -> float:
    """IoU after one click where an answer (S, S) was most wrong."""
    click = next_click(truth, image_mask(logits, embedding.coords, void))
    if click is None:
        return 1.0
    prompt: dict[str, Any] = {
        "points": [(click.x, click.y)],
        "labels": [int(click.is_foreground)],
        "mask_logits": logits,
        "multimask": False,
    }
    if text is None:
        answer = predictor.predict(embedding, **prompt)
    else:
        answer = predictor.predict_text(embedding, text, **prompt)
    side = logits.shape[-1]
    corrected = image_mask(answer.logits.reshape(side, side), embedding.coords, void)
    return mask_iou(corrected, truth)


def masks_by_phrase(sample: Sample, numbers: Sequence[int]) -> Mapping[str, list[BoolArray]]:
    """All masks (H, W) of an image without void pixels, by phrase, for those of some masks.

    Args:
        sample: the image.
        numbers: indices of the masks whose phrases are prompted.
    """
    rles = sample.without_void(sample.rles)
    phrases = [sample.phrases[number] for number in numbers if sample.phrases]
    return {
        phrase: [
            decode_rle(rle) for rle, own in zip(rles, sample.phrases, strict=True) if own == phrase
        ]
        for phrase in dict.fromkeys(phrases)
        if phrase
    }


def best_answer(answer: MaskPrediction, phrase: str) -> int | None:
    """Index of the best-scored prompt of a phrase; None if there is none."""
    assert answer.phrases is not None
    assert answer.phrase_scores is not None
    own = [number for number, one in enumerate(answer.phrases) if one == phrase]
    scores = answer.phrase_scores
    return max(own, key=lambda number: float(scores[number]), default=None)


def is_pair(one: str, other: str) -> bool:
    """Whether two phrases have equally many words and differ in exactly one."""
    words, others = one.split(), other.split()
    if len(words) != len(others):
        return False
    return sum(a != b for a, b in zip(words, others, strict=True)) == 1
