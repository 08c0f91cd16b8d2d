"""Loader of clips: endless, resumable after any batch.

Shape legend: F frames, P objects of all clips, S side of the model space, T side of the target
space.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from samkit.arrays import BoolArray
from samkit.datasets import VideoClip, VideoSource
from samkit.errors import ConfigError, DataError, ImageError
from samkit.training.data.placement import place_image, plain_placement
from samkit.training.data.sampling import EpochSampler, read_in_workers
from samkit.training.task import Batch
from samkit.training.video.recipe import VideoDataRecipe

logger = logging.getLogger(__name__)

CLIPS = 501  # purpose of random numbers, part of their seed, so that no two purposes share theirs


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedClip:
    """A clip in the model's spaces.

    Attributes:
        key: of its video.
        pixels: (F, 3, S, S), normalised.
        masks: (objects, F, T, T) bool, in the first frame never empty.
    """

    key: str
    pixels: Tensor
    masks: Tensor


@dataclass(frozen=True, kw_only=True)
class SkippedVideo:
    """A video that cannot be used, and why."""

    key: str
    message: str


class VideoLoader:
    """An endless iterator of batches of clips.

    Every epoch takes each video once, in an order of its own, and draws a new clip of it. All
    randomness depends on the seed, the epoch and the video, never on what ran before, nor on the
    number of workers. Videos that cannot be used are logged once and skipped.
    """

    def __init__(
        self,
        source: VideoSource,
        recipe: VideoDataRecipe,
        model_size: int,
        truth_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            source: the videos.
            recipe: length and number of clips.
            model_size: side S of the model space.
            truth_size: side T of the target space.
            seed: seed of the order and of the clips.
            rank: index of this process.
            world: number of processes, each with its own loader.

        Raises:
            DataError: there are no videos.
        """
        if not len(source):
            raise DataError("the data set has no videos")
        self.recipe = recipe
        self._sampler = EpochSampler(count=len(source), seed=seed, rank=rank, world=world)
        self._clips = _Clips(source, recipe, model_size, truth_size, seed=seed)
        self._position = 0  # number of videos read
        self._reading: Generator[PreparedClip | SkippedVideo] | None = None
        self._skipped: set[str] = set()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            DataError: no video of a full epoch can be used.
        """
        if self._reading is None:
            self._reading = self._read()
        clips: list[PreparedClip] = []
        position, unusable = self._position, 0
        try:
            while len(clips) < self.recipe.clips_per_batch:
                clip = next(self._reading)
                position += 1
                if isinstance(clip, PreparedClip):
                    clips.append(clip)
                    unusable = 0
                    continue
                self._note(clip)
                unusable += 1
                self._check_some(unusable, clip)
        except BaseException:
            self.close()  # clips that were read but not returned are read again
            raise
        self._position = position  # only now: the state must always be that after a batch
        return collate(clips)

    def state_dict(self) -> dict[str, Any]:
        """Return this loader's position as plain numbers."""
        return {"position": self._position, "identity": self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the batch at which `state_dict` was called.

        Raises:
            ConfigError: the state is of another data set, seed or number of processes.
        """
        mine, given = self._identity(), dict(state["identity"])
        if given != mine:
            raise ConfigError(
                f"the order of the videos cannot be resumed: it was of {given} (now {mine})"
            )
        self.close()
        self._position = state["position"]

    def __enter__(self) -> VideoLoader:  # noqa: PYI034 -- Self is of Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; the next batch starts them again."""
        if self._reading is not None:
            self._reading.close()
        self._reading = None

    def _identity(self) -> dict[str, int]:
        sampler = self._sampler
        return {
            "videos": sampler.count,
            "seed": sampler.seed,
            "rank": sampler.rank,
            "world": sampler.world,
        }

    def _read(self) -> Generator[PreparedClip | SkippedVideo]:
        indices = self._sampler.indices(self._position)
        if self.recipe.workers == 0:
            return (self._clips[epoch_index] for epoch_index in indices)
        return read_in_workers(
            self._clips, self.recipe.workers, self.recipe.prefetch, sampler=indices
        )

    def _check_some(self, unusable: int, last: SkippedVideo) -> None:
        """Check that not all videos of an epoch, one after another, were unusable."""
        # A video that is first in one epoch may be last in the next, and the only one.
        if unusable >= 2 * self._sampler.count - 1:
            raise DataError(f"no video of a full epoch can be used: {last.message}")

    def _note(self, skipped: SkippedVideo) -> None:
        if skipped.key not in self._skipped:
            self._skipped.add(skipped.key)
            logger.warning("skipped %s: %s", skipped.key, skipped.message)


class _Clips(Dataset[PreparedClip | SkippedVideo]):
    """Prepared clips by epoch and index of the video."""

    def __init__(
        self,
        source: VideoSource,
        recipe: VideoDataRecipe,
        model_size: int,
        truth_size: int,
        *,
        seed: int,
    ) -> None:
        self.source, self.recipe = source, recipe
        self.model_size, self.truth_size = model_size, truth_size
        self.seed = seed

    def __getitem__(self, epoch_index: tuple[int, int]) -> PreparedClip | SkippedVideo:
        epoch, index = epoch_index
        rng = np.random.default_rng([CLIPS, self.seed, epoch, index])
        recipe = self.recipe
        try:
            clip = self.source.draw(
                index, rng, num_frames=recipe.frames, max_objects=recipe.max_objects
            )
        except (DataError, ImageError) as error:
            return SkippedVideo(key=self.source.key(index), message=str(error))
        frames, masks = clip.frames, clip.masks
        backwards = rng.uniform() < recipe.reverse_probability
        if backwards and (ends := masks[:, -1].any((1, 2))).any():
            frames, masks = frames[::-1], masks[ends, ::-1]
        if recipe.flip and rng.uniform() < 0.5:
            frames = tuple(np.ascontiguousarray(frame[:, ::-1]) for frame in frames)
            masks = masks[..., ::-1]
        turned = VideoClip(key=clip.key, frames=tuple(frames), masks=masks)
        return prepare(turned, self.model_size, self.truth_size)


def prepare(clip: VideoClip, model_size: int, truth_size: int) -> PreparedClip | SkippedVideo:
    """Stretch a clip to the model's spaces; objects too small for any cell are left out."""
    placement = plain_placement(clip.frames[0].shape[:2], model_size, "stretch")
    masks = [[shrunk(mask, truth_size) for mask in own] for own in clip.masks]
    large = [own for own in masks if own[0].any()]
    if not large:
        return SkippedVideo(key=clip.key, message="its objects are smaller than a cell")
    return PreparedClip(
        key=clip.key,
        pixels=torch.stack([place_image(frame, placement) for frame in clip.frames]),
        masks=torch.from_numpy(np.array(large)),
    )


def shrunk(mask: BoolArray, side: int) -> BoolArray:
    """Stretch a mask (H, W) to cells (T, T): those of which it covers at least half."""
    coverage = cv2.resize(
        np.ascontiguousarray(mask, np.float32), (side, side), interpolation=cv2.INTER_AREA
    )
    return np.asarray(coverage >= 0.5)


def collate(clips: list[PreparedClip]) -> Batch:
    """Make a batch of clips of equal length; see `Batch.num_frames`."""
    num_frames = len(clips[0].pixels)
    counts = torch.tensor([len(clip.masks) for clip in clips])
    clip_of = torch.repeat_interleave(torch.arange(len(clips)), counts)
    frames = torch.arange(num_frames)
    return Batch(
        pixels=torch.cat([clip.pixels for clip in clips]),
        features=None,
        masks=torch.cat([clip.masks.flatten(0, 1) for clip in clips]),
        image_index=(clip_of[:, None] * num_frames + frames).flatten(),
        keys=tuple(
            f"{clip.key}, frame {at}" for clip, at in itertools.product(clips, range(num_frames))
        ),
        num_frames=num_frames,
    )
