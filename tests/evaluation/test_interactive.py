"""Numbers of clicks, with predictors that need a known number of them."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.stub import SIDE, SURE, StubPredictor, make_sample, rectangle
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError
from samkit.evaluation import Interactive, MaskChoice, mask_iou
from samkit.evaluation.interactive import click_masks, clicks_to_reach
from samkit.geometry import CoordMap
from samkit.predict import Predictor
from samkit.types import MaskDetail

FIRST, SECOND = rectangle(0, 0, 20, 40), rectangle(30, 20, 50, 60)  # 40 rows each


def rows_by_clicks(rows):
    """After k clicks the first rows[k - 1] of a mask's 40 rows are there; the first click has a
    worse second candidate."""

    def answer(points, labels, multimask, **_):
        x, y = points[0]
        truth, top = (FIRST, 0) if FIRST[int(y), int(x)] else (SECOND, 20)
        mask = truth.copy()
        mask[top + rows[len(points) - 1] :] = False
        if multimask:
            return [mask & ~mask, mask, mask], [0.2, 0.9, 0.5]
        return [mask], [1 - 0.1 * len(points)]

    return answer


def embedding_of(predictor):
    return predictor.embed(np.zeros((64, 64, 3)))


def test_ious_after_each_click():
    predictor = StubPredictor(rows_by_clicks([10, 20, 34, 36, 40]))
    clicked = click_masks(predictor, embedding_of(predictor), [FIRST, SECOND], max_clicks=20)
    for mask in clicked:  # after the last click, no error is left
        np.testing.assert_allclose(mask.ious, [0.25, 0.5, 0.85, 0.9, 1])
        np.testing.assert_allclose(mask.iou_pred, [0.9, 0.8, 0.7, 0.6, 0.5])
    assert [len(call["points"]) for call in predictor.calls] == [2] * 5  # both masks at once
    assert [call["multimask"] for call in predictor.calls] == [True] + [False] * 4


def test_noc_and_curves():
    predictor = StubPredictor(rows_by_clicks([10, 20, 34, 36, 36, 36]))
    protocol = Interactive(choice=MaskChoice(), max_clicks=6)
    sample = make_sample(FIRST, SECOND)
    result = protocol.measure(predictor, embedding_of(predictor), sample)
    assert result["masks"] == 2
    assert result["area_fractions"] == [800 / 4096] * 2
    assert result["iou_pred"] == [pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])] * 2
    summary = protocol.summarise([result])
    assert summary.metrics == pytest.approx(
        {
            "noc85": 3,
            "noc90": 4,
            "reached85": 1,
            "reached90": 1,
            "iou_after_1": 0.25,
            "iou_after_2": 0.5,
            "iou_after_3": 0.85,
            "iou_after_5": 0.9,
        }
        | {
            "noc85_images": 3,
            "noc90_images": 4,
            "reached85_images": 1,
            "reached90_images": 1,
            "iou_after_1_images": 0.25,
            "iou_after_2_images": 0.5,
            "iou_after_3_images": 0.85,
            "iou_after_5_images": 0.9,
        }
    )
    assert summary.curves["iou_by_clicks"].x == (1, 2, 3, 4, 5, 6)
    assert summary.curves["iou_by_clicks"].y == pytest.approx([0.25, 0.5, 0.85, 0.9, 0.9, 0.9])
    assert summary.curves["noc90_histogram"].y == (0, 0, 0, 1, 0, 0)


def test_masks_that_never_get_there_count_with_all_clicks():
    protocol = Interactive(max_clicks=4)
    results = [
        {"masks": 2, "ious": [[0.1, 0.86, 0.8, 0.8], [0.95]]},
        {"masks": 1, "ious": [[0.1, 0.2, 0.3, 0.4]]},
        {"masks": 0, "ious": []},
    ]
    metrics = protocol.summarise(results).metrics
    assert metrics["noc85"] == pytest.approx((2 + 1 + 4) / 3)
    assert metrics["noc85_images"] == pytest.approx((1.5 + 4) / 2)
    assert metrics["noc90"] == pytest.approx((4 + 1 + 4) / 3)
    assert metrics["reached85"] == pytest.approx(2 / 3)
    # A mask without errors is not clicked further and stays as good.
    assert metrics["iou_after_3"] == pytest.approx((0.8 + 0.95 + 0.3) / 3)
    assert protocol.summarise([]).metrics == {}


def test_clicks_to_reach():
    assert clicks_to_reach([0.2, 0.85, 0.9], 0.85, 20) == 2
    assert clicks_to_reach([0.2, 0.3], 0.85, 20) == 20


@pytest.mark.parametrize("feed_back", [True, False])
def test_previous_logits_are_given_back(feed_back):
    predictor = StubPredictor(rows_by_clicks([10, 20, 30]))
    click_masks(predictor, embedding_of(predictor), [FIRST], max_clicks=3, feed_back=feed_back)
    first, second, third = predictor.calls
    assert first.get("mask_logits") is None
    if not feed_back:
        assert second.get("mask_logits") is third.get("mask_logits") is None
        return
    for call, rows in ((second, 10), (third, 20)):  # of the candidate with the best predicted IoU
        expected = np.where(FIRST & (np.arange(64)[:, None] < rows), SURE, -SURE)
        np.testing.assert_array_equal(call["mask_logits"], expected[None, None])


def test_masks_without_errors_are_asked_no_more():
    def answer(points, **_):
        x, y = points[0]
        truth = FIRST if FIRST[int(y), int(x)] else SECOND
        done = truth is SECOND or len(points) == 3
        return [truth if done else truth & rectangle(0, 0, 64, 20)], [0.9]

    predictor = StubPredictor(answer)
    clicked = click_masks(predictor, embedding_of(predictor), [FIRST, SECOND])
    assert [mask.ious for mask in clicked] == [[0.5, 0.5, 1], [1]]
    assert [len(mask.iou_pred) for mask in clicked] == [3, 1]
    assert [len(call["points"]) for call in predictor.calls] == [2, 1, 1]
    np.testing.assert_array_equal(predictor.calls[-1]["labels"], [[1, 1, 1]])


def test_each_click_corrects_an_error(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    sample = Scenes(count=1, size=64)[0]
    embedding = predictor.embed(sample.image)
    masks = MaskChoice().masks(sample)
    clicked = click_masks(predictor, embedding, masks, max_clicks=4)
    assert [len(own.ious) for own in clicked] == [4] * len(masks)
    again = click_masks(predictor, embedding, masks, max_clicks=4)
    for own, other, mask in zip(clicked, again, masks, strict=True):
        assert (own.clicks, own.ious, own.iou_pred) == (other.clicks, other.ious, other.iou_pred)
        assert np.array_equal(own.answer, other.answer)
        assert mask_iou(own.answer, mask) == own.ious[-1]
    # A robot that is content with little stops earlier, with the same answers.
    least = min(own.ious[0] for own in clicked)
    content = click_masks(predictor, embedding, masks, max_clicks=4, stop_at=least)
    assert all(len(own.ious) == 1 and own.ious[0] >= least for own in content)
    # Each mask alone is answered as it is among others.
    alone = [click_masks(predictor, embedding, [mask], max_clicks=4)[0] for mask in masks]
    np.testing.assert_allclose(
        [own.ious for own in alone], [own.ious for own in clicked], atol=0.02
    )


def test_settings(refusal):
    assert Interactive().settings() == {
        "masks_per_image": 10,
        "min_area_px": 100,
        "seed": 0,
        "max_clicks": 20,
        "feed_back": True,
    }
    # Results of different levels do not mix; those from before there were levels are of none.
    assert Interactive(refine="best").settings() == Interactive().settings() | {"refine": "best"}
    assert Interactive(refine="fast").differences()[-1] == "answers are refined (fast)"
    with refusal(ConfigError, "refine must be none, fast or best; got 'more'"):
        Interactive(refine="more")
    with refusal(ConfigError, "max_clicks must be a whole number from 1 to 100"):
        Interactive(max_clicks=0)


def test_refined_answers_are_asked_for_with_the_image():
    predictor = StubPredictor(rows_by_clicks([10, 20, 34]))
    sample = make_sample(FIRST)
    Interactive(max_clicks=2, refine="best").measure(predictor, embedding_of(predictor), sample)
    assert [call["refine"] for call in predictor.calls] == ["best"] * 2
    assert all(call["image"] is sample.image for call in predictor.calls)


def test_details_of_answers_are_measured():
    """What the crop shows is compared with the truth, not the coarser logits around it."""
    own = CoordMap(original_hw=(24, 24), model_size=4 * SIDE)
    inner = np.full((SIDE, SIDE), SURE, np.float32)

    def answer(**_):
        return [FIRST & ~FIRST], [0.9]

    class Detailed(StubPredictor):
        def predict(self, embedding, **prompts):
            found = super().predict(embedding, **prompts)
            detail = MaskDetail(logits=inner, box_xyxy=(0, 8, 24, 32), coords=own)
            return replace(found, details=(detail,))

    predictor = Detailed(answer)
    truth = rectangle(0, 8, 24, 32)
    (clicked,) = click_masks(predictor, embedding_of(predictor), [truth], max_clicks=3)
    assert clicked.ious == [1.0]
