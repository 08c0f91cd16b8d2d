"""Prediction: embed an image once, prompt it many times."""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names
from samkit.predict.embedding_cache import EmbeddingCache, pixels_sha256
from samkit.predict.refine import REFINE_LEVELS, Refine, check_refine
from samkit.predict.session import ImageSession, Refinement, ask_all
from samkit.predict.text_prompts import Text, TextPrompts, detected

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict.decoder import PointMasks
    from samkit.predict.predictor import Predictor
    from samkit.predict.preprocess import normalise, resize_image

__all__ = [
    "REFINE_LEVELS",
    "EmbeddingCache",
    "ImageSession",
    "PointMasks",
    "Predictor",
    "Refine",
    "Refinement",
    "Text",
    "TextPrompts",
    "ask_all",
    "check_refine",
    "detected",
    "normalise",
    "pixels_sha256",
    "resize_image",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "PointMasks": "decoder",
        "Predictor": "predictor",
        "normalise": "preprocess",
        "resize_image": "preprocess",
    },
)
