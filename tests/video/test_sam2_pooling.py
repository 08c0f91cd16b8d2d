"""SAM 2 where frames and memories are pooled away from the object, and in lower precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samkit.backends import create_backend
from samkit.errors import ConfigError
from samkit.predict import Predictor
from samkit.types import Prompts
from samkit.video import MemoryPolicy, Sam2Tracker
from samkit.video.sam2_pooling import IMAGE_RINGS, blocks_with, grow

POOLED = MemoryPolicy(pooled_cells=2)
SIZE_HW = (60, 100)


@pytest.fixture
def model(tiny_sam2):
    with torch.no_grad():  # objects are there, whatever the random weights say
        tiny_sam2.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    return tiny_sam2


@pytest.fixture(scope="module")
def frames():
    noise = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * i : 2 * i + 100]) for i in range(4)]


def box_mask(left, top, right, bottom):
    mask = np.zeros(SIZE_HW, bool)
    mask[top:bottom, left:right] = True
    return mask


def follow(tracker, frames, masks):
    """Logits of each frame after the first, by object, whose masks are given in the first."""
    memories = [tracker.start() for _ in masks]
    features = tracker.encode(frames[0])
    for memory, mask in zip(memories, masks, strict=True):
        answer = tracker.prompt(features, memory, 0, Prompts(mask_logits=mask[None, None]), None)
        tracker.memorise(features, memory, 0, answer, prompted=True, reverse=False)
    found = []
    for index, frame in enumerate(frames[1:], 1):
        features = tracker.encode(frame)
        answers = tracker.track(features, memories, index, reverse=False)
        for memory, answer in zip(memories, answers, strict=True):
            tracker.memorise(features, memory, index, answer, prompted=False, reverse=False)
        found.append([answer.logits for answer in answers])
    return np.array(found)


def test_blocks_of_a_mask_grow_by_rings():
    logits = torch.full((32, 32), -1.0)
    logits[9, 17] = 1
    blocks = blocks_with(logits, 8)
    assert blocks.nonzero().tolist() == [[2, 4]]
    assert grow(blocks, 1).nonzero().tolist() == [[r, c] for r in (1, 2, 3) for c in (3, 4, 5)]


def test_an_object_that_fills_the_frame_is_followed_as_without_pooling(model, frames):
    whole = box_mask(0, 0, 100, 60)
    plain, pooled = (
        follow(Sam2Tracker(Predictor(model, model_name="tiny"), policy), frames[:2], [whole])
        for policy in (MemoryPolicy(), POOLED)
    )
    np.testing.assert_allclose(plain, pooled, atol=2e-3)


def test_small_objects_are_pooled_around_and_do_not_depend_on_others(model, frames):
    tracker = Sam2Tracker(Predictor(model, model_name="tiny"), POOLED)
    masks = [box_mask(0, 0, 12, 12), box_mask(80, 40, 95, 55)]
    both = follow(tracker, frames, masks)
    alone = follow(tracker, frames, masks[:1])
    assert np.array_equal(both[:, :1], alone)
    plain = follow(Sam2Tracker(tracker.predictor), frames[:2], masks)
    assert np.abs(plain - both[:1]).max() > 1e-3


def test_a_lost_object_is_searched_in_the_whole_frame(model, frames, monkeypatch):
    tracker = Sam2Tracker(Predictor(model, model_name="tiny"), POOLED)
    looked = []
    recall = tracker.memory.recall

    def watched(*args, pooling, **kwargs):
        looked.append((len(pooling.image.fine), [len(one.fine) for one in pooling.maps]))
        return recall(*args, pooling=pooling, **kwargs)

    monkeypatch.setattr(tracker.memory, "recall", watched)
    corner = box_mask(0, 0, 12, 12)
    follow(tracker, frames[:2], [corner])
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(-30)
    follow(tracker, frames[:3], [corner])
    of_corner = (1 + IMAGE_RINGS) ** 2
    assert [count for count, _ in looked] == [of_corner, of_corner, 16]
    assert looked[-1][1] == [4, 0]  # the corner in the first frame, nothing in the second


def test_blocks_must_fill_the_grid(model):
    with pytest.raises(ConfigError, match="must divide the 8 cells"):
        Sam2Tracker(Predictor(model, model_name="tiny"), replace(POOLED, pooled_cells=3))


def test_the_memory_is_as_precise_as_the_backend(model, frames):
    masks = [box_mask(0, 0, 40, 40)]
    exact = follow(Sam2Tracker(Predictor(model, model_name="tiny")), frames, masks)
    backend = create_backend(model, backend="torch", precision="bfloat16")
    predictor = Predictor(model, model_name="tiny", backend=backend)
    for policy in (MemoryPolicy(), POOLED):
        lower = follow(Sam2Tracker(predictor, policy), frames[:2], masks)
        assert lower.dtype == np.float32
        error = np.abs(lower - exact[:1]).mean() / exact[:1].std()
        assert 0 < error < 0.1
