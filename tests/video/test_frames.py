from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from samkit.errors import VideoError
from samkit.video import open_frames
from samkit.video.frames import natural_order
from video.clips import brightness_frames


def write_images(folder, frames, names):
    folder.mkdir()
    for frame, name in zip(frames, names, strict=True):
        Image.fromarray(frame).save(folder / name)
    return folder


def test_numbers_in_names_count_as_numbers():
    names = ["frame10.png", "frame2.png", "frame1b.png", "frame1.png"]
    assert sorted(names, key=natural_order) == [
        "frame1.png",
        "frame1b.png",
        "frame2.png",
        "frame10.png",
    ]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    frames = brightness_frames(3)
    folder = write_images(tmp_path / "clip", frames, ["f2.png", "f10.png", "f1.png"])
    (folder / "notes.txt").write_text("no frame")
    source = open_frames(folder)
    assert source.count == 3
    assert [source.read(index).mean() for index in range(3)] == [16, 0, 8]


def test_arrays_lists_and_iterators_give_the_same_frames():
    frames = brightness_frames(4)
    for video in (np.stack(frames), frames, iter(frames)):
        source = open_frames(video)
        assert [source.read(index).mean() for index in range(4)] == [0, 8, 16, 24]
        assert not source.has(4)
        assert source.count == 4


def test_an_iterator_is_read_no_further_than_needed():
    taken = []

    def frames():
        for number, frame in enumerate(brightness_frames(9)):
            taken.append(number)
            yield frame

    source = open_frames(frames())
    assert source.count is None
    source.read(2)
    assert taken == [0, 1, 2]
    with pytest.raises(VideoError, match="is at frame 2, and frame 1 is gone"):
        source.read(1)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ("nowhere.mp4", "no such file: nowhere.mp4"),
        ([], "has no frames"),
        (np.zeros((4, 4, 3), np.uint8), r"must be \(T, H, W, 3\); got \(4, 4, 3\)"),
        (None, "got NoneType"),
        (True, "got True"),
        (77, "no camera 77 can be opened"),
    ],
)
def test_what_has_no_frames_is_refused(video, message):
    with pytest.raises(VideoError, match=message):
        open_frames(video)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(VideoError, match="has no images"):
        open_frames(tmp_path)


def test_an_empty_iterator_is_refused():
    with pytest.raises(VideoError, match="has no frames"):
        open_frames(iter([])).has(0)


def test_frames_of_another_size_are_refused(tmp_path):
    frames = [np.zeros((8, 10, 3), np.uint8), np.zeros((8, 12, 3), np.uint8)]
    folder = write_images(tmp_path / "clip", frames, ["0.png", "1.png"])
    for video in (frames, iter(frames), folder):
        source = open_frames(video)
        source.read(0)
        with pytest.raises(VideoError, match=r"frame 1 is 12 x 8, frame 0 is 10 x 8: give frames"):
            source.read(1)


def test_frames_outside_of_the_video_are_refused():
    with pytest.raises(VideoError, match="has frames 0 to 2; got 3"):
        open_frames(brightness_frames(3)).read(3)
    with pytest.raises(VideoError, match="has frames 0 to 2; got -1"):
        open_frames(brightness_frames(3)).read(-1)


def test_a_damaged_image_is_named(tmp_path):
    folder = write_images(tmp_path / "clip", brightness_frames(2), ["0.png", "1.png"])
    (folder / "1.png").write_bytes(b"no image")
    with pytest.raises(VideoError, match="frame 1: "):
        open_frames(folder).read(1)
