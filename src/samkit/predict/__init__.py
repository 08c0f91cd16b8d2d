"""Predictor: embed an image once, prompt it many times."""

from samkit.predict.embedding_cache import EmbeddingCache, pixels_sha256
from samkit.predict.predictor import Predictor

__all__ = ["EmbeddingCache", "Predictor", "pixels_sha256"]
