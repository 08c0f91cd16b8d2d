"""Features of colours: a linear classifier on them tells colours apart that no line separates."""

import numpy as np
import torch

from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.video.colours import NUM_WAVES, colour_level, lab_cells


def test_a_linear_function_tells_a_colour_between_two_others():
    frame = np.zeros((60, 120, 3), np.uint8)
    for number, level in enumerate((40, 120, 200)):
        frame[:, 40 * number : 40 * number + 40] = level
    coords = CoordMap.of(frame.shape[:2], ImageSpec())
    side = coords.logits_size
    features = colour_level(lab_cells(frame, coords), side)
    assert features.shape == (NUM_WAVES, side, side)
    assert not features[:, side // 2 :].any()  # the padding
    cells = features[:, side // 4, [side // 6, side // 2, 5 * side // 6]].T
    wanted = torch.tensor([0.0, 1.0, 0.0])
    gram = cells @ cells.T / NUM_WAVES
    found = gram @ torch.linalg.solve(gram + 0.01 * torch.eye(3), wanted)
    assert (found - wanted).abs().max() < 0.1
    grey = torch.tensor([[40.0, 1], [120, 1], [200, 1]])
    straight = grey @ torch.linalg.lstsq(grey, wanted[:, None]).solution
    assert (straight[:, 0] - wanted).abs().max() > 0.5


def test_the_same_frame_has_the_same_features():
    frame = np.random.default_rng(1).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    coords = CoordMap.of(frame.shape[:2], ImageSpec())
    lab, again = lab_cells(frame, coords), lab_cells(frame.copy(), coords)
    assert torch.equal(colour_level(lab, 256), colour_level(again, 256))


def test_the_cells_of_a_frame_have_its_colours():
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[:, 200:] = (255, 255, 255)
    lab = lab_cells(frame, CoordMap.of(frame.shape[:2], ImageSpec()))
    assert lab.shape == (192, 256, 3)
    np.testing.assert_allclose(lab[:, :128], 0, atol=1e-3)
    np.testing.assert_allclose(lab[:, 128:], np.broadcast_to([1, 0, 0], (192, 128, 3)), atol=1e-3)
