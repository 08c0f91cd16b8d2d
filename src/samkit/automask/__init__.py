"""Automatic masks: everything in a photo, without prompts."""

from samkit.automask.candidates import Proposals
from samkit.automask.classes import ClassMasker
from samkit.automask.config import PRESETS, AutoMaskConfig
from samkit.automask.masker import AutoMasker
from samkit.automask.tiles import TileConfig, generate_tiled

__all__ = [
    "PRESETS",
    "AutoMaskConfig",
    "AutoMasker",
    "ClassMasker",
    "Proposals",
    "TileConfig",
    "generate_tiled",
]
