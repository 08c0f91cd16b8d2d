"""`SamOnnxModel`, exported as programs export it, against the model itself."""

import inspect
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from samkit.compat.segment_anything import SamPredictor
from samkit.compat.segment_anything.utils.amg import calculate_stability_score
from samkit.compat.segment_anything.utils.onnx import SamOnnxModel

INPUTS = [
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
]
OUTPUTS = ["masks", "iou_predictions", "low_res_masks"]


def export(model, path, outputs=OUTPUTS):
    """As the original's script exports it."""
    prompt_encoder = model.model.prompt_encoder
    dummy = {
        "image_embeddings": torch.randn(
            1, prompt_encoder.embed_dim, *prompt_encoder.image_embedding_size
        ),
        "point_coords": torch.randint(low=0, high=128, size=(1, 5, 2), dtype=torch.float),
        "point_labels": torch.randint(low=0, high=4, size=(1, 5), dtype=torch.float),
        "mask_input": torch.randn(1, 1, *prompt_encoder.mask_input_size),
        "has_mask_input": torch.tensor([1], dtype=torch.float),
        "orig_im_size": torch.tensor([150, 100], dtype=torch.float),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer
        torch.onnx.export(
            model,
            tuple(dummy.values()),
            path,
            export_params=True,
            opset_version=17,
            do_constant_folding=True,
            input_names=list(dummy),
            output_names=outputs,
            dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {n: np.asarray(x) for n, x in inputs.items()})


@pytest.fixture
def predictor(sam, image):
    sam.mask_decoder.iou_prediction_head.layers[-1].weight.data.normal_()  # scores that differ
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    return predictor


def prompt(predictor, points, labels, mask=None):
    """The graph's inputs, as the original's notebook makes them."""
    coords = predictor.transform.apply_coords(np.asarray(points, float), (60, 90))
    side = predictor.model.prompt_encoder.mask_input_size
    return {
        "image_embeddings": predictor.get_image_embedding().numpy(),
        "point_coords": coords[None].astype(np.float32),
        "point_labels": np.asarray(labels, np.float32)[None],
        "mask_input": np.zeros((1, 1, *side), np.float32) if mask is None else mask[None],
        "has_mask_input": np.array([mask is not None], np.float32),
        "orig_im_size": np.array([60, 90], np.float32),
    }


CLICK = ([[40, 20], [0, 0]], [1, -1])
BOX = ([[10, 5], [50, 40]], [2, 3])
BOX_AND_CLICK = ([[30, 20], [10, 5], [50, 40]], [0, 2, 3])


def test_signatures_are_the_originals():
    assert {n: p.default for n, p in inspect.signature(SamOnnxModel).parameters.items()} == {
        "model": inspect.Parameter.empty,
        "return_single_mask": inspect.Parameter.empty,
        "use_stability_score": False,
        "return_extra_metrics": False,
    }
    assert [*inspect.signature(SamOnnxModel.forward).parameters][1:] == INPUTS


def test_the_graph_answers_as_the_predictor(predictor, tmp_path):
    run = export(SamOnnxModel(predictor.model, return_single_mask=False), tmp_path / "sam.onnx")
    _, _, earlier = predictor.predict(np.array([[40, 20]]), np.array([1]), multimask_output=False)
    cases = [
        (prompt(predictor, *CLICK), {"points": [[40, 20]], "labels": [1]}),
        (prompt(predictor, *BOX), {"box": [10, 5, 50, 40]}),
        (
            prompt(predictor, *BOX_AND_CLICK),
            {"points": [[30, 20]], "labels": [0], "box": [10, 5, 50, 40]},
        ),
        (
            prompt(predictor, *CLICK, earlier),
            {"points": [[40, 20]], "labels": [1], "mask": earlier},
        ),
    ]
    for inputs, asked in cases:
        masks, scores, low_res = run(inputs)
        assert masks.shape == (1, 4, 60, 90)
        for multimask, chosen in ((True, slice(1, None)), (False, slice(0, 1))):
            logits, iou, low = predictor.predict(
                asked.get("points") and np.array(asked["points"]),
                asked.get("labels") and np.array(asked["labels"]),
                asked.get("box") and np.array(asked["box"]),
                asked.get("mask"),
                multimask_output=multimask,
                return_logits=True,
            )
            np.testing.assert_allclose(low_res[0, chosen], low, atol=1e-4)
            np.testing.assert_allclose(masks[0, chosen], logits, atol=1e-4)
            np.testing.assert_allclose(scores[0, chosen], iou, atol=1e-4)


def test_the_graph_takes_images_of_any_size(predictor, tmp_path):
    model = SamOnnxModel(predictor.model, return_single_mask=True)
    run = export(model, tmp_path / "sam.onnx")
    for size in ((60, 90), (77, 31), (500, 501)):
        inputs = prompt(predictor, *CLICK) | {"orig_im_size": np.array(size, np.float32)}
        got = run(inputs)
        assert got[0].shape == (1, 1, *size)
        expected = model(*(torch.as_tensor(inputs[name]) for name in INPUTS))
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_one_mask_is_the_single_one_for_clear_prompts_only(predictor):
    everything = SamOnnxModel(predictor.model, return_single_mask=False)
    best = SamOnnxModel(predictor.model, return_single_mask=True)
    for points, labels in (CLICK, BOX, BOX_AND_CLICK):
        inputs = [torch.as_tensor(x) for x in prompt(predictor, points, labels).values()]
        masks, scores, low_res = everything(*inputs)
        mask, score, low = best(*inputs)
        chosen = 0 if len(points) > 2 else 1 + int(scores[0, 1:].argmax())
        torch.testing.assert_close(mask[0, 0], masks[0, chosen])
        torch.testing.assert_close(low[0, 0], low_res[0, chosen])
        torch.testing.assert_close(score[0, 0], scores[0, chosen])


def test_extra_metrics_are_stability_and_area(predictor, tmp_path):
    model = SamOnnxModel(
        predictor.model,
        return_single_mask=False,
        use_stability_score=True,
        return_extra_metrics=True,
    )
    names = ["masks", "scores", "stability", "areas", "low_res_masks"]
    run = export(model, tmp_path / "sam.onnx", names)
    masks, scores, stability, areas, low_res = run(prompt(predictor, *CLICK))
    np.testing.assert_array_equal(areas, (masks > 0).sum(axis=(-1, -2)))
    for got, logits in ((scores, low_res), (stability, masks)):
        expected = calculate_stability_score(torch.as_tensor(logits), 0.0, 1.0)
        np.testing.assert_allclose(got, expected, atol=1e-5)
