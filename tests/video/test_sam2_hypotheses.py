"""Several hypotheses of one object: which live on, and what each remembers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samkit.errors import ConfigError
from samkit.models import ObjectMasks
from samkit.predict import Predictor
from samkit.types import Prompts
from samkit.video import HYPOTHESES, PLAIN, HypothesisTracker, Sam2Tracker, VideoPredictor
from samkit.video.sam2_hypotheses import Hypotheses, Hypothesis
from samkit.video.sam2_memory import MemoryPolicy, ObjectMemory
from samkit.video.trackers import create_tracker


@pytest.fixture
def predictor(tiny_sam2):
    with torch.no_grad():  # objects are there, whatever the random weights say
        tiny_sam2.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    return Predictor(tiny_sam2, model_name="tiny_sam2")


@pytest.fixture(scope="module")
def frames():
    noise = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * i : 2 * i + 100]) for i in range(6)]


def masks_of(tracker, frames, *, midway=False):
    video = VideoPredictor(tracker.predictor, tracker).open(frames)
    video.prompt(0, object_id=1, points=[[30, 30]])
    if midway:
        video.prompt(2, object_id=2, boxes=[40, 10, 90, 50])
    answers = list(video.propagate())
    return [dict(zip(one.object_ids, one.rles, strict=True)) for one in answers]


def test_with_one_hypothesis_it_is_plain_to_the_bit(predictor, frames):
    plain = MemoryPolicy(num_hypotheses=1)
    assert replace(HYPOTHESES, num_hypotheses=1, min_iou=None) == plain == PLAIN
    one = masks_of(HypothesisTracker(predictor, plain), frames, midway=True)
    assert one == masks_of(Sam2Tracker(predictor), frames, midway=True)


def test_the_policy_has_its_tracker(predictor):
    assert type(create_tracker(predictor, "hypotheses")) is HypothesisTracker
    assert create_tracker(predictor, "hypotheses").describe()["num_hypotheses"] == 3
    assert type(create_tracker(predictor, "plain")) is Sam2Tracker


def test_policies_that_contradict_themselves_are_refused(refusal):
    with refusal(ConfigError, "motion_weight and num_anchors must be 0"):
        MemoryPolicy(num_hypotheses=2, motion_weight=0.2)
    with refusal(ConfigError, "num_hypotheses must be a whole number"):
        MemoryPolicy(num_hypotheses=0)


def test_a_frame_has_up_to_three_successors_with_memories_of_their_own(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    memory = tracker.start()
    features = tracker.encode(frames[0])
    prompts = Prompts.of(points=[[30, 30]], labels=[1])
    answer = tracker.prompt(features, memory, 0, prompts, None)
    tracker.memorise(features, memory, 0, answer, prompted=True, reverse=False)
    assert len(memory.ranked) == 1
    for index in (1, 2, 3):
        features = tracker.encode(frames[index])
        (answer,) = tracker.track(features, [memory], index, reverse=False)
        worths = [worth for _, _, worth in answer.ranked]
        assert worths == sorted(worths, reverse=True)
        assert answer.score == answer.ranked[0][1].score
        assert np.array_equal(answer.logits, answer.ranked[0][1].logits)
        tracker.memorise(features, memory, index, answer, prompted=False, reverse=False)
    assert len(memory.ranked) == 3
    maps = [one.memory.tracked[3].map for one in memory.ranked]
    assert not torch.equal(maps[0], maps[1])
    assert {tuple(one.memory.tracked) for one in memory.ranked} == {(1, 2, 3)}
    assert {tuple(one.memory.prompted) for one in memory.ranked} == {(0,)}
    tracker.release(memory)
    assert len(memory.ranked) == 1
    assert not memory.best.tracked
    tracker.release(memory, 0)
    assert not memory.best.prompted


def branched(tracker, frame, *, iou_pred, object_logits, worths, shift=(0, 0, 0)):
    """What lives on of two hypotheses with three candidates each; masks are squares."""
    logits = torch.full((2, 3, 32, 32), -5.0)
    for row in range(2):
        for number, by in enumerate(shift):
            logits[row, number, 4:20, 4 + by + row : 20 + by + row] = 5.0
    masks = ObjectMasks(
        logits=logits,
        iou_pred=torch.tensor(iou_pred),
        object_logits=torch.tensor(object_logits),
        mask_tokens=torch.randn(2, 3, 128),
    )
    memory = Hypotheses(ranked=[Hypothesis(memory=ObjectMemory(), worth=worth) for worth in worths])
    answer = tracker._branched(tracker.encode(frame), masks, memory, {0: 0, 1: 1})
    return [(parent, round(one.score, 3)) for parent, one, _ in answer.ranked]


IOUS = [[0.9, 0.8, 0.5], [0.85, 0.6, 0.55]]


def test_what_is_worth_most_lives_on(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    sure = {"iou_pred": IOUS, "object_logits": [9.0, 9.0]}
    found = branched(tracker, frames[0], **sure, worths=(0.0, -0.01))
    assert found == [(0, 0.9), (1, 0.85), (0, 0.8)]
    # A hypothesis that was worse so far cannot win by one frame alone.
    found = branched(tracker, frames[0], **sure, worths=(-3.0, 0.0))
    assert found == [(1, 0.85), (1, 0.6), (1, 0.55)]


def test_where_the_object_is_uncertain_hypotheses_differ(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    unsure = {"iou_pred": IOUS, "object_logits": [1.0, 0.5], "worths": (0.0, 0.0)}
    # Masks of the second hypothesis are one cell beside those of the first, an IoU of .88.
    assert branched(tracker, frames[0], **unsure) == [(0, 0.9), (1, 0.85)]
    found = branched(tracker, frames[0], **unsure, shift=(0, 8, 0))
    assert found == [(0, 0.9), (1, 0.85), (0, 0.8)]


def test_absence_is_one_hypothesis_and_not_three(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    found = branched(
        tracker, frames[0], iou_pred=IOUS, object_logits=[-9.0, 9.0], worths=(0.0, 0.0)
    )
    assert found == [(0, 0.9), (1, 0.85), (1, 0.6)]


def test_an_object_added_midway_leaves_the_others_as_they_are(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    alone, joined = masks_of(tracker, frames), masks_of(tracker, frames, midway=True)
    assert [one[1] for one in alone] == [one[1] for one in joined]


def test_a_stream_gives_the_same_as_a_file(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    expected = masks_of(tracker, frames)
    stream = VideoPredictor(predictor, tracker).stream()
    stream.track(frames[0])
    stream.prompt(object_id=1, points=[[30, 30]])
    assert [stream.track(frame).rles[0] for frame in frames[1:]] == [one[1] for one in expected[1:]]


def test_a_correction_ends_other_hypotheses(predictor, frames):
    tracker = HypothesisTracker(predictor, HYPOTHESES)
    video = VideoPredictor(predictor, tracker).open(frames)
    video.prompt(0, object_id=1, points=[[30, 30]])
    before = [one.rles[0] for one in video.propagate(stop=4)]
    corrected = video.prompt(3, object_id=1, points=[[80, 20]]).rles[0]
    after = [one.rles[0] for one in video.propagate(start=0)]
    assert before[:3] == after[:3]
    assert after[3] == corrected
    assert len(video._objects[1].memory.ranked) > 1
    onward = [one.rles[0] for one in video.propagate(start=3)]
    assert onward == after[3:]
