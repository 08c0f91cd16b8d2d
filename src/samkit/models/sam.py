"""The whole network: image encoder, prompt encoder, mask decoder.

Attribute names are those of the published checkpoints, so that their keys load without a table.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from samkit.models.mask_decoder import MaskDecoder, MaskDecoderConfig
from samkit.models.prompt_encoder import PromptEncoder, PromptEncoderConfig
from samkit.models.tiny_vit import TinyViT, TinyViTConfig
from samkit.models.vit import ImageEncoderViT, ViTConfig

EncoderConfig = ViTConfig | TinyViTConfig


@dataclass(frozen=True, kw_only=True)
class SamConfig:
    """Shape of a whole model; the prompt encoder's follows from the others.

    `text_dim` is that of CLIP's space, for text prompts; None for a model without.
    """

    encoder: EncoderConfig
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    text_dim: int | None = None

    @property
    def image_size(self) -> int:
        """Side of the square that the encoder sees, in pixels."""
        return self.encoder.image_size

    @property
    def prompts(self) -> PromptEncoderConfig:
        """Shape of the prompt encoder."""
        return PromptEncoderConfig(
            image_size=self.encoder.image_size,
            grid_size=self.encoder.grid_size,
            dim=self.decoder.dim,
            text_dim=self.text_dim,
        )


class Sam(nn.Module):
    """Segment Anything: `encode` once an image, `decode` once a prompt or batch of prompts."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder: nn.Module = build_encoder(config.encoder)
        self.prompt_encoder = PromptEncoder(config.prompts)
        self.mask_decoder = MaskDecoder(config.decoder)

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised, padded pixels (B, 3, S, S) to features (B, C, G, G)."""
        features: Tensor = self.image_encoder(pixels)
        return features

    def decode(
        self,
        features: Tensor,
        *,
        text_embeds: Tensor | None = None,
        points_xy: Tensor | None = None,
        labels: Tensor | None = None,
        boxes_xyxy: Tensor | None = None,
        mask_logits: Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Answer P prompts on one image, features (1, C, G, G), or each on its own, (P, C, G, G).

        Prompts are as in `PromptEncoder.forward`, in the model space.

        Returns:
            mask logits (P, M, 4 G, 4 G) and predicted IoU (P, M); M is 3 with `multimask`, else 1.
        """
        sparse, dense = self.prompt_encoder(
            text_embeds=text_embeds,
            points_xy=points_xy,
            labels=labels,
            boxes_xyxy=boxes_xyxy,
            mask_logits=mask_logits,
        )
        logits, iou_pred = self.mask_decoder(
            features, self.prompt_encoder.grid_positions(), sparse, dense, multimask=multimask
        )
        return logits, iou_pred


def build_encoder(config: EncoderConfig) -> nn.Module:
    """The image encoder that a configuration describes, with fresh weights."""
    if isinstance(config, TinyViTConfig):
        return TinyViT(config)
    return ImageEncoderViT(config)
