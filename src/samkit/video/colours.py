"""Random Fourier features of colours: a linear function of them is nearly any function of colour.

The network's features are smooth. A linear classifier on them alone hardly sees gaps as thin as the
spokes of a wheel, or that an object has two colours and its ground the one between.

Source: Rahimi, Recht, Random features for large-scale kernel machines (NIPS 2007), for a Gaussian
kernel on CIE L*a*b* colours.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from samkit.arrays import RgbImage
from samkit.geometry import CoordMap

NUM_WAVES = 64
KERNEL_WIDTH = 0.15  # of the Gaussian, in units of `LAB_RANGE`
LAB_RANGE = np.array([100, 60, 60], np.float32)  # colours of most pictures are within


def colour_level(frame: RgbImage, coords: CoordMap) -> Tensor:
    """A level of features (C, S, S), on the cells of the logits space; 0 in the padding.

    Args:
        frame: (H, W, 3).
        coords: the frame's coordinate spaces.
    """
    side = coords.logits_size
    height, width = (-(-length // coords.logits_stride) for length in coords.resized_hw)
    cells = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cells.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / LAB_RANGE
    frequencies, phases = _waves()
    # Channels first in the product: a transposed copy of its result would cost as much again.
    angles = frequencies @ lab.reshape(-1, 3).T + phases
    level = np.zeros((NUM_WAVES, side, side), np.float32)
    level[:, :height, :width] = np.cos(angles).reshape(NUM_WAVES, height, width)
    return torch.from_numpy(level)


def _waves() -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (C, 3) and phases (C, 1), always the same."""
    draw = np.random.default_rng(0)
    frequencies = draw.normal(size=(3, NUM_WAVES)).T / KERNEL_WIDTH
    phases = draw.uniform(0, 2 * np.pi, size=(NUM_WAVES, 1))
    return frequencies.astype(np.float32), phases.astype(np.float32)
