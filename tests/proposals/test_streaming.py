"""Masks of an embedded image, step by step: those of the masker, none twice."""

from dataclasses import replace

import numpy as np
import pytest

from samkit import Predictor
from samkit.errors import WeightsError
from samkit.geometry import box_iou
from samkit.proposals import PRESETS, AutoMasker, stream_masks, streaming


@pytest.fixture(scope="module")
def predictor(plain_backend):
    return Predictor.load(backend="torch", precision="float32")


@pytest.fixture(scope="module")
def image():
    from samkit.datasets.synthetic import Scenes

    return np.ascontiguousarray(Scenes(count=1, size=160, seed=3)[0].image)


def test_a_learned_proposer_gives_what_the_masker_gives(predictor, image, monkeypatch):
    few = replace(PRESETS["instant"], max_proposals=24)
    monkeypatch.setattr(streaming, "PRESETS", {"instant": few})
    (masks,) = stream_masks(predictor, predictor.embed(image))
    expected = AutoMasker(predictor, few).generate(image)
    assert len(masks) > 3
    assert masks.rles == expected.rles
    assert np.array_equal(masks.scores, expected.scores)


def test_without_a_head_a_grid_is_asked_step_by_step(predictor, image, monkeypatch):
    create = streaming.create_proposer

    def without_head(predictor, config, grids=None):
        if config.proposer == "learned":
            raise WeightsError("there is none")
        return create(predictor, config, grids)

    monkeypatch.setattr(streaming, "create_proposer", without_head)
    monkeypatch.setattr(streaming, "POINTS_PER_SIDE", 6)
    monkeypatch.setattr(streaming, "PROMPTS_AT_ONCE", 12)
    steps = list(stream_masks(predictor, predictor.embed(image)))
    assert len(steps) > 1
    boxes = np.concatenate([one.boxes_xyxy for one in steps])
    ious = box_iou(boxes[:, None], boxes[None])
    np.fill_diagonal(ious, 0)
    assert ious.max() <= PRESETS["instant"].box_nms_thresh
    for one in steps:
        assert (np.diff(one.scores) <= 0).all()
