"""Predictor: embed an image once, prompt it many times."""

from samkit.predict.embedding_cache import EmbeddingCache
from samkit.predict.predictor import Predictor

__all__ = ["EmbeddingCache", "Predictor"]
