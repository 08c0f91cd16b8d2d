"""Void pixels: neither evaluated nor clicked, in any protocol."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.stub import SIDE, ListSource, StubPredictor, make_sample, rectangle
from samkit.evaluation import (
    BoxPrompts,
    DetectedBoxes,
    Interactive,
    MaskChoice,
    OneClick,
    TextToMask,
    one_click_miou,
)
from samkit.evaluation.recall import recall_result
from samkit.evaluation.records import sample_checksum
from samkit.evaluation.truth import find_known
from samkit.geometry import decode_rle, encode_rle

# An object with an unlabelled band around it, as in GrabCut's masks.
OBJECT = rectangle(20, 20, 40, 40)
BAND = rectangle(16, 16, 44, 44) & ~OBJECT
INTO_BAND = OBJECT | rectangle(16, 16, 30, 44)
ALL = MaskChoice(masks_per_image=None, min_area_px=1)


def always(*masks, scores=(0.9,)):
    return StubPredictor(lambda multimask, **_: (list(masks), list(scores)))


def measure(protocol, predictor, sample):
    return protocol.measure(predictor, predictor.embed(sample.image), sample)


def test_an_answer_that_differs_in_void_pixels_alone_is_perfect():
    sample = make_sample(OBJECT, void=BAND)
    predictor = always(INTO_BAND)
    assert measure(OneClick(choice=ALL), predictor, sample)["ious"] == [[1]]
    assert measure(Interactive(choice=ALL), predictor, sample)["ious"] == [[1]]  # no second click
    assert measure(BoxPrompts(), predictor, sample)["ious"] == [1]
    plain = replace(sample, void=None)
    expected = 400 / INTO_BAND.sum()
    assert measure(OneClick(choice=ALL), predictor, plain)["ious"] == [[pytest.approx(expected)]]
    assert len(measure(Interactive(choice=ALL), predictor, plain)["ious"][0]) == 20


def test_masks_may_reach_into_void_pixels():
    """The same numbers, whether a data set's masks contain the band or not."""
    without, within = make_sample(OBJECT, void=BAND), make_sample(OBJECT | BAND, void=BAND)
    half = always(rectangle(20, 20, 40, 30))
    for protocol in (OneClick(choice=ALL), Interactive(choice=ALL, max_clicks=3), BoxPrompts()):
        results = [measure(protocol, half, sample) for sample in (without, within)]
        assert results[0] == results[1]
    assert measure(OneClick(choice=ALL), half, within)["ious"] == [[0.5]]


def test_the_robot_does_not_click_in_void_pixels():
    sample = make_sample(OBJECT, void=BAND)
    wrong = rectangle(50, 50, 54, 54)
    predictor = always(INTO_BAND | wrong)
    ious = measure(Interactive(choice=ALL, max_clicks=6), predictor, sample)["ious"][0]
    assert ious == pytest.approx([400 / 416] * 6)
    clicks = predictor.calls[-1]["points"][0].astype(int)
    assert all(wrong[y, x] for x, y in clicks[1:])
    assert predictor.calls[-1]["labels"].tolist() == [[1, 0, 0, 0, 0, 0]]


@given(st.integers(0, 2**32 - 1))
def test_numbers_do_not_depend_on_what_is_in_void_pixels(seed):
    """Law: true and predicted masks may be anything there."""
    rng = np.random.default_rng(seed)
    truth, predicted, void = (rng.random((SIDE, SIDE)) < p for p in (0.6, 0.5, 0.3))
    noise = rng.random((SIDE, SIDE)) < 0.5
    results = []
    for change in (np.zeros_like(void), void & noise):
        sample = make_sample(truth ^ change, void=void)
        predictor = always(predicted ^ change)
        results.append(
            [
                measure(protocol, predictor, sample)
                for protocol in (
                    OneClick(choice=ALL),
                    Interactive(choice=ALL, max_clicks=3),
                    BoxPrompts(),
                )
            ]
        )
    assert results[0] == results[1]
    known = ~void
    expected = (truth & predicted & known).sum() / ((truth | predicted) & known).sum()
    assert results[0][0]["ious"] == [[pytest.approx(expected)]]


def test_no_void_pixels_are_the_same_as_none():
    predictor = always(INTO_BAND)
    for protocol in (OneClick(choice=ALL), Interactive(choice=ALL, max_clicks=3), BoxPrompts()):
        one, other = (
            measure(protocol, predictor, make_sample(OBJECT, void=void))
            for void in (None, np.zeros((SIDE, SIDE), bool))
        )
        assert one == other


def test_areas_do_not_count_void_pixels():
    sample = make_sample(OBJECT | BAND, BAND, void=BAND)
    assert MaskChoice(min_area_px=400).choose(sample) == [0]
    assert MaskChoice(min_area_px=401).choose(sample) == []
    assert MaskChoice(min_area_px=1).choose(sample) == [0]  # the other is nothing but void
    np.testing.assert_array_equal(ALL.masks(sample)[0], OBJECT)


def test_found_masks_of_void_pixels_alone_do_not_count():
    sample = make_sample(OBJECT, void=BAND)
    nothing = np.zeros_like(BAND)
    found = [encode_rle(mask) for mask in (BAND, INTO_BAND, nothing)]
    numbers, rles = find_known(found, sample)
    assert numbers == [1, 2]  # an empty answer stays a wrong one
    np.testing.assert_array_equal(decode_rle(rles[0]), OBJECT)
    recall = recall_result(rles, [0.9, 0.8], [sample.rles])
    assert recall["found"][0][-1] == [1] * 10
    detections = DetectedBoxes(
        boxes={"image": (np.array([[16.0, 16, 44, 44]] * 2), np.array([0.9, 0.8]))}, sha256=""
    )
    answers = iter([BAND, INTO_BAND])
    predictor = StubPredictor(lambda **_: ([next(answers)], [0.5]))
    metrics = BoxPrompts(detections=detections).summarise(
        [measure(BoxPrompts(detections=detections), predictor, sample)]
    )
    assert metrics.metrics["box_ap"] == pytest.approx(1)  # the first is no false positive


def test_a_source_with_void_pixels_is_evaluated_in_one_call():
    source = ListSource(make_sample(OBJECT, void=BAND), make_sample(OBJECT, key="plain"))
    result = one_click_miou(always(INTO_BAND), source)
    assert result.miou == pytest.approx((1 + 400 / INTO_BAND.sum()) / 2)


def test_text_is_measured_without_void_pixels():
    class Predictor(StubPredictor):
        reads_as_tokens = False

        def predict_text(self, embedding, phrases, *, image, multimask):
            del image
            answer = self.predict(embedding, boxes=np.zeros((1, 4)), multimask=multimask)
            return replace(answer, phrases=tuple(phrases), phrase_scores=np.ones(1, np.float32))

    sample = replace(make_sample(OBJECT, void=BAND), phrases=("a cat",))
    predictor = Predictor(lambda **_: ([INTO_BAND], [0.9]))
    result = measure(TextToMask(choice=ALL), predictor, sample)
    assert result["ious"] == result["corrected"] == [1]


def test_changed_void_pixels_are_measured_again():
    samples = [make_sample(OBJECT), make_sample(OBJECT, void=BAND), make_sample(OBJECT, void=~BAND)]
    assert len({sample_checksum(sample) for sample in samples}) == 3
