"""SAM 2 for images: a mask decoder that sees finer levels, and knows whether the object is there.

What it remembers of a video's other frames is in `memory`. Source: arXiv:2408.00714, section 4 and
appendix D. Shape legend: P prompts, T tokens, N image positions, C channels, M masks, L side of the
mask logits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.image_spec import ImageSpec
from samkit.models.hiera import HieraConfig
from samkit.models.interface import ImageFeatures, MaskAnswer, PromptTensors
from samkit.models.mask_decoder import (
    AMBIGUOUS_MASKS,
    SINGLE_MASK,
    Attended,
    MaskDecoder,
    MaskDecoderConfig,
    Mlp,
    finer_tokens,
)
from samkit.models.memory import Memory, MemoryConfig
from samkit.models.prompt_encoder import PromptEncoderConfig
from samkit.models.repvit import RepViTConfig
from samkit.models.sam import Sam, SamConfig
from samkit.models.two_way import PosEncProjections

# A mask is stable if its area changes little between two thresholds of the logits.
STABILITY_DELTA, STABILITY_THRESH = 0.05, 0.98


@dataclass(frozen=True, kw_only=True)
class Sam2Config(SamConfig):
    """Configuration of a SAM 2 or an EdgeTAM; `memory` is None for a model of images alone."""

    encoder: HieraConfig | RepViTConfig
    memory: MemoryConfig | None = field(default_factory=MemoryConfig)

    @property
    def image_spec(self) -> ImageSpec:
        """Specification of the image encoder's input."""
        return ImageSpec(size=self.encoder.image_size, fit="stretch")

    @property
    def prompts(self) -> PromptEncoderConfig:
        """Configuration of the prompt encoder."""
        return PromptEncoderConfig(
            image_size=self.encoder.image_size,
            grid_size=self.encoder.grid_size,
            dim=self.decoder.dim,
            text_dim=self.text_dim,
            pads_boxes=True,
        )


class Sam2MaskDecoder(MaskDecoder):
    """SAM's mask decoder with a token that tells whether the object is in the image at all."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__(config)
        self.obj_score_token = nn.Embedding(1, config.dim)
        self.pred_obj_score_head = Mlp(config.dim, config.dim, 1)

    def output_tokens(self) -> Tensor:
        return torch.cat([self.obj_score_token.weight, super().output_tokens()])

    def read_out(self, tokens: Tensor, image: Tensor) -> Attended:
        """Read the answers from tokens (P, T, C); here predicted IoUs are between 0 and 1."""
        object_token, tokens = tokens[:, 0], tokens[:, 1:]
        attended = super().read_out(tokens, image)
        return attended._replace(
            iou_pred=attended.iou_pred.sigmoid(),
            mask_tokens=tokens[:, 1 : 1 + self.mask_tokens.num_embeddings],
            object_logits=self.pred_obj_score_head(object_token),
        )

    def select(self, attended: Attended, *, multimask: bool) -> Attended:
        """Select the three masks for ambiguous prompts, or the single one.

        Except in training, the three go along with the single one; see `Sam2.answer`.
        """
        if multimask or self.training:
            return super().select(attended, multimask=multimask)
        return attended._replace(by_stability=True)


class ObjectMasks(NamedTuple):
    """Masks of P objects: three candidates each, or a single one.

    Attributes:
        logits: (P, M, L, L).
        iou_pred: (P, M).
        object_logits: (P,), above 0 where the object is in the frame.
        mask_tokens: (P, M, C), from which object pointers are made.
    """

    logits: Tensor
    iou_pred: Tensor
    object_logits: Tensor
    mask_tokens: Tensor


class Sam2(Sam):
    """SAM 2: answers prompts like any `Sam`.

    Attributes:
        no_mem_embed: (1, 1, C), added to an image that is seen without memory of other frames.
        memory: networks for videos; None for a model of images alone.
    """

    config: Sam2Config
    mask_decoder: Sam2MaskDecoder

    def __init__(self, config: Sam2Config) -> None:
        super().__init__(config)
        self.mask_decoder = Sam2MaskDecoder(config.decoder)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, config.decoder.dim))
        self.memory = (
            None
            if config.memory is None
            else Memory(config.memory, config.decoder.dim, config.encoder.grid_size)
        )

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Channels and side of each level of `ImageFeatures`, finest first."""
        dim, grid = self.config.decoder.dim, self.config.encoder.grid_size
        return ((dim // 8, 4 * grid), (dim // 4, 2 * grid), (dim, grid))

    @property
    def video_parts(self) -> tuple[nn.Module, ...]:
        """Parts that answers about single images do not depend on."""
        head: nn.Module = self.mask_decoder.pred_obj_score_head
        return (head,) if self.memory is None else (head, self.memory)

    def dense_map(self, dense: Tensor | None = None) -> Tensor:
        """What is added to an image that is seen without memory, as (1 or P, C, G, G)."""
        return super().dense_map(dense) + self.no_mem_embed.view(1, -1, 1, 1)

    def finer_tokens(self, features: ImageFeatures) -> tuple[Tensor, ...]:
        """Tokens of the two finer levels."""
        quarter, half, _ = features.levels
        return finer_tokens(half, quarter)

    def decode_objects(
        self,
        grid: Tensor,
        finer: tuple[Tensor, ...],
        prompts: PromptTensors,
        *,
        multimask: bool,
        has_memory: bool,
        pos_enc: PosEncProjections | None = None,
    ) -> ObjectMasks:
        """Answer one prompt for each of P objects.

        In training the single mask is answered as it is, even if it is unstable.

        Args:
            grid: (1 or P, C, G, G), a frame, or what each object's memory made of it.
            finer: tokens of the frame's finer levels.
            prompts: P prompts.
            multimask: the candidates for ambiguous prompts, or the single mask.
            has_memory: whether the grid has seen a memory.
            pos_enc: result of `project_pos_enc`, if already computed.
        """
        with torch.autocast(grid.device.type, enabled=False):  # positions need their precision
            sparse, dense = self.embed_prompts(prompts)
        added = super().dense_map(dense) if has_memory else self.dense_map(dense)
        pos_enc = self.project_pos_enc() if pos_enc is None else pos_enc
        image = grid.expand(len(sparse), -1, -1, -1)
        context = self.mask_decoder.prepare(image, added, pos_enc, is_shared=False)
        attended = self.mask_decoder.attend(sparse, context)
        logits = self.mask_decoder.upscale(attended.image, attended.kernels, *finer)
        assert attended.mask_tokens is not None
        assert attended.object_logits is not None
        if multimask or self.training:
            masks = AMBIGUOUS_MASKS if multimask else SINGLE_MASK
            logits, iou_pred = logits[:, masks], attended.iou_pred[:, masks]
            tokens = attended.mask_tokens[:, masks]
        else:
            logits, iou_pred = self.answer(attended._replace(by_stability=True), logits)
            tokens = attended.mask_tokens[:, SINGLE_MASK]  # even where the mask is replaced
        return ObjectMasks(logits, iou_pred, attended.object_logits[:, 0], tokens)

    def answer(self, attended: Attended, logits: Tensor) -> MaskAnswer:
        """The answer of selected masks whose logits (P, M, L, L) were upscaled.

        Where only the single mask was asked for, but is unstable, the best of the others answers.
        """
        if not attended.by_stability:
            return super().answer(attended, logits)
        chosen = choose_stable(logits, attended.iou_pred)[:, None]
        rows = torch.arange(len(logits), device=logits.device)[:, None]
        return MaskAnswer(logits=logits[rows, chosen], iou_pred=attended.iou_pred[rows, chosen])


def choose_stable(logits: Tensor, iou_pred: Tensor) -> Tensor:
    """Indices (P,) of the single masks, or, where these are unstable, of the best of the others.

    Args:
        logits: (P, M, L, L), the single mask first.
        iou_pred: (P, M).
    """
    single = logits[:, 0].flatten(1)
    inner = (single > STABILITY_DELTA).sum(1)
    outer = (single > -STABILITY_DELTA).sum(1)
    is_stable = inner >= STABILITY_THRESH * outer  # an empty mask is stable
    best = 1 + iou_pred[:, 1:].argmax(1)
    return torch.where(is_stable, 0, best)
