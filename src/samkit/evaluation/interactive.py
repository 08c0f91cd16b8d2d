"""The `noc` protocol: clicks needed until a mask is good (NoC), and IoU after each click.

The robot user (`robot`) clicks up to 20 times; NoC@90 is the mean number of clicks until the IoU is
at least 0.90, and masks that never get there count as 20.

The first click is answered with three masks, of which the one with the highest predicted IoU is
taken; later clicks are answered with a single mask. Each answer's logits are fed back as the mask
prompt of the next click, as in SAM's training (arXiv:2304.02643, appendix A); `feed_back` turns
that off. Every prompt contains all clicks so far. The robot goes on to the last click for all
masks, so that the curve of IoU by clicks covers all masks; it stops only at a mask without an
error.

Source: arXiv:2102.06583 (RITM) for NoC; arXiv:2304.02643, section 7.1. Deviations: none with all
masks of a data set; by default some are chosen, see `differences`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.arrays import BoolArray, RgbImage
from samkit.checks import check_number
from samkit.datasets import Sample
from samkit.evaluation.protocol import Curve, Result, Summary, both_means
from samkit.evaluation.robot import Click, first_click, next_click
from samkit.evaluation.truth import MaskChoice, area_fractions, mask_iou, void_mask
from samkit.predict import Refine, Refinement, ask_all, check_refine
from samkit.types import ImageEmbedding, MaskPrediction

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

TARGET_IOUS = (0.85, 0.90)
REPORTED_CLICKS = (1, 2, 3, 5, 10, 20)  # click counts after which the IoU is a metric
MAX_CLICKS = 100
PUBLISHED_CLICKS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickedMask:
    """The clicks on one mask, and how good the answers were.

    Attributes:
        clicks: in order.
        ious: IoU with the true mask after each click.
        iou_pred: IoU that the model predicted, likewise.
        answer: the last answer (H, W), without void pixels.
    """

    clicks: list[Click]
    ious: list[float]
    iou_pred: list[float]
    answer: BoolArray


@dataclass(kw_only=True, eq=False)
class _Dialogue:
    """A mask that is being clicked, and its last answer; both without void pixels."""

    truth: BoolArray
    void: BoolArray | None
    predicted: BoolArray
    refinement: Refinement = field(default_factory=Refinement)
    clicks: list[Click] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    iou_pred: list[float] = field(default_factory=list)

    def click(self, click: Click) -> None:
        self.clicks.append(click)
        self.refinement = self.refinement.clicked(click.x, click.y, int(click.is_foreground))

    def take(self, answer: MaskPrediction) -> None:
        """Store an answer of one mask and compare it with the true one at the image's size."""
        self.refinement = replace(self.refinement, mask_logits=answer.logits[0])
        mask: BoolArray = answer.masks[0]
        self.predicted = mask if self.void is None else mask & ~self.void
        self.ious.append(mask_iou(self.predicted, self.truth))
        self.iou_pred.append(float(answer.iou_pred[0]))

    def result(self) -> ClickedMask:
        return ClickedMask(
            clicks=self.clicks, ious=self.ious, iou_pred=self.iou_pred, answer=self.predicted
        )


def click_masks(
    predictor: Predictor,
    embedding: ImageEmbedding,
    masks: Sequence[BoolArray],
    *,
    void: BoolArray | None = None,
    max_clicks: int = PUBLISHED_CLICKS,
    stop_at: float | None = None,
    feed_back: bool = True,
    refine: Refine = "none",
    image: RgbImage | None = None,
) -> list[ClickedMask]:
    """Let the robot click each of P >= 1 masks (H, W) of an image.

    Args:
        predictor: prompted for all masks at once.
        masks: without void pixels.
        void: pixels (H, W) without ground truth.
        max_clicks: limit for each mask.
        stop_at: IoU at which the robot is content with a mask; None goes on to the last click.
        feed_back: feed the logits of each answer back with the next click.
        refine, image: see `samkit.Predictor.predict`.

    Returns:
        for each mask, its clicks and answers; fewer than `max_clicks` only if the robot is content
        or no error is left.

    Raises:
        DataError: a mask is empty.
    """
    dialogues = [_Dialogue(truth=mask, void=void, predicted=mask) for mask in masks]
    for dialogue in dialogues:
        dialogue.click(first_click(dialogue.truth))
    running = dialogues
    for number in range(max_clicks):
        if number > 0:
            running = [one for one in running if not _is_content(one, stop_at) and _correct(one)]
        if not running:
            break
        answer = ask_all(
            predictor,
            embedding,
            [dialogue.refinement for dialogue in running],
            multimask=number == 0,
            feed_back=feed_back,
            refine=refine,
            image=image,
        ).best()
        for row, dialogue in enumerate(running):
            dialogue.take(answer.prompt(row))
    return [dialogue.result() for dialogue in dialogues]


def _is_content(dialogue: _Dialogue, stop_at: float | None) -> bool:
    return stop_at is not None and dialogue.ious[-1] >= stop_at


def _correct(dialogue: _Dialogue) -> bool:
    """Click where the answer is most wrong; False if no error is left."""
    click = next_click(dialogue.truth, dialogue.predicted, dialogue.clicks)
    if click is not None:
        dialogue.click(click)
    return click is not None


def clicks_to_reach(ious: Sequence[float], target: float, max_clicks: int) -> int:
    """Number of the first click whose IoU reaches the target, else `max_clicks`."""
    return next((n for n, iou in enumerate(ious, start=1) if iou >= target), max_clicks)


@dataclass(frozen=True, kw_only=True)
class Interactive:
    """The `noc` protocol.

    Attributes:
        choice: which masks are clicked.
        max_clicks: limit for each mask.
        feed_back: feed the logits of each answer back with the next click.
        refine: see `samkit.Predictor.predict`.
    """

    choice: MaskChoice = field(default_factory=MaskChoice)
    max_clicks: int = PUBLISHED_CLICKS
    feed_back: bool = True
    refine: Refine = "none"

    def __post_init__(self) -> None:
        check_refine(self.refine)
        check_number("max_clicks", self.max_clicks, int, 1, MAX_CLICKS)

    @property
    def name(self) -> str:
        return "noc"

    def settings(self) -> dict[str, Any]:
        own: dict[str, Any] = {"max_clicks": self.max_clicks, "feed_back": self.feed_back}
        # What is not chosen is left out, so that results older than the setting stay valid.
        if self.refine != "none":
            own["refine"] = self.refine
        return asdict(self.choice) | own

    def differences(self) -> tuple[str, ...]:
        parts = list(self.choice.differences())
        if self.max_clicks != PUBLISHED_CLICKS:
            parts.append(f"at most {self.max_clicks} clicks instead of {PUBLISHED_CLICKS}")
        if not self.feed_back:
            parts.append("logits are not fed back")
        if self.refine != "none":
            parts.append(f"answers are refined ({self.refine})")
        return tuple(parts)

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        masks = self.choice.masks(sample)
        if not masks:
            return {"masks": 0, "area_fractions": [], "ious": [], "iou_pred": []}
        clicked = click_masks(
            predictor,
            embedding,
            masks,
            void=void_mask(sample),
            max_clicks=self.max_clicks,
            feed_back=self.feed_back,
            refine=self.refine,
            image=sample.image,
        )
        return {
            "masks": len(masks),
            "area_fractions": area_fractions(masks),
            "ious": [own.ious for own in clicked],
            "iou_pred": [own.iou_pred for own in clicked],
        }

    def summarise(self, results: Sequence[Result]) -> Summary:
        metrics: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for target in TARGET_IOUS:
            name = f"{target:.0%}".rstrip("%")
            counts = [
                [clicks_to_reach(ious, target, self.max_clicks) for ious in result["ious"]]
                for result in results
            ]
            reached = [
                [float(max(ious) >= target) for ious in result["ious"]] for result in results
            ]
            metrics |= both_means(f"noc{name}", counts) | both_means(f"reached{name}", reached)
            pooled = np.array([count for image in counts for count in image], np.int64)
            bins = np.bincount(pooled, minlength=self.max_clicks + 1)[1:]
            curves[f"noc{name}_histogram"] = _curve(bins / max(len(pooled), 1))
        by_click = [
            [[*ious, *[ious[-1]] * (self.max_clicks - len(ious))] for ious in result["ious"]]
            for result in results
        ]
        for number in REPORTED_CLICKS:
            if number <= self.max_clicks:
                ious = [[own[number - 1] for own in image] for image in by_click]
                metrics |= both_means(f"iou_after_{number}", ious)
        pooled_ious = [own for image in by_click for own in image]
        if pooled_ious:
            curves["iou_by_clicks"] = _curve(np.mean(pooled_ious, axis=0))
        return Summary(metrics=metrics, curves=curves)


def _curve(values: Any) -> Curve:
    """A curve of values for 1, 2, ... clicks."""
    return Curve(x=tuple(range(1, len(values) + 1)), y=tuple(np.asarray(values).tolist()))
