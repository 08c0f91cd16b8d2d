"""Networks of the SAM family behind one interface; no files, devices or image handling."""

from samkit.models.interface import (
    ImageFeatures,
    MaskAnswer,
    PromptEmbeddings,
    PromptTensors,
    SamModel,
)
from samkit.models.layers import (
    Blocks,
    LayerNorm2d,
    Neck,
    TransformerMlp,
    checkpoint_blocks,
    window_merge,
    window_partition,
)
from samkit.models.mask_decoder import Attended, MaskDecoder
from samkit.models.prompt_encoder import FourierPositions, PromptEncoder, PromptEncoderConfig
from samkit.models.registry import CONFIGS
from samkit.models.sam import Sam, SamConfig
from samkit.models.tiny_vit import ConvNorm, TinyViT, TinyViTConfig
from samkit.models.two_way import ImageContext, PosEncProjections, SharedProjections
from samkit.models.vit import LAYER_NORM_EPS, Block, ImageEncoderViT, RelPosAttention, ViTConfig

__all__ = [
    "CONFIGS",
    "LAYER_NORM_EPS",
    "Attended",
    "Block",
    "Blocks",
    "ConvNorm",
    "FourierPositions",
    "ImageContext",
    "ImageEncoderViT",
    "ImageFeatures",
    "LayerNorm2d",
    "MaskAnswer",
    "MaskDecoder",
    "Neck",
    "PosEncProjections",
    "PromptEmbeddings",
    "PromptEncoder",
    "PromptEncoderConfig",
    "PromptTensors",
    "RelPosAttention",
    "Sam",
    "SamConfig",
    "SamModel",
    "SharedProjections",
    "TinyViT",
    "TinyViTConfig",
    "TransformerMlp",
    "ViTConfig",
    "checkpoint_blocks",
    "window_merge",
    "window_partition",
]
