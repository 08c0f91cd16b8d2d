"""Networks of the SAM family behind one interface; no files, devices or image handling."""

from samkit.models.interface import (
    ImageFeatures,
    MaskAnswer,
    PromptEmbeddings,
    PromptTensors,
    SamModel,
)
from samkit.models.registry import CONFIGS
from samkit.models.sam import Sam, SamConfig

__all__ = [
    "CONFIGS",
    "ImageFeatures",
    "MaskAnswer",
    "PromptEmbeddings",
    "PromptTensors",
    "Sam",
    "SamConfig",
    "SamModel",
]
