"""Clips made of still images: what is drawn is what its masks say."""

import numpy as np
import pytest

from samkit.datasets import MovingImages, Sample, open_videos
from samkit.datasets.synthetic import Scenes
from samkit.datasets.videos import moving
from samkit.datasets.videos.motion import draw_motion, render
from samkit.errors import ConfigError, DataError
from samkit.geometry import encode_rle

RED = (230, 30, 30)


class Squares:
    """Grey images with a red square each."""

    def __init__(self, side=20):
        self.side = side

    def __len__(self):
        return 3

    def key(self, index):
        return f"square {index}"

    def __getitem__(self, index):
        image = np.full((60, 90, 3), 100 + 20 * index, np.uint8)
        mask = np.zeros((60, 90), bool)
        mask[20 : 20 + self.side, 30 : 30 + self.side] = True
        image[mask] = RED
        return Sample(key=self.key(index), image=image, rles=(encode_rle(mask),))


@pytest.fixture
def alone(monkeypatch):
    """Nothing moves but the objects, in steady light and on grey."""
    monkeypatch.setattr(moving, "LOOK_ALIKE_PROBABILITY", 0)
    monkeypatch.setattr(moving, "OCCLUDER_PROBABILITY", 0)
    monkeypatch.setattr(moving, "LIGHT", 0)


def clip(source, seed=0, index=0, **settings):
    settings = {"num_frames": 6, "max_objects": 3} | settings
    return source.draw(index, np.random.default_rng(seed), **settings)


def is_red(frame):
    return (frame[..., 0].astype(int) - frame[..., 1]) > 100


def test_clips_depend_on_their_random_numbers_alone():
    source = MovingImages(Scenes(count=4, size=48, things=4))
    one, again, other = clip(source, 3), clip(source, 3), clip(source, 4)
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.masks, again.masks)
    assert not np.array_equal(one.frames, other.frames)
    assert len(source) == 4
    assert one.key == source.key(0) == "moving scene-0-48-4-0"


def test_masks_are_where_the_object_is_drawn(alone, monkeypatch):
    """The background is another image, whose own square is left out here."""
    source = Squares()
    found = moving._reduced

    def without_square(sample):
        image, masks = found(sample)
        if sample.key != "square 0":
            image = np.full_like(image, 90)
        return image, masks

    monkeypatch.setattr(moving, "_reduced", without_square)
    ious = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        if np.random.default_rng(seed).integers(3) == 0:
            continue  # the square's own image is the background
        drawn = MovingImages(source).draw(0, rng, num_frames=5, max_objects=1)
        for frame, mask in zip(drawn.frames, drawn.masks[0], strict=True):
            red = is_red(frame)
            if mask.sum() > 50:
                ious.append((red & mask).sum() / (red | mask).sum())
    assert len(ious) > 20
    assert min(ious) > 0.75
    assert np.mean(ious) > 0.9


def test_objects_move_turn_and_leave():
    source = MovingImages(Scenes(count=30, size=48, things=4))
    stays, gone = [], 0
    for seed in range(30):
        drawn = clip(source, seed, index=seed, num_frames=8)
        first, last = drawn.masks[:, 0], drawn.masks[:, -1]
        stays += ((first & last).sum((1, 2)) / (first | last).sum((1, 2))).tolist()
        gone += int((~last.any((1, 2))).sum())
        assert len(drawn.frames) == 8
        assert 1 <= len(drawn.masks) <= 3
    assert np.mean(stays) < 0.4
    assert 0 < gone < len(stays) / 2


def test_front_objects_hide_those_behind():
    source = MovingImages(Scenes(count=20, size=48, things=6))
    for seed in range(20):
        masks = clip(source, seed, index=seed).masks
        assert masks.sum(0).max() <= 1  # no pixel belongs to two objects


def test_images_without_masks_to_cut_out_are_refused(refusal):
    with refusal(DataError, "square 0: no mask has a size to be cut out"):
        clip(MovingImages(Squares(side=4)))


def test_a_still_picture_is_drawn_where_it_was():
    rng = np.random.default_rng(0)
    patch = rng.uniform(0, 1, (7, 9, 4)).astype(np.float32)
    motion = draw_motion(rng)
    still = {"angle": 0.0, "log_scale": 0.0, "shear": 0.0, "start_xy": (0.5, 0.5)}
    motion = type(motion)(**vars(motion) | still | {"ripple": 0 * motion.ripple})
    drawn = render(patch, motion, 0, (21, 31))
    np.testing.assert_allclose(drawn[7:14, 11:20], patch, atol=1e-5)
    assert drawn.sum() == pytest.approx(patch.sum(), rel=1e-4)


def test_large_images_are_reduced(alone):
    class Large(Squares):
        def __getitem__(self, index):
            image = np.zeros((300, 1024, 3), np.uint8)
            mask = np.zeros((300, 1024), bool)
            mask[50:250, 100:400] = True
            return Sample(key="large", image=image, rles=(encode_rle(mask),))

    assert clip(MovingImages(Large())).frames[0].shape == (150, 512, 3)


@pytest.mark.parametrize("spec", ["", "moving:", "moving", "scenes", "video:FOLDER"])
def test_unknown_kinds_of_videos_are_refused(spec, refusal):
    with refusal(ConfigError, "davis:FOLDER or moving:DATA", repr(spec)):
        open_videos(spec)


def test_moving_images_are_of_any_data_set(tmp_path, refusal):
    source = open_videos("moving:scenes:count=5,size=48")
    assert len(source) == 5
    assert isinstance(source, MovingImages)
    with refusal(DataError, "cannot read"):
        open_videos(f"moving:coco:{tmp_path / 'none.json'}")
