"""A linear classifier of pixels, one for each object, fitted to what its masks looked like.

Ridge regression of inside (1) and outside (0) on the features of pixels. Its sufficient statistics
are sums over pixels: frames are added, weighted and forgotten without being looked at again.

Shape legend: C channels with the constant, N pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from samkit.arrays import Logits
from samkit.video.features import FrameFeatures

# Of a frame at most this many pixels of each side of the outline are looked at.
PIXELS = 2048
# Width of the background around a mask from which most pixels are taken, in cells of the logits.
RING = 20
FAR_SHARE = 0.25  # of the background's pixels, those from anywhere in the frame
RIDGE = 1e-2
BLOCKS = 4  # of rows, in which products are computed: more are not faster
CONTRARY = 0.05  # weight of pixels of which the classifier said the contrary


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Weighted sums of products of features, and of features with the target.

    Attributes:
        features: (C, C).
        target: (C,).
    """

    features: Tensor
    target: Tensor

    def mixed(self, other: Moments, share: float) -> Moments:
        """A mean, of which `share` is the other."""
        return Moments(
            features=torch.lerp(self.features, other.features, share),
            target=torch.lerp(self.target, other.target, share),
        )

    def solve(self) -> Tensor:
        """The weights (C,), the last for the constant."""
        penalty = RIDGE * torch.eye(len(self.target))
        weights: Tensor = torch.linalg.solve(self.features + penalty, self.target)
        return weights


def moments_of(
    features: FrameFeatures, logits: Logits, scales: Tensor, looks: Logits | None = None
) -> Moments:
    """Moments of a frame with a mask.

    Inside and outside count the same; pixels near the outline, of which the logits are not sure,
    count less.

    Args:
        features: of the frame.
        logits: (S, S), of the mask.
        scales: of the features' levels.
        looks: (S, S), what the classifier has said so far: pixels of which it said the contrary
            count little, so that what covers an object is not taken for it.
    """
    places = choose_pixels(features, logits)
    values = logits.reshape(-1)[places]
    inside = torch.from_numpy((values > 0).astype(np.float32))
    sure = torch.from_numpy(np.abs(np.tanh(values / 2)).astype(np.float32))
    if looks is not None:
        said = torch.from_numpy(looks.reshape(-1)[places])
        sure = sure * torch.where(inside > 0, said, 1 - said).clamp(CONTRARY, 1)
    share = inside * sure / (inside * sure).sum().clamp(min=1e-6)
    share += (1 - inside) * sure / ((1 - inside) * sure).sum().clamp(min=1e-6)
    channels = features.at(places, scales)
    channels = torch.cat([channels, torch.ones(1, channels.shape[1])])
    weighted = channels * (share / 2)
    return Moments(features=products(weighted, channels), target=weighted @ inside)


def products(weighted: Tensor, channels: Tensor) -> Tensor:
    """Weighted products (C, C) of channels with themselves: of each pair one is computed.

    Args:
        weighted, channels: (C, N).
    """
    found = torch.empty(len(channels), len(channels))
    step = -(-len(channels) // BLOCKS)
    for first in range(0, len(channels), step):
        last = first + step
        rows = weighted[first:last] @ channels[:last].T
        found[first:last, :last] = rows
        found[:first, first:last] = rows[:, :first].T
    return found


def choose_pixels(features: FrameFeatures, logits: Logits) -> np.ndarray:
    """Choose pixels inside and around a mask, evenly spaced in the order of rows."""
    import cv2

    height, width = features.used_hw()
    inside = np.zeros(logits.shape, np.uint8)
    inside[:height, :width] = logits[:height, :width] > 0
    near = cv2.dilate(inside, np.ones((2 * RING + 1, 2 * RING + 1), np.uint8))
    used = np.zeros(logits.shape, bool)
    used[:height, :width] = True
    parts = (
        (inside > 0, PIXELS),
        ((near > 0) & (inside == 0) & used, round(PIXELS * (1 - FAR_SHARE))),
        ((near == 0) & used, round(PIXELS * FAR_SHARE)),
    )
    return np.concatenate([thinned(np.flatnonzero(part), most) for part, most in parts])


def thinned(places: np.ndarray, most: int) -> np.ndarray:
    """At most so many of places, evenly spaced."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]
