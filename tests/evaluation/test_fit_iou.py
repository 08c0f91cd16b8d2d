"""Predicted IoUs that are fitted to true ones."""

import copy

import numpy as np
import pytest
import torch

from evaluation.stub import ListSource
from samkit.datasets.synthetic import Scenes
from samkit.errors import DataError
from samkit.evaluation import MaskChoice, fit_predicted_iou
from samkit.evaluation.fit_iou import fit_line
from samkit.evaluation.one_click import one_click
from samkit.predict import Predictor


def test_a_line_is_found():
    predicted = np.random.default_rng(0).uniform(0.2, 1, (2, 40))
    parts = [np.stack([values, 2 * values - 0.5]) for values in predicted]
    assert fit_line(parts) == pytest.approx((2, -0.5))


def test_the_mean_is_right_where_predictions_say_nothing():
    true = np.linspace(0, 1, 60)
    for predicted in (np.full(60, 0.7), np.linspace(1, 0, 60)):
        scale, offset = fit_line([np.stack([predicted, true])])
        assert np.mean(scale * predicted + offset) == pytest.approx(0.5)
        assert scale > 0  # the ranking stays


def test_the_lines_are_exact_in_the_weights(tiny_sam):
    """A network whose predictions were bent before predicts the truth's mean again."""
    model = copy.deepcopy(tiny_sam)
    predictor = Predictor(model, model_name="tiny")
    scenes = Scenes(count=20, size=64, seed=1)
    source = ListSource(*(scenes[index] for index in range(20)))
    seen = []
    lines = fit_predicted_iou(
        predictor, source, images=20, masks_per_image=6, on_image=lambda *n: seen.append(n)
    )
    assert lines.scale.shape == lines.offset.shape == (4,)
    assert seen[-1] == (20, 20)
    sample = scenes[0]
    choice = MaskChoice(masks_per_image=6)
    masks = choice.masks(sample)
    embedding = predictor.embed(sample.image)
    before = one_click(predictor, embedding, masks)
    model.scale_predicted_iou(
        torch.from_numpy(lines.scale).float(), torch.from_numpy(lines.offset).float()
    )
    after = one_click(predictor, embedding, masks)
    np.testing.assert_array_equal(after.ious, before.ious)
    expected = before.iou_pred * lines.scale[1:] + lines.offset[1:]
    np.testing.assert_allclose(after.iou_pred, expected, atol=1e-5)
    np.testing.assert_array_equal(after.iou_pred.argmax(1), before.iou_pred.argmax(1))
    errors = [
        answers.iou_pred - answers.ious
        for image in (scenes[index] for index in range(20))
        for answers in [one_click(predictor, predictor.embed(image.image), choice.masks(image))]
    ]
    assert np.concatenate(errors).mean() == pytest.approx(0, abs=1e-3)


def test_too_few_answers_are_refused(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    source = ListSource(Scenes(count=1, size=64, seed=1)[0])
    with pytest.raises(DataError, match="needs 30 answers of each kind; got"):
        fit_predicted_iou(predictor, source)
