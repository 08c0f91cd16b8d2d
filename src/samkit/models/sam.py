"""The full network: image encoder, prompt encoder and mask decoder.

Attribute names are those of the published checkpoints, so that their keys load without a table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from samkit.image_spec import ImageSpec
from samkit.models.hiera import HieraConfig, HieraEncoder
from samkit.models.interface import ImageFeatures, MaskAnswer, PromptEmbeddings, PromptTensors
from samkit.models.mask_decoder import (
    Attended,
    MaskDecoder,
    MaskDecoderConfig,
)
from samkit.models.prompt_encoder import PromptEncoder, PromptEncoderConfig
from samkit.models.repvit import RepViTConfig, RepViTEncoder
from samkit.models.tiny_vit import TinyViT, TinyViTConfig
from samkit.models.two_way import ImageContext, PosEncProjections
from samkit.models.vit import ImageEncoderViT, ViTConfig

EncoderConfig = ViTConfig | TinyViTConfig | HieraConfig | RepViTConfig


@dataclass(frozen=True, kw_only=True)
class SamConfig:
    """Configuration of a full model, from which the prompt encoder's follows.

    `text_dim` is the dimension of CLIP's embeddings, for text prompts; None for a model without.
    """

    encoder: EncoderConfig
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    text_dim: int | None = None

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return self.encoder.image_size

    @property
    def image_spec(self) -> ImageSpec:
        """Specification of the image encoder's input."""
        return ImageSpec(size=self.encoder.image_size)

    @property
    def prompts(self) -> PromptEncoderConfig:
        """Configuration of the prompt encoder."""
        return PromptEncoderConfig(
            image_size=self.encoder.image_size,
            grid_size=self.encoder.grid_size,
            dim=self.decoder.dim,
            text_dim=self.text_dim,
        )


class Sam(nn.Module):
    """Segment Anything: `encode` once per image, `decode` once per prompt or batch of prompts.

    An implementation of `samkit.models.SamModel`; `decode` combines all of its calls after
    `encode`.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder: nn.Module = build_encoder(config.encoder)
        self.prompt_encoder = PromptEncoder(config.prompts)
        self.mask_decoder = MaskDecoder(config.decoder)

    @property
    def image_spec(self) -> ImageSpec:
        """Specification of the image encoder's input."""
        return self.config.image_spec

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Channels and side of each level of `ImageFeatures`, finest first."""
        return ((self.config.decoder.dim, self.config.encoder.grid_size),)

    @property
    def video_parts(self) -> tuple[nn.Module, ...]:
        """Parts that answers about single images do not depend on; SAM has none."""
        return ()

    @torch.no_grad()
    def scale_logits(self, factor: float) -> None:
        """Multiply the logits by a factor, in the weights; masks and predicted IoUs stay the same.

        Mask prompts are read as logits of the new scale. A power of two changes no other bit.
        """
        for number in range(self.config.decoder.num_multimask + 1):
            last = f"mask_decoder.output_hypernetworks_mlps.{number}.layers.2"
            self.get_parameter(f"{last}.weight").mul_(factor)
            self.get_parameter(f"{last}.bias").mul_(factor)
        self.get_parameter("prompt_encoder.mask_downscaling.0.weight").div_(factor)

    @torch.no_grad()
    def scale_predicted_iou(self, scale: Tensor, offset: Tensor) -> None:
        """Map each output's predicted IoU by a line, in the weights; masks stay the same.

        Args:
            scale: (M,), the single mask's first.
            offset: (M,).
        """
        last = "mask_decoder.iou_prediction_head.layers.2"
        self.get_parameter(f"{last}.weight").mul_(scale[:, None])
        self.get_parameter(f"{last}.bias").mul_(scale).add_(offset)

    @torch.no_grad()
    def mix_decoder(self, other: "Sam", share: float) -> None:
        """Average the decoder's weights with another one's, of which this share is taken.

        Between weights and those that they were fine-tuned from, a mean is often better than both
        on data of other kinds. Source: arXiv:2109.01903 (WiSE-FT).

        Args:
            other: a network of the same kind.
            share: from 0 to 1.
        """
        theirs = other.state_dict()
        for name, own in self.state_dict().items():
            if own.is_floating_point() and not name.startswith("image_encoder."):
                own.lerp_(theirs[name].to(own), share)

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels (B, 3, S, S): one level (B, C, G, G), or several."""
        return ImageFeatures.of(self.image_encoder(pixels))

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Encode P prompts; see `PromptEncoder.forward`."""
        embeddings: PromptEmbeddings = self.prompt_encoder(prompts)
        return embeddings

    def project_pos_enc(self) -> PosEncProjections:
        """Positional encodings of the image as projected by the decoder."""
        return self.mask_decoder.project_pos_enc(self.prompt_encoder.grid_positions())

    def prepare(
        self,
        features: ImageFeatures,
        dense: Tensor | None = None,
        pos_enc: PosEncProjections | None = None,
    ) -> ImageContext:
        """Prepare an image for the decoder: one for all prompts without masks, else one per prompt.

        Args:
            features: features of one image, or of one image per prompt.
            dense: (P, C, G, G) maps of mask prompts.
            pos_enc: result of `project_pos_enc`, if already computed.
        """
        is_shared = dense is None and len(features.grid) == 1
        context = self.mask_decoder.prepare(
            features.grid,
            self.dense_map(dense),
            self.project_pos_enc() if pos_enc is None else pos_enc,
            is_shared=is_shared,
        )
        return context._replace(finer=self.finer_tokens(features))

    def dense_map(self, dense: Tensor | None = None) -> Tensor:
        """What is added to an image: maps of mask prompts (P, C, G, G), or that of no mask."""
        return self.prompt_encoder.no_mask() if dense is None else dense

    def finer_tokens(self, features: ImageFeatures) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Tokens of an image's finer levels for `upscale`; SAM's encoders have none."""
        return ()

    def attend(self, sparse: Tensor, context: ImageContext) -> Attended:
        """Run the decoder's transformer on prompt tokens (P, T, C)."""
        return self.mask_decoder.attend(sparse, context)

    def select(self, attended: Attended, *, multimask: bool) -> Attended:
        """Select the three masks for ambiguous prompts, or the single one."""
        return self.mask_decoder.select(attended, multimask=multimask)

    def upscale(self, attended: Attended, context: ImageContext) -> MaskAnswer:
        """Turn selected masks into logits."""
        logits = self.mask_decoder.upscale(attended.image, attended.kernels, *context.finer)
        return self.answer(attended, logits)

    def answer(self, attended: Attended, logits: Tensor) -> MaskAnswer:
        """The answer of selected masks whose logits (P, M, L, L) were upscaled."""
        return MaskAnswer(logits=logits, iou_pred=attended.iou_pred)

    def decode(
        self, features: ImageFeatures, prompts: PromptTensors, *, multimask: bool = True
    ) -> MaskAnswer:
        """Answer P prompts on one image, or each on its own image.

        Args:
            features: features of one image, or of one image per prompt.
            prompts: prompts in the model space.
            multimask: three masks per prompt instead of one.

        Returns:
            logits (P, M, 4 G, 4 G) and predicted IoU (P, M).
        """
        sparse, dense = self.embed_prompts(prompts)
        context = self.prepare(features, dense)
        selected = self.select(self.attend(sparse, context), multimask=multimask)
        return self.upscale(selected, context)


# The image encoder of each kind of configuration. A new kind is a new entry here.
ENCODERS: dict[type, Callable[[Any], nn.Module]] = {
    HieraConfig: HieraEncoder,
    RepViTConfig: RepViTEncoder,
    TinyViTConfig: TinyViT,
    ViTConfig: ImageEncoderViT,
}


def build_encoder(config: EncoderConfig) -> nn.Module:
    """Build the image encoder of a configuration, with random weights."""
    return ENCODERS[type(config)](config)
