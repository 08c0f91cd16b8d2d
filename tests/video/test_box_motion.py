import numpy as np
import pytest

from samkit.geometry import box_iou
from samkit.video.box_motion import BoxMotion
from samkit.video.sam2_choice import STABLE_FRAMES, choose_by_motion

BOX = np.array([10.0, 20.0, 22.0, 50.0])
VELOCITY = np.array([2.0, -0.5, 2.0, -0.5])


def moved(frames: int) -> BoxMotion:
    """The motion of a box that moved steadily for so many frames."""
    motion = BoxMotion.start(BOX)
    for frame in range(1, frames):
        motion = motion.predicted().updated(BOX + frame * VELOCITY)
    return motion


def test_the_first_box_stays_where_it_is():
    np.testing.assert_allclose(BoxMotion.start(BOX).predicted().box_xyxy, BOX)


def test_steady_motion_is_predicted():
    motion = moved(15)
    predicted = motion.predicted().box_xyxy
    assert box_iou(predicted[None], (BOX + 15 * VELOCITY)[None])[0] > 0.9
    np.testing.assert_allclose(motion.mean[4:6], [2.0, -0.5], atol=0.1)


def test_it_is_the_filter_of_the_textbook():
    motion = moved(3)
    predicted = motion.predicted()
    measured = BOX + 3 * VELOCITY
    height = predicted.mean[3]
    noise = np.diag(np.array([height / 20, height / 20, 0.1, height / 20]) ** 2)
    shared = predicted.covariance[:, :4]
    gain = shared @ np.linalg.inv(predicted.covariance[:4, :4] + noise)
    x0, y0, x1, y1 = measured
    place = np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / (y1 - y0), y1 - y0])
    updated = predicted.updated(measured)
    np.testing.assert_allclose(
        updated.mean, predicted.mean + gain @ (place - predicted.mean[:4]), atol=1e-9
    )
    expected = (np.eye(8) - gain @ np.eye(4, 8)) @ predicted.covariance
    np.testing.assert_allclose(updated.covariance, expected, atol=1e-9)
    assert updated.stable == motion.stable + 1


def candidates(*boxes):
    masks = np.zeros((len(boxes), 64, 64), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


HERE, ELSEWHERE, NOWHERE = (42, 12, 54, 42), (2, 2, 14, 32), (0, 0, 0, 0)


def choose(motion, iou_pred, *, weight=0.25, boxes=(ELSEWHERE, HERE, NOWHERE)):
    return choose_by_motion(candidates(*boxes), np.array(iou_pred, np.float32), motion, weight)


def test_before_motion_is_reliable_predicted_iou_decides():
    for motion in (None, moved(STABLE_FRAMES - 1)):
        choice = choose(motion, [0.8, 0.7, 0.1])
        assert (choice.candidate, choice.motion_iou) == (0, None)
        assert choice.motion is not None


@pytest.mark.parametrize(("weight", "chosen"), [(0.25, 1), (0.01, 0)])
def test_reliable_motion_decides_between_look_alikes(weight, chosen):
    choice = choose(moved(16), [0.8, 0.7, 0.1], weight=weight)
    assert choice.candidate == chosen
    assert (choice.motion_iou > 0.8) == (chosen == 1)


def test_a_poor_mask_begins_anew():
    assert choose(moved(16), [0.1, 0.2, 0.1]).motion is None
    assert choose(moved(5), [0.1, 0.2, 0.1]).motion is None


def test_an_empty_box_updates_nothing():
    assert choose(None, [0.1, 0.2, 0.9]).motion is None
    motion = moved(16)
    choice = choose(motion, [0.1, 0.2, 0.9], boxes=(NOWHERE, NOWHERE, NOWHERE))
    np.testing.assert_array_equal(choice.motion.mean, motion.predicted().mean)
    assert choice.motion.stable == motion.stable
