"""The long video: discs that leave and pass each other are followed, by the tracker's own work."""

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


@pytest.mark.slow
def test_memory_is_flat_once_the_first_frames_are_over(long):
    outcome = long.follow(long.colour_tracker(), long.Clip(300), every=60)
    assert outcome.found == outcome.returns >= 4
    assert outcome.false_alarms == 0
    assert outcome.swapped <= 20
    memory = list(outcome.memory_mb.values())
    assert max(memory) - memory[0] < 20
