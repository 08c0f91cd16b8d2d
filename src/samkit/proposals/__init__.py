"""Automatic mask generation: everything in an image, without prompts."""

from samkit.proposals.candidates import Proposals
from samkit.proposals.classes import ClassMasker
from samkit.proposals.config import PRESETS, AutoMaskConfig
from samkit.proposals.masker import AutoMasker
from samkit.proposals.tiles import TileConfig, generate_tiled

__all__ = [
    "PRESETS",
    "AutoMaskConfig",
    "AutoMasker",
    "ClassMasker",
    "Proposals",
    "TileConfig",
    "generate_tiled",
]
