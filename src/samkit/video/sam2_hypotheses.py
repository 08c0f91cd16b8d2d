"""Several hypotheses of where an object is, each with a memory of its own.

Where a frame has several answers, a single memory follows the one that looks best at that moment,
and a mistake stays in it. Here the best few answers live on, each with the memory that led to it
and its own mask added; what they are worth adds up over the frames, so that a hypothesis which
began worse may win later. Source: SAM2Long, arXiv:2410.16268, of which only the idea is taken.
Deviations: the answer to a frame is the best hypothesis at that frame, not the one that is best at
the end of the video, so that a stream gives the same as a file; a prompt ends all but the one that
it was given to.

Shape legend: M candidates, L side of the mask logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from samkit.arrays import Logits
from samkit.models import ObjectMasks
from samkit.types import Prompts
from samkit.video.interface import ObjectAnswer
from samkit.video.sam2_answer import Sam2Answer, Sam2Features
from samkit.video.sam2_choice import Choice
from samkit.video.sam2_memory import ObjectMemory
from samkit.video.sam2_tracker import Sam2Tracker

LOWEST_IOU = 1e-3  # a predicted IoU of 0 would end a hypothesis for good
# Object scores within which it is uncertain whether the object is there; then hypotheses must
# differ, in masks with an IoU below this one.
UNCERTAIN_LOGIT = 2.0
DISTINCT_IOU = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Hypothesis:
    """One account of an object so far.

    Attributes:
        memory: what it remembers.
        worth: sum of the logarithms of its masks' predicted IoUs.
    """

    memory: ObjectMemory
    worth: float = 0.0


@dataclass(kw_only=True, eq=False)
class Hypotheses:
    """The memory of one object: its hypotheses, the best one first."""

    ranked: list[Hypothesis] = field(default_factory=lambda: [Hypothesis(memory=ObjectMemory())])

    @property
    def best(self) -> ObjectMemory:
        """The memory of the best hypothesis."""
        return self.ranked[0].memory

    def settle(self) -> ObjectMemory:
        """End all hypotheses but the best one; return its memory."""
        self.ranked = [Hypothesis(memory=self.best)]
        return self.best


@dataclass(frozen=True, kw_only=True, eq=False)
class HypothesisAnswer(Sam2Answer):
    """The answer of the best hypothesis.

    Attributes:
        ranked: answers that live on, the best one first: the number of the hypothesis that gave it,
            the answer, and what both are worth.
    """

    ranked: tuple[tuple[int, Sam2Answer, float], ...]


@dataclass(frozen=True)
class Candidate:
    """A candidate of a frame.

    Attributes:
        parent: number of the hypothesis that gave it.
        row: of that hypothesis among what was decoded.
        number: of the candidate.
        iou_pred: its predicted IoU.
        worth: of the hypothesis that it would become.
    """

    parent: int
    row: int
    number: int
    iou_pred: float
    worth: float


class HypothesisTracker(Sam2Tracker):
    """Follows each object by a few hypotheses; a `Tracker`."""

    def start(self) -> Hypotheses:  # type: ignore[override] # memories are the tracker's own
        """The memory of a new object."""
        return Hypotheses()

    def prompt(  # type: ignore[override]
        self,
        features: Sam2Features,
        memory: Hypotheses,
        index: int,
        prompts: Prompts,
        previous: Logits | None,
    ) -> Sam2Answer:
        """Answer one prompt of an object, by its best hypothesis."""
        return super().prompt(features, memory.best, index, prompts, previous)

    @torch.no_grad()
    def track(  # type: ignore[override]
        self,
        features: Sam2Features,
        memories: Sequence[Hypotheses],
        index: int,
        *,
        reverse: bool,
    ) -> list[ObjectAnswer]:
        """Find objects in a frame; see `Tracker.track`."""
        owners = [
            (number, parent)
            for number, memory in enumerate(memories)
            for parent in range(len(memory.ranked))
        ]
        flat = [memories[number].ranked[parent].memory for number, parent in owners]
        decoded = list(self.candidates(features, flat, index, reverse=reverse))
        rows = [at for numbers, _ in decoded for at in numbers]
        masks = ObjectMasks(
            *(torch.cat(part) for part in zip(*(m for _, m in decoded), strict=True))
        )
        answers: list[ObjectAnswer] = []
        for number, memory in enumerate(memories):
            own = {owners[at][1]: row for row, at in enumerate(rows) if owners[at][0] == number}
            answers.append(self._branched(features, masks, memory, own))
        return answers

    def _branched(
        self,
        features: Sam2Features,
        masks: ObjectMasks,
        memory: Hypotheses,
        row_of: dict[int, int],
    ) -> HypothesisAnswer:
        """Choose the answers that live on, from those of all hypotheses, at `row_of` each."""
        candidates = self._candidates(masks, memory, row_of)
        object_logits = masks.object_logits[list(row_of.values())]
        chosen = candidates[: self.policy.num_hypotheses]
        if bool((object_logits.abs() < UNCERTAIN_LOGIT).all()):
            chosen = self._distinct(masks, candidates)
        rows = torch.tensor([one.row for one in chosen], device=masks.logits.device)
        found = self.answers(
            features,
            ObjectMasks(*(part[rows] for part in masks)),
            [Choice(one.number) for one in chosen],
        )
        ranked = tuple(
            (one.parent, answer, one.worth) for one, answer in zip(chosen, found, strict=True)
        )
        return HypothesisAnswer(**vars(found[0]), ranked=ranked)

    def _candidates(
        self, masks: ObjectMasks, memory: Hypotheses, row_of: dict[int, int]
    ) -> list[Candidate]:
        """All candidates of all hypotheses, the best one first."""
        found = []
        for parent, row in row_of.items():
            ious = masks.iou_pred[row].tolist()
            is_absent = bool(masks.object_logits[row] <= self.policy.present_thresh)
            # Masks of an absent object are all empty: one stands for all.
            numbers = [int(np.argmax(ious))] if is_absent else range(len(ious))
            for number in numbers:
                worth = memory.ranked[parent].worth + math.log(max(ious[number], LOWEST_IOU))
                found.append(Candidate(parent, row, number, ious[number], worth))
        return sorted(found, key=lambda one: (-one.worth, -one.iou_pred))

    def _distinct(self, masks: ObjectMasks, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best candidates whose masks differ from those of all better ones."""
        chosen: list[Candidate] = []
        seen: list[npt.NDArray[np.bool_]] = []
        for one in candidates:
            is_there = bool(masks.object_logits[one.row] > self.policy.present_thresh)
            mask = (masks.logits[one.row, one.number] > 0).cpu().numpy() & is_there
            if all(_iou(mask, other) < DISTINCT_IOU for other in seen):
                chosen.append(one)
                seen.append(mask)
            if len(chosen) == self.policy.num_hypotheses:
                break
        return chosen

    def memorise(  # type: ignore[override]
        self,
        features: Sam2Features,
        memory: Hypotheses,
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,
    ) -> None:
        """Put an answer into an object's memory, and those of other hypotheses into theirs."""
        if prompted or not isinstance(answer, HypothesisAnswer):
            best = memory.settle()
            super().memorise(features, best, index, answer, prompted=prompted, reverse=reverse)
            return
        grown = []
        for rank, (parent, own, worth) in enumerate(answer.ranked):
            branch = memory.ranked[parent].memory.copy()
            # The first one is the answer itself, in which overlaps may have been settled since.
            theirs = answer if rank == 0 else own
            super().memorise(features, branch, index, theirs, prompted=False, reverse=reverse)
            grown.append(Hypothesis(memory=branch, worth=worth))
        memory.ranked = grown

    def release(  # type: ignore[override]
        self,
        memory: Hypotheses,
        index: int | None = None,
    ) -> None:
        """Forget a confirmed frame, or, without an index, all that was tracked."""
        if index is None:
            memory.settle()
        for one in memory.ranked:
            super().release(one.memory, index)


def _iou(mask: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """IoU of two masks (L, L); 1 if both are empty."""
    union = (mask | other).sum()
    return float((mask & other).sum() / union) if union else 1.0
