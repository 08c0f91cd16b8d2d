"""Networks only: no files, devices or image handling here."""

from samkit.models.registry import CONFIGS
from samkit.models.sam import Sam, SamConfig

__all__ = ["CONFIGS", "Sam", "SamConfig"]
