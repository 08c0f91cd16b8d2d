"""Naming masks with CLIP embeddings of crops, for use without a detector.

Each mask is seen twice, with its surroundings and alone. Its embedding is compared with those of
the phrases and of some words for the background, so that a mask need not be any of the phrases. The
result is a probability, which can be calibrated with a few labelled images.

Source: arXiv:2103.00020 for the classifier; Platt 1999 for the calibration. Shape legend: M masks,
C phrases, D dimensions of CLIP's embeddings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray
from samkit.errors import ConfigError, FormatError, PromptError
from samkit.files import write_bytes
from samkit.geometry import decode_rle_patch
from samkit.text.clip import Embeds, check_texts
from samkit.text.crops import cut_crop
from samkit.text.prompter import TextPrompter
from samkit.types import Masks

# What a mask may show instead of any phrase.
BACKGROUND = ("the background", "an empty surface", "a part of something", "a blurred texture")
VIEWS = ((1.5, False), (1.0, True))  # growth of the box; whether all but the mask is black
MIN_PROBABILITY = 1e-9  # so that logarithms are finite
STEPS = 100  # maximum for Newton's method, which needs about ten
RIDGE = 1e-6  # keeps the fit finite where right and wrong are separable


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Map from scores to calibrated probabilities.

    Attributes:
        slope, offset: calibrated p' = sigmoid(slope * log(p / (1 - p)) + offset).
        thresh: minimum calibrated probability for a mask to be named.
    """

    slope: float = 1.0
    offset: float = 0.0
    thresh: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.thresh <= 1:
            raise ConfigError(f"thresh must be from 0 to 1; got {self.thresh!r}")

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Calibrated probabilities."""
        return np.asarray(_sigmoid(self.slope * log_odds(probabilities) + self.offset))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibration to a JSON file."""
        write_bytes(path, json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a file that `save` wrote.

        Raises:
            FormatError: the file is missing, damaged or of another kind.
        """
        try:
            values = json.loads(Path(path).read_bytes())
            return cls(**{name: float(value) for name, value in values.items()})
        except OSError as error:
            raise FormatError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise FormatError(f"{path} is not a calibration: {error}") from error


def fit_calibration(
    probabilities: npt.ArrayLike, is_right: npt.ArrayLike, *, precision: float = 0.9
) -> Calibration:
    """Fit a calibration to labelled masks.

    Args:
        probabilities: (N,) uncalibrated probabilities of the names that masks were given.
        is_right: (N,) whether each name is right.
        precision: the threshold is the lowest one above which at least this fraction of names is
            right; 1 if there is none.

    Raises:
        ConfigError: there are no names, or all are right, or all are wrong.
    """
    x, y = log_odds(probabilities), np.asarray(is_right, np.float64)
    if x.shape != y.shape or x.ndim != 1 or not 0 < y.sum() < len(y):
        raise ConfigError(
            f"a calibration needs names that are right and names that are wrong; got {len(y)},"
            f" {int(y.sum())} of them right"
        )
    # Platt's targets, which keep the fit from being overconfident on its own data.
    right, wrong = y.sum(), (1 - y).sum()
    target = np.where(y > 0, (right + 1) / (right + 2), 1 / (wrong + 2))
    design = np.stack([x, np.ones_like(x)], axis=1)
    weights = np.zeros(2)
    for _ in range(STEPS):
        fitted = _sigmoid(design @ weights)
        gradient = design.T @ (fitted - target) + RIDGE * weights
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = (float(value) for value in weights)
    fitted = Calibration(slope=slope, offset=offset).apply(probabilities)
    return Calibration(
        slope=slope, offset=offset, thresh=threshold_for_precision(fitted, y > 0, precision)
    )


def threshold_for_precision(
    scores: npt.ArrayLike, is_right: npt.ArrayLike, precision: float
) -> float:
    """Lowest of the scores (N,) at which the names have at least the given precision; else 1."""
    values, right = np.asarray(scores, np.float64), np.asarray(is_right, bool)
    order = np.argsort(-values, kind="stable")
    shares = right[order].cumsum() / np.arange(1, len(order) + 1)
    # Equal scores are accepted or rejected together: only the last of them counts.
    ends = np.append(values[order][1:] != values[order][:-1], True)
    enough = np.flatnonzero(ends & (shares >= precision))
    return float(values[order][enough[-1]]) if len(enough) else 1.0


class MaskRanker:
    """Names masks by CLIP.

        ranker = MaskRanker(TextPrompter(Clip.load()))
        cars = ranker.name(image, masks, ["car", "tree"])

    Attributes:
        prompter: CLIP, and the templates for phrases.
        background: words for what is none of the phrases.
    """

    def __init__(
        self,
        prompter: TextPrompter,
        *,
        background: Sequence[str] = BACKGROUND,
        calibration: Calibration | None = None,
    ) -> None:
        self.prompter = prompter
        self.background = tuple(background)
        self.calibration = Calibration() if calibration is None else calibration

    def embed(self, image: npt.NDArray[np.uint8], masks: Masks) -> Embeds:
        """Unit-length CLIP embeddings (M, D), averaged over the views of each mask."""
        clip = self.prompter.clip
        crops = (
            cut_crop(image, patch, box, growth=growth, alone=alone, size=clip.pixels.size)
            for rle, box in zip(masks.rles, masks.boxes_xyxy, strict=True)
            for patch in [decode_rle_patch(rle, box)]
            for growth, alone in VIEWS
        )
        means = clip.encode_images(crops).reshape(len(masks), len(VIEWS), clip.dim).mean(axis=1)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(lengths, MIN_PROBABILITY), np.float32)

    def probabilities(
        self, image: npt.NDArray[np.uint8], masks: Masks, phrases: Sequence[str]
    ) -> FloatArray:
        """Uncalibrated probabilities (M, C) of phrases for masks.

        Those of distinct phrases sum to 1 at most; a phrase given twice has the same probability
        twice.

        Raises:
            PromptError: there are no phrases, or one is empty or too long.
        """
        if not phrases:
            raise PromptError("there must be at least one phrase; got none")
        check_texts(phrases)
        stripped = [phrase.strip() for phrase in phrases]
        distinct = list(dict.fromkeys(stripped))
        words = list(dict.fromkeys([*distinct, *self.background]))
        cosines = self.embed(image, masks) @ self.prompter.encode(words).T
        logits = self.prompter.clip.logit_scale * np.asarray(cosines, np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        columns = [distinct.index(phrase) for phrase in stripped]
        return np.asarray((shares / shares.sum(axis=1, keepdims=True))[:, columns])

    def name(
        self,
        image: npt.NDArray[np.uint8],
        masks: Masks,
        phrases: Sequence[str],
        *,
        thresh: float | None = None,
    ) -> Masks:
        """The same masks, each with its most likely phrase and the calibrated probability.

        Args:
            image: uint8 RGB (H, W, 3).
            thresh: masks with a lower probability are named ""; None: the calibration's threshold.
        """
        chances = self.probabilities(image, masks, phrases)
        best = chances.argmax(axis=1)
        scores = self.calibration.apply(chances[np.arange(len(masks)), best])
        least = self.calibration.thresh if thresh is None else thresh
        named = tuple(
            phrases[number] if score >= least else ""
            for number, score in zip(best.tolist(), scores.tolist(), strict=True)
        )
        return masks.with_columns(phrases=named, phrase_scores=np.asarray(scores, np.float32))


def log_odds(probabilities: npt.ArrayLike) -> FloatArray:
    """log(p / (1 - p)), with p clipped so that it is finite."""
    values = np.asarray(probabilities, np.float64).clip(MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    odds: FloatArray = np.log(values) - np.log1p(-values)
    return odds


def _sigmoid(x: Any) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)
