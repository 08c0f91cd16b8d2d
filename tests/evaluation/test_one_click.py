"""1-click mIoU of known answers."""

import math

import numpy as np
import pytest

from evaluation.stub import BROKEN, ListSource, StubPredictor, make_sample, rectangle
from samkit.datasets.synthetic import Scenes
from samkit.errors import DataError
from samkit.evaluation import MaskChoice, OneClick, one_click_miou
from samkit.evaluation.interactive import click_masks
from samkit.evaluation.one_click import one_click
from samkit.predict import Predictor

LARGE, SMALL = rectangle(0, 0, 40, 40), rectangle(50, 50, 60, 60)


def half_and_whole(points, **_):
    """The half of the object that was clicked, all of it, and nothing; the half is preferred."""
    x, y = points[0]
    truth = next(mask for mask in (LARGE, SMALL) if mask[int(y), int(x)])
    half = truth.copy()
    half[:20] = False
    half[:, 55:] = False
    return [half, truth, truth & ~truth], [0.9, 0.8, 0.1]


def test_top_ranked_and_oracle():
    predictor = StubPredictor(half_and_whole)
    answers = one_click(predictor, predictor.embed(np.zeros((64, 64, 3))), [LARGE, SMALL])
    np.testing.assert_allclose(answers.top_ranked, [0.5, 0.5])
    np.testing.assert_allclose(answers.oracle, [1, 1])
    (call,) = predictor.calls  # all masks of an image at once
    np.testing.assert_array_equal(call["points"], [[[19, 19]], [[54, 54]]])
    np.testing.assert_array_equal(call["labels"], [[1], [1]])
    assert call["multimask"]


def test_a_record_has_every_candidate_and_the_masks_areas():
    predictor = StubPredictor(half_and_whole)
    sample = make_sample(LARGE, SMALL)
    result = OneClick().measure(predictor, predictor.embed(sample.image), sample)
    assert result == {
        "masks": 2,
        "area_fractions": [1600 / 4096, 100 / 4096],
        "ious": [[0.5, 1, 0], [0.5, 1, 0]],
        "iou_pred": [pytest.approx([0.9, 0.8, 0.1])] * 2,
    }


def test_means_over_masks_and_over_images():
    results = [
        {"masks": 1, "ious": [[0.3, 1.0]], "iou_pred": [[0.2, 0.9]]},
        {
            "masks": 3,
            "ious": [[0.0, 0.5], [0.2, 0.5], [0.8, 0.4]],
            "iou_pred": [[0.9, 0.8], [0.5, 0.4], [0.1, 0.3]],
        },
        {"masks": 0, "ious": [], "iou_pred": []},
    ]
    metrics = OneClick().summarise(results).metrics
    assert metrics == pytest.approx(
        {
            "miou": 1.6 / 4,
            "miou_images": (1 + 0.2) / 2,
            "oracle_miou": 2.8 / 4,
            "oracle_miou_images": (1 + 0.6) / 2,
        }
    )
    assert OneClick().summarise([]).metrics == {}


def test_oracle_is_at_least_top_ranked_and_same_twice(tiny_sam):
    predictor, source = Predictor(tiny_sam, model_name="tiny"), Scenes(count=3, size=64)
    one = one_click_miou(predictor, source, masks_per_image=4)
    assert 0 <= one.miou <= one.oracle_miou <= 1
    assert one.images == 3
    assert 3 <= one.masks <= 12
    assert one_click_miou(predictor, source, masks_per_image=4) == one
    assert one_click_miou(predictor, source, masks_per_image=4, images=2).images == 2


def test_top_ranked_is_the_first_click_of_the_interactive_user(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    sample = Scenes(count=1, size=64)[0]
    masks = MaskChoice().masks(sample)
    embedding = predictor.embed(sample.image)
    dialogues = click_masks(predictor, embedding, masks, max_clicks=1)
    np.testing.assert_allclose(
        one_click(predictor, embedding, masks).top_ranked,
        [dialogue.ious[0] for dialogue in dialogues],
        atol=1e-6,
    )


def test_kept_embeddings_are_used():
    predictor = StubPredictor(half_and_whole)
    kept = predictor.embed(np.zeros((64, 64, 3)))
    source = ListSource(make_sample(LARGE, SMALL), make_sample(LARGE, key="b"))
    result = one_click_miou(predictor, source, embed=lambda sample: kept)
    assert (result.miou, result.oracle_miou, result.masks) == (0.5, 1, 3)
    assert predictor.embedded == 1


def test_images_without_masks_and_broken_ones():
    predictor = StubPredictor(half_and_whole)
    result = one_click_miou(predictor, ListSource(make_sample()))
    assert math.isnan(result.miou)
    assert (result.images, result.masks) == (1, 0)
    with pytest.raises(DataError, match="truncated"):
        one_click_miou(predictor, ListSource(BROKEN))
