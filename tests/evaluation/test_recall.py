"""Average recall of hand-made and of real proposals."""

import numpy as np
import pytest
import torch

from evaluation.stub import make_sample, rectangle
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError
from samkit.evaluation import Annotators, Recall
from samkit.evaluation.recall import rank, recall_result
from samkit.geometry import encode_rle
from samkit.predict import Predictor
from samkit.types import Masks


def proposals(masks, scores, stability):
    found = Masks.from_arrays(np.array(masks), scores)
    return Masks(
        **{
            name: getattr(found, name)
            for name in ("rles", "boxes_xyxy", "areas", "scores", "size_hw")
        },
        stability=np.array(stability, np.float32),
    )


def test_ranked_by_the_mean_of_predicted_iou_and_stability():
    found = proposals([rectangle(0, 0, n, n) for n in (5, 6, 7)], [0.9, 0.8, 0.7], [0.2, 0.8, 0.8])
    ranked = rank(found)
    assert ranked.areas.tolist() == [36, 49, 25]
    np.testing.assert_allclose(ranked.scores, [0.8, 0.75, 0.55], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.7], rtol=1e-6)


def test_average_recall_of_a_hand_made_case():
    truth = [encode_rle(rectangle(0, 0, 40, 40)), encode_rle(rectangle(0, 50, 10, 60))]
    found = rank(
        proposals(
            [rectangle(0, 0, 40, 30), rectangle(0, 50, 10, 60), rectangle(40, 40, 60, 60)],
            [0.9, 0.1, 0.5],
            [0.9, 0.1, 0.5],
        )
    )
    protocol = Recall()
    summary = protocol.summarise([recall_result(found.rles, found.scores, [truth])])
    # IoU 0.75 and 1; the first is medium-sized, the second small.
    assert summary.metrics == pytest.approx(
        {
            "ar_10": (0.6 + 1) / 2,
            "ar_100": (0.6 + 1) / 2,
            "ar_1000": (0.6 + 1) / 2,
            "ar_1000_small": 1,
            "ar_1000_medium": 0.6,
        }
    )
    curve = summary.curves["recall_by_iou"]
    assert curve.x == pytest.approx(np.arange(0.5, 0.96, 0.05))
    assert curve.y == pytest.approx([1] * 6 + [0.5] * 4)
    assert protocol.summarise([]).metrics == {}


def test_one_mask_answers_the_same_object_of_each_annotator():
    mask = rectangle(0, 0, 40, 40)
    found = rank(proposals([mask], [0.9], [0.9]))
    rle = encode_rle(mask)
    together = Recall().summarise([recall_result(found.rles, found.scores, [[rle, rle]])]).metrics
    apart = Recall().summarise([recall_result(found.rles, found.scores, [[rle], [rle]])]).metrics
    assert together["ar_1000"] == pytest.approx(0.5)
    assert apart["ar_1000"] == pytest.approx(1)


def test_image_is_embedded_once_and_answers_are_the_same_twice(tiny_sam, monkeypatch):
    predictor = Predictor(tiny_sam, model_name="tiny")
    sample = Scenes(count=1, size=64)[0]
    embedding = predictor.embed(sample.image)
    monkeypatch.setattr(predictor, "embed", None)
    protocol = Recall(points_per_side=6)
    result = protocol.measure(predictor, embedding, sample)
    assert result == protocol.measure(predictor, embedding, sample)
    assert result["masks"] == len(sample.rles)
    assert 1 <= result["proposals"] <= 3 * 36
    found = np.array(result["found"])
    assert found.shape == (4, 3, 10)
    assert (np.diff(found, axis=1) >= 0).all()  # more masks find as much
    assert (np.diff(found, axis=2) <= 0).all()  # a higher IoU finds no more


def test_no_candidate_is_left_out_for_its_predicted_iou(tiny_sam):
    """A network that thinks all of its masks worse than nothing finds the same ones."""
    sample = Scenes(count=1, size=64)[0]
    proposals = []
    for shift in (0.0, -10.0):
        with torch.no_grad():
            tiny_sam.mask_decoder.iou_prediction_head.layers[-1].bias += shift
        predictor = Predictor(tiny_sam, model_name="tiny")
        embedding = predictor.embed(sample.image)
        result = Recall(points_per_side=4).measure(predictor, embedding, sample)
        proposals.append(result["proposals"])
    assert proposals[0] == proposals[1] > 0


def test_annotators_are_looked_up_by_key(tiny_sam):
    mask = rectangle(10, 10, 40, 40)
    rle = encode_rle(mask)
    sample = make_sample(mask, key="a.jpg")
    predictor = Predictor(tiny_sam, model_name="tiny")
    protocol = Recall(
        points_per_side=1, annotators=Annotators(segmentations={"a.jpg": [[rle], [rle, rle]]})
    )
    assert protocol.measure(predictor, predictor.embed(sample.image), sample)["masks"] == 3


def test_settings(refusal):
    assert Recall().settings() == {
        "points_per_side": 64,
        "box_nms_thresh": 0.9,
        "annotators": Annotators(segmentations={}).checksum,
    }
    with refusal(ConfigError, "points_per_side must be a whole number from 1 to 512"):
        Recall(points_per_side=0)
