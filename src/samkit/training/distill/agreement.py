"""TeacherAgreement of a student with its teacher: features, and masks for the same prompts.

Shape legend: B images, M masks, K candidates, C channels, G side of the embedding grid, L side of
logits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samkit.errors import DataError
from samkit.models import ImageFeatures, PromptTensors, Sam
from samkit.training.distill.task import DistillTask
from samkit.training.losses import mask_iou
from samkit.training.sam.prompts import tight_boxes, uniform_points
from samkit.training.task import Batch

PROMPT_SEED = 0  # the same prompts in every evaluation


@dataclass(frozen=True, kw_only=True)
class TeacherAgreement:
    """A student compared with its teacher on the same images and prompts.

    Attributes:
        embedding_error: mean squared error of the features.
        relative_error: the same over the variance of the teacher's features.
        point_iou: mean IoU between the two models' top-ranked masks, prompted by a point.
        box_iou: the same, prompted by a box.
        masks: number of prompts of each kind.
    """

    embedding_error: float
    relative_error: float
    point_iou: float
    box_iou: float
    masks: int

    def scores(self) -> dict[str, float]:
        """Return scores for the training loop: higher is better; the first chooses the weights."""
        return {
            "explained": 1 - self.relative_error,
            "point_iou": self.point_iou,
            "box_iou": self.box_iou,
            "negative_error": -self.embedding_error,
        }


@torch.no_grad()
def agreement(task: DistillTask, batches: Iterable[Batch]) -> TeacherAgreement:
    """Compare student and teacher on held-out images.

    The prompts are a random point in each mask of the data, and its box. Masks are logits over 0
    at the decoder's resolution.

    Args:
        task: task in evaluation mode.
        batches: batches with images, on any device.

    Raises:
        DataError: there are no masks.
    """
    device = next(task.student.parameters()).device
    generator = torch.Generator(device).manual_seed(PROMPT_SEED)
    errors, variances = [], []
    ious: dict[str, list[Tensor]] = {"point": [], "box": []}
    for cpu_batch in batches:
        batch = cpu_batch.to(device)
        assert batch.pixels is not None
        target, features = task.target(batch), task.student.encode(batch.pixels).grid.float()
        errors.append((features - target).square().mean((1, 2, 3)))
        variances.append(target.var((1, 2, 3)))
        prompts = prompts_of(batch, task.student.config.image_size, generator)
        for index in range(len(batch.keys)):
            in_image = batch.image_index == index
            if not in_image.any():
                continue
            for kind, prompt in prompts.items():
                given = {name: value[in_image] for name, value in prompt.items()}
                masks = [
                    top_mask(model, f[index : index + 1], given)
                    for model, f in ((task.student, features), (task.teacher, target))
                ]
                ious[kind].append(mask_iou(*masks))
    if not ious["point"]:
        raise DataError("there are no masks to compare student and teacher with")
    error, variance = torch.cat(errors).mean(), torch.cat(variances).mean()
    point_iou, box_iou = (torch.cat(ious[kind]) for kind in ("point", "box"))
    return TeacherAgreement(
        embedding_error=float(error),
        relative_error=float(error / variance),
        point_iou=float(point_iou.mean()),
        box_iou=float(box_iou.mean()),
        masks=len(point_iou),
    )


def prompts_of(
    batch: Batch, model_size: int, generator: torch.Generator
) -> dict[str, dict[str, Tensor]]:
    """Make prompts for each mask of a batch, a point and its box, as arguments of `Sam.decode`."""
    scale = model_size / batch.masks.shape[-1]
    points_xy = (uniform_points(batch.masks, generator) + 0.5) * scale - 0.5
    labels = torch.ones(len(points_xy), 1, dtype=torch.int64, device=points_xy.device)
    return {
        "point": {"points_xy": points_xy[:, None], "labels": labels},
        "box": {"boxes_xyxy": tight_boxes(batch.masks) * scale},
    }


def top_mask(model: Sam, features_1CGG: Tensor, prompt: dict[str, Any]) -> Tensor:
    """Return the mask (M, L, L) of highest predicted IoU for each prompt."""
    features = ImageFeatures((features_1CGG,))
    logits_MKLL, iou_pred_MK = model.decode(features, PromptTensors(**prompt))
    rows = torch.arange(len(logits_MKLL), device=logits_MKLL.device)
    return logits_MKLL[rows, iou_pred_MK.argmax(1)] > 0
