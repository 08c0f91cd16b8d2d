"""Which decoder follows objects: the tuned model's are followed by the published one."""

import numpy as np
import pytest

from samkit.predict import Predictor
from samkit.video import VideoPredictor, follower_of


@pytest.fixture(scope="module")
def tuned():
    return Predictor.load("mobile_sam_tuned")


def test_the_tuned_decoder_answers_and_the_published_one_follows(tuned):
    tracker = VideoPredictor(tuned).tracker
    assert tracker.predictor is tuned
    assert tracker.follower.model_name == tracker.describe()["decoder"] == "mobile_sam"
    assert tracker.follower.encoder_checksum == tuned.encoder_checksum
    embedding = tuned.embed(np.zeros((30, 40, 3), np.uint8))
    click = {"points": [[20, 15]], "labels": [1]}
    published = Predictor.load("mobile_sam").predict(embedding, **click)
    followed = tracker.follower.predict(embedding, **click)
    assert np.allclose(followed.logits, published.logits, atol=1e-4)
    assert not np.allclose(tuned.predict(embedding, **click).logits, published.logits, atol=1)


def test_other_models_follow_by_themselves(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    assert follower_of(predictor) is predictor
