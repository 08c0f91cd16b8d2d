"""Automatic masks of a frozen teacher, trained beside the ground truth so that nothing is lost.

Annotated masks are mostly of whole objects; a model trained on them alone forgets parts and
everything that nobody annotated. So some ground truths of each batch are replaced by one of the
teacher's own answers to a click at a random place, if it passes the filters of automatic masks.

Shape legend: M masks, T side of the target space, L side of logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samkit.geometry import STABILITY_OFFSET
from samkit.models import ImageFeatures, PromptTensors, Sam
from samkit.training.losses import mask_iou
from samkit.training.sam.prompts import tight_boxes, uniform_points
from samkit.training.settings import check_range

# As for the data sets' own masks: smaller ones are specks, larger ones backgrounds.
MIN_FRACTION, MAX_FRACTION = 2e-4, 0.9

# A drawn mask as a mask prompt: the logit inside of it; outside its negative.
GIVEN_LOGIT = 8.0
OUTLINE_PASSES = 2  # the second one sees the first one's answer instead of the drawn mask


@dataclass(frozen=True, kw_only=True)
class TeacherRecipe:
    """Settings of the teacher.

    Attributes:
        weights: a model's name or a checkpoint, with the image encoder of the model in training,
            whose embeddings it shares; None for no teacher.
        probability: fraction of masks that are replaced, as far as the answers pass.
        iou_thresh: answers with a lower predicted IoU are not used.
        stability_thresh: nor those with a lower stability.
        outline_probability: fraction of masks that are outlined anew by the teacher, which sees
            them and their box: drawn outlines are often coarse, the teacher's follow the image.
        outline_iou_thresh: masks whose new outline has a lower IoU with the drawn one stay.
    """

    weights: str | None = None
    probability: float = 0.3
    iou_thresh: float = 0.85
    stability_thresh: float = 0.92
    outline_probability: float = 0.0
    outline_iou_thresh: float = 0.88

    def __post_init__(self) -> None:
        check_range("probability", self.probability, 0, 1)
        check_range("iou_thresh", self.iou_thresh, 0, 1)
        check_range("stability_thresh", self.stability_thresh, 0, 1)
        check_range("outline_probability", self.outline_probability, 0, 1)
        check_range("outline_iou_thresh", self.outline_iou_thresh, 0, 1)


class Teacher:
    """A frozen prompt encoder and mask decoder; no module, as its weights are not the task's.

    Attributes:
        recipe: its settings.
    """

    def __init__(self, sam: Sam, recipe: TeacherRecipe) -> None:
        self.recipe = recipe
        self._sam = sam.eval().requires_grad_(requires_grad=False)
        self._sam.image_encoder = nn.Identity()  # its embeddings are the batch's

    @torch.no_grad()
    def replace_some(
        self,
        truth: Tensor,
        features: ImageFeatures,
        ignored: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Replace some ground truths (M, T, T) bool by automatic masks; returns a copy.

        Args:
            features: of one image for each mask.
            ignored: (M, T, T) bool, cells without ground truth, in which no mask lies.
            generator: random generator on the masks' device.
        """
        rows = drawn_rows(truth, self.recipe.probability, generator)
        if len(rows) == 0:
            return truth
        known = torch.ones_like(truth[rows]) if ignored is None else ~ignored[rows]
        known |= ~known.flatten(1).any(1)[:, None, None]  # nothing to draw from: draw anywhere
        logits, usable = self._answers(features.rows(rows), known, generator)
        pick = torch.rand(usable.shape, generator=generator, device=truth.device) * usable
        best = pick.argmax(1)
        own = torch.arange(len(rows), device=truth.device)
        size = truth.shape[-2:]
        chosen = nn.functional.interpolate(logits[own, best][:, None], size, mode="bilinear")
        masks = (chosen.squeeze(1) > 0) & known
        fraction = masks.flatten(1).float().mean(1)
        good = usable[own, best] & (fraction > MIN_FRACTION) & (fraction < MAX_FRACTION)
        replaced = truth.clone()
        replaced[rows[good]] = masks[good]
        return replaced

    @torch.no_grad()
    def outline_some(
        self,
        truth: Tensor,
        features: ImageFeatures,
        ignored: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Outline some ground truths (M, T, T) bool anew; returns a copy.

        Arguments are those of `replace_some`.
        """
        if self.recipe.outline_probability == 0:
            return truth
        rows = drawn_rows(truth, self.recipe.outline_probability, generator)
        if len(rows) == 0:
            return truth
        drawn = truth[rows]
        sam = self._sam.to(truth.device)
        features = features.rows(rows).float()
        boxes = tight_boxes(drawn) * (sam.config.image_size / truth.shape[-1])
        side = 4 * features.grid.shape[-1]
        given = nn.functional.interpolate(drawn[:, None].float(), (side, side), mode="area")
        logits = (2 * given - 1) * GIVEN_LOGIT
        with torch.autocast(truth.device.type, enabled=False):  # positions need float32
            for _ in range(OUTLINE_PASSES):
                prompts = PromptTensors(boxes_xyxy=boxes.float(), mask_logits=logits)
                logits, _ = sam.decode(features, prompts, multimask=False)
        size = truth.shape[-2:]
        outlined = nn.functional.interpolate(logits, size, mode="bilinear").squeeze(1) > 0
        if ignored is not None:
            outlined &= ~ignored[rows]
        good = mask_iou(outlined, drawn) >= self.recipe.outline_iou_thresh
        replaced = truth.clone()
        replaced[rows[good]] = outlined[good]
        return replaced

    def _answers(
        self, features: ImageFeatures, known: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Click each image once: logits (M, 3, L, L), and whether each mask is usable (M, 3)."""
        sam = self._sam.to(known.device)
        side, size = known.shape[-1], sam.config.image_size
        points = (uniform_points(known, generator) + 0.5) * (size / side) - 0.5
        labels = torch.ones(len(points), 1, dtype=torch.int64, device=known.device)
        prompts = PromptTensors(points_xy=points[:, None], labels=labels)
        with torch.autocast(known.device.type, enabled=False):  # positions need float32
            logits, iou_pred = sam.decode(features.float(), prompts, multimask=True)
        inner = (logits > STABILITY_OFFSET).sum((-2, -1))
        outer = (logits > -STABILITY_OFFSET).sum((-2, -1)).clamp(min=1)
        stable = inner / outer >= self.recipe.stability_thresh
        return logits, stable & (iou_pred >= self.recipe.iou_thresh)


def drawn_rows(truth: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw indices of masks (M, T, T), each with a probability."""
    draw = torch.rand(len(truth), generator=generator, device=truth.device)
    return torch.nonzero(draw < probability).squeeze(1)
