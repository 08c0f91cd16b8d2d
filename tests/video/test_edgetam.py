"""EdgeTAM through the interfaces that any model has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samkit.errors import ConfigError
from samkit.models import CONFIGS, Sam2, build_sam
from samkit.predict import Predictor
from samkit.video import POOLED, Sam2Tracker, VideoPredictor
from samkit.weights import save_checkpoint

NUM_FRAMES = 6
SETTINGS: dict[str, Any] = {"backend": "torch", "precision": "float32", "threads": 1}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, randomise: Callable[..., None]) -> Path:
    model = build_sam(CONFIGS["tiny_edgetam"])
    assert isinstance(model, Sam2)
    randomise(model)
    with torch.no_grad():  # objects are there, whatever the random weights say
        model.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    path = tmp_path_factory.mktemp("tiny") / "tiny_edgetam.safetensors"
    save_checkpoint(model, path, name="tiny_edgetam")
    return path


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * i : 2 * i + 100]) for i in range(NUM_FRAMES)]


def follow(tracker: VideoPredictor, clip: list[np.ndarray]) -> list[np.ndarray]:
    """Masks (O, H, W) of a point and a box."""
    video = tracker.open(clip)
    video.prompt(0, object_id=1, points=[[30, 30]])
    video.prompt(0, object_id=2, boxes=[40, 10, 90, 50])
    return [answer.masks for answer in video.propagate()]


def test_images_are_answered(checkpoint: Path, clip: list[np.ndarray]) -> None:
    predictor = Predictor.load(checkpoint, **SETTINGS)
    assert predictor.model_name == "tiny_edgetam"
    answers = predictor.predict(predictor.embed(clip[0]), points=[[30, 30]], labels=[1])
    assert answers.masks.shape[-2:] == clip[0].shape[:2]
    assert 0 < answers.masks.mean() < 1


def test_a_stream_gives_the_same_as_a_clip(checkpoint: Path, clip: list[np.ndarray]) -> None:
    tracker = VideoPredictor.load(checkpoint, **SETTINGS)
    expected = follow(tracker, clip)
    assert len({mask.tobytes() for mask in expected}) == NUM_FRAMES
    stream = tracker.stream()
    for index, frame in enumerate(clip):
        answer = stream.track(frame)
        if index == 0:
            stream.prompt(object_id=1, points=[[30, 30]])
            stream.prompt(object_id=2, boxes=[40, 10, 90, 50])
        else:
            np.testing.assert_array_equal(answer.masks, expected[index])


@pytest.mark.parametrize("policy", ["distractor_aware", "hypotheses"])
def test_policies_of_memory_follow(policy: str, checkpoint: Path, clip: list[np.ndarray]) -> None:
    masks = follow(VideoPredictor.load(checkpoint, policy=policy, **SETTINGS), clip)
    assert len(masks) == NUM_FRAMES
    assert masks[-1].any(axis=(1, 2)).all()


def test_pooling_is_refused_since_nothing_is_left_to_pool(
    checkpoint: Path, refusal: Callable[..., Any]
) -> None:
    with refusal(ConfigError, "tiny_edgetam", "perceiver", "choose another policy"):
        Sam2Tracker(Predictor.load(checkpoint, **SETTINGS), POOLED)
