"""How much masks of an image look like an example: by the encoder's features, and by colours.

Shape legend: M masks, C channels, H x W the image's size, h x w positions of its features.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray, RgbImage
from samkit.errors import PromptError
from samkit.geometry import Rle, decode_rle
from samkit.types import ImageEmbedding

BINS = 16  # of each channel of Lab
CHANNELS = 3


def similarity(
    embedding: ImageEmbedding, image: RgbImage, examples: Sequence[Rle], masks: Sequence[Rle]
) -> FloatArray:
    """How much each of M masks looks like the example that it is most like.

    A mask is described by the mean of the image's features inside it, less their mean over the
    image, and by the histograms of its colours. With c the cosine of two means, and o the overlap
    of two histograms, their similarity is exp(c + o - 2). Size and shape do not count.

    Args:
        embedding: of the image.
        image: (H, W, 3) uint8 RGB.

    Returns:
        (M,) from exp(-3), about 0.05, to 1 for the example itself; 0 for empty masks.

    Raises:
        PromptError: there is no example, or a mask is of another image's size.
    """
    size_hw = embedding.coords.original_hw
    if not examples:
        raise PromptError("give at least one mask as an example")
    for rle in (*examples, *masks):
        if tuple(rle["size"]) != size_hw:
            raise PromptError(
                f"a mask of size {tuple(rle['size'])} does not belong to an image of {size_hw}"
            )
    features = visible_features(embedding)
    features -= features.mean(axis=(1, 2), keepdims=True)
    lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.uint8)
    wanted = [describe(features, lab, decode_rle(rle)) for rle in examples]
    found = np.zeros(len(masks))
    for number, rle in enumerate(masks):
        mask = decode_rle(rle)
        if not mask.any():
            continue
        direction, colors = describe(features, lab, mask)
        found[number] = max(
            np.exp(direction @ other + np.minimum(colors, other_colors).sum() - 2)
            for other, other_colors in wanted
        )
    return found.clip(0, 1)


def visible_features(embedding: ImageEmbedding) -> npt.NDArray[np.float32]:
    """Features (C, h, w) of the image alone, without the padding around it."""
    grid: npt.NDArray[np.float32] = embedding.features.grid[0].float().cpu().numpy()
    scale = grid.shape[-1] / embedding.coords.model_size
    height, width = (max(1, round(side * scale)) for side in embedding.coords.resized_hw)
    return grid[:, :height, :width].copy()


def describe(
    features: npt.NDArray[np.float32], lab: npt.NDArray[np.uint8], mask: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """A mask (H, W) as the direction (C,) of its mean features, and histograms that sum up to 1."""
    _, height, width = features.shape
    covered = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    mean = (features * covered).sum(axis=(1, 2), dtype=np.float64)
    length = max(float(np.linalg.norm(mean)), np.finfo(np.float64).tiny)
    pixels = lab[mask].astype(np.int64) * BINS // 256
    counts = np.bincount((pixels + BINS * np.arange(CHANNELS)).ravel(), minlength=BINS * CHANNELS)
    return mean / length, counts / max(pixels.size, 1)
