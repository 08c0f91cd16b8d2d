"""Simulated prompts in clips: how objects are shown, in which frames, and which are corrected.

Source: arXiv:2408.00714, appendix D.2. All objects of a batch are shown alike, in the same frames,
so that they are decoded together. Shape legend: P objects, F frames, N points, T side of the
target space.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from samkit.models import PromptTensors
from samkit.training.sam.clicks import cells_to_model
from samkit.training.sam.prompts import PromptRecipe, noisy_boxes, tight_boxes, uniform_points
from samkit.training.settings import check_range

Kind: TypeAlias = Literal["mask", "box", "click"]


@dataclass(frozen=True, kw_only=True)
class VideoPromptRecipe:
    """Settings of simulated prompts; the defaults are the paper's.

    Attributes:
        mask_probability: fraction of clips whose objects are shown by their masks.
        box_probability: fraction of the other clips whose objects are shown by boxes; the rest by
            clicks.
        first_frames: most frames in which objects are shown before tracking begins: the first one,
            and others among those in which all objects are.
        corrected_frames: most frames in which clicks correct what is found, in clips that do not
            begin with masks: the first one, and others.
        corrections: clicks in each of these.
        truth_probability: fraction of corrections that are drawn from the true mask, not from the
            error.
        box_noise, box_noise_max_px: of boxes; see `PromptRecipe`.
    """

    mask_probability: float = 0.5
    box_probability: float = 0.5
    first_frames: int = 2
    corrected_frames: int = 2
    corrections: int = 7
    truth_probability: float = 0.1
    box_noise: float = 0.1
    box_noise_max_px: float = 20.0

    def __post_init__(self) -> None:
        check_range("mask_probability", self.mask_probability, 0, 1)
        check_range("box_probability", self.box_probability, 0, 1)
        check_range("first_frames", self.first_frames, 1)
        check_range("corrected_frames", self.corrected_frames, 0)
        check_range("corrections", self.corrections, 0)
        check_range("truth_probability", self.truth_probability, 0, 1)
        check_range("box_noise", self.box_noise, 0)
        check_range("box_noise_max_px", self.box_noise_max_px, 0)


class Plan(NamedTuple):
    """What happens in a clip.

    Attributes:
        kind: how objects are shown.
        shown: frames in which they are, the first one first.
        corrected: frames in which clicks correct what is found.
    """

    kind: Kind
    shown: tuple[int, ...]
    corrected: frozenset[int]


def draw_plan(truth: Tensor, recipe: VideoPromptRecipe, generator: torch.Generator) -> Plan:
    """Draw a plan for clips with true masks (P, F, T, T)."""
    device = generator.device

    def coin() -> float:
        return float(torch.rand(1, generator=generator, device=device))

    def number(most: int) -> int:
        """A number from 1 to `most`."""
        return int(torch.randint(most, (1,), generator=generator, device=device)) + 1

    def some(frames: list[int], count: int) -> list[int]:
        order = torch.randperm(len(frames), generator=generator, device=device)
        return [frames[row] for row in order[:count].tolist()]

    kind: Kind = "click"
    if coin() < recipe.mask_probability:
        kind = "mask"
    elif coin() < recipe.box_probability:
        kind = "box"
    has_all = truth.flatten(2).any(2).all(0)
    later = [at for at in range(1, truth.shape[1]) if has_all[at]]
    shown = (0, *sorted(some(later, number(recipe.first_frames) - 1)))
    if kind == "mask" or not recipe.corrected_frames or not recipe.corrections:
        return Plan(kind, shown, frozenset())
    others = [at for at in range(1, truth.shape[1]) if at not in shown]
    corrected = {0, *some(others, number(recipe.corrected_frames) - 1)}
    return Plan(kind, shown, frozenset(corrected))


def first_prompts(
    truth: Tensor,
    kind: Kind,
    model_size: int,
    recipe: VideoPromptRecipe,
    generator: torch.Generator,
) -> PromptTensors:
    """Draw a box or a click for each true mask (P, T, T), none of which is empty."""
    if kind == "box":
        noise = PromptRecipe(box_noise=recipe.box_noise, box_noise_max_px=recipe.box_noise_max_px)
        boxes = tight_boxes(truth) * (model_size / truth.shape[-1])
        return PromptTensors(boxes_xyxy=noisy_boxes(boxes, model_size, noise, generator))
    points = cells_to_model(uniform_points(truth, generator), truth.shape[-1], model_size)
    return PromptTensors(
        points_xy=points[:, None], labels=torch.ones(len(points), 1, device=points.device).long()
    )


def add_correction(  # noqa: PLR0917 - as `corrective_points`, with three more
    prompts: PromptTensors,
    truth: Tensor,
    predicted: Tensor,
    model_size: int,
    recipe: VideoPromptRecipe,
    generator: torch.Generator,
) -> PromptTensors:
    """Add a click in the error of each mask, or, with some probability, anywhere in the true one.

    After a perfect mask, the click is anywhere in it, or, where the object is absent, beside it.

    Args:
        prompts: of P objects so far; only those of this frame.
        truth: (P, T, T) bool; may be empty.
        predicted: (P, T, T) bool.
        model_size: side of the model space.
        recipe: settings.
        generator: random generator on the masks' device.
    """
    draw = torch.rand(len(truth), generator=generator, device=truth.device)
    is_there = truth.flatten(1).any(1)
    within = torch.where(is_there[:, None, None], truth, ~truth)
    error = truth ^ predicted
    asks_truth = (draw < recipe.truth_probability) | ~error.flatten(1).any(1)
    cells = uniform_points(torch.where(asks_truth[:, None, None], within, error), generator)
    rows = torch.arange(len(truth), device=truth.device)
    labels = truth[rows, cells[:, 1], cells[:, 0]].long()[:, None]
    points = cells_to_model(cells, truth.shape[-1], model_size)[:, None]
    if prompts.points_xy is not None and prompts.labels is not None:
        points = torch.cat([prompts.points_xy, points], dim=1)
        labels = torch.cat([prompts.labels, labels], dim=1)
    return prompts._replace(points_xy=points, labels=labels)
