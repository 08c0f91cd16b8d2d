"""Automatic mask generation: everything in an image, without prompts."""

from samkit.proposals.candidates import Proposals
from samkit.proposals.classes import ClassMasker
from samkit.proposals.config import PRESETS, AutoMaskConfig
from samkit.proposals.grid import crop_boxes, grid_points
from samkit.proposals.masker import AutoMasker, PointPredictor
from samkit.proposals.sources import SourceLike, TileSource, open_source
from samkit.proposals.tiles import TileConfig, generate_tiled

__all__ = [
    "PRESETS",
    "AutoMaskConfig",
    "AutoMasker",
    "ClassMasker",
    "PointPredictor",
    "Proposals",
    "SourceLike",
    "TileConfig",
    "TileSource",
    "crop_boxes",
    "generate_tiled",
    "grid_points",
    "open_source",
]
