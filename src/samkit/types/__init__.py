"""Values that pass between the rooms: prompts, embeddings, predictions, masks.

All are frozen and validate themselves.
"""

from samkit.types.embedding import EMBEDDING_FORMAT, ImageEmbedding
from samkit.types.given import Click, GivenPrompts
from samkit.types.masks import Masks
from samkit.types.prediction import MaskDetail, MaskPrediction
from samkit.types.prompts import Prompts

__all__ = [
    "EMBEDDING_FORMAT",
    "Click",
    "GivenPrompts",
    "ImageEmbedding",
    "MaskDetail",
    "MaskPrediction",
    "Masks",
    "Prompts",
]
