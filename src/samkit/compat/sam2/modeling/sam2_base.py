"""`SAM2Base`: a network of samkit under the names and calls that programs for `sam2` use.

Shape legend: B prompts, N points, T tokens, C channels, G side of the grid, M masks, L side of the
mask logits, S side of the input.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from samkit.image_spec import ImageSpec
from samkit.models import (
    ImageFeatures,
    MaskDecoder,
    PromptEncoder,
    Sam,
    Sam2,
)
from samkit.weights import from_sam2_original, to_sam2_original

NOT_A_POINT, TOP_LEFT = -1, 2  # labels of padding, and of a box's corners from here on
SURELY_PRESENT = 10.0  # the object score of a model that has none
SINGLE, AMBIGUOUS = slice(0, 1), slice(1, None)  # masks of a decoder


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and afterwards all of its parts into their own modes."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class SAM2PromptEncoder(nn.Module):
    """Calls a network's prompt encoder as the original's is called."""

    def __init__(self, encoder: PromptEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def get_dense_pe(self) -> Tensor:
        """Positional encodings (1, C, G, G) of the image."""
        return self.encoder.grid_positions()

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Embed B prompts in pixels of the input.

        Args:
            points: (B, N, 2), and labels (B, N): 1 foreground, 0 background, -1 padding, 2 and 3
                the corners of a box.
            boxes: (B, 4).
            masks: (B, 1, L, L) logits.

        Returns:
            tokens (B, T, C) and maps (B, C, G, G).
        """
        given = (None if points is None else points[0], boxes, masks)
        count = next((len(part) for part in given if part is not None), 1)
        xy = self.encoder.no_mask_embed.weight.new_zeros(count, 0, 2)
        labels = torch.zeros(count, 0, dtype=torch.long, device=xy.device)
        if points is not None:
            xy, labels = points[0].to(xy), points[1].long().to(xy.device)
        if boxes is not None:
            xy = torch.cat([xy, boxes.to(xy).reshape(-1, 2, 2)], dim=1)
            corners = torch.tensor([[TOP_LEFT, TOP_LEFT + 1]], device=xy.device)
            labels = torch.cat([labels, corners.expand(count, -1)], dim=1)
        has_box = bool((labels >= TOP_LEFT).any())
        if labels.shape[1] and (self.encoder.config.pads_boxes or not has_box):
            xy = nn.functional.pad(xy, (0, 0, 0, 1))
            labels = nn.functional.pad(labels, (0, 1), value=NOT_A_POINT)
        kinds = self.encoder.kind_embeddings()[labels.clamp(min=0)]
        tokens = self.encoder.positions(xy) + kinds
        padding = self.encoder.not_a_point_embed.weight
        tokens = torch.where(labels[..., None] == NOT_A_POINT, padding, tokens)
        if masks is not None:
            return tokens, self.encoder.embed_masks(masks)
        return tokens, self.encoder.no_mask().expand(count, -1, -1, -1)


class SAM2MaskDecoder(nn.Module):
    """Calls a network's mask decoder as the original's is called.

    Attributes:
        falls_back: whether, outside of training, the best of three masks answers where the single
            one is unstable.
    """

    def __init__(self, network: Sam, *, falls_back: bool) -> None:
        super().__init__()
        self.decoder: MaskDecoder = network.mask_decoder
        self.falls_back = falls_back and isinstance(network, Sam2)
        self._answer, self._finer_tokens = network.answer, network.finer_tokens

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,  # noqa: FBT001
        repeat_image: bool = False,  # noqa: FBT001, FBT002, ARG002 - found by the shapes
        high_res_features: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer B prompts on one image, or each on its own.

        Args:
            image_embeddings: (1 or B, C, G, G), to which `no_mem_embed` is added.
            image_pe: of `get_dense_pe`.
            sparse_prompt_embeddings: (B, T, C).
            dense_prompt_embeddings: (1 or B, C, G, G).
            multimask_output: three masks instead of one.
            repeat_image: no effect.
            high_res_features: (1 or B, C, ...) the two finer levels, the finest first; None for a
                model that has none.

        Returns:
            logits (B, M, L, L), predicted IoU (B, M), tokens (B, M, C) of the masks, and object
            scores (B, 1).
        """
        dense = dense_prompt_embeddings
        if dense.stride(0) == 0:  # the same for all prompts
            dense = dense[:1]
        pos_enc = self.decoder.project_pos_enc(image_pe)
        is_shared = len(image_embeddings) == len(dense) == 1
        context = self.decoder.prepare(image_embeddings, dense, pos_enc, is_shared=is_shared)
        attended = self.decoder.attend(sparse_prompt_embeddings, context)
        finer: tuple[Tensor, ...] = ()
        if high_res_features is not None:
            finer = self._finer_tokens(ImageFeatures((*high_res_features, image_embeddings)))
        if multimask_output:
            attended = attended.masks(AMBIGUOUS)
        elif not self.falls_back or self.training:
            attended = attended.masks(SINGLE)
        else:
            attended = attended._replace(by_stability=True)
        logits = self.decoder.upscale(attended.image, attended.kernels, *finer)
        answer = self._answer(attended, logits)
        tokens, scores = attended.mask_tokens, attended.object_logits
        if tokens is None or scores is None:
            count = len(answer.logits)
            tokens = answer.logits.new_zeros(count, answer.logits.shape[1], self.decoder.config.dim)
            scores = answer.logits.new_full((count, 1), SURELY_PRESENT)
        return answer.logits, answer.iou_pred, tokens[:, : answer.logits.shape[1]], scores


class SAM2Base(nn.Module):
    """A network with its parts under the original's names.

    Attributes:
        network: samkit's own network, which has the weights.
        model_name: its name in `samkit.models.CONFIGS`.
        image_encoder, sam_prompt_encoder, sam_mask_decoder: the parts for images.
        memory: the parts for videos; None for a model without.
        non_overlap_masks: whether in videos no two objects share a pixel.
    """

    mask_threshold = 0.0
    non_overlap_masks = False
    directly_add_no_mem_embed = True

    def __init__(self, network: Sam, *, model_name: str, apply_postprocessing: bool = True) -> None:
        """Take a network.

        Args:
            network: on the CPU.
            model_name: its name in `samkit.models.CONFIGS`.
            apply_postprocessing: whether single masks that are unstable are replaced.
        """
        super().__init__()
        self.__dict__["network"] = network  # its parts are registered, under other names
        self.model_name = model_name
        self.image_encoder = network.image_encoder
        self.sam_prompt_encoder = SAM2PromptEncoder(network.prompt_encoder)
        self.sam_mask_decoder = SAM2MaskDecoder(network, falls_back=apply_postprocessing)
        self.memory = network.memory if isinstance(network, Sam2) else None
        self.no_mem_embed: nn.Parameter | None = None
        self._take_no_mem_embed()

    def _take_no_mem_embed(self) -> None:
        network = self.network
        self.no_mem_embed = network.no_mem_embed if isinstance(network, Sam2) else None

    @property
    def network(self) -> Sam:
        """Samkit's own network, which has the weights."""
        return cast("Sam", self.__dict__["network"])

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.network.prompt_encoder.no_mask_embed.weight.device

    @property
    def image_size(self) -> int:
        """Side S of the square input."""
        return self.network.config.image_size

    @property
    def image_spec(self) -> ImageSpec:
        """Specification of the input."""
        return self.network.image_spec

    def encode_images(self, pixels: Tensor) -> list[Tensor]:
        """Encode normalised pixels (B, 3, S, S): all levels, finest first, as the decoder's."""
        levels = list(self.network.encode(pixels).levels)
        if self.no_mem_embed is not None:
            levels[-1] = levels[-1] + self.no_mem_embed.view(1, -1, 1, 1)
        return levels

    def state_dict(  # type: ignore[override]
        self,
        *,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """The tensors under the names of a published file."""
        state = self.network.state_dict(keep_vars=keep_vars)
        if isinstance(self.network, Sam2):
            state = to_sam2_original(state)
        found = OrderedDict() if destination is None else destination
        found.update({f"{prefix}{name}": tensor for name, tensor in state.items()})
        return found

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,  # noqa: FBT001, FBT002
        assign: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Load tensors with the names of a published file, or with samkit's."""
        state = dict(state_dict)
        if isinstance(self.network, Sam2):
            state = from_sam2_original(state)
        found = self.network.load_state_dict(state, strict=strict, assign=assign)
        self._take_no_mem_embed()
        return found

    def forward(self, *_args: Any, **_kwargs: Any) -> None:
        """Not available, as in the original: predictors run a model."""
        raise NotImplementedError(
            "a SAM 2 is run by SAM2ImagePredictor(model) or build_sam2_video_predictor(...)"
        )
