"""Batches of clips: order, resuming, preparation."""

from itertools import islice

import numpy as np
import pytest
import torch

from samkit.datasets import VideoClip, open_videos
from samkit.errors import ConfigError, DataError
from samkit.training.video.loader import SkippedVideo, VideoLoader, prepare, shrunk
from samkit.training.video.recipe import VideoDataRecipe

RECIPE = VideoDataRecipe(clips_per_batch=2, frames=3, max_objects=2)


@pytest.fixture(scope="module")
def source():
    return open_videos("moving:scenes:count=7,size=48,seed=0,things=4")


def loader(source, recipe=RECIPE, **settings):
    return VideoLoader(source, recipe, 64, 16, **{"seed": 0} | settings)


def equal(one, other):
    return (
        torch.equal(one.pixels, other.pixels)
        and torch.equal(one.masks, other.masks)
        and one.keys == other.keys
    )


def test_a_batch_is_clips_one_after_another(source):
    for batch in islice(loader(source), 4):
        assert batch.num_frames == 3
        assert batch.pixels.shape == (6, 3, 64, 64)
        objects = len(batch.masks) // 3
        assert batch.masks.shape == (3 * objects, 16, 16)
        assert batch.masks.view(objects, 3, 16, 16)[:, 0].flatten(1).any(1).all()
        frames = batch.image_index.view(objects, 3)
        assert torch.equal(frames, frames[:, :1] + torch.arange(3))
        assert set(frames[:, 0].tolist()) == {0, 3}
        assert len(batch.keys) == 6
        assert batch.keys[1].endswith("frame 1")


def test_every_epoch_takes_each_video_once(source):
    batches = islice(loader(source), 7)  # two epochs of seven videos
    keys = [key for batch in batches for key in batch.keys if key.endswith("frame 0")]
    assert sorted(keys[:7]) == sorted(keys[7:]) == sorted({*keys})
    assert keys[:7] != keys[7:]


def test_a_resumed_loader_goes_on_as_if_it_had_not_stopped(source):
    through = list(islice(loader(source), 5))
    stopped = loader(source)
    list(islice(stopped, 2))
    resumed = loader(source)
    resumed.load_state_dict(stopped.state_dict())
    assert all(equal(*two) for two in zip(through[2:], islice(resumed, 3), strict=True))


def test_workers_change_nothing(source):
    plain = list(islice(loader(source), 3))
    recipe = VideoDataRecipe(clips_per_batch=2, frames=3, max_objects=2, workers=2)
    with loader(source, recipe) as in_workers:
        assert all(equal(*two) for two in zip(plain, islice(in_workers, 3), strict=True))


def test_processes_share_the_videos(source):
    two = [loader(source, rank=rank, world=2) for rank in range(2)]
    keys = [key for one in two for batch in islice(one, 2) for key in batch.keys]
    assert len({key for key in keys if key.endswith("frame 0")}) >= 6


def test_a_state_of_other_data_is_refused(source, refusal):
    state = loader(source, seed=1).state_dict()
    with refusal(ConfigError, "the order of the videos cannot be resumed"):
        loader(source).load_state_dict(state)


class Halves:
    """Clips of one object that is on the left first, in frames of falling brightness."""

    def __init__(self, broken=()):
        self.broken = broken

    def __len__(self):
        return 2

    def key(self, index):
        return f"half {index}"

    def draw(self, index, rng, *, num_frames, max_objects):
        del rng, max_objects
        if index in self.broken:
            raise DataError(f"half {index} is broken")
        masks = np.zeros((1, num_frames, 8, 12), bool)
        masks[:, :-1, :, :6] = True
        masks[:, -1, :, 6:] = True
        frames = tuple(np.full((8, 12, 3), 200 - 50 * at, np.uint8) for at in range(num_frames))
        return VideoClip(key=self.key(index), frames=frames, masks=masks)


def clip_of(seed=0, **settings):
    recipe = VideoDataRecipe(**{"frames": 3, "flip": False, "reverse_probability": 0.0} | settings)
    return next(VideoLoader(Halves(), recipe, 64, 4, seed=seed))


def test_frames_and_masks_are_stretched_to_the_model(source):
    del source
    batch = clip_of()
    assert batch.masks[0].tolist() == [[True, True, False, False]] * 4
    assert batch.pixels.flatten(1).mean(1).diff().lt(0).all()


def test_clips_run_backwards_and_are_mirrored():
    plain, backwards = clip_of(), clip_of(reverse_probability=1.0)
    assert torch.equal(plain.pixels.flip(0), backwards.pixels)
    assert torch.equal(plain.masks.flip(0), backwards.masks)
    mirrored = [clip_of(seed, flip=True) for seed in range(8)]
    is_flipped = [torch.equal(one.masks, plain.masks.flip(2)) for one in mirrored]
    assert 0 < sum(is_flipped) < 8


def test_broken_videos_are_skipped_and_logged_once(caplog):
    recipe = VideoDataRecipe(frames=3)
    batches = islice(VideoLoader(Halves(broken=(0,)), recipe, 64, 4, seed=0), 4)
    assert {key.split(",")[0] for batch in batches for key in batch.keys} == {"half 1"}
    assert caplog.text.count("skipped half 0: half 0 is broken") == 1


def test_data_without_any_usable_video_are_refused(refusal):
    with refusal(DataError, "no video of a full epoch can be used: half"):
        next(VideoLoader(Halves(broken=(0, 1)), VideoDataRecipe(), 64, 4, seed=0))


def test_objects_smaller_than_a_cell_are_left_out():
    masks = np.zeros((2, 2, 40, 40), bool)
    masks[0, :, 10:30, 10:30] = True
    masks[1, :, 5, 5] = True
    frames = (np.zeros((40, 40, 3), np.uint8),) * 2
    clip = VideoClip(key="one", frames=frames, masks=masks)
    assert prepare(clip, 64, 4).masks.shape == (1, 2, 4, 4)
    small = VideoClip(key="one", frames=frames, masks=masks[1:])
    assert prepare(small, 64, 4) == SkippedVideo(
        key="one", message="its objects are smaller than a cell"
    )


def test_cells_are_covered_by_half():
    mask = np.zeros((8, 8), bool)
    mask[:, :3] = True
    assert shrunk(mask, 4)[0].tolist() == [True, True, False, False]
    mask[:, 2] = False
    assert shrunk(mask, 2)[0].tolist() == [True, False]
