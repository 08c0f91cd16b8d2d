"""Evaluation of a SAM 2 in training on clips of its recipe's validation videos."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from samkit.arrays import BoolArray
from samkit.datasets import VideoClip, VideoSource, open_videos
from samkit.errors import DataError, ImageError, PromptError
from samkit.evaluation.vos import (
    FirstPrompt,
    follow,
    outline_accuracy,
    prompt_objects,
    region_similarity,
)
from samkit.video import Video, open_frames

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.training import VideoRecipe, VideoTask
    from samkit.video import Tracker

HELD_OUT_SEED = 601  # of clips, the same in all evaluations
MAX_OBJECTS = 3

logger = logging.getLogger(__name__)


def video_scores(recipe: VideoRecipe) -> Callable[[VideoTask], dict[str, float]] | None:
    """Make a function that scores a task on clips of `data.val`; None if the recipe names none.

        train(recipe, folder, evaluate=video_scores(recipe))

    The scores are J&F, J and F of objects that are shown in the first frame; see `score_clips`.

    Raises:
        DataError: the data set is missing or invalid.
        ConfigError: it is of an unknown kind.
    """
    if recipe.data.val is None:
        return None
    source, settings = open_videos(recipe.data.val), recipe.evaluation
    clips = cache(lambda: held_out_clips(source, settings.clips, settings.frames))

    def evaluate(task: VideoTask) -> dict[str, float]:
        from samkit.training import task_predictor
        from samkit.video import Sam2Tracker

        predictor = task_predictor(task, next(task.parameters()).device)
        return score_clips(Sam2Tracker(predictor), clips(), settings.first)

    return evaluate


def held_out_clips(source: VideoSource, count: int, num_frames: int) -> list[VideoClip]:
    """Draw a clip of each of the first videos, the same every time; log those that are broken.

    Raises:
        DataError: none can be used.
    """
    clips = []
    for index in range(min(count, len(source))):
        rng = np.random.default_rng([HELD_OUT_SEED, index])
        try:
            clips.append(source.draw(index, rng, num_frames=num_frames, max_objects=MAX_OBJECTS))
        except (DataError, ImageError) as error:
            logger.warning("skipped %s: %s", source.key(index), error)
    if not clips:
        raise DataError("no video of data.val can be used")
    return clips


def score_clips(
    tracker: Tracker, clips: list[VideoClip], first: FirstPrompt = "mask"
) -> dict[str, float]:
    """J&F, J and F of a tracker: means over frames after the first, objects and clips.

    An object that is not found at its first prompt counts as missed.
    """
    return mean_scores(clips, lambda clip: _answers(tracker, clip, first))


def score_copies(clips: list[VideoClip]) -> dict[str, float]:
    """The same of copying each object's first mask into all frames: what any tracker must beat."""

    def copies(clip: VideoClip) -> Iterator[tuple[int, Mapping[int, BoolArray]]]:
        still = dict(enumerate(clip.masks[:, 0]))
        return ((index, still) for index in range(len(clip.frames)))

    return mean_scores(clips, copies)


def mean_scores(
    clips: list[VideoClip],
    answers: Callable[[VideoClip], Iterator[tuple[int, Mapping[int, BoolArray]]]],
) -> dict[str, float]:
    """J&F, J and F of masks by object and frame."""
    scores = []
    for clip in clips:
        nothing = np.zeros(clip.masks.shape[2:], bool)
        frames = []
        for index, masks in answers(clip):
            if index == 0:
                continue
            found = [masks.get(number, nothing) for number in range(len(clip.masks))]
            pairs = zip(found, clip.masks[:, index], strict=True)
            frames.append([(region_similarity(*two), outline_accuracy(*two)) for two in pairs])
        scores.append(np.mean(frames, axis=(0, 1)))
    j, f = np.mean(scores, axis=0).tolist()
    return {"j_and_f": (j + f) / 2, "j": j, "f": f}


def _answers(
    tracker: Tracker, clip: VideoClip, first: FirstPrompt
) -> Iterator[tuple[int, Mapping[int, BoolArray]]]:
    """Follow a clip's objects, those that are found."""
    video = Video(tracker, open_frames(clip.frames))
    for number, own in enumerate(clip.masks):
        try:
            prompt_objects(video, {number: own[0]}, first)
        except PromptError:  # noqa: PERF203 - the others are not affected
            logger.debug("%s: nothing is found at the prompt of object %d", clip.key, number)
    if not video.object_ids:
        return iter([(index, {}) for index in range(len(clip.frames))])
    return follow(video, len(clip.frames))
