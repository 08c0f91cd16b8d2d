"""Colours of a frame, and random Fourier features of them.

A linear function of these features is nearly any function of colour. The network's features are
smooth: a linear classifier on them alone hardly sees gaps as thin as the spokes of a wheel, or that
an object has two colours and its ground the one between.

Source: Rahimi, Recht, Random features for large-scale kernel machines (NIPS 2007), for a Gaussian
kernel on CIE L*a*b* colours.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from samkit.arrays import FloatImage, RgbImage
from samkit.geometry import CoordMap

NUM_WAVES = 64
KERNEL_WIDTH = 0.15  # of the Gaussian, in units of `LAB_RANGE`
LAB_RANGE = np.array([100, 60, 60], np.float32)  # colours of most pictures are within


def lab_cells(frame: RgbImage, coords: CoordMap) -> FloatImage:
    """Colours (h, w, 3) of the cells of the logits space that a frame (H, W, 3) fills.

    L*, a* and b* in units of `LAB_RANGE`.
    """
    height, width = (-(-length // coords.logits_stride) for length in coords.resized_hw)
    cells = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cells.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / LAB_RANGE
    return np.asarray(lab, np.float32)


def colour_level(lab: FloatImage, side: int) -> Tensor:
    """A level of features (C, S, S) of colours (h, w, 3), on a square of this side; 0 elsewhere."""
    height, width = lab.shape[:2]
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
