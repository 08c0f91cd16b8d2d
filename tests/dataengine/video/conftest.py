"""Fixtures: a project with a video of twenty frames, and objects that a stub tracker follows."""

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import (
    add_track,
    add_video,
    create_project,
    create_user,
    set_keyframe,
    take_video,
)
from samkit.geometry import decode_rle, encode_rle

NUM_FRAMES = 20
SIZE_HW = (48, 64)
LEVELS = (100, 150, 200)


def frame_of(index):
    """Three squares of their own grey levels, each moving its own way."""
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    image[2:12, index : index + 10] = LEVELS[0]
    image[18:28, 40 - index : 50 - index] = LEVELS[1]
    image[33:43, 20:30] = LEVELS[2]
    return image


def write_frames(folder, count=NUM_FRAMES):
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(frame_of(index)).save(folder / f"{index:05}.png")


def truth(index, level):
    return frame_of(index)[..., 0] == level


class Clip:
    """A project with one video, and the people who work on it; `ann` holds it."""

    def __init__(self, store, root):
        write_frames(root / "clip")
        self.store, self.root = store, root
        self.project = create_project(store, name="clips", root=root)
        self.ann = create_user(store, name="ann").id
        self.bob = create_user(store, name="bob").id
        self.video = add_video(store, self.project.id, "clip")
        take_video(store, self.video.id, self.ann)

    def track(self, **options):
        return add_track(self.store, self.video.id, user_id=self.ann, **options)

    def show(self, track, frame, level, **options):
        """Make a keyframe with the true mask of a level."""
        rle = encode_rle(truth(frame, level))
        return set_keyframe(self.store, track.id, frame, user_id=self.ann, rle=rle, **options)


@pytest.fixture
def clip(store, tmp_path):
    """On each database."""
    return Clip(store, tmp_path / "videos")


@pytest.fixture
def sqlite_clip(sqlite_store, tmp_path):
    return Clip(sqlite_store, tmp_path / "videos")


def masks_of(frames):
    return {one.frame: decode_rle(one.rle) for one in frames}
