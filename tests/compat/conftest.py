"""Fixtures shared by the drop-in's tests."""

import numpy as np
import pytest

from samkit.compat.segment_anything.build_sam import from_network


@pytest.fixture
def sam(tiny_sam):
    """The smallest real model under the original's names: random, but sure of its masks."""
    last = tiny_sam.mask_decoder.iou_prediction_head.layers[-1]
    last.weight.data.zero_()
    last.bias.data.fill_(0.9)
    return from_network(tiny_sam)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
