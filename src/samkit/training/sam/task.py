"""Interactive training task of SAM: a simulated session for each mask, a prompt and corrections.

Source: arXiv:2304.02643, section 3, appendices A and D.5. Deviations: the loss is the mean over the
iterations, where the paper computes one for each; cells of the padding, and void ones, are no
errors. Shape legend: B images, M masks, K candidates, N points, T side of the target space,
C channels, G side of the embedding grid, L side of logits, D dimensions of CLIP's space.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from samkit.models import (
    ImageFeatures,
    MaskDecoder,
    PosEncProjections,
    PromptEncoder,
    PromptTensors,
    Sam,
)
from samkit.training.losses import LossRecipe, MaskLosses, mask_iou, mask_losses
from samkit.training.sam.prompts import (
    PromptRecipe,
    corrective_points,
    drawn_points,
    new_point_plan,
    noisy_boxes,
    tight_boxes,
)
from samkit.training.sam.teacher import Teacher
from samkit.training.sam.trainable import Trainable
from samkit.training.task import Batch, StepResult, Task


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


@dataclass(frozen=True, kw_only=True)
class InteractiveRecipe:
    """Settings of simulated sessions and their loss.

    Attributes:
        prompts: simulated prompts.
        loss: weights of the losses.
        checkpoint_iterations: recompute each iteration in the backward pass instead of storing its
            activations: a tenth of the memory, a third more time.
        compile: compile the costly parts of an iteration (`torch.compile`): a minute at the start,
            then on a CPU two thirds of the time. All batches should have as many masks.
    """

    prompts: PromptRecipe = PromptRecipe()
    loss: LossRecipe = LossRecipe()
    checkpoint_iterations: bool = True
    compile: bool = False


class InteractiveTask(Task):
    """A SAM and the loss of a simulated session with it.

    Attributes:
        trainable: the network with its trainable parts.
        recipe: settings of the sessions and their loss.
        teacher: replaces some ground truths by automatic masks; None without.
    """

    def __init__(
        self, trainable: Trainable, recipe: InteractiveRecipe, teacher: Teacher | None = None
    ) -> None:
        super().__init__()
        self.trainable = trainable
        self.recipe = recipe
        self.teacher = teacher
        self._mask_losses = mask_losses
        if recipe.compile:
            compile_decoder(trainable.sam.mask_decoder)
            self._mask_losses = torch.compile(mask_losses)

    @property
    def sam(self) -> Sam:
        """The network."""
        return self.trainable.sam

    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:
        encoded = self.trainable.encode(batch)
        features = encoded.rows(batch.image_index)  # one for each mask
        truth, recipe = batch.masks, self.recipe.prompts
        ignored = None if batch.ignored is None else batch.ignored[batch.image_index]  # (M, T, T)
        if self.teacher is not None:
            truth = self.teacher.outline_some(truth, features, ignored, generator)
            truth = self.teacher.replace_some(truth, features, ignored, generator)
        alike = self.sam.config.prompts.pads_boxes
        clicks = first_clicks(truth, self.sam.config.image_size, recipe, generator, alike=alike)
        if batch.clicks_xy is not None and recipe.given_probability > 0:
            clicks = begin_as_given(
                clicks, truth, batch.clicks_xy, self.sam.config.image_size, recipe, generator
            )
        if batch.text_embeds is not None and self.sam.config.text_dim is not None:
            clicks = begin_with_text(clicks, batch.text_embeds, recipe, generator, alike=alike)
        with in_float32(features.grid):
            positions = self.sam.prompt_encoder.grid_positions()
        pos_enc = self.sam.mask_decoder.project_pos_enc(positions)  # the same for all iterations
        results: list[MaskLosses] = []
        previous: Tensor | None = None  # logits (M, 1, L, L) of the chosen candidates
        for adds_point in [False, *new_point_plan(recipe, generator)]:
            if adds_point:
                assert previous is not None
                predicted = to_target_size(previous, truth.shape[-1]).squeeze(1) > 0
                if ignored is not None:
                    predicted &= ~ignored
                points, labels = corrective_points(
                    truth, predicted, generator, center_probability=recipe.center_probability
                )
                clicks = add_points(clicks, self._to_model(points, truth), labels)
            losses, logits = self._iterate(
                features, pos_enc, clicks, previous, truth, ignored=ignored
            )
            rows = torch.arange(len(truth), device=truth.device)
            previous = logits[rows, losses.chosen][:, None].detach()
            results.append(losses)
        parts = {
            name: torch.stack([getattr(losses, name) for losses in results]).mean().detach()
            for name in ("focal", "dice", "iou_error")
        }
        parts |= {"iou_first": results[0].iou, "iou_last": results[-1].iou}
        loss = torch.stack([losses.total for losses in results]).mean()
        if self.recipe.loss.rejected > 0:
            rejected_error = self._rejected_error(encoded, pos_enc, batch, generator)
            loss = loss + self.recipe.loss.rejected * rejected_error
            parts["rejected_error"] = rejected_error.detach()
        return StepResult(loss, parts)

    def export(self, path: Path) -> None:
        """Write a SAM checkpoint."""
        self.trainable.export(path)

    def parameter_depths(self) -> dict[str, int]:
        return {f"trainable.{k}": v for k, v in self.trainable.parameter_depths().items()}

    def _rejected_error(
        self,
        encoded: ImageFeatures,
        pos_enc: PosEncProjections,
        batch: Batch,
        generator: torch.Generator,
    ) -> Tensor:
        """Squared error of the predicted IoU where people rejected masks; 0 without any.

        One click is answered for each. Masks are not trained: only what they are said to be worth.
        """
        if batch.rejected is None:
            return encoded.grid.new_zeros((), dtype=torch.float32)
        assert batch.rejected_truths is not None
        assert batch.rejected_index is not None
        recipe = replace(self.recipe.prompts, box_probability=0.0)
        clicks = first_clicks(batch.rejected, self.sam.config.image_size, recipe, generator)
        with in_float32(encoded.grid):
            tokens = clicks_to_tokens(clicks, self.sam.prompt_encoder)
        features = encoded.rows(batch.rejected_index)
        dense = self.sam.prompt_encoder.no_mask().expand(len(features.grid), -1, -1, -1)
        context = self.sam.prepare(features, dense, pos_enc)
        attended = self.sam.select(self.sam.attend(tokens, context), multimask=True)
        logits, iou_pred = self.sam.upscale(attended, context)
        predicted = to_target_size(logits.detach(), batch.rejected.shape[-1]) > 0
        if batch.ignored is not None:
            predicted &= ~batch.ignored[batch.rejected_index][:, None]
        # An empty answer where nothing is wanted has no IoU with anything.
        iou = mask_iou(predicted, batch.rejected_truths[:, None])
        iou = torch.where(batch.rejected_truths.any((1, 2))[:, None], iou, 0.0)
        return (iou_pred.float() - iou).square().mean()

    def _iterate(
        self,
        features: ImageFeatures,
        pos_enc: PosEncProjections,
        clicks: Clicks,
        previous: Tensor | None,
        truth: Tensor,
        *,
        ignored: Tensor | None,
    ) -> tuple[MaskLosses, Tensor]:
        """Compute losses and logits (M, K, L, L) of one iteration.

        K is 1 after the first, in which it is that of all candidates, whether offered or not.
        """
        with in_float32(features.grid):
            tokens = clicks_to_tokens(clicks, self.sam.prompt_encoder)
        cells, labels = clicked_cells(clicks, self.sam.config.image_size, truth.shape[-1])
        offered = None
        if previous is None:
            candidates = self.sam.config.decoder.num_multimask + 1
            offered = offered_candidates(clicks, candidates)
        arguments = (features, pos_enc, tokens, previous, truth, ignored, cells, labels, offered)
        if self.recipe.checkpoint_iterations and torch.is_grad_enabled():
            result: tuple[MaskLosses, Tensor] = checkpoint(
                self._answer, *arguments, use_reentrant=False, preserve_rng_state=False
            )
            return result
        return self._answer(*arguments)

    def _answer(  # noqa: PLR0917 - by position, as `checkpoint` passes tensors
        self,
        features: ImageFeatures,
        pos_enc: PosEncProjections,
        tokens: Tensor,
        previous: Tensor | None,
        truth: Tensor,
        ignored: Tensor | None,
        cells_xy: Tensor,
        labels: Tensor,
        offered: Tensor | None,
    ) -> tuple[MaskLosses, Tensor]:
        """Answer prompts (M, N + 2, C) and compare the answers with the ground truth (M, T, T).

        `cells_xy` (M, N + 1, 2) and `labels` (M, N + 1) are those of `clicked_cells`, `offered`
        (M, K) of `offered_candidates`; None where only the single mask answers.
        """
        sam, encoder = self.sam, self.sam.prompt_encoder
        dense = encoder.no_mask() if previous is None else encoder.embed_masks(previous)
        context = sam.prepare(features, dense.expand(len(features.grid), -1, -1, -1), pos_enc)
        attended = sam.attend(tokens, context)
        if offered is None:
            attended = sam.select(attended, multimask=False)
        logits, iou_pred = sam.upscale(attended, context)
        resized = to_target_size(logits, truth.shape[-1])
        losses = self._mask_losses(
            resized,
            iou_pred,
            truth,
            self.recipe.loss,
            ignored=ignored,
            clicks=(cells_xy, labels),
            offered=offered,
        )
        return losses, logits.detach().float()

    def _to_model(self, cells_xy: Tensor, truth: Tensor) -> Tensor:
        return cells_to_model(cells_xy, truth.shape[-1], self.sam.config.image_size)


def compile_decoder(decoder: MaskDecoder) -> None:
    """Compile the parts that see all positions of an image.

    Not the blocks as a whole: with PyTorch 2.13, in bfloat16 and on processors with AMX, what it
    makes of them has NaN in its results.
    """
    transformer = decoder.transformer
    for block in transformer.blocks:
        block.cross_attn_token_to_image.compile()
        block.cross_attn_image_to_token.compile()
    transformer.final_attn_token_to_image.compile()
    decoder.output_upscaling.compile()


def in_float32(tensor: Tensor) -> torch.autocast:
    """Context without autocasting: positions in bfloat16 would be off by more than a pixel."""
    return torch.autocast(tensor.device.type, enabled=False)


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


def to_target_size(logits: Tensor, side: int) -> Tensor:
    """Resize logits (M, K, L, L) to the target space (M, K, T, T)."""
    if logits.shape[-1] == side:
        return logits
    return nn.functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


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
    given_xy: Tensor,
    model_size: int,
    recipe: PromptRecipe,
    generator: torch.Generator,
) -> Clicks:
    """Replace some first points by those that people clicked.

    Args:
        clicks: first prompts.
        truth: (M, T, T).
        given_xy: (M, 2) in the model space; NaN where unknown.
        model_size: side of the model space.
        recipe: fraction that is replaced.
        generator: random generator on the masks' device.
    """
    side = truth.shape[-1]
    draw = torch.rand(len(truth), generator=generator, device=truth.device)
    cells = ((given_xy + 0.5) * (side / model_size)).nan_to_num().long().clamp(0, side - 1)
    rows = torch.arange(len(truth), device=truth.device)
    is_inside = given_xy.isfinite().all(1) & truth[rows, cells[:, 1], cells[:, 0]]
    is_used = (draw < recipe.given_probability) & is_inside
    return clicks._replace(first_xy=torch.where(is_used[:, None], given_xy, clicks.first_xy))


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
