"""Predictor: embed a photo once, prompt it many times."""

from samkit.predict.predictor import Predictor

__all__ = ["Predictor"]
