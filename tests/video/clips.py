"""Clips for tests: small video files, written by PyAV."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

MS = Fraction(1, 1000)


def brightness_frames(count, *, size_hw=(48, 64)):
    """Frames by which their number can be told: each is 8 brighter than the one before."""
    return [np.full((*size_hw, 3), 8 * number, np.uint8) for number in range(count)]


def number_of(frame):
    return round(float(frame.mean()) / 8)


def write_clip(path, frames, *, times_ms=None, codec="libx264", **options):
    """Write frames with their time stamps; by default 25 a second, a keyframe every 12."""
    times_ms = [40 * number for number in range(len(frames))] if times_ms is None else times_ms
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = MS
        stream.codec_context.gop_size = 12
        for image, time_ms in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(time_ms), MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 44100, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def turn_clockwise(path):
    """Mark an MP4 file as to be turned clockwise by a quarter, as telephones do."""

    def matrix(*values):
        return b"".join(value.to_bytes(4, "big", signed=True) for value in values)

    one, w = 1 << 16, 1 << 30
    content = path.read_bytes()
    at = content.index(b"tkhd")
    upright, turned = matrix(one, 0, 0, 0, one, 0, 0, 0, w), matrix(0, one, 0, -one, 0, 0, 0, 0, w)
    path.write_bytes(content[:at] + content[at:].replace(upright, turned, 1))
    return path
