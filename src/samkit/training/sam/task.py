"""Interactive training task of SAM: a simulated session for each mask, a prompt and corrections.

Source: arXiv:2304.02643, section 3, appendices A and D.5. Deviations: the loss is the mean over the
iterations, where the paper computes one for each; cells of the padding, and void ones, are no
errors. Shape legend: B images, M masks, K candidates, N points, T side of the target space,
C channels, G side of the embedding grid, L side of logits.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from samkit.models import ImageFeatures, MaskDecoder, PosEncProjections, Sam
from samkit.training.losses import LossRecipe, MaskLosses, mask_iou, mask_losses
from samkit.training.sam.clicks import (
    Clicks,
    add_points,
    begin_as_given,
    begin_with_text,
    cells_to_model,
    clicked_cells,
    clicks_to_tokens,
    correct_as_given,
    first_clicks,
    offered_candidates,
)
from samkit.training.sam.prompts import PromptRecipe, corrective_points, new_point_plan
from samkit.training.sam.teacher import Teacher
from samkit.training.sam.trainable import Trainable
from samkit.training.task import Batch, GivenTensors, StepResult, Task


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
        given: GivenTensors | None = None
        if batch.given is not None and recipe.given_probability > 0:
            size = self.sam.config.image_size
            clicks, given = begin_as_given(
                clicks, truth, batch.given, size, recipe, generator, alike=alike
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
                points = self._to_model(points, truth)
                if given is not None:
                    number = clicks.points_xy.shape[1]
                    points, labels = correct_as_given(given, number, points, labels)
                clicks = add_points(clicks, points, labels)
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


def to_target_size(logits: Tensor, side: int) -> Tensor:
    """Resize logits (M, K, L, L) to the target space (M, K, T, T)."""
    if logits.shape[-1] == side:
        return logits
    return nn.functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
