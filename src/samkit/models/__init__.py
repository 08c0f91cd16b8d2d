"""Networks of the SAM family behind one interface; no files, devices or image handling."""

from samkit.models.hiera import HieraConfig, HieraEncoder
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
from samkit.models.mask_decoder import Attended, MaskDecoder, finer_tokens
from samkit.models.memory import Memory, MemoryConfig, RememberedFrame, RememberedPointer
from samkit.models.meta import without_values
from samkit.models.perceiver import PerceiverConfig
from samkit.models.pooling import GridPooling, MemoryPooling
from samkit.models.prompt_encoder import FourierPositions, PromptEncoder, PromptEncoderConfig
from samkit.models.proposal_head import ProposalHead, ProposalHeadConfig
from samkit.models.registry import CONFIGS, build_sam
from samkit.models.repvit import RepViTConfig, RepViTEncoder, TokenMixer
from samkit.models.sam import Sam, SamConfig
from samkit.models.sam2 import ObjectMasks, Sam2, Sam2Config, choose_stable
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
    "GridPooling",
    "HieraConfig",
    "HieraEncoder",
    "ImageContext",
    "ImageEncoderViT",
    "ImageFeatures",
    "LayerNorm2d",
    "MaskAnswer",
    "MaskDecoder",
    "Memory",
    "MemoryConfig",
    "MemoryPooling",
    "Neck",
    "ObjectMasks",
    "PerceiverConfig",
    "PosEncProjections",
    "PromptEmbeddings",
    "PromptEncoder",
    "PromptEncoderConfig",
    "PromptTensors",
    "ProposalHead",
    "ProposalHeadConfig",
    "RelPosAttention",
    "RememberedFrame",
    "RememberedPointer",
    "RepViTConfig",
    "RepViTEncoder",
    "Sam",
    "Sam2",
    "Sam2Config",
    "SamConfig",
    "SamModel",
    "SharedProjections",
    "TinyViT",
    "TinyViTConfig",
    "TokenMixer",
    "TransformerMlp",
    "ViTConfig",
    "build_sam",
    "checkpoint_blocks",
    "choose_stable",
    "finer_tokens",
    "window_merge",
    "window_partition",
    "without_values",
]
