"""What the tracker on frozen features concludes from a confirmed frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samkit.video.feature_memory import ObjectMemory
from samkit.video.feature_tracker import wrong_share
from samkit.video.motion_rules import window_around
from samkit.video.pixel_classifier import products


def test_the_share_of_wrong_cells_is_that_near_the_object():
    truth = np.zeros((96, 96), bool)
    truth[40:50, 40:50] = True
    found = np.zeros_like(truth)
    found[40:50, 35:55] = True  # twice as wide
    found[0, 0] = True  # far away
    assert wrong_share(found, truth) == pytest.approx(0.5)
    assert wrong_share(truth, truth) == 0
    assert wrong_share(np.zeros_like(truth), truth) == 0


def test_the_size_of_an_object_outlasts_its_being_hidden():
    memory = ObjectMemory()
    memory.see(area=100, is_first=True)
    for _ in range(5):
        memory.see(area=20, is_first=False)
    assert memory.size == pytest.approx(100 * 0.98**5)
    assert memory.area < 50
    memory.see(area=120, is_first=False)
    assert memory.size == 120


def test_symmetric_products_are_those_of_all_channels():
    draw = torch.Generator().manual_seed(0)
    channels, weights = torch.randn(11, 30, generator=draw), torch.rand(30, generator=draw)
    torch.testing.assert_close(
        products(channels * weights, channels), channels @ (channels * weights).T
    )


def test_an_object_may_be_within_reach_of_its_carried_mask():
    box = np.array([5.0, 40, 45, 50])
    assert window_around(box, (4, 0.2)) == (slice(34, 56), slice(0, 57))  # 4 cells, 2 and 8 more
