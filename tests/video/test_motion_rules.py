"""When motion counts: boxes that are measured, and where an object that jumps may be."""

from __future__ import annotations

import numpy as np
import pytest

from samkit.video.box_motion import BoxMotion
from samkit.video.motion_rules import MotionRules, cells_of

RULES = MotionRules()


def box_at(x, *, width=20):
    return np.array([x, 40, x + width, 60], np.float64)


def moved(frames, *, speed=3):
    """The motion after some frames of a box that moves to the right."""
    motion = BoxMotion.start(box_at(0))
    for number in range(1, frames):
        motion = RULES.measured(motion.predicted(), box_at(speed * number))
    return motion


def test_a_box_of_the_same_size_is_measured():
    motion = moved(12)
    assert motion.stable == 12
    np.testing.assert_allclose(motion.predicted().box_xyxy, box_at(36), atol=1.5)


def test_a_box_that_is_in_part_hidden_is_not_measured_and_motion_goes_on():
    motion = moved(12)
    for number in (12, 13, 14):
        motion = RULES.measured(motion.predicted(), box_at(3 * number, width=12))
    assert motion.stable == 12
    np.testing.assert_allclose(motion.box_xyxy[0], 42, atol=2)


def test_motion_begins_anew_where_the_box_is_elsewhere():
    motion = RULES.measured(moved(12).predicted(), box_at(100))
    assert motion.stable == 1
    np.testing.assert_allclose(motion.box_xyxy, box_at(100))


def test_an_object_that_grows_at_once_is_where_it_moves():
    motion = moved(12)
    rows, cols = RULES.possible(motion.predicted(), area=800, size=400)
    assert 35 <= rows.start <= 40
    assert 60 <= rows.stop <= 65
    assert 30 <= cols.start <= 36
    assert 56 <= cols.stop <= 62


@pytest.mark.parametrize(("frames", "area"), [(12, 500), (3, 800)])
def test_otherwise_it_may_be_anywhere(frames, area):
    assert RULES.possible(moved(frames), area=area, size=400) is None


def test_places_near_the_predicted_one_are_likelier_the_longer_ago_the_farther():
    motion = moved(12)
    soon, later = motion.predicted(), motion
    for _ in range(30):
        later = later.predicted()
    likely = RULES.likely(soon, 128)
    assert likely[50, 46] == pytest.approx(1, abs=0.02)
    assert likely[50, 120] == pytest.approx(0.1, abs=0.01)
    x = round(later.box_xyxy[[0, 2]].mean())
    assert x == pytest.approx(136, abs=8)
    wide, near = RULES.likely(later, 256), RULES.likely(soon, 256)
    assert wide[50, x - 15] > near[50, 46 - 15] + 0.1


def test_the_box_of_cells_is_tight():
    inside = np.zeros((16, 16), bool)
    inside[3:6, 4:9] = True
    assert cells_of(inside).tolist() == [4, 3, 9, 6]
