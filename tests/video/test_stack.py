"""Stacks of pages as videos, and video files that are opened again."""

import numpy as np
import pytest
import tifffile

from samkit.errors import VideoError
from samkit.geometry import encode_rle
from samkit.video import (
    FrameTimes,
    ObjectResult,
    StackFrames,
    VideoAnswer,
    VideoFile,
    fill_between,
    fill_gap,
    move_box,
    open_frames,
)
from video.clips import brightness_frames, number_of, write_clip


@pytest.fixture
def stack(tmp_path):
    """Three pages of 16 bits, of which the middle one has values from 100 to 1100."""
    pages = np.stack([np.full((20, 30), level, np.uint16) for level in (100, 600, 1100)])
    pages[1, :, :10], pages[1, :, 20:] = 100, 1100
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, pages, photometric="minisblack")
    return path


def test_a_stack_is_opened_as_a_video_in_one_range_of_values(stack):
    frames = open_frames(stack)
    assert isinstance(frames, StackFrames)
    assert (frames.count, frames.rate, frames.has(3)) == (3, None, False)
    assert [int(frames.read(at)[0, 0, 0]) for at in range(3)] == [0, 0, 255]
    assert int(frames.read(1)[0, 15, 0]) == pytest.approx(128, abs=2)
    with pytest.raises(VideoError, match="frames 0 to 2; got 3"):
        frames.read(3)


def test_a_range_that_is_given_holds_for_all_pages(stack):
    frames = StackFrames(stack, "0,2200")
    assert [int(frames.read(at)[0, 15, 0]) for at in (0, 2)] == [12, 128]


def test_what_is_no_image_is_no_stack(tmp_path):
    path = tmp_path / "no.tif"
    path.write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"no\.tif"):
        open_frames(path)


def test_a_file_is_opened_again_by_its_times(tmp_path, monkeypatch):
    times_ms = [0, 40, 90, 130, 500, 540, 580]
    path = write_clip(tmp_path / "clip.mp4", brightness_frames(7), times_ms=times_ms)
    packed = VideoFile(path).times.to_bytes()
    monkeypatch.setattr(VideoFile, "_scan", lambda _: pytest.fail("read through"))
    again = VideoFile(path, FrameTimes.from_bytes(packed))
    assert [number_of(again.read(at)) for at in (5, 0, 6)] == [5, 0, 6]
    assert again.time_s(4) == pytest.approx(0.5)


def test_the_times_of_an_hour_take_kilobytes():
    stamps = np.cumsum(np.resize([33, 33, 34], 108_000))
    packed = FrameTimes(stamps=stamps, is_timed=True).to_bytes()
    assert len(packed) < 8_000
    again = FrameTimes.from_bytes(packed)
    assert np.array_equal(again.stamps, stamps)
    assert again.is_timed


def test_a_gap_is_filled_as_between_keyframes():
    frames = np.zeros((5, 40, 60, 3), np.uint8)
    masks = np.zeros((5, 40, 60), bool)
    for at in range(5):
        masks[at, 10:30, 5 + 4 * at : 25 + 4 * at] = True
        frames[at][masks[at]] = np.random.default_rng(0).integers(60, 255, (20 * 20, 3))
    source = open_frames(frames)

    def answer(at, index):
        result = ObjectResult(rle=encode_rle(masks[at]), score=1.0, state="present")
        return VideoAnswer(index=index, object_ids=(1,), results=(result,), size_hw=(40, 60))

    filled = list(fill_gap(answer(0, 0), answer(4, 4), source))
    between = list(fill_between([answer(0, 0), answer(4, 1)], source, 4))[1:4]
    assert [one.index for one in filled] == [1, 2, 3]
    assert [one.rles for one in filled] == [one.rles for one in between]
    for one in filled:
        true = masks[one.index]
        assert (one.masks[0] & true).sum() / (one.masks[0] | true).sum() > 0.8


def test_boxes_move_in_straight_lines():
    assert move_box((0, 0, 10, 10), (10, 20, 30, 40), 0.5) == (5, 10, 20, 25)
    assert move_box((1, 2, 3, 4), (9, 9, 9, 9), 0.0) == (1, 2, 3, 4)
