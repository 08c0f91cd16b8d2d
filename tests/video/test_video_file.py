from __future__ import annotations

import numpy as np
import pytest

from samkit.errors import VideoError
from samkit.video import open_frames
from video.clips import brightness_frames, number_of, turn_clockwise, write_clip, write_sound


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", brightness_frames(30))


def test_frames_are_found_in_any_order(clip):
    source = open_frames(clip)
    order = np.random.default_rng(0).permutation(30).tolist()
    assert source.count == 30
    assert source.rate == pytest.approx(25)
    assert [number_of(source.read(index)) for index in order] == order
    assert [number_of(source.read(index)) for index in range(30)] == list(range(30))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_of_a_variable_rate_are_found_by_their_times(tmp_path, suffix):
    times_ms = np.cumsum(np.random.default_rng(1).integers(5, 90, 30))
    clip = write_clip(tmp_path / f"clip.{suffix}", brightness_frames(30), times_ms=times_ms)
    source = open_frames(clip)
    assert source.count == 30
    assert source.time_s(7) - source.time_s(3) == pytest.approx(
        (times_ms[7] - times_ms[3]) / 1000, abs=0.002
    )
    assert [number_of(source.read(index)) for index in (29, 3, 17, 4, 0)] == [29, 3, 17, 4, 0]


def test_packets_without_time_stamps_are_counted(tmp_path):
    clip = write_clip(tmp_path / "clip.h264", brightness_frames(14), codec="libx264")
    source = open_frames(clip)
    assert source.count == 14
    assert source.time_s(3) is None
    assert [number_of(source.read(index)) for index in (9, 2, 3, 13)] == [9, 2, 3, 13]


def test_frames_are_turned_as_the_file_says(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:16, :16] = 255  # top left; turned clockwise, top right
    source = open_frames(turn_clockwise(write_clip(tmp_path / "clip.mp4", [frame] * 3)))
    turned = source.read(1)
    assert turned.shape == (64, 48, 3)
    assert turned[:12, -12:].mean() > 240
    assert turned[:12, :30].mean() < 15
    assert turned[20:].mean() < 15


def read_all(path):
    source = open_frames(path)
    for index in range(source.count):
        source.read(index)


def refusal(path):
    with pytest.raises(VideoError) as caught:
        read_all(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_files_that_are_cut_off_or_no_video_are_refused_in_one_line(tmp_path, clip):
    content = clip.read_bytes()
    for name, part in (
        ("empty.mp4", b""),
        ("half.mp4", content[: len(content) // 2]),
        ("text.mp4", b"hello"),
    ):
        path = tmp_path / name
        path.write_bytes(part)
        assert "not a video, or damaged or cut off" in refusal(path)


def test_a_file_that_can_be_read_until_it_was_cut_off_says_so(tmp_path, caplog):
    clip = write_clip(tmp_path / "clip.mkv", brightness_frames(30) * 5)
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    source = open_frames(clip)
    assert 10 < source.count < 140
    assert f"was cut off: it has {source.count} frames" in caplog.text


def test_a_file_whose_frames_change_their_size_is_refused(tmp_path):
    """Two streams of raw H.264 one after the other, as some recorders write them."""
    parts = [
        write_clip(tmp_path / f"{name}.h264", brightness_frames(5, size_hw=size)).read_bytes()
        for name, size in (("one", (48, 64)), ("two", (64, 96)))
    ]
    path = tmp_path / "sizes.h264"
    path.write_bytes(b"".join(parts))
    message = refusal(path)
    assert "frame 5 is 96 x 64, frame 0 is 64 x 48: give frames of one size" in message


def test_sound_alone_is_refused(tmp_path):
    assert "no pictures, only sound" in refusal(write_sound(tmp_path / "sound.m4a"))


def test_a_damaged_frame_is_named(tmp_path, clip):
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 40 : start + 4000] = bytes(len(content[start + 40 : start + 4000]))
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(content))
    assert "frame" in refusal(path)


def test_an_unknown_codec_names_the_way_out(tmp_path, clip):
    content = clip.read_bytes()
    path = tmp_path / "unknown.mp4"
    path.write_bytes(content.replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoError):
        open_frames(path)  # before a model is loaded
    message = refusal(path)
    assert "codec that cannot be read here: convert it" in message
    assert "ffmpeg -i unknown.mp4" in message
