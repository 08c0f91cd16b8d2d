"""Grounding: duplicate boxes of one phrase are suppressed."""

from collections.abc import Callable

import numpy as np
import pytest

from samkit.errors import ConfigError, PromptError
from samkit.geometry.overlap import box_iou
from samkit.text import Detections, ground, per_class_nms

# Boxes 1, 2 and 3 overlap box 0 with IoUs of 0.8, 0.8 and 0.5; box 4 lies elsewhere.
FIVE = Detections(
    boxes_xyxy=np.array(
        [[0, 0, 10, 10], [0, 0, 8, 10], [0, 2, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30.0]]
    ),
    scores=np.float32([0.9, 0.8, 0.7, 0.6, 0.5]),
    phrases=("cat", "cat", "dog", "cat", "cat"),
)


class Finds:
    """A detector that knows what it finds, and remembers what it was asked."""

    def __init__(self, detections: Detections) -> None:
        self.detections = detections
        self.asked = None

    def detect(self, image, phrases, *, box_thresh=None) -> Detections:
        self.asked = (image, phrases, box_thresh)
        return self.detections


@pytest.mark.parametrize(
    ("thresh", "kept"),
    [
        (0.9, [0, 1, 2, 3, 4]),
        (0.8, [0, 1, 2, 3, 4]),  # only a larger IoU overlaps
        (0.79, [0, 2, 3, 4]),  # the dog stays
        (0.4, [0, 2, 4]),
        (0, [0, 2, 4]),
    ],
)
def test_boxes_of_one_phrase_suppress_each_other(thresh, kept) -> None:
    found = per_class_nms(FIVE, thresh)
    assert found.boxes_xyxy.tolist() == FIVE.boxes_xyxy[kept].tolist()
    assert found.scores.tolist() == FIVE.scores[kept].tolist()
    assert found.phrases == tuple(FIVE.phrases[number] for number in kept)


def test_suppression_equals_comparing_all_pairs() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (200, 2))
    many = Detections(
        boxes_xyxy=np.concatenate([corners, corners + rng.uniform(5, 30, (200, 2))], axis=1),
        scores=np.sort(rng.uniform(0, 1, 200).astype(np.float32))[::-1],
        phrases=tuple(rng.choice(["cat", "dog", "red car"], 200).tolist()),
    )
    kept: list[int] = []
    for number in range(200):
        rivals = [one for one in kept if many.phrases[one] == many.phrases[number]]
        if not (box_iou(many.boxes_xyxy[number], many.boxes_xyxy[rivals]) > 0.3).any():
            kept.append(number)
    assert 20 < len(kept) < 180
    found = per_class_nms(many, 0.3)
    assert found.boxes_xyxy.tolist() == many.boxes_xyxy[kept].tolist()
    assert found.phrases == tuple(many.phrases[number] for number in kept)


def test_no_boxes_stay_none() -> None:
    assert len(per_class_nms(FIVE.select(np.zeros(5, bool)), 0.5)) == 0


def test_grounding_detects_suppresses_and_keeps_the_best() -> None:
    detector, image = Finds(FIVE), np.zeros((40, 40, 3), np.uint8)
    found = ground(detector, image, ["cat", "dog"], box_thresh=0.2)
    assert found.scores.tolist() == FIVE.scores[[0, 2, 3, 4]].tolist()  # as with 0.7
    assert detector.asked[0] is image
    assert detector.asked[1:] == (["cat", "dog"], 0.2)
    few = ground(detector, image, ["cat"], nms_thresh=0.4, max_boxes=2)
    assert few.scores.tolist() == FIVE.scores[[0, 2]].tolist()
    assert detector.asked[2] is None
    assert len(ground(detector, image, ["cat"], max_boxes=99)) == 4


def test_grounding_is_detecting_and_suppressing(dino, owl, image) -> None:
    for detector in (dino, owl):
        phrases = ["a cat", "small dog"]
        found = ground(detector, image, phrases, box_thresh=0.5, nms_thresh=0.3)
        whole = detector.detect(image, phrases, box_thresh=0.5)
        assert 1 < len(found) < len(whole)
        np.testing.assert_allclose(
            found.boxes_xyxy, per_class_nms(whole, 0.3).boxes_xyxy, atol=1e-4
        )
        best = ground(detector, image, phrases, box_thresh=0.5, nms_thresh=0.3, max_boxes=1)
        assert best.scores.tolist() == pytest.approx([whole.scores[0]])


@pytest.mark.parametrize("thresh", [-0.1, 1.01, float("nan")])
def test_bad_thresholds_are_refused(thresh, refusal: Callable) -> None:
    detector, image = Finds(FIVE), np.zeros((40, 40, 3), np.uint8)
    with refusal(ConfigError, f"nms_thresh must be from 0 to 1; got {thresh}"):
        ground(detector, image, ["cat"], nms_thresh=thresh)
    with refusal(ConfigError, f"iou_thresh must be from 0 to 1; got {thresh}"):
        per_class_nms(FIVE, thresh)
    assert detector.asked is None


def test_a_bad_number_of_boxes_is_refused(refusal: Callable) -> None:
    for max_boxes in (0, -3):
        with refusal(ConfigError, f"max_boxes must be 1 or more, or None for all; got {max_boxes}"):
            ground(Finds(FIVE), np.zeros((40, 40, 3), np.uint8), ["cat"], max_boxes=max_boxes)


def test_what_the_detector_refuses_is_refused(dino, owl, image, refusal: Callable) -> None:
    for detector in (dino, owl):
        with refusal(PromptError, "phrases must not be empty"):
            ground(detector, image, [])
        with refusal(ConfigError, "box_thresh must be from 0 to 1; got 2"):
            ground(detector, image, ["a cat"], box_thresh=2)
