"""Specification of a model's input: size, normalisation and fit."""

from dataclasses import dataclass
from typing import Literal

Fit = Literal["pad", "stretch"]


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """How an image becomes a model's input, and the resolution of the model's masks.

    Attributes:
        size: side of the square input in pixels.
        mean, std: per RGB channel, on the scale 0..255.
        fit: "pad" resizes the longest side to `size` and pads with zeros at the bottom and right;
            "stretch" resizes both sides to `size`, whatever the aspect ratio.
        logits_stride: input pixels per mask logit.

    Source: arXiv:2304.02643, appendix A; mean and std are ImageNet's.
    """

    size: int = 1024
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    fit: Fit = "pad"
    logits_stride: int = 4
