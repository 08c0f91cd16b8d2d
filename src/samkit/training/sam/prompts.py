"""Simulated prompts, drawn from ground-truth masks and from the errors of the last prediction.

Everything is batched and stays on its device. Source: arXiv:2304.02643, appendix A, "Training
algorithm". Deviations: see `corrective_points`. Shape legend: M masks, T side of the target space.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from samkit.geometry import farthest_point
from samkit.training.settings import check_range

PAPER_SIDE = 1024  # side of the images in whose pixels the paper states distances


@dataclass(frozen=True, kw_only=True)
class PromptRecipe:
    """Settings of simulated prompts; the defaults are the paper's, with 11 iterations in total.

    Attributes:
        text_probability: fraction of masks whose first prompt is text, represented by the CLIP
            embedding of a crop of the mask.
        text_noise: length of a random vector that is added to the embedding, since CLIP's text and
            image embeddings lie apart (arXiv:2211.00575); the paper has none.
        box_probability: fraction of the other masks whose first prompt is a box; the rest get a
            point.
        single_box_probability: fraction of boxes that only the single mask answers, as it does when
            a model is asked for one mask of a box; the others get the candidates for ambiguous
            prompts, as points do. The paper does not say.
        box_noise: std of each coordinate of the box, relative to the box's side.
        box_noise_max_px: largest shift of a coordinate, in pixels of an image of side 1024.
        center_probability: fraction of points in the middle, farthest from the boundary, where the
            robot user clicks that models are evaluated with; the others are uniform, as in the
            paper.
        given_probability: fraction of masks whose first prompt and corrections are those that
            people are known to have given, as far as they fit the mask; the others are drawn.
        corrections: number of iterations that each add a point in the error of the last mask.
        min_corrections: if given, the number is drawn anew for each batch, from this up to
            `corrections`.
        mask_only_between: add an iteration without a new point at a random position among these.
        mask_only_last: add an iteration without a new point at the end.
    """

    text_probability: float = 0.0
    text_noise: float = 0.0
    box_probability: float = 0.5
    single_box_probability: float = 0.0
    box_noise: float = 0.1
    box_noise_max_px: float = 20.0
    center_probability: float = 0.0
    given_probability: float = 0.0
    corrections: int = 8
    min_corrections: int | None = None
    mask_only_between: bool = True
    mask_only_last: bool = True

    def __post_init__(self) -> None:
        check_range("text_probability", self.text_probability, 0, 1)
        check_range("text_noise", self.text_noise, 0)
        check_range("box_probability", self.box_probability, 0, 1)
        check_range("single_box_probability", self.single_box_probability, 0, 1)
        check_range("box_noise", self.box_noise, 0)
        check_range("box_noise_max_px", self.box_noise_max_px, 0)
        check_range("center_probability", self.center_probability, 0, 1)
        check_range("given_probability", self.given_probability, 0, 1)
        check_range("corrections", self.corrections, 0)
        if self.min_corrections is not None:
            check_range("min_corrections", self.min_corrections, 0, self.corrections)


def new_point_plan(recipe: PromptRecipe, generator: torch.Generator) -> list[bool]:
    """Draw a plan: whether each iteration after the first adds a point."""
    corrections = recipe.corrections
    if recipe.min_corrections is not None:
        draw = torch.randint(
            recipe.min_corrections,
            corrections + 1,
            (1,),
            generator=generator,
            device=generator.device,
        )
        corrections = int(draw)
    plan = [True] * corrections
    if recipe.mask_only_between and plan:
        draw = torch.randint(len(plan), (1,), generator=generator, device=generator.device)
        plan.insert(int(draw), False)
    return plan + [False] * recipe.mask_only_last


def uniform_points(regions: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a point in each region, uniformly over its cells.

    Args:
        regions: (M, T, T) bool, none of them empty.
        generator: random generator on the regions' device.

    Returns:
        (M, 2) xy, integers: cells of the target space.
    """
    side = regions.shape[-1]
    counted = regions.flatten(1).cumsum(1, dtype=torch.int32)
    total = counted[:, -1:]
    draw = torch.rand(len(regions), 1, generator=generator, device=regions.device)
    wanted = (draw * total).int().clamp(max=total - 1) + 1  # the first, the second, ...
    index = torch.searchsorted(counted, wanted).squeeze(1)
    return torch.stack([index % side, index // side], dim=-1)


def drawn_points(
    regions: Tensor, generator: torch.Generator, *, center_probability: float
) -> Tensor:
    """Draw a point in each region: some in its middle, the others uniformly over its cells.

    Args:
        regions: (M, T, T) bool, none of them empty.
        generator: random generator on the regions' device.
        center_probability: fraction of points in the middle; see `PromptRecipe`.

    Returns:
        (M, 2) xy, integers: cells of the target space.
    """
    points = uniform_points(regions, generator)
    for row in _rows_in_the_middle(len(regions), center_probability, generator):
        middle = farthest_point(regions[row].cpu().numpy())
        assert middle is not None
        points[row, 0], points[row, 1] = middle.x, middle.y
    return points


def corrective_points(
    truth: Tensor,
    predicted: Tensor,
    generator: torch.Generator,
    *,
    center_probability: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Draw a point where each mask is wrong; in the mask if nothing is wrong.

    The paper does not say what follows a perfect mask, whose error region is empty: here another
    foreground point, in SAM 2's code a background point outside of the mask.

    Args:
        truth: (M, T, T) bool, none of them empty, without ignored cells.
        predicted: (M, T, T) bool, likewise.
        generator: random generator on the masks' device.
        center_probability: fraction of points in the middle of what is missing or of what is too
            much, whichever is farther from its own boundary; see `PromptRecipe`.

    Returns:
        points (M, 2) xy in cells, labels (M,): 1 for missing mask, 0 for excess mask.
    """
    error = truth ^ predicted
    perfect = ~error.flatten(1).any(1)
    points = uniform_points(torch.where(perfect[:, None, None], truth, error), generator)
    for row in _rows_in_the_middle(len(truth), center_probability, generator):
        missing = farthest_point((truth[row] & ~predicted[row]).cpu().numpy())
        excess = farthest_point((predicted[row] & ~truth[row]).cpu().numpy())
        found = [point for point in (excess, missing) if point is not None]
        if found:
            middle = max(found, key=lambda point: point.distance_px)
            points[row, 0], points[row, 1] = middle.x, middle.y
    rows = torch.arange(len(truth), device=truth.device)
    return points, truth[rows, points[:, 1], points[:, 0]].long()


def _rows_in_the_middle(count: int, probability: float, generator: torch.Generator) -> list[int]:
    """Draw which of `count` points lie in the middle; draws nothing if none can."""
    if probability == 0:
        return []
    draw = torch.rand(count, generator=generator, device=generator.device)
    return [row for row, value in enumerate(draw.tolist()) if value < probability]


def tight_boxes(masks: Tensor) -> Tensor:
    """Compute boxes (M, 4) xyxy of masks (M, T, T) bool that are not empty; far edges exclusive."""
    edges = []
    for axis in (1, 2):  # project onto columns, then onto rows
        seen = masks.any(axis).byte()
        edges.append((seen.argmax(1), seen.shape[1] - seen.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = edges
    return torch.stack([x0, y0, x1, y1], dim=-1)


def noisy_boxes(
    boxes_xyxy: Tensor, side: int, recipe: PromptRecipe, generator: torch.Generator
) -> Tensor:
    """Add noise to boxes, to resemble those that people draw.

    Args:
        boxes_xyxy: (M, 4) float, in pixels of a square image.
        side: side of that image, which boxes stay inside of.
        recipe: amount of noise.
        generator: random generator on the boxes' device.
    """
    extent = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes_xyxy.shape, generator=generator, device=boxes_xyxy.device)
    limit = recipe.box_noise_max_px * side / PAPER_SIDE
    noisy = boxes_xyxy + (noise * extent * recipe.box_noise).clamp(-limit, limit)
    low, high = torch.minimum(noisy[:, :2], noisy[:, 2:]), torch.maximum(noisy[:, :2], noisy[:, 2:])
    return torch.cat([low, high], dim=1).clamp(0, side)
