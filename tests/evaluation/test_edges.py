"""Edges of known masks."""

from types import SimpleNamespace

import numpy as np
import pytest

from proposals.scenery import MODEL_SIZE, SceneryPredictor, Thing, make_image
from samkit.datasets import Sample
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError
from samkit.evaluation import Annotators, Edges, find_edges
from samkit.evaluation.boundaries import boundary_scores, count_matches, region_boundaries
from samkit.evaluation.edges import fade_border, join_edges, mask_edge
from samkit.geometry import CoordMap, encode_rle
from samkit.predict import Predictor

SIZE = (192, 256)
THINGS = (Thing((40, 40, 120, 140)), Thing((160, 60, 230, 150), iou_pred=0.6))


def ramp(width, edge=31.5, slope=1.0):
    """Logits (48, 64) of a half plane to the left of an edge, within -`width` and `width`."""
    x = np.arange(64) - edge
    return np.tile((-slope * x).clip(-width, width), (48, 1)).astype(np.float32)


def test_edge_lies_on_both_sides_of_the_boundary():
    strength, gradient = mask_edge(ramp(10))
    assert np.flatnonzero(strength.any(axis=0)).tolist() == [31, 32]
    assert (strength[:, 31] == strength[:, 32]).all()
    assert (gradient[:, 31:33, 0] < 0).all()
    np.testing.assert_allclose(gradient[:, 31:33, 1], 0, atol=1e-6)


def test_edge_is_sobels_gradient_of_the_probability():
    logits = ramp(10)
    probability = 1 / (1 + np.exp(-logits[0].astype(np.float64)))
    expected = 4 * (probability[30] - probability[32])  # Sobel's weights add up to 4
    assert mask_edge(logits)[0][10, 31] == pytest.approx(expected, rel=1e-5)


def test_sure_masks_have_stronger_edges():
    edges = join_edges([ramp(10, edge=15.5, slope=0.1), ramp(10, edge=47.5)], (48, 64))
    assert set(np.flatnonzero((edges > 0).any(axis=0))) <= {15, 16, 47, 48}
    assert edges[:, 47:49].max() == 1
    assert 0 < edges[:, 15:17].max() < 0.15


def test_no_masks_no_edges():
    assert not join_edges([], (10, 12)).any()
    assert join_edges([], (10, 12)).shape == (10, 12)


def test_edges_fade_towards_the_border():
    faded = fade_border(np.ones((20, 30), np.float32), 5)
    np.testing.assert_allclose(faded[10, :7], [0, 0.2, 0.4, 0.6, 0.8, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(faded[:, 12], faded[::-1, 12])
    np.testing.assert_allclose(faded[-2:, 15], [0.2, 0], rtol=1e-6)
    assert (fade_border(faded, 0) == faded).all()


def find(*things, **settings):
    predictor = SceneryPredictor(*things)
    image = make_image(*SIZE)
    return predictor, find_edges(predictor, predictor.embed(image), **settings)


def test_edges_of_things_are_their_boundaries():
    predictor, edges = find(*THINGS)
    assert len(predictor.asked) == 256
    assert edges.shape == SIZE
    truth = region_boundaries([thing.mask(SIZE) for thing in THINGS], SIZE)
    scores = boundary_scores([count_matches(edges, [truth], thresholds=9)])
    assert scores.ods > 0.98  # all but the corners


def test_doubles_with_a_lower_predicted_iou_are_dropped():
    shifted = Thing((44, 44, 124, 144), iou_pred=0.5)
    _, edges = find(THINGS[0], shifted)
    np.testing.assert_array_equal(edges, find(THINGS[0])[1])
    _, both = find(THINGS[0], shifted, box_nms_thresh=1.0)
    assert (both > 0).sum() > 1.5 * (edges > 0).sum()


def test_protocol_against_several_annotators():
    image = make_image(*SIZE)
    masks = [thing.mask(SIZE) for thing in THINGS]
    codes = [encode_rle(mask) for mask in masks]
    sample = Sample(key="image", image=image, rles=tuple(codes))
    predictor = SceneryPredictor(*THINGS)
    protocol = Edges(
        thresholds=5, annotators=Annotators(segmentations={"image": [codes, codes[:1]]})
    )
    result = protocol.measure(predictor, predictor.embed(image), sample)
    assert result["masks"] == 3
    summary = protocol.summarise([result, result])
    lengths = [region_boundaries([mask], SIZE).sum() for mask in masks]
    assert summary.metrics["edge_ods"] > 0.99
    # Among each other: all that the second has drawn, and of the first what the second has too.
    precision = 2 * lengths[0] / (2 * lengths[0] + lengths[1])
    assert summary.metrics["edge_human_f"] == pytest.approx(precision)
    curve = summary.curves["edge_precision_by_recall"]
    assert len(curve.x) == len(curve.y) == 5
    assert protocol.summarise([]).metrics == {}


def test_one_annotator_has_nobody_to_agree_with(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    sample = Scenes(count=1, size=64)[0]
    embedding = predictor.embed(sample.image)
    protocol = Edges(points_per_side=4, thresholds=3)
    result = protocol.measure(predictor, embedding, sample)
    assert result == protocol.measure(predictor, embedding, sample)
    assert "human" not in result
    metrics = protocol.summarise([result]).metrics
    assert set(metrics) == {"edge_ods", "edge_ois", "edge_ap", "edge_r50"}
    assert all(0 <= value <= 1 for value in metrics.values())


def test_image_without_any_mask():
    nothing = SimpleNamespace(coords=CoordMap(original_hw=SIZE, model_size=MODEL_SIZE))
    predictor = SceneryPredictor()
    nothing.corner = (0, 0)
    assert not find_edges(predictor, nothing, points_per_side=2).any()


def test_settings(refusal):
    assert Edges().settings() == {
        "points_per_side": 16,
        "box_nms_thresh": 0.7,
        "border_px": 5,
        "thresholds": 99,
        "max_distance": 0.0075,
        "annotators": Annotators(segmentations={}).checksum,
    }
    with refusal(ConfigError, "thresholds must be a whole number from 1 to 999"):
        Edges(thresholds=0)
