from dataclasses import replace

import numpy as np
import pytest
import torch

from samkit.errors import WeightsError
from samkit.models import Sam2
from samkit.predict import Predictor
from samkit.types import Prompts
from samkit.video import sam2_choice, sam2_networks, sam2_tracker
from samkit.video.interface import ObjectAnswer
from samkit.video.sam2_answer import state_of
from samkit.video.sam2_choice import has_rival
from samkit.video.sam2_memory import DISTRACTOR_AWARE, SAMURAI, MemoryPolicy
from samkit.video.sam2_tracker import NO_OBJECT_LOGIT, Sam2Tracker

SIZE_HW = (60, 100)


@pytest.fixture
def tracker(tiny_sam2):
    with torch.no_grad():  # objects are there, whatever the random weights say
        tiny_sam2.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    return Sam2Tracker(Predictor(tiny_sam2, model_name="tiny_sam2"))


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 120, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * i : 2 * i + 100]) for i in range(8)]


def click(x, y, label=1):
    return Prompts.of(points=[[x, y]], labels=[label])


def follow(tracker, frames, prompts, *, indices=None, reverse=False, memories=None):
    """Answers by frame and object; `prompts` are by frame and object."""
    memories = {} if memories is None else memories
    answers = {}
    for index in indices or range(len(frames)):
        features = tracker.encode(frames[index])
        new = prompts.get(index, {})
        tracked = [name for name in memories if name not in new]
        given = tracker.track(
            features, [memories[name] for name in tracked], index, reverse=reverse
        )
        answers[index] = dict(zip(tracked, given, strict=True))
        for name, prompt in new.items():
            memory = memories.setdefault(name, tracker.start())
            answers[index][name] = tracker.prompt(features, memory, index, prompt, None)
        for name, answer in answers[index].items():
            tracker.memorise(
                features, memories[name], index, answer, prompted=name in new, reverse=reverse
            )
    return answers


def same(one, other):
    return np.array_equal(one.logits, other.logits)


def test_answers_depend_on_what_is_remembered(tracker, frames):
    first, other = (follow(tracker, frames, {0: {1: click(x, 30)}}) for x in (20, 80))
    assert first[5][1].coords.original_hw == SIZE_HW
    assert first[5][1].mask().shape == SIZE_HW
    assert 0 <= first[5][1].score <= 1
    assert all(not same(first[index][1], other[index][1]) for index in first)


def test_an_object_added_midway_leaves_the_others_as_they_are(tracker, frames):
    alone = follow(tracker, frames, {0: {1: click(20, 30)}})
    joined = follow(tracker, frames, {0: {1: click(20, 30)}, 3: {2: click(70, 40)}})
    assert all(same(alone[index][1], joined[index][1]) for index in alone)
    assert sorted(joined[2]) == [1]
    assert sorted(joined[3]) == [1, 2]


def test_objects_decoded_together_answer_as_alone(tracker, frames, monkeypatch):
    prompts = {0: {1: click(20, 30), 2: click(70, 40)}, 2: {3: click(50, 10)}}
    one_by_one = follow(tracker, frames[:5], prompts)
    monkeypatch.setattr(sam2_tracker, "OBJECTS_AT_ONCE", {})
    together = follow(tracker, frames[:5], prompts)
    for index, answers in one_by_one.items():
        for name, answer in answers.items():
            np.testing.assert_allclose(answer.logits, together[index][name].logits, atol=2e-3)


def test_a_correction_changes_what_follows_and_nothing_before(tracker, frames):
    prompts = {0: {1: click(20, 30)}}
    before = follow(tracker, frames, prompts)
    after = follow(tracker, frames, prompts | {4: {1: click(60, 20)}})
    changed = [index for index in before if not same(before[index][1], after[index][1])]
    assert changed == [4, 5, 6, 7]


def test_a_prompt_begins_anew_so_that_what_follows_needs_no_more(tracker, frames):
    """To go on from a confirmed frame gives the same as to go through all frames."""
    prompts = {0: {1: click(20, 30)}, 4: {1: Prompts.of(boxes=[10, 10, 60, 50])}}
    through = follow(tracker, frames, prompts)
    memories = {}
    follow(tracker, frames, prompts, indices=[0], memories=memories)
    onward = follow(tracker, frames, prompts, indices=range(4, 8), memories=memories)
    assert all(same(through[index][1], onward[index][1]) for index in range(5, 8))


def test_backwards_is_forwards_of_the_reversed_video(tracker, frames):
    forward = follow(tracker, frames, {0: {1: click(20, 30)}})
    turned = follow(
        tracker, frames[::-1], {7: {1: click(20, 30)}}, indices=range(7, -1, -1), reverse=True
    )
    assert all(same(forward[index][1], turned[7 - index][1]) for index in forward)


def test_what_was_tracked_is_released(tracker, frames):
    memories = {}
    prompts = {0: {1: click(20, 30)}}
    follow(tracker, frames[:5], prompts, memories=memories)
    tracker.release(memories[1])
    assert sorted(memories[1].prompted) == [0]
    assert not memories[1].tracked
    tracker.release(memories[1], 0)
    assert not memories[1].prompted


def test_absent_objects_have_no_mask_and_their_own_pointer(tracker, frames):
    memories = {}
    follow(tracker, frames[:2], {0: {1: click(20, 30)}}, memories=memories)
    with torch.no_grad():
        tracker.model.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(-30)
    features = tracker.encode(frames[2])
    (answer,) = tracker.track(features, list(memories.values()), 2, reverse=False)
    assert answer.state == "absent"
    assert (answer.logits == NO_OBJECT_LOGIT).all()
    assert not answer.mask().any()
    assert torch.equal(answer.pointer, tracker.memory.no_obj_ptr)


def test_states_follow_the_object_score_and_the_predicted_iou():
    assert [state_of(-1.0, 0.9), state_of(1.0, 0.2), state_of(1.0, 0.9)] == [
        "absent",
        "uncertain",
        "present",
    ]


def test_a_given_mask_is_the_answer(tracker, frames):
    mask = np.zeros(SIZE_HW, bool)
    mask[10:40, 20:70] = True
    features = tracker.encode(frames[0])
    answer = tracker.prompt(features, tracker.start(), 0, Prompts.of(mask_logits=mask), None)
    assert np.array_equal(answer.mask(), mask)
    drawn = replace(answer, exact=None).mask()
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.95
    assert (answer.score, answer.state) == (1.0, "present")


def test_a_mask_of_an_earlier_run_is_remembered_like_a_given_one(tracker, frames):
    mask = np.zeros(SIZE_HW, bool)
    mask[10:40, 20:70] = True
    features = tracker.encode(frames[0])
    coords = tracker.coords(SIZE_HW)
    stored = ObjectAnswer(
        logits=np.zeros((32, 32), np.float32), coords=coords, score=0.8, exact=mask
    )
    memory, given = tracker.start(), tracker.start()
    tracker.memorise(features, memory, 0, stored, prompted=False, reverse=False)
    answer = tracker.prompt(features, given, 0, Prompts.of(mask_logits=mask), None)
    tracker.memorise(features, given, 0, answer, prompted=False, reverse=False)
    assert torch.equal(memory.tracked[0].map, given.tracked[0].map)
    assert torch.equal(memory.tracked[0].pointer, given.tracked[0].pointer)


def test_a_correction_sees_the_mask_that_it_corrects(tracker, frames):
    features = tracker.encode(frames[0])
    previous = np.full((32, 32), -40, np.float32)
    previous[5:20, 5:20] = 40
    alone = tracker.prompt(features, tracker.start(), 0, click(20, 30), None)
    corrected = tracker.prompt(features, tracker.start(), 0, click(20, 30), previous)
    clamped = tracker.prompt(features, tracker.start(), 0, click(20, 30), previous.clip(-32, 32))
    assert not same(alone, corrected)
    assert same(clamped, corrected)


def test_models_without_memory_are_refused(tiny_sam, tiny_sam2, refusal):
    image_only = Sam2(replace(tiny_sam2.config, memory=None))
    for model in (tiny_sam, image_only):
        with refusal(WeightsError, "mine has no networks for videos"):
            Sam2Tracker(Predictor(model, model_name="mine"))


def test_the_original_model_tracks_too(tiny_sam2, randomise, frames):
    """SAM 2.0 marks no absence, and tells pointers no time."""
    memory = replace(tiny_sam2.config.memory, is_revised=False)
    model = Sam2(replace(tiny_sam2.config, memory=memory))
    randomise(model)
    answers = follow(
        Sam2Tracker(Predictor(model, model_name="old")), frames[:3], {0: {1: click(20, 30)}}
    )
    assert np.isfinite(answers[2][1].logits).all()


def with_policy(tracker, **fields):
    return Sam2Tracker(tracker.predictor, MemoryPolicy(**fields))


def test_a_policy_with_its_extras_off_is_plain(tracker, frames):
    prompts = {0: {1: click(20, 30)}, 2: {2: click(70, 40)}}
    plain = follow(tracker, frames, prompts)
    gates_open = follow(with_policy(tracker, min_iou=0.0), frames, prompts)
    for index, answers in plain.items():
        assert all(same(answer, gates_open[index][name]) for name, answer in answers.items())


def test_gates_change_what_is_shown(tracker, frames):
    prompts = {0: {1: click(20, 30)}}
    plain = follow(tracker, frames, prompts)
    closed = follow(with_policy(tracker, min_iou=1.0), frames, prompts)
    assert next(index for index in plain if not same(plain[index][1], closed[index][1])) == 3


def test_motion_is_the_objects_own_and_ends_with_the_video(tracker, frames):
    samurai = Sam2Tracker(tracker.predictor, SAMURAI)
    prompts = {0: {1: click(20, 30), 2: click(70, 40)}}
    first = follow(samurai, frames, prompts)
    second = follow(samurai, frames, prompts)
    alone = follow(samurai, frames, {0: {2: click(70, 40)}})
    for index in first:
        assert same(first[index][1], second[index][1])
        assert same(first[index][2], alone[index][2])
    assert first[1][1].motion is not first[1][2].motion


def test_motion_chooses_among_candidates_once_it_is_reliable(tracker, frames, monkeypatch):
    monkeypatch.setattr(sam2_choice, "STABLE_FRAMES", 2)
    prompts = {0: {1: click(20, 30)}}
    guided = follow(with_policy(tracker, motion_weight=1.0), frames, prompts)
    assert [answers[1].motion_iou is None for answers in guided.values()][:3] == [True] * 3
    assert guided[3][1].motion_iou is not None


def test_a_lower_threshold_of_presence_keeps_doubtful_objects(tracker, frames):
    doubtful = with_policy(tracker, present_thresh=-1.0)
    head = tracker.model.mask_decoder.pred_obj_score_head.layers[2]
    memories = {}
    follow(tracker, frames[:1], {0: {1: click(20, 30)}}, memories=memories)
    features = tracker.encode(frames[1])
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-0.5)
    states = [
        one.track(features, list(memories.values()), 1, reverse=False)[0].state
        for one in (tracker, doubtful)
    ]
    assert states[0] == "absent" != states[1]


def drawn(*boxes):
    masks = np.zeros((3, 32, 32), bool)
    for mask, parts in zip(masks, boxes, strict=True):
        for x0, y0, x1, y1 in parts:
            mask[y0:y1, x0:x1] = True
    return masks


def test_a_rival_is_something_far_from_the_object_in_another_candidate():
    here, grown, there = (5, 5, 15, 15), (5, 5, 16, 16), (22, 5, 30, 15)
    assert has_rival(drawn([here], [here, there], [here]), 0)
    assert has_rival(drawn([here], [here], [there]), 0)
    assert not has_rival(drawn([here], [grown], [here]), 0)
    assert not has_rival(drawn([here, there], [here], [there]), 0)
    assert not has_rival(drawn([], [], []), 0)


def test_frames_without_the_object_are_not_remembered_beside_anchors(tracker, frames):
    aware = Sam2Tracker(tracker.predictor, DISTRACTOR_AWARE)
    memories = {}
    answers = follow(aware, frames[:3], {0: {1: click(20, 30)}}, memories=memories)
    assert sorted(memories[1].tracked) == [1, 2]
    assert not same(answers[2][1], follow(tracker, frames[:3], {0: {1: click(20, 30)}})[2][1])
    features = aware.encode(frames[3])
    gone = replace(answers[2][1], object_logit=-1.0)
    aware.memorise(features, memories[1], 3, gone, prompted=False, reverse=False)
    assert sorted(memories[1].tracked) == [1, 2]
    rival = replace(answers[2][1], has_rival=True, score=0.95)
    aware.memorise(features, memories[1], 3, rival, prompted=False, reverse=False)
    assert sorted(memories[1].anchors) == [3]


def test_on_another_device_all_but_the_image_encoder_is_copied(tiny_sam2):
    moved = sam2_networks._moved(tiny_sam2, torch.device("meta"))
    assert {parameter.device.type for parameter in moved.parameters()} == {"meta"}
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}
    assert not list(moved.image_encoder.parameters())
    assert next(tiny_sam2.parameters()).device.type == "cpu"
    assert list(tiny_sam2.image_encoder.parameters())
