"""Every backend on a SAM 2, whose image encoder has several levels."""

import numpy as np
import pytest
import torch

from samkit.backends import create_backend
from samkit.models import CONFIGS, Sam2
from samkit.predict import Predictor

pytestmark = pytest.mark.usefixtures("all_backends")

# Of the logits' standard deviation; bfloat16 keeps 8 bits.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.3}
BOXES = np.array([[10, 12, 60, 70], [30, 5, 100, 80], [3, 3, 40, 40]])


@pytest.fixture(scope="module")
def model(randomise):
    network = Sam2(CONFIGS["tiny_sam2"])
    randomise(network)
    return network.eval()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def predictor_of(model, backend, precision):
    chosen = create_backend(model, backend=backend, precision=precision, device="cpu")
    return Predictor(model, model_name="tiny_sam2", backend=chosen)


def mask():
    return np.random.default_rng(1).normal(size=(1, 32, 32))


def prompts():
    points = np.random.default_rng(2).uniform(0, 90, (5, 2, 2))
    return {
        "points": {"points": points, "labels": np.tile([1, 0], (5, 1))},
        "boxes": {"boxes": BOXES},
        "masks": {"mask_logits": np.stack([mask()] * 3), "boxes": BOXES},
    }


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("torch", "float32"),
        ("openvino", "float32"),
        ("onnx", "float32"),
        ("torch", "bfloat16"),
        ("openvino", "bfloat16"),
    ],
)
def test_engine_answers_as_the_network(backend, precision, model, image):
    predictor, plain = (
        predictor_of(model, backend, precision),
        predictor_of(model, "torch", "float32"),
    )
    tolerance = TOLERANCES[precision]
    given, expected = predictor.embed(image), plain.embed(image)
    for own, theirs in zip(given.features.levels, expected.features.levels, strict=True):
        assert (own - theirs).abs().max() < tolerance * theirs.std()
    for name, prompt in prompts().items():
        answers = [one.predict(expected, **prompt) for one in (predictor, plain)]
        scale = answers[1].logits.std()
        assert np.abs(answers[0].logits - answers[1].logits).max() < 3 * tolerance * scale, name
        np.testing.assert_allclose(answers[0].iou_pred, answers[1].iou_pred, atol=tolerance)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_engines_replace_the_same_unstable_masks(backend, model, image):
    predictor, plain = (
        predictor_of(model, backend, "float32"),
        predictor_of(model, "torch", "float32"),
    )
    embedding = plain.embed(image)
    prompt = {"boxes": BOXES, "multimask": False}
    own, expected = predictor.predict(embedding, **prompt), plain.predict(embedding, **prompt)
    np.testing.assert_allclose(own.logits, expected.logits, atol=5e-3)
    np.testing.assert_allclose(own.iou_pred, expected.iou_pred, atol=1e-3)


def test_finer_levels_change_the_masks(model, image):
    predictor = predictor_of(model, "torch", "float32")
    embedding = predictor.embed(image)
    expected = predictor.predict(embedding, boxes=BOXES[0]).logits
    for level in embedding.features.levels[:2]:
        before = level.clone()
        level.zero_()
        predictor.decoder._contexts.clear()
        assert np.abs(predictor.predict(embedding, boxes=BOXES[0]).logits - expected).max() > 0.01
        level.copy_(before)


def test_an_image_is_stretched(model):
    predictor = predictor_of(model, "torch", "float32")
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, :60] = 255
    embedding = predictor.embed(wide)
    assert embedding.coords.resized_hw == (128, 128)
    assert torch.equal(
        predictor.embed(np.repeat(wide, 3, axis=0)).features.grid, embedding.features.grid
    )
    assert embedding.coords.points_to_model([[60, 20]]).tolist() == [[64.0, 64.0]]
    assert predictor.predict(embedding, points=[[60, 20]], labels=[1]).masks.shape == (3, 40, 120)
