"""The judge of learned models: what a mask costs people with one model and with another.

Robot annotators click the same masks of held-back images with both. A candidate is promoted only if
masks cost less beyond chance, and general images have not been forgotten. Shape legend: N images,
of which the frames of a video are one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from samkit.datasets import Sample, SampleSource
from samkit.evaluation import (
    CONFIDENCE,
    MIN_GROUPS,
    GroupSums,
    MaskChoice,
    click_masks,
    clicks_to_reach,
    compare,
    draw_groups,
    expanded_interval,
)
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.dataengine import Learning
    from samkit.predict import Predictor

MASKS_PER_IMAGE = 8
LEAST_IMAGES = MIN_GROUPS  # held back, to judge at all
TARGETS = (0.85, 0.90)

Number = TypeVar("Number", int, float)
Embed = Callable[[Sample, "Predictor"], ImageEmbedding]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the masks of each of N images cost with one model.

    Attributes:
        num_masks: masks of each image that were clicked.
        clicks: clicks to IoU 0.85, summed over the masks of each image; who gives up, paints.
        clicks90: likewise to IoU 0.90.
        iou_1: IoU after the first click, summed likewise.
    """

    num_masks: tuple[int, ...]
    clicks: tuple[float, ...]
    clicks90: tuple[float, ...]
    iou_1: tuple[float, ...]

    def mean(self, name: str) -> float:
        """Mean over all masks."""
        return float(sum(getattr(self, name)) / max(sum(self.num_masks), 1))

    def by_group(self, groups: Sequence[str]) -> Costs:
        """Sums over images that are alike, such as the frames of a video, as of one image.

        Args:
            groups: name of each image's group.
        """
        names = list(dict.fromkeys(groups))
        place = {name: number for number, name in enumerate(names)}

        def summed(values: Sequence[Number]) -> tuple[Number, ...]:
            totals = [type(values[0])()] * len(names) if values else []
            for group, value in zip(groups, values, strict=True):
                totals[place[group]] += value
            return tuple(totals)

        return Costs(
            num_masks=summed(self.num_masks),
            clicks=summed(self.clicks),
            clicks90=summed(self.clicks90),
            iou_1=summed(self.iou_1),
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A comparison of a candidate with the model that it began from; means over masks.

    Attributes:
        is_better: whether it shall be promoted.
        reason: why, in one line.
        num_images, num_masks: held-back images and videos, and their masks that were clicked.
        clicks, clicks90, iou_1: of the earlier model and of the candidate.
        difference: interval of the mean difference in clicks, 95% on each side, from a bootstrap
            over images; None with fewer than 6 images that have masks.
        general_iou_1: IoU after the first click on general images, of the first model and of the
            candidate; None if there are none.
        forgets: whether nothing but the general images speaks against it.
    """

    is_better: bool
    reason: str
    num_images: int
    num_masks: int
    clicks: tuple[float, float]
    clicks90: tuple[float, float]
    iou_1: tuple[float, float]
    difference: tuple[float, float] | None
    general_iou_1: tuple[float, float] | None
    forgets: bool = False

    def figures(self) -> dict[str, Any]:
        """As JSON, in which pairs are lists."""
        figures: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return figures


def unjudged() -> Judgement:
    """Promote a candidate unseen, to measure elsewhere what it is worth."""
    return Judgement(
        is_better=True,
        reason="not judged",
        num_images=0,
        num_masks=0,
        clicks=(0.0, 0.0),
        clicks90=(0.0, 0.0),
        iou_1=(0.0, 0.0),
        difference=None,
        general_iou_1=None,
    )


def measure_costs(
    predictor: Predictor,
    source: SampleSource,
    embed: Embed,
    learning: Learning,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Costs:
    """Let a robot click up to 8 masks of each image.

    Args:
        embed: returns the embedding of a sample's image by a predictor's encoder.
        learning: when the robot gives up, and what painting costs.
        on_image: called after each image.
    """
    choice = MaskChoice(masks_per_image=MASKS_PER_IMAGE)
    num_masks: list[int] = []
    sums: tuple[list[float], list[float], list[float]] = ([], [], [])
    for sample in all_samples(source):
        masks = choice.masks(sample)
        clicked = (
            click_masks(
                predictor,
                embed(sample, predictor),
                masks,
                max_clicks=learning.max_clicks,
                stop_at=max(TARGETS),
                image=sample.image,
            )
            if masks
            else []
        )
        num_masks.append(len(masks))
        for column, target in zip(sums, TARGETS, strict=False):
            column.append(sum(cost(own.ious, target, learning) for own in clicked))
        sums[2].append(sum(own.ious[0] for own in clicked))
        on_image()
    clicks, clicks90, iou_1 = map(tuple, sums)
    return Costs(num_masks=tuple(num_masks), clicks=clicks, clicks90=clicks90, iou_1=iou_1)


def cost(ious: Sequence[float], target: float, learning: Learning) -> float:
    """Clicks that a mask costs: until its IoU reaches the target, or all and then painting."""
    if max(ious) < target:
        return learning.max_clicks + learning.paint_clicks
    return clicks_to_reach(ious, target, learning.max_clicks)


def judge_costs(
    before: Costs,
    after: Costs,
    *,
    general: tuple[Costs, Costs] | None,
    max_forgotten: float,
) -> Judgement:
    """Compare two models on the same masks.

    Args:
        before, after: of the earlier model and of the candidate.
        general: on general images, of the first model and of the candidate.
        max_forgotten: how much lower the candidate's IoU there may be.
    """
    difference = paired_interval(before.clicks, after.clicks, before.num_masks)
    general_iou = None
    if general is not None:
        general_iou = (general[0].mean("iou_1"), general[1].mean("iou_1"))
    forgotten = 0.0 if general_iou is None else general_iou[0] - general_iou[1]
    clicks = (before.mean("clicks"), after.mean("clicks"))
    change = f"{clicks[0]:.2f} to {clicks[1]:.2f} clicks a mask"
    span = (
        "" if difference is None else f", difference {difference[0]:+.2f} to {difference[1]:+.2f}"
    )
    is_better = difference is not None and difference[1] < 0
    if difference is None:
        reason = f"too few images to tell: {change}"
    elif not is_better:
        reason = f"not better beyond chance: {change}{span}"
    elif forgotten > max_forgotten:
        reason = f"{change}, but general images are {forgotten:.3f} IoU worse at the first click"
    else:
        reason = f"better: {change}{span}"
    return Judgement(
        is_better=is_better and forgotten <= max_forgotten,
        reason=reason,
        num_images=len(before.num_masks),
        num_masks=sum(before.num_masks),
        clicks=clicks,
        clicks90=(before.mean("clicks90"), after.mean("clicks90")),
        iou_1=(before.mean("iou_1"), after.mean("iou_1")),
        difference=difference,
        general_iou_1=general_iou,
        forgets=is_better and forgotten > max_forgotten,
    )


def paired_interval(
    before: Sequence[float], after: Sequence[float], num_masks: Sequence[int]
) -> tuple[float, float] | None:
    """Interval of the mean difference per mask, from sums (N,) over the masks of each image.

    Images are drawn, not masks: those of one image are alike. Each end is right with 95%; None with
    fewer than 6 images that have masks.
    """
    pairs = (np.column_stack([one, num_masks]).astype(np.float64) for one in (before, after))
    earlier, later = (GroupSums(sums=sums[sums[:, 1] > 0]) for sums in pairs)
    images = len(earlier.sums)
    if images < MIN_GROUPS:
        return None
    weights = draw_groups(images, np.random.default_rng(0))
    differences = compare(earlier, later, weights).differences
    return expanded_interval(differences, images, confidence=2 * CONFIDENCE - 1)


def all_samples(source: SampleSource) -> Iterator[Sample]:
    """Read the samples of a data set in order."""
    for index in range(len(source)):
        yield source[index]
