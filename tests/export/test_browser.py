"""Decoders for browsers: the predictor's masks by two graphs, in half the space."""

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from samkit.errors import BackendError, ConfigError
from samkit.export import BROWSER_PARTS, browser, write_for_browser
from samkit.export.half_weights import halve_weights
from samkit.models import CONFIGS, Sam
from samkit.predict import Predictor


@pytest.fixture(scope="module")
def predictor(randomise):
    torch.manual_seed(0)
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    return Predictor(model, model_name="tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, predictor):
    folder = tmp_path_factory.mktemp("browser")
    write_for_browser(predictor, folder)
    return folder


@pytest.fixture(scope="module")
def answer(folder):
    """Answers points of the model space with labels of all kinds, as the page does."""
    prepare, decode = (onnxruntime.InferenceSession(folder / f"{p}.onnx") for p in BROWSER_PARTS)

    def ask(embedding, points, labels, mask=None):
        side = embedding.coords.logits_size
        given = np.zeros((1, 1, side, side), np.float32) if mask is None else mask[None, None]
        prepared = prepare.run(
            None,
            {
                "image_embeddings": embedding.features.grid.half().numpy(),
                "mask_input": given,
                "has_mask_input": np.array([mask is not None], np.float32),
            },
        )
        names = ("image", "keys", "values", "queries")
        prompt = {
            "point_coords": np.array([embedding.coords.points_to_model(points)], np.float32),
            "point_labels": np.array([labels], np.float32),
        }
        return decode.run(None, dict(zip(names, prepared, strict=True)) | prompt)

    return ask


def test_embedding_is_converted_where_the_page_expects_it(folder):
    """`webgpu.js` names the node, since graphics cards may not have half precision."""
    import onnx

    nodes = onnx.load(folder / "prepare.onnx").graph.node
    [reader] = [node for node in nodes if "image_embeddings" in node.input]
    assert (reader.op_type, reader.name) == ("Cast", "/Cast")


def test_answers_are_the_predictors(predictor, answer):
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    embedding = predictor.embed(image)
    click = predictor.predict(embedding, points=[[40, 30]], labels=[1])
    logits, iou_pred = answer(embedding, [[40, 30], [0, 0]], [1, -1])
    tolerance = {"atol": 0.02 * float(np.abs(click.logits).max()), "rtol": 0.02}
    np.testing.assert_allclose(logits[0, 1:], click.logits, **tolerance)
    np.testing.assert_allclose(iou_pred[0, 1:], click.iou_pred, atol=0.01)
    earlier = click.logits[0]
    both = predictor.predict(
        embedding,
        points=[[40, 30], [80, 50]],
        labels=[1, 0],
        mask_logits=earlier,
        multimask=False,
    )
    logits, _ = answer(embedding, [[40, 30], [80, 50], [0, 0]], [1, 0, -1], earlier)
    np.testing.assert_allclose(logits[0, :1], both.logits, **tolerance)
    boxed = predictor.predict(
        embedding, points=[[40, 30]], labels=[0], boxes=[20, 10, 90, 80], multimask=False
    )
    logits, _ = answer(embedding, [[40, 30], [20, 10], [90, 80]], [0, 2, 3])
    np.testing.assert_allclose(logits[0, :1], boxed.logits, **tolerance)


def test_a_decoder_with_other_masks_is_refused(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "LEAST_IOU", 1.1)
    with pytest.raises(BackendError, match=r"differ from PyTorch's: IoU \d\.\d+, 1\.1 at least"):
        write_for_browser(predictor, tmp_path)


def test_weights_beyond_half_precision_stay(tmp_path):
    layer = torch.nn.Linear(64, 64)
    with torch.no_grad():
        layer.weight[0, 0] = 1e6
    path = tmp_path / "layer.onnx"
    browser.write_onnx(layer, (torch.ones(1, 64),), path, inputs=["x"], axes={})
    size = path.stat().st_size
    halve_weights(path)
    assert path.stat().st_size >= size
    [found] = onnxruntime.InferenceSession(path).run(None, {"x": np.ones((1, 64), np.float32)})
    assert found[0, 0] == pytest.approx(1e6, rel=1e-3)


def test_models_without_weights_are_refused():
    with torch.device("meta"):
        model = Sam(CONFIGS["tiny"])
    with pytest.raises(ConfigError, match="without the weights"):
        browser.check_for_browser(SimpleNamespace(model=model, model_name="an export"))
