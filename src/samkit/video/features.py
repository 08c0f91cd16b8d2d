"""What a frame is to the tracker on frozen features: levels of features, picture for motion.

Shape legend: C channels, h x w grid of a level, N pixels, S side of the logits space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samkit.arrays import FloatImage, RgbImage
from samkit.geometry import CoordMap
from samkit.predict import Predictor
from samkit.types import ImageEmbedding
from samkit.video.colours import colour_level, lab_cells

# Side of the picture in which motion is estimated: half as fine as the model's input.
MOTION_SIDE = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameFeatures:
    """Features of one frame.

    Attributes:
        embedding: for the mask decoder.
        levels: (C, h, w) each, finest first: those of colours, of the image encoder, and last the
            embedding. All cover the square input of the model.
        lab: (h, w, 3), colours of the cells that the frame fills; see `lab_cells`.
        grey: (h, w) uint8, the frame in grey, its longest side `MOTION_SIDE`.
    """

    embedding: ImageEmbedding
    levels: tuple[Tensor, ...]
    lab: FloatImage
    grey: npt.NDArray[np.uint8]

    @classmethod
    def of(
        cls, frame: RgbImage, embedding: ImageEmbedding, levels: Iterable[Tensor]
    ) -> FrameFeatures:
        """Features of a frame (H, W, 3), of which the image encoder gave these levels."""
        lab = lab_cells(frame, embedding.coords)
        colours = colour_level(lab, embedding.coords.logits_size)
        return cls(
            embedding=embedding, levels=(colours, *levels), lab=lab, grey=grey_picture(frame)
        )

    @property
    def coords(self) -> CoordMap:
        """The frame's coordinate spaces."""
        return self.embedding.coords

    @property
    def num_channels(self) -> int:
        """Number of channels of all levels together."""
        return sum(len(level) for level in self.levels)

    def used_hw(self) -> tuple[int, int]:
        """Rows and columns of the logits space that lie in the frame; the rest is padding."""
        coords = self.coords
        height, width = coords.resized_hw
        stride = coords.logits_stride
        return -(-height // stride), -(-width // stride)

    def scales(self) -> Tensor:
        """A factor for each level with which its values have a mean square of 1."""
        return torch.stack(
            [level.square().mean().clamp(min=1e-12).rsqrt() for level in self.levels]
        )

    def at(self, places: npt.NDArray[np.int64], scales: Tensor) -> Tensor:
        """All channels (C, N) at places (N,), which number the cells of the logits space by rows.

        Coarser levels are interpolated bilinearly.
        """
        side = self.coords.logits_size
        xy = np.stack([places % side, places // side], axis=1)
        # Relative to the whole square, from -1 to 1, as grid_sample has it.
        grid = torch.from_numpy(((xy + 0.5) / side * 2 - 1).astype(np.float32))[None, None]
        parts = [
            torch.nn.functional.grid_sample(
                level[None] * scale, grid, padding_mode="border", align_corners=False
            )[0, :, 0]
            for level, scale in zip(self.levels, scales, strict=True)
        ]
        return torch.cat(parts)

    def dot(self, weights: Tensor, scales: Tensor) -> npt.NDArray[np.float32]:
        """Dot products (O, S, S) of all pixels with O vectors (O, C).

        Interpolation is linear: each level's products are computed at its own resolution.
        """
        side = self.coords.logits_size
        sums = np.zeros((len(weights), side, side), np.float32)
        first = 0
        for level, scale in zip(self.levels, scales, strict=True):
            part = weights[:, first : first + len(level)] * scale
            first += len(level)
            for row, one in enumerate(part):
                # One by one: products of several vectors at once may differ in the last bit, and
                # the answer for an object must not depend on the others.
                products = torch.einsum("c,chw->hw", one, level).numpy()
                sums[row] += cv2.resize(products, (side, side), interpolation=cv2.INTER_LINEAR)
        return sums


def encode_frame(predictor: Predictor, frame: RgbImage) -> FrameFeatures:
    """Encode a frame."""
    embedding, finer = predictor.encode_levels(frame)
    levels = [*finer.levels, embedding.features.grid]
    return FrameFeatures.of(frame, embedding, (level[0].float().cpu() for level in levels))


def grey_picture(frame: RgbImage) -> npt.NDArray[np.uint8]:
    """A frame in grey, with its longest side `MOTION_SIDE`."""
    height, width = frame.shape[:2]
    scale = MOTION_SIDE / max(height, width)
    # DIS needs some pixels for its coarsest patches.
    size = tuple(max(16, round(side * scale)) for side in (width, height))
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
