"""The graphs of an exported SAM 2: prompts to masks of images, and what follows objects in videos.

Shape legend: P prompts, of objects in videos, N points, M masks, C channels, G side of the grid,
S side of the model space, L side of mask logits, H x W the image's size, F remembered frames,
K object pointers, E channels of memories.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from samkit.backends import FEATURES
from samkit.export.graphs import (
    PartSpec,
    PromptedDecoder,
    decoder_example,
    dense_prompt,
    point_tokens,
)
from samkit.models import ImageContext, Memory, Sam2, choose_stable, finer_tokens

PROMPTS = ("point_coords", "point_labels", "mask_input", "has_mask_input")
# Axes of variable size; the order of a graph's inputs is that of its `forward`.
PROMPT_AXES = {
    "point_coords": {0: "prompts", 1: "points"},
    "point_labels": {0: "prompts", 1: "points"},
    "mask_input": {0: "masks_given"},
    "iou_predictions": {0: "prompts"},
    "low_res_masks": {0: "prompts"},
}
EXAMPLE_OBJECTS, EXAMPLE_FRAMES, EXAMPLE_POINTERS = 2, 3, 2


class ObjectDecoder(PromptedDecoder):
    """Prompt encoder and mask decoder of a SAM 2: prompts to masks, object scores and mask tokens.

    The graph adds the padding point that SAM 2 puts at the end of all prompts with points or boxes.
    The first of the masks is for unambiguous prompts, the best of the others where it is unstable.
    """

    def __init__(self, sam: Sam2) -> None:
        super().__init__(sam)
        self.no_mem_embed = sam.no_mem_embed

    def forward(  # type: ignore[override]  # noqa: PLR0917
        self,
        high_res_feats_0: Tensor,
        high_res_feats_1: Tensor,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        has_memory: Tensor,
    ) -> tuple[Tensor, ...]:
        """Answer prompts, one for each object.

        Args:
            high_res_feats_0, high_res_feats_1: (1, C / 8, 4 G, 4 G), (1, C / 4, 2 G, 2 G).
            image_embeddings: (P, C, G, G), a frame, or what objects' memories made of it.
            point_coords, point_labels, mask_input, has_mask_input: as of `PromptedDecoder`.
            has_memory: (1,), 1 if the embeddings have seen a memory, else 0.

        Returns:
            mask logits (P, M, L, L), predicted IoU (P, M), object scores (P, 1) as logits, mask
            tokens (P, M, C).
        """
        dense = dense_prompt(self.prompts, mask_input, has_mask_input)
        unseen = self.no_mem_embed.view(1, -1, 1, 1)
        dense = dense + torch.where(has_memory > 0, torch.zeros_like(unseen), unseen)
        each = point_coords.new_zeros(point_coords.shape[0], 1, 1, 1)
        image = (image_embeddings + dense + each).flatten(2).transpose(1, 2)
        sparse = self.pad(point_tokens(self.prompts, point_coords, point_labels))
        attended = self.decoder.attend(sparse, ImageContext(image=image, pos_enc=self.pos_enc))
        finer = finer_tokens(high_res_feats_1, high_res_feats_0)
        logits = self.decoder.upscale(attended.image, attended.kernels, *finer)
        logits, iou_pred = replace_unstable(logits, attended.iou_pred)
        assert attended.object_logits is not None
        assert attended.mask_tokens is not None
        return logits, iou_pred, attended.object_logits, attended.mask_tokens

    def pad(self, tokens: Tensor) -> Tensor:
        """Add the padding point to tokens (P, N, C), if there are any."""
        prompts, points, _ = tokens.shape
        padding = self.prompts.not_a_point_embed.weight[None].expand(prompts, 1, -1)
        return torch.cat([tokens, padding[:, :points]], dim=1)


class Sam2Decoder(ObjectDecoder):
    """Prompts to masks at the image's size, as `PromptedDecoder` of a SAM."""

    def forward(  # type: ignore[override]  # noqa: PLR0917
        self,
        high_res_feats_0: Tensor,
        high_res_feats_1: Tensor,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, ...]:
        """Answer prompts on one image.

        Args:
            high_res_feats_0, high_res_feats_1, image_embeddings: of the image encoder.
            point_coords, point_labels, mask_input, has_mask_input: as of `PromptedDecoder`.
            orig_im_size: (2,) height and width.

        Returns:
            mask logits (P, M, H, W), predicted IoU (P, M), mask logits (P, M, L, L).
        """
        low_res, iou_pred, *_ = super().forward(
            high_res_feats_0,
            high_res_feats_1,
            image_embeddings,
            point_coords,
            point_labels,
            mask_input,
            has_mask_input,
            has_mask_input.new_zeros(1),
        )
        # Tensors, so that a graph accepts images of any size.
        size: Any = tuple(orig_im_size.to(torch.int64))
        masks = nn.functional.interpolate(low_res, size, mode="bilinear", align_corners=False)
        return masks, iou_pred, low_res


def replace_unstable(logits: Tensor, iou_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Put the best of the others in the place of single masks that are unstable.

    Args:
        logits: (P, M, L, L), the single mask first.
        iou_pred: (P, M).
    """
    chosen = choose_stable(logits, iou_pred)
    side = logits.shape[-1]
    single = logits.gather(1, chosen.view(-1, 1, 1, 1).expand(-1, 1, side, side))
    iou = iou_pred.gather(1, chosen[:, None])
    return torch.cat([single, logits[:, 1:]], dim=1), torch.cat([iou, iou_pred[:, 1:]], dim=1)


class MemoryEncoderGraph(nn.Module):
    """A frame and masks of P objects to what is remembered of them."""

    def __init__(self, memory: Memory, image_size: int) -> None:
        super().__init__()
        self.memory = only(memory, "encoder", "no_obj_embed_spatial", "spatial_perceiver")
        self.size = image_size

    def forward(
        self,
        image_embeddings: Tensor,
        mask_logits: Tensor,
        is_prompted: Tensor,
        is_present: Tensor | None = None,
    ) -> Tensor:
        """Remember a frame.

        Args:
            image_embeddings: (1, C, G, G), as they were before they saw a memory.
            mask_logits: (P, 1, h, w), of any size.
            is_prompted: (1,), 1 if users made the masks, else 0.
            is_present: (P,), 1 where the object is in the frame, else 0; SAM 2.1 alone has it.

        Returns:
            (P, E, G, G), or (P, E, T) of a perceiver.
        """
        size = (self.size, self.size)
        large = nn.functional.interpolate(mask_logits, size, mode="bilinear", align_corners=False)
        masks = torch.where(is_prompted > 0, (large > 0).to(large.dtype), large.sigmoid())
        present = torch.ones_like(mask_logits[:, 0, 0, 0]) if is_present is None else is_present
        return self.memory.encode_masks(image_embeddings, masks, present > 0)


class MemoryAttentionGraph(nn.Module):
    """A frame and the memories of P objects to each object's view of the frame."""

    times: Tensor

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = only(
            memory, "attention", "maskmem_tpos_enc", "no_mem_pos_enc", "obj_ptr_tpos_proj"
        )
        embeds = memory.maskmem_tpos_enc.detach().flatten(1)  # the last is of prompted frames
        times = torch.cat([embeds[-1:], embeds[:-1], torch.zeros_like(embeds[:1])])
        self.register_buffer("times", times)

    def forward(
        self,
        image_embeddings: Tensor,
        memory_maps: Tensor,
        memory_steps: Tensor,
        object_pointers: Tensor,
        pointer_distances: Tensor | None = None,
    ) -> Tensor:
        """Let a frame see what is remembered of P objects, of which as much is remembered.

        Args:
            image_embeddings: (1, C, G, G).
            memory_maps: (P, F, E, G, G), or (P, F, E, T) of a perceiver.
            memory_steps: (F,) int64, how long ago each was: 1 for the frame before, and so on, 0
                for prompted frames, -1 for frames of no time.
            object_pointers: (P, K, C).
            pointer_distances: (K,), how long ago each was, in frames; SAM 2.1 alone has them.

        Returns:
            (P, C, G, G).
        """
        memory, width = self.memory, self.memory.config.dim
        maps = memory_maps.flatten(3).transpose(2, 3).flatten(1, 2)
        steps = torch.where(memory_steps < 0, len(self.times) - 1, memory_steps)
        places = (memory.positions + self.times[steps][:, None]).flatten(0, 1)[None]
        objects, pointers, dim = object_pointers.shape
        num_still = pointers * (dim // width)
        still = object_pointers.reshape(objects, num_still, width)
        if pointer_distances is None:
            still_places = still.new_zeros(1, num_still, width)
        else:
            scaled = pointer_distances / max(1, memory.config.num_pointers - 1)
            each = memory.pointer_places(scaled)[:, None]
            still_places = each.expand(-1, dim // width, -1).reshape(1, num_still, width)
        updated: Tensor = memory.attention(
            memory.attention.begin(image_embeddings),
            torch.cat([maps, still], dim=1),
            torch.cat([places, still_places], dim=1),
            num_still,
        )
        return updated


class ObjectPointersGraph(nn.Module):
    """Mask tokens (P, C), and whether the objects are there (P,), to object pointers (P, C)."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = only(memory, "obj_ptr_proj", "no_obj_ptr")

    def forward(self, mask_tokens: Tensor, is_present: Tensor) -> Tensor:
        return self.memory.point(mask_tokens, is_present > 0)


class MaskPromptGraph(nn.Module):
    """Masks that users made (P, 1, S, S), 0 or 1, to mask prompts (P, 1, L, L)."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = only(memory, "mask_downsample")

    def forward(self, masks: Tensor) -> Tensor:
        prompts: Tensor = self.memory.mask_downsample(masks)
        return prompts


def only(memory: Memory, *names: str) -> Memory:
    """A copy of a memory with these parts alone, so that no file has more than it needs."""
    part = copy.deepcopy(memory)
    own = [name for name, _ in (*part.named_children(), *part.named_parameters(recurse=False))]
    for name in own:
        if name not in names:
            delattr(part, name)
    return part


def sam2_decoder_spec(sam: Sam2) -> PartSpec:
    """The decoder of images."""
    coords, labels, mask, has_mask, size_hw = decoder_example(sam)[1:]
    return PartSpec(
        module=Sam2Decoder(sam),
        example=(*features_example(sam), coords, labels, mask, has_mask, size_hw),
        inputs=(*FEATURES, *PROMPTS, "orig_im_size"),
        outputs=("masks", "iou_predictions", "low_res_masks"),
        axes={**PROMPT_AXES, "masks": {0: "prompts", 2: "height", 3: "width"}},
    )


def video_specs(sam: Sam2) -> tuple[PartSpec, ...]:
    """The parts for videos, in the order of `samkit.backends.VIDEO_PARTS`."""
    assert sam.memory is not None
    memory, config, objects = sam.memory, sam.memory.config, EXAMPLE_OBJECTS
    *finer, frame = features_example(sam)
    dim, grid = frame.shape[1:3]
    size = sam.config.image_size
    prompts = decoder_example(sam)[1:5]
    present, axes = torch.ones(objects), {0: "objects"}
    map_shape = (grid, grid) if config.perceiver is None else (config.perceiver.num_tokens,)
    maps = torch.zeros(objects, EXAMPLE_FRAMES, config.dim, *map_shape)
    steps = torch.arange(EXAMPLE_FRAMES).clamp(max=config.num_frames - 1)
    pointers, distances = torch.zeros(objects, EXAMPLE_POINTERS, dim), torch.ones(EXAMPLE_POINTERS)
    revised = 1 if config.is_revised else 0  # SAM 2.0 lacks the last input of two parts
    return (
        PartSpec(
            module=MemoryEncoderGraph(memory, size),
            example=(
                frame,
                torch.zeros(objects, 1, size // 4, size // 4),
                torch.zeros(1),
                *[present][:revised],
            ),
            inputs=(
                "image_embeddings",
                "mask_logits",
                "is_prompted",
                *["is_present"][:revised],
            ),
            outputs=("memory_maps",),
            axes={
                "mask_logits": {0: "objects", 2: "mask_height", 3: "mask_width"},
                "is_present": axes,
                "memory_maps": axes,
            },
        ),
        PartSpec(
            module=MemoryAttentionGraph(memory),
            example=(frame, maps, steps, pointers, *[distances][:revised]),
            inputs=(
                "image_embeddings",
                "memory_maps",
                "memory_steps",
                "object_pointers",
                *["pointer_distances"][:revised],
            ),
            outputs=("object_embeddings",),
            axes={
                "memory_maps": {0: "objects", 1: "memories"},
                "memory_steps": {0: "memories"},
                "object_pointers": {0: "objects", 1: "pointers"},
                "pointer_distances": {0: "pointers"},
                "object_embeddings": axes,
            },
        ),
        PartSpec(
            module=ObjectDecoder(sam),
            example=(*finer, frame.expand(objects, -1, -1, -1), *prompts, torch.zeros(1)),
            inputs=(*FEATURES, *PROMPTS, "has_memory"),
            outputs=("low_res_masks", "iou_predictions", "object_score_logits", "mask_tokens"),
            axes={
                **PROMPT_AXES,
                "image_embeddings": {0: "prompts"},
                "object_score_logits": {0: "prompts"},
                "mask_tokens": {0: "prompts"},
            },
        ),
        PartSpec(
            module=ObjectPointersGraph(memory),
            example=(torch.zeros(objects, dim), present),
            inputs=("mask_tokens", "is_present"),
            outputs=("object_pointers",),
            axes=dict.fromkeys(("mask_tokens", "is_present", "object_pointers"), axes),
        ),
        PartSpec(
            module=MaskPromptGraph(memory),
            example=(torch.zeros(objects, 1, size, size),),
            inputs=("masks",),
            outputs=("mask_input",),
            axes=dict.fromkeys(("masks", "mask_input"), axes),
        ),
    )


def features_example(sam: Sam2) -> tuple[Tensor, ...]:
    """Features of an image, in the order of `FEATURES`."""
    return tuple(torch.zeros(1, channels, side, side) for channels, side in sam.level_shapes)
