"""Interactive segmentation of one image: prompts, their answers, and undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from samkit.arrays import Logits, RgbImage
from samkit.errors import PromptError
from samkit.formats import ImageLike
from samkit.predict.refine import Refine, check_refine
from samkit.types import ImageEmbedding, MaskPrediction


class PromptPredictor(Protocol):
    """Answers points, boxes and mask logits: the part of a `Predictor` that a session uses."""

    def predict(
        self,
        embedding: ImageEmbedding,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        multimask: bool = True,
        refine: Refine = "none",
        fine: bool = False,
        image: ImageLike | None = None,
    ) -> MaskPrediction:
        """Answer one prompt or a batch; see `samkit.Predictor.predict`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Refinement:
    """The prompts for one mask so far, and the logits that the next answer refines.

    Attributes:
        points_xy: points in pixels of the image.
        labels: 1 foreground, 0 background, one per point.
        box_xyxy: None without a box.
        mask_logits: (L, L) of the last answer's best mask; None before the first answer.
    """

    points_xy: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None
    mask_logits: Logits | None = None

    def clicked(self, x: float, y: float, label: int) -> Refinement:
        """Return a copy with one more point."""
        return replace(self, points_xy=(*self.points_xy, (x, y)), labels=(*self.labels, label))

    @property
    def is_ambiguous(self) -> bool:
        """Whether the prompt may mean several things: a single click and nothing else."""
        return self.mask_logits is None and self.box_xyxy is None and len(self.points_xy) == 1


def ask_all(
    predictor: PromptPredictor,
    embedding: ImageEmbedding,
    refinements: Sequence[Refinement],
    *,
    multimask: bool,
    feed_back: bool = True,
    refine: Refine = "none",
    fine: bool = False,
    image: RgbImage | None = None,
) -> MaskPrediction:
    """Answer prompts for several masks at once, all with equally many points, and all or no boxes.

    Args:
        refinements: P, one per mask; without any, the answer is empty.
        multimask: three candidates each.
        feed_back: give the logits of the last answers with the prompts.
        refine, fine, image: see `samkit.Predictor.predict`.

    Returns:
        an answer with a prompt axis.
    """
    if not refinements:
        return predictor.predict(embedding, boxes=np.zeros((0, 4)), multimask=multimask)
    how: dict[str, Any] = {}
    if refine != "none" or fine:
        how = {"refine": refine, "fine": fine, "image": image}
    parts: dict[str, Any] = {}
    if refinements[0].points_xy:
        parts["points"] = np.array([one.points_xy for one in refinements], np.float64)
        parts["labels"] = np.array([one.labels for one in refinements])
    if refinements[0].box_xyxy is not None:
        parts["boxes"] = np.array([one.box_xyxy for one in refinements], np.float64)
    if feed_back and refinements[0].mask_logits is not None:
        logits = [one.mask_logits for one in refinements if one.mask_logits is not None]
        parts["mask_logits"] = np.stack(logits)[:, None]
    return predictor.predict(embedding, multimask=multimask, **parts, **how)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Step:
    """A state of a session: the prompts and their answer."""

    refinement: Refinement
    answer: MaskPrediction | None


class ImageSession:
    """One image that a person segments by clicks and boxes.

        session = predictor.session("image.jpg")
        session.click(500, 375)
        session.click(420, 300, label=0)  # exclude this
        session.undo()
        session.mask  # bool (H, W)

    The first click may mean several things: the best of three candidates is taken, and each
    further prompt refines it.
    """

    def __init__(
        self,
        predictor: PromptPredictor,
        embedding: ImageEmbedding,
        *,
        refine: Refine = "none",
        fine: bool = False,
        image: RgbImage | None = None,
    ) -> None:
        """Begin without a prompt; for `refine`, `fine` and `image` see `samkit.Predictor.predict`.

        Raises:
            ConfigError: `refine` is unknown.
        """
        check_refine(refine)
        self.predictor, self.embedding = predictor, embedding
        self.refine, self.fine, self.image = refine, fine, image
        self._steps = [_Step(refinement=Refinement(), answer=None)]
        self._current = 0

    @property
    def refinement(self) -> Refinement:
        """The prompts so far."""
        return self._steps[self._current].refinement

    @property
    def answer(self) -> MaskPrediction | None:
        """The answer to the prompts so far, with all candidates; None before the first prompt."""
        return self._steps[self._current].answer

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The best mask (H, W); empty before the first prompt."""
        if self.answer is None:
            return np.zeros(self.embedding.coords.original_hw, bool)
        mask: npt.NDArray[np.bool_] = self.answer.best().masks[0]
        return mask

    def click(self, x: float, y: float, label: int = 1) -> MaskPrediction:
        """Add a point in pixels of the image: label 1 to include it, 0 to exclude it.

        Raises:
            PromptError: the point lies outside the image, or the label is invalid.
        """
        return self._ask(self.refinement.clicked(x, y, label))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> MaskPrediction:
        """Put a box around the object, replacing an earlier one.

        Raises:
            PromptError: the box is empty or lies outside the image.
        """
        return self._ask(replace(self.refinement, box_xyxy=(x0, y0, x1, y1)))

    def choose(self, candidate: int) -> None:
        """Choose a candidate of the last answer other than the best.

        Raises:
            PromptError: there is no such candidate.
        """
        answer = self.answer
        if answer is None or not 0 <= candidate < len(answer.iou_pred):
            count = 0 if answer is None else len(answer.iou_pred)
            raise PromptError(f"the last answer has {count} candidates; got number {candidate}")
        chosen = answer.candidate(candidate)
        refinement = replace(self.refinement, mask_logits=chosen.logits[0])
        self._add(_Step(refinement=refinement, answer=chosen))

    def undo(self) -> None:
        """Undo the last step; does nothing at the beginning."""
        self._current = max(0, self._current - 1)

    def redo(self) -> None:
        """Redo the step undone last; does nothing without one."""
        self._current = min(len(self._steps) - 1, self._current + 1)

    def reset(self) -> None:
        """Start a new mask on the same image."""
        self._steps, self._current = self._steps[:1], 0

    def _ask(self, refinement: Refinement) -> MaskPrediction:
        batch = ask_all(
            self.predictor,
            self.embedding,
            [refinement],
            multimask=refinement.is_ambiguous,
            refine=self.refine,
            fine=self.fine,
            image=self.image,
        )
        answer = batch.prompt(0)
        refinement = replace(refinement, mask_logits=answer.best().logits[0])
        self._add(_Step(refinement=refinement, answer=answer))
        return answer

    def _add(self, step: _Step) -> None:
        self._steps = [*self._steps[: self._current + 1], step]
        self._current += 1
