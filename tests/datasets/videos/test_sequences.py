"""Clips of sequences in DAVIS layout."""

import numpy as np
import pytest
from PIL import Image

from samkit.datasets import SequenceClips, VideoClip, open_videos
from samkit.datasets.videos.sequences import back_and_forth
from samkit.errors import DataError


def write_sequence(folder, name="one", *, count=12, labelled=range(12), objects_from=(0, 4)):
    """Each frame is as bright as its number; object 1 is there from frame 0, 2 from frame 4."""
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind / name).mkdir(parents=True)
    for number in range(count):
        frame = np.full((20, 30, 3), 10 * number, np.uint8)
        Image.fromarray(frame).save(folder / "JPEGImages" / name / f"{number:05d}.png")
        if number in labelled:
            labels = np.zeros((20, 30), np.uint8)
            for place, first in enumerate(objects_from):
                if number >= first:
                    labels[5:10, 10 * place : 10 * place + 5 + number // 4] = place + 1
            Image.fromarray(labels).save(folder / "Annotations" / name / f"{number:05d}.png")
    return folder


def numbers(clip):
    return [int(frame[0, 0, 0]) // 10 for frame in clip.frames]


def draw(source, seed, **settings):
    settings = {"num_frames": 4, "max_objects": 3} | settings
    return source.draw(0, np.random.default_rng(seed), **settings)


def test_clips_are_consecutive_frames_with_the_objects_of_the_first(tmp_path):
    source = open_videos(f"davis:{write_sequence(tmp_path)}")
    starts = set()
    for seed in range(40):
        clip = draw(source, seed)
        start = numbers(clip)[0]
        starts.add(start)
        assert numbers(clip) == [*range(start, start + 4)]
        assert len(clip.masks) == (2 if start >= 4 else 1)
        areas = clip.masks[0].sum((1, 2)).tolist()
        assert areas == [5 * (5 + number // 4) for number in numbers(clip)]
    assert starts == set(range(9))
    assert (len(source), source.key(0)) == (1, "one")


def test_of_many_objects_some_are_drawn(tmp_path):
    source = SequenceClips(write_sequence(tmp_path, objects_from=(0, 0, 0)))
    found = [draw(source, seed, max_objects=1).masks for seed in range(20)]
    assert {len(masks) for masks in found} == {1}
    assert {int(np.flatnonzero(masks[0, 0].any(0))[0]) for masks in found} == {0, 10, 20}


def test_frames_without_masks_are_left_out(tmp_path):
    source = SequenceClips(write_sequence(tmp_path, labelled=(0, 5, 10)))
    assert numbers(draw(source, 0, num_frames=3)) == [0, 5, 10]
    assert numbers(draw(source, 0, num_frames=6)) == [0, 5, 10, 5, 0, 5]


def test_short_sequences_go_back_and_forth():
    assert back_and_forth([3, 4, 5], 7) == [3, 4, 5, 4, 3, 4, 5]
    assert back_and_forth([3], 3) == [3, 3, 3]
    assert back_and_forth([*range(9)], 4) == [0, 1, 2, 3]


def test_sequences_without_objects_are_refused(tmp_path, refusal):
    source = SequenceClips(write_sequence(tmp_path, objects_from=(99,)))
    with refusal(DataError, "one: no object is there"):
        draw(source, 0)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((1, 2, 4, 5), bool), "objects must be there in the first frame"),
        (np.zeros((0, 2, 4, 5), bool), "objects must be there in the first frame"),
        (np.ones((1, 2, 5, 4), bool), "masks must be bool (objects, 2, 4, 5)"),
        (np.ones((1, 2, 4, 5), int), "masks must be bool"),
    ],
)
def test_clips_check_themselves(masks, message, refusal):
    frame = np.zeros((4, 5, 3), np.uint8)
    with refusal(DataError, message):
        VideoClip(key="one", frames=(frame, frame), masks=masks)


def test_frames_of_several_sizes_are_refused(refusal):
    frames = (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4, 3), np.uint8))
    with refusal(DataError, "one: all frames must have one size"):
        VideoClip(key="one", frames=frames, masks=np.ones((1, 2, 4, 5), bool))
