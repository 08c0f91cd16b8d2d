"""The networks of SAM 2 that a tracker calls for each frame: PyTorch's, or those of an export.

Shape legend: P objects, C channels, E channels of memories, G side of the grid, S side of the model
space, L side of the mask logits.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from samkit.backends import ExportedBackend, as_points, decoder_inputs
from samkit.models import (
    ImageFeatures,
    Memory,
    MemoryPooling,
    ObjectMasks,
    PromptTensors,
    RememberedFrame,
    RememberedPointer,
    Sam2,
)
from samkit.video.sam2_answer import Sam2Features

NO_TIME = -1  # steps of frames of no time, as exported memory attention takes them


class Sam2Networks(Protocol):
    """What a tracker asks of a SAM 2 after the image encoder."""

    def recall(
        self,
        features: Sam2Features,
        frames: Sequence[RememberedFrame],
        pointers: Sequence[RememberedPointer],
        *,
        span: int,
        pooling: MemoryPooling | None = None,
    ) -> Tensor:
        """What the memories of P objects make of a frame (P, C, G, G); see `Memory.recall`."""
        ...

    def decode(
        self,
        features: Sam2Features,
        grid: Tensor,
        prompts: PromptTensors,
        *,
        multimask: bool,
        has_memory: bool,
    ) -> ObjectMasks:
        """Answer one prompt for each of P objects; see `Sam2.decode_objects`."""
        ...

    def encode(
        self, grid: Tensor, mask_logits: Tensor, is_present: Tensor, *, binarise: bool
    ) -> Tensor:
        """Remember a frame; see `Memory.encode`."""
        ...

    def point(self, mask_token: Tensor, is_present: Tensor) -> Tensor:
        """Object pointers; see `Memory.point`."""
        ...

    def mask_prompt(self, masks: Tensor) -> Tensor:
        """Given masks (P, 1, S, S), 0 or 1, to mask prompts (P, 1, L, L)."""
        ...


class TorchNetworks:
    """The networks by PyTorch.

    Attributes:
        model: on the tracker's device.
    """

    def __init__(self, model: Sam2, device: torch.device, *, lower_memory: bool = False) -> None:
        """Prepare.

        Args:
            lower_memory: compute the memory in bfloat16, all else in float32.
        """
        self.model = model if on_device(model, device) else _moved(model, device)
        self.device, self.lower_memory = device, lower_memory

    @property
    def memory(self) -> Memory:
        """The networks for videos."""
        assert self.model.memory is not None
        return self.model.memory

    @cached_property
    def _pos_enc(self) -> Any:
        return self.model.project_pos_enc()

    def recall(
        self,
        features: Sam2Features,
        frames: Sequence[RememberedFrame],
        pointers: Sequence[RememberedPointer],
        *,
        span: int,
        pooling: MemoryPooling | None = None,
    ) -> Tensor:
        with self.autocast():
            seen = self.memory.recall(features.begun, frames, pointers, span=span, pooling=pooling)
        return seen.float()

    def decode(
        self,
        features: Sam2Features,
        grid: Tensor,
        prompts: PromptTensors,
        *,
        multimask: bool,
        has_memory: bool,
    ) -> ObjectMasks:
        return self.model.decode_objects(
            grid,
            features.finer,
            prompts,
            multimask=multimask,
            has_memory=has_memory,
            pos_enc=self._pos_enc,
        )

    def encode(
        self, grid: Tensor, mask_logits: Tensor, is_present: Tensor, *, binarise: bool
    ) -> Tensor:
        with self.autocast():
            return self.memory.encode(grid, mask_logits, is_present, binarise=binarise)

    def point(self, mask_token: Tensor, is_present: Tensor) -> Tensor:
        return self.memory.point(mask_token, is_present)

    def mask_prompt(self, masks: Tensor) -> Tensor:
        prompts: Tensor = self.memory.mask_downsample(masks)
        return prompts

    def autocast(self) -> torch.autocast:
        """The precision of the memory."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.lower_memory)


class ExportedNetworks:
    """The networks by the video parts of an exported folder, on the CPU."""

    def __init__(self, backend: ExportedBackend, model: Sam2) -> None:
        """Open the parts.

        Raises:
            WeightsError: they were not exported, or are damaged.
        """
        assert model.memory is not None
        self.span = model.memory.config.num_pointers  # which exported distances are scaled by
        self.dim = model.config.decoder.dim
        self._encoder, self._attention, self._decoder, self._pointers, self._mask_prompt = (
            backend.open_video()
        )

    def recall(
        self,
        features: Sam2Features,
        frames: Sequence[RememberedFrame],
        pointers: Sequence[RememberedPointer],
        *,
        span: int,
        pooling: MemoryPooling | None = None,
    ) -> Tensor:
        assert pooling is None, "a tracker refuses it"
        maps = torch.stack([frame.map for frame in frames], dim=1)
        steps = [NO_TIME if frame.steps is None else frame.steps for frame in frames]
        tokens = torch.zeros(len(maps), 0, self.dim)
        if pointers:
            tokens = torch.stack([one.pointer for one in pointers], dim=1)
        distances = np.array([one.distance for one in pointers], np.float32)
        found = self._attention(
            {
                "image_embeddings": features.features.grid.numpy(),
                "memory_maps": maps.numpy(),
                "memory_steps": np.array(steps, np.int64),
                "object_pointers": tokens.numpy(),
                "pointer_distances": distances * (max(1, self.span - 1) / max(1, span - 1)),
            }
        )
        return torch.from_numpy(found["object_embeddings"])

    def decode(
        self,
        features: Sam2Features,
        grid: Tensor,
        prompts: PromptTensors,
        *,
        multimask: bool,
        has_memory: bool,
    ) -> ObjectMasks:
        points = as_points(prompts, pads=False)
        levels = (*features.features.levels[:-1], grid.expand(len(points), -1, -1, -1))
        inputs = decoder_inputs(ImageFeatures(levels), points, prompts.mask_logits)
        found = self._decoder({**inputs, "has_memory": np.array([has_memory], np.float32)})
        masks = slice(1, None) if multimask else slice(0, 1)
        logits, iou_pred, scores, tokens = (
            torch.from_numpy(found[name])
            for name in ("low_res_masks", "iou_predictions", "object_score_logits", "mask_tokens")
        )
        return ObjectMasks(logits[:, masks], iou_pred[:, masks], scores[:, 0], tokens[:, masks])

    def encode(
        self, grid: Tensor, mask_logits: Tensor, is_present: Tensor, *, binarise: bool
    ) -> Tensor:
        found = self._encoder(
            {
                "image_embeddings": grid.numpy(),
                "mask_logits": mask_logits.numpy(),
                "is_prompted": np.array([binarise], np.float32),
                "is_present": is_present.float().numpy(),
            }
        )
        return torch.from_numpy(found["memory_maps"])

    def point(self, mask_token: Tensor, is_present: Tensor) -> Tensor:
        found = self._pointers(
            {
                "mask_tokens": mask_token.contiguous().numpy(),
                "is_present": is_present.float().numpy(),
            }
        )
        return torch.from_numpy(found["object_pointers"])

    def mask_prompt(self, masks: Tensor) -> Tensor:
        return torch.from_numpy(self._mask_prompt({"masks": masks.numpy()})["mask_input"])


def on_device(model: nn.Module, device: torch.device) -> bool:
    """Whether a model's weights are on a device."""
    return next(model.parameters()).device.type == device.type


def _moved(model: Sam2, device: torch.device) -> Sam2:
    """A copy of all but the image encoder on another device."""
    memo = {id(model.image_encoder): nn.Identity()}
    return copy.deepcopy(model, memo).to(device)
