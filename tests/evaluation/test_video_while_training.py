"""Scores of a SAM 2 in training on held-out clips."""

import numpy as np
import pytest

from samkit.datasets import VideoClip, open_videos
from samkit.errors import DataError
from samkit.evaluation import held_out_clips, score_clips, score_copies, video_scores
from samkit.training import VIDEO_RECIPES, ModelRecipe, VideoTask, build_trainable, override
from samkit.video import ObjectAnswer
from video.stub_tracker import StubTracker, level_frames


def clip_of(shifts, *, side=40):
    """A clip of one square that is shifted by some pixels in each frame."""
    masks = np.zeros((1, len(shifts), side, side), bool)
    for mask, shift in zip(masks[0], shifts, strict=True):
        mask[10:20, 10 + shift : 20 + shift] = True
    frames = tuple(np.zeros((side, side, 3), np.uint8) for _ in shifts)
    return VideoClip(key="square", frames=frames, masks=masks)


def test_copies_of_the_first_mask_are_right_where_nothing_moves():
    assert score_copies([clip_of((0, 0, 0))]) == {"j_and_f": 1, "j": 1, "f": 1}
    moved = score_copies([clip_of((0, 5, 10))])
    assert moved["j"] == pytest.approx((50 / 150 + 0) / 2)
    assert moved["j_and_f"] == pytest.approx((moved["j"] + moved["f"]) / 2)


def test_clips_count_alike_however_many_objects_they_have():
    still, moving = clip_of((0, 0)), clip_of((0, 5))
    two = VideoClip(
        key="two",
        frames=still.frames,
        masks=np.concatenate([still.masks, still.masks]),
    )
    assert score_copies([two, moving])["j"] == pytest.approx((1 + 1 / 3) / 2)


def test_a_tracker_is_scored_from_its_first_prompt_on():
    frames = level_frames(4)
    masks = np.stack([[frame[..., 1] == level for frame in frames] for level in (100, 200)])
    clip = VideoClip(key="levels", frames=tuple(frames), masks=masks)
    scores = score_clips(StubTracker(), [clip])
    assert scores["j"] == 1
    assert scores["f"] == 1


def test_objects_that_are_not_found_count_as_missed():
    class Blind(StubTracker):
        def prompt(self, features, memory, index, prompts, previous):
            answer = super().prompt(features, memory, index, prompts, previous)
            return ObjectAnswer(
                logits=answer.logits, coords=answer.coords, score=0.0, state="absent"
            )

    frames = level_frames(3)
    masks = np.stack([[frame[..., 1] == 100 for frame in frames]])
    clip = VideoClip(key="levels", frames=tuple(frames), masks=masks)
    assert score_clips(Blind(), [clip], "click")["j"] == 0


def test_held_out_clips_are_the_same_every_time():
    source = open_videos("moving:scenes:count=4,size=48,seed=1,things=4")
    one, other = (held_out_clips(source, 3, 3) for _ in range(2))
    assert len(one) == 3
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(one, other, strict=True))


def test_where_no_clip_can_be_drawn_the_data_are_refused(refusal, caplog):
    class Broken:
        def __len__(self):
            return 2

        def key(self, index):
            return f"video {index}"

        def draw(self, index, rng, **settings):
            del rng, settings
            raise DataError(f"video {index} is broken")

    with refusal(DataError, "no video of data.val can be used"):
        held_out_clips(Broken(), 5, 3)
    assert "skipped video 1: video 1 is broken" in caplog.text


def test_a_task_is_scored_on_the_recipes_videos():
    recipe = override(
        VIDEO_RECIPES["video_scenes"](),
        [
            "data.val=moving:scenes:count=2,size=48,seed=1,things=4",
            "evaluation.clips=1",
            "evaluation.frames=3",
        ],
    )
    task = VideoTask(
        build_trainable(ModelRecipe(config="nano_sam2", weights=None, learns="all")),
        recipe.session,
    )
    scores = video_scores(recipe)(task)
    assert list(scores) == ["j_and_f", "j", "f"]
    assert 0 <= scores["j_and_f"] <= 1
    assert video_scores(override(recipe, ["data.val=none"])) is None
