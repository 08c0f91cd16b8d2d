"""The long video: discs that leave and pass each other are followed, by the tracker's own work."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def long(request, monkeypatch):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    import video_long

    return video_long


def test_what_leaves_is_found_again_and_look_alikes_keep_their_names(long):
    outcome = long.follow(long.colour_tracker(), long.Clip(60))
    assert (outcome.returns, outcome.found, outcome.false_alarms) == (1, 1, 0)
    assert outcome.mean_iou(long.LEAVER) > 0.9
    # While they pass each other, one covers most of the other.
    assert outcome.swapped <= 4
    assert outcome.mean_iou(long.BEHIND) > 0.8
    assert outcome.mean_iou(long.BEFORE) > 0.8


def test_without_motion_look_alikes_are_confused(long):
    outcome = long.follow(long.colour_tracker(motion=None), long.Clip(60))
    assert outcome.swapped > 8


def behind_a_bar():
    """A disc that passes behind a bar, and its masks."""
    clip = []
    for time in range(12):
        frame, mask = np.full((180, 320, 3), 90, np.uint8), np.zeros((180, 320), np.uint8)
        cv2.circle(mask, (60 + 12 * time, 90), 24, 1, -1)
        frame[mask > 0] = (200, 40, 40)
        frame[:, 140:180], mask[:, 140:180] = (90, 110, 60), 0
        clip.append((frame, mask > 0))
    return [frame for frame, _ in clip], [mask for _, mask in clip]


@pytest.mark.parametrize(("full_size", "is_found"), [(1.0, True), (0.0, False)])
def test_parts_come_back_while_no_more_than_all_of_an_object_is_found(long, full_size, is_found):
    frames, masks = behind_a_bar()
    video = long.colour_tracker(full_size=full_size).open(frames)
    video.prompt(0, object_id=1, mask=masks[0])
    found = [answer.masks[0] for answer in video.propagate()]
    ious = [(one & mask).sum() / (one | mask).sum() for one, mask in zip(found, masks, strict=True)]
    assert (min(ious) > 0.8) == is_found


@pytest.mark.slow
def test_memory_is_flat_once_the_first_frames_are_over(long):
    outcome = long.follow(long.colour_tracker(), long.Clip(300), every=60)
    assert outcome.found == outcome.returns >= 4
    assert outcome.false_alarms == 0
    assert outcome.swapped <= 20
    memory = list(outcome.memory_mb.values())
    assert max(memory) - memory[0] < 20
