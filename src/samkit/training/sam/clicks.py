"""Prompts of simulated sessions: first prompts that are drawn or that people gave, and corrections.

Shape legend: M masks, K candidates, N points, T side of the target space, C channels, D dimensions
of CLIP's space.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.models import PromptEncoder, PromptTensors
from samkit.training.sam.prompts import PromptRecipe, drawn_points, noisy_boxes, tight_boxes
from samkit.training.task import GivenTensors

# Of a box that people gave, the least IoU with the mask's own. Others are of another object, such
# as one that was joined to this one.
GIVEN_BOX_IOU = 0.5


class Clicks(NamedTuple):
    """All prompts so far for each of M masks, in the model space.

    All masks have the same number of tokens: one that began with a point has one point more, and a
    padding token; one that began with a box has its two corners; one that began with text has its
    token, and a padding token.

    Attributes:
        from_box: (M,) bool.
        boxes_xyxy: (M, 4); used where `from_box`.
        first_xy: (M, 2); used where neither a box nor text was first.
        points_xy: (M, N, 2) corrections.
        labels: (M, N) labels of the corrections.
        wants_single: (M,) bool, first prompts that only the single mask answers.
        from_text: (M,) bool, false where `from_box`; None without text prompts.
        text_embeds: (M, D) unit vectors; used where `from_text`.
    """

    from_box: Tensor
    boxes_xyxy: Tensor
    first_xy: Tensor
    points_xy: Tensor
    labels: Tensor
    wants_single: Tensor
    from_text: Tensor | None = None
    text_embeds: Tensor | None = None


def first_clicks(
    truth: Tensor,
    model_size: int,
    recipe: PromptRecipe,
    generator: torch.Generator,
    *,
    alike: bool = False,
) -> Clicks:
    """Draw a point or a box for each mask (M, T, T).

    With `alike`, all masks of a batch begin with the same kind of prompt: where boxes are padded,
    they have one token more than points.
    """
    count, side = len(truth), truth.shape[-1]
    draw = torch.rand(1 if alike else count, generator=generator, device=truth.device)
    draw = draw.expand(count)
    is_box = draw < recipe.box_probability
    boxes = tight_boxes(truth) * (model_size / side)
    first = drawn_points(truth, generator, center_probability=recipe.center_probability)
    return Clicks(
        from_box=is_box,
        # The draw is uniform below the probability of a box, too.
        wants_single=draw < recipe.box_probability * recipe.single_box_probability,
        boxes_xyxy=noisy_boxes(boxes, model_size, recipe, generator),
        first_xy=cells_to_model(first, side, model_size),
        points_xy=truth.new_zeros((count, 0, 2), dtype=torch.float32),
        labels=truth.new_zeros((count, 0), dtype=torch.int64),
    )


def begin_as_given(  # noqa: PLR0917 - as `first_clicks`, with two more
    clicks: Clicks,
    truth: Tensor,
    given: GivenTensors,
    model_size: int,
    recipe: PromptRecipe,
    generator: torch.Generator,
    *,
    alike: bool = False,
) -> tuple[Clicks, GivenTensors]:
    """Begin the sessions of some masks with the box or the click that people began with.

    Prompts that do not fit the mask are not used: it may have been painted, or joined to others,
    since. A box must be about that of the mask, a foreground click in it, and a background one not.

    Args:
        clicks: first prompts.
        truth: (M, T, T).
        given: prompts of people.
        model_size: side of the model space.
        recipe: fraction of masks whose sessions are as people had them.
        generator: random generator on the masks' device.
        alike: as in `first_clicks`: boxes begin no session of a batch that begins with points, nor
            points one that begins with boxes.

    Returns:
        first prompts, and the prompts of people that these sessions use; NaN where they use none.
    """
    draw = torch.rand(len(truth), generator=generator, device=truth.device)
    given = _fitting(given, truth, model_size, draw < recipe.given_probability)
    has_box, has_click = given.boxes_xyxy.isfinite().all(1), given.first_xy.isfinite().all(1)
    if alike:
        has_box, has_click = has_box & clicks.from_box, has_click & ~clicks.from_box
    # The draw is uniform below the fraction, too.
    is_single = draw < recipe.given_probability * recipe.single_box_probability
    if alike:
        is_single = clicks.wants_single
    begun = clicks._replace(
        from_box=(clicks.from_box | has_box) & ~has_click,
        wants_single=torch.where(has_box, is_single, clicks.wants_single & ~has_click),
        boxes_xyxy=torch.where(has_box[:, None], given.boxes_xyxy, clicks.boxes_xyxy),
        first_xy=torch.where(has_click[:, None], given.first_xy, clicks.first_xy),
    )
    return begun, given


def _fitting(given: GivenTensors, truth: Tensor, model_size: int, is_used: Tensor) -> GivenTensors:
    """Prompts that fit their mask (M, T, T), where `is_used` (M,); NaN in place of others."""
    side = truth.shape[-1]
    own = tight_boxes(truth) * (model_size / side)
    fits_box = is_used & (_box_iou(given.boxes_xyxy, own) >= GIVEN_BOX_IOU)
    points = torch.cat([given.first_xy[:, None], given.points_xy], dim=1)
    labels = torch.cat([given.labels.new_ones((len(truth), 1)), given.labels], dim=1)
    cells = ((points + 0.5) * (side / model_size)).nan_to_num().long().clamp(0, side - 1)
    rows = torch.arange(len(truth), device=truth.device)[:, None]
    is_inside = truth[rows, cells[..., 1], cells[..., 0]]
    fits = is_used[:, None] & points.isfinite().all(-1) & (is_inside == (labels == 1))
    points = torch.where(fits[..., None], points, torch.nan)
    return GivenTensors(
        boxes_xyxy=torch.where(fits_box[:, None], given.boxes_xyxy, torch.nan),
        first_xy=points[:, 0],
        points_xy=points[:, 1:],
        labels=given.labels,
    )


def _box_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU (M,) of boxes (M, 4) in pairs; NaN where one is."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    return shared / (areas[0] + areas[1] - shared)


def correct_as_given(
    given: GivenTensors, number: int, points_xy: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace corrections (M, 2) and labels (M,) by those that people gave, where they gave any.

    Args:
        given: prompts of people that the sessions use.
        number: how many corrections came before.
    """
    if number >= given.points_xy.shape[1]:
        return points_xy, labels
    own = given.points_xy[:, number]
    is_given = own.isfinite().all(1)
    return (
        torch.where(is_given[:, None], own, points_xy),
        torch.where(is_given, given.labels[:, number], labels),
    )


def begin_with_text(
    clicks: Clicks,
    embeds: Tensor,
    recipe: PromptRecipe,
    generator: torch.Generator,
    *,
    alike: bool = False,
) -> Clicks:
    """Replace the first prompt of some masks by text.

    Args:
        clicks: first prompts, without text.
        embeds: (M, D) CLIP embeddings of mask crops; NaN for masks without.
        recipe: fraction of masks that begin with text, and noise.
        generator: random generator on the embeddings' device.
        alike: as in `first_clicks`: a batch that begins with boxes stays as it is.
    """
    draw = torch.rand(len(embeds), generator=generator, device=embeds.device)
    has_embed = embeds.isfinite().all(1)
    from_text = (draw < recipe.text_probability) & has_embed
    if alike and clicks.from_box.any():
        from_text = torch.zeros_like(from_text)
    embeds = torch.where(has_embed[:, None], embeds, 0.0)
    shift = torch.randn(embeds.shape, generator=generator, device=embeds.device)
    embeds = embeds + recipe.text_noise * nn.functional.normalize(shift, dim=-1)
    return clicks._replace(
        from_box=clicks.from_box & ~from_text,
        wants_single=clicks.wants_single & ~from_text,
        from_text=from_text,
        text_embeds=nn.functional.normalize(embeds, dim=-1),
    )


def add_points(clicks: Clicks, points_xy: Tensor, labels: Tensor) -> Clicks:
    """Add a correction to each mask: points (M, 2) in the model space, labels (M,)."""
    return clicks._replace(
        points_xy=torch.cat([clicks.points_xy, points_xy[:, None]], dim=1),
        labels=torch.cat([clicks.labels, labels[:, None]], dim=1),
    )


def clicks_to_tokens(clicks: Clicks, encoder: PromptEncoder) -> Tensor:
    """Embed prompts as tokens (M, N + 2, C), in a predictor's order; padded boxes have one more."""
    ones = clicks.labels.new_ones((len(clicks.from_box), 1))
    from_point = encoder.embed_sparse(
        PromptTensors(
            points_xy=torch.cat([clicks.first_xy[:, None], clicks.points_xy], dim=1),
            labels=torch.cat([ones, clicks.labels], dim=1),
        )
    )
    from_box = encoder.embed_sparse(
        PromptTensors(
            points_xy=clicks.points_xy, labels=clicks.labels, boxes_xyxy=clicks.boxes_xyxy
        )
    )
    if encoder.config.pads_boxes:  # all masks begin alike
        tokens = from_box if clicks.from_box.any() else from_point
    else:
        tokens = torch.where(clicks.from_box[:, None, None], from_box, from_point)
    if clicks.from_text is None:
        return tokens
    has_points = clicks.points_xy.shape[1] > 0
    from_text = encoder.embed_sparse(
        PromptTensors(
            text_embeds=clicks.text_embeds,
            points_xy=clicks.points_xy if has_points else None,
            labels=clicks.labels if has_points else None,
        )
    )
    return torch.where(clicks.from_text[:, None, None], from_text, tokens)


def cells_to_model(cells_xy: Tensor, truth_size: int, model_size: int) -> Tensor:
    """Convert cells (M, 2) of the target space to pixel indices of the model space."""
    return (cells_xy + 0.5) * (model_size / truth_size) - 0.5


def clicked_cells(clicks: Clicks, model_size: int, truth_size: int) -> tuple[Tensor, Tensor]:
    """Cells (M, N + 1, 2) of the target space that were clicked, and labels (M, N + 1).

    The first is the first prompt; its label is -1 where that was no point.
    """
    points = torch.cat([clicks.first_xy[:, None], clicks.points_xy], dim=1)
    cells = ((points + 0.5) * (truth_size / model_size)).long().clamp(0, truth_size - 1)
    is_point = (
        ~clicks.from_box if clicks.from_text is None else ~(clicks.from_box | clicks.from_text)
    )
    first = torch.where(is_point, 1, -1)[:, None].to(clicks.labels.dtype)
    return cells, torch.cat([first, clicks.labels], dim=1)


def offered_candidates(clicks: Clicks, candidates: int) -> Tensor:
    """Which of a model's candidates (M, K) answer first prompts; the first is the single mask."""
    is_single_mask = torch.arange(candidates, device=clicks.wants_single.device) == 0
    return clicks.wants_single[:, None] == is_single_mask
