"""Automatic masks for another program: of everything, with one name, or of what is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError

if TYPE_CHECKING:
    from samkit.predict import Predictor
    from samkit.proposals import AutoMasker, ClassMasker
    from samkit.types import Masks

OBJECT = "object"  # label of masks that have no class


def make_masker(
    predictor: Predictor, preset: str, classes: Sequence[str], *, has_text: bool
) -> AutoMasker | ClassMasker:
    """What generates the masks of an image.

    Raises:
        ConfigError: there is no such preset, or several classes and nothing that tells them apart.
    """
    from samkit.proposals import PRESETS, AutoMasker, ClassMasker

    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}: expected one of {', '.join(PRESETS)}")
    masker = AutoMasker(predictor, PRESETS[preset])
    if has_text:
        return ClassMasker(masker, classes, predictor.text_model)
    if len(classes) != 1:
        raise ConfigError("give one class, or a text_model that tells classes apart")
    return masker


def scores_of(masks: Masks) -> npt.NDArray[np.float32]:
    """Scores of the classes if masks are named, else of the masks."""
    return masks.scores if masks.phrase_scores is None else masks.phrase_scores
