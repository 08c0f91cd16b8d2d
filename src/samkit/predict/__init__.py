"""Predictor: embed an image once, prompt it many times."""

from samkit.predict.predictor import Predictor

__all__ = ["Predictor"]
