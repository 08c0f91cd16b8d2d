"""`VideoPredictor` with a SAM 2: the laws of propagation."""

import numpy as np
import pytest
import torch

from samkit.cli.options import POLICY_NAMES
from samkit.errors import ConfigError
from samkit.predict import Predictor
from samkit.video import POLICIES, SAMURAI, Sam2Tracker, VideoPredictor
from samkit.video.trackers import create_tracker
from samkit.weights.checkpoint import save_checkpoint


@pytest.fixture
def model(tiny_sam2):
    with torch.no_grad():  # objects are there, whatever the random weights say
        tiny_sam2.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    return tiny_sam2


@pytest.fixture
def predictor(model):
    return VideoPredictor(Predictor(model, model_name="tiny_sam2"))


@pytest.fixture(scope="module")
def frames():
    noise = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * i : 2 * i + 100]) for i in range(6)]


def masks(video, **options):
    """Masks by frame and object."""
    return {
        answer.index: dict(zip(answer.object_ids, answer.rles, strict=True))
        for answer in video.propagate(**options)
    }


def test_a_file_gets_the_tracker_of_its_family(model, tmp_path):
    save_checkpoint(model, tmp_path / "own.safetensors", name="tiny_sam2")
    loaded = VideoPredictor.load(tmp_path / "own.safetensors")
    assert isinstance(loaded.tracker, Sam2Tracker)
    assert loaded.tracker.describe()["name"] == "sam2"


@pytest.mark.parametrize("policy", ["samurai", SAMURAI])
def test_a_policy_is_chosen_by_name_or_value(model, tmp_path, policy):
    save_checkpoint(model, tmp_path / "own.safetensors", name="tiny_sam2")
    loaded = VideoPredictor.load(tmp_path / "own.safetensors", policy=policy)
    assert loaded.tracker.policy == SAMURAI
    assert loaded.describe()["tracker"]["motion_weight"] == 0.25


def test_policies_that_do_not_fit_are_refused(model, tiny_sam):
    with pytest.raises(ConfigError, match="known are plain, samurai, distractor_aware"):
        create_tracker(Predictor(model, model_name="tiny_sam2"), "none")
    with pytest.raises(ConfigError, match="memory policies are for SAM 2; tiny is followed by"):
        create_tracker(Predictor(tiny_sam, model_name="tiny"), "plain")
    assert set(POLICY_NAMES) == set(POLICIES)


def test_a_stream_gives_the_same_as_a_file(predictor, frames):
    video = predictor.open(frames)
    video.prompt(1, object_id=1, points=[[30, 30]])
    expected = masks(video)
    stream = predictor.stream()
    for index, frame in enumerate(frames):
        answer = stream.track(frame)
        if index == 1:
            answer = stream.prompt(object_id=1, points=[[30, 30]])
        if index >= 1:
            assert answer.rles[0] == expected[index][1]


def test_an_object_added_midway_leaves_the_others_as_they_are(predictor, frames):
    video = predictor.open(frames)
    video.prompt(0, object_id=1, points=[[30, 30]])
    alone = masks(video)
    video.prompt(2, object_id=2, boxes=[40, 10, 90, 50])
    both = masks(video, start=0)
    assert [one[1] for one in both.values()] == [one[1] for one in alone.values()]
    assert [sorted(one) for one in both.values()] == [[1], [1], *[[1, 2]] * 4]


def test_a_correction_sticks_and_changes_what_follows_only(predictor, frames):
    video = predictor.open(frames)
    video.prompt(0, object_id=1, points=[[30, 30]])
    before = masks(video)
    corrected = video.prompt(3, object_id=1, points=[[80, 20], [20, 50]], labels=[1, 0])
    after = masks(video, start=0)
    assert after[3][1] == corrected.rles[0] != before[3][1]
    changed = [index for index in before if before[index] != after[index]]
    assert changed == [3, 4, 5]
    again = masks(video, start=3)
    assert all(again[index] == after[index] for index in again)


def test_both_ways_from_the_middle_all_frames_are_covered(predictor, frames):
    video = predictor.open(frames)
    video.prompt(3, object_id=1, points=[[30, 30]])
    forward, backward = masks(video), masks(video, reverse=True)
    assert sorted({*forward, *backward}) == [*range(6)]
    assert forward[3] == backward[3]
