"""Automatic mask generation: everything in an image, without prompts."""

from samkit.proposals.candidates import Proposals
from samkit.proposals.classes import ClassMasker
from samkit.proposals.config import PRESETS, AutoMaskConfig
from samkit.proposals.grid import Box, crop_boxes, grid_points
from samkit.proposals.learned import propose_boxes
from samkit.proposals.likeness import similarity
from samkit.proposals.masker import AutoMasker, with_proposer
from samkit.proposals.proposers import (
    Crop,
    GridProposer,
    LearnedProposer,
    PointPredictor,
    Proposer,
)
from samkit.proposals.selection import select
from samkit.proposals.sources import SourceLike, TileSource, open_source
from samkit.proposals.streaming import quick_config, stream_masks
from samkit.proposals.tiles import TileConfig, generate_tiled

__all__ = [
    "PRESETS",
    "AutoMaskConfig",
    "AutoMasker",
    "Box",
    "ClassMasker",
    "Crop",
    "GridProposer",
    "LearnedProposer",
    "PointPredictor",
    "Proposals",
    "Proposer",
    "SourceLike",
    "TileConfig",
    "TileSource",
    "crop_boxes",
    "generate_tiled",
    "grid_points",
    "open_source",
    "propose_boxes",
    "quick_config",
    "select",
    "similarity",
    "stream_masks",
    "with_proposer",
]
