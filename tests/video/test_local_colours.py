"""The outline of a carried mask, by the colours beside it."""

import numpy as np
import pytest

from samkit.video.local_colours import BAND, beside_outline, votes_of_colours

HW = (60, 80)
OBJECT, GROUND, NEW = (0.6, 0.5, 0.2), (0.4, -0.3, 0.1), (0.9, 0.0, -0.8)


def square(left):
    """A mask (h, w) of 20 x 20 cells, and the colours of a frame with it."""
    mask = np.zeros(HW, bool)
    mask[20:40, left : left + 20] = True
    return mask, np.where(mask[..., None], OBJECT, GROUND).astype(np.float32)


def found(last, last_lab, lab, flow, near):
    """Probabilities (h, w), where they are asked for, else NaN."""
    votes = np.full(HW, np.nan, np.float32)
    rows, cols = np.nonzero(near)
    votes[rows, cols] = votes_of_colours(last.astype(np.float32), last_lab, lab, flow, (rows, cols))
    return votes


def test_a_band_lies_on_both_sides_of_the_outline():
    mask, _ = square(30)
    near = beside_outline(mask)
    assert near[30].nonzero()[0].tolist() == [
        *range(30 - BAND, 30 + BAND),
        *range(50 - BAND, 50 + BAND),
    ]
    assert not beside_outline(np.zeros(HW, bool)).any()


@pytest.mark.parametrize("missed", [0, 3, -5])
def test_colours_find_the_outline_that_flow_has_missed(missed):
    flow = np.zeros((*HW, 2), np.float32)
    flow[..., 0] = 4  # flow knows of 4 cells to the left, and not of the rest
    (last, last_lab), (now, lab) = square(30), square(26 + missed)
    carried, _ = square(26)
    near = beside_outline(carried)
    votes = found(last, last_lab, lab, flow, near)
    assert ((votes > 0.5) == now)[near].all()
    assert (np.abs(votes - 0.5)[near] > 0.3).all()


def test_places_of_one_colour_are_inside_as_far_as_those_around_them_were():
    flow = np.zeros((*HW, 2), np.float32)
    last, _ = square(30)
    grey = np.full((*HW, 3), 0.5, np.float32)
    near = beside_outline(last)
    votes = found(last, grey, grey, flow, near)
    assert (votes > 0.5)[30, 30:50][near[30, 30:50]].all()
    assert 0.5 < votes[30, 31] < votes[30, 35]
    assert votes[30, 24] < votes[30, 28] < 0.5


def test_nobody_votes_for_a_colour_that_was_not_there():
    flow = np.zeros((*HW, 2), np.float32)
    last, last_lab = square(30)
    lab = last_lab.copy()
    lab[30, 33] = NEW
    votes = found(last, last_lab, lab, flow, beside_outline(last))
    assert votes[30, 33] == pytest.approx(0.5, abs=1e-3)
    assert votes[31, 33] > 0.9


def test_what_comes_from_outside_of_the_frame_is_unknown():
    flow = np.full((*HW, 2), -500, np.float32)
    last, lab = square(30)
    votes = found(last, lab, lab, flow, beside_outline(last))
    assert votes[30, 33] == pytest.approx(0.5)
