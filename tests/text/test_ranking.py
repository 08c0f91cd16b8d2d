"""Masks named by CLIP, and calibration of their scores."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.errors import ConfigError, FormatError, PromptError
from samkit.text import Calibration, MaskRanker, TextPrompter, fit_calibration
from samkit.text.ranking import log_odds, threshold_for_precision
from samkit.types import Masks

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 60, 3), np.uint8)
WORDS = ["red car", "green tree", "blue circle"]


def masks_at(*boxes):
    arrays = np.zeros((len(boxes), 40, 60), bool)
    for array, (x0, y0, x1, y1) in zip(arrays, boxes, strict=True):
        array[y0:y1, x0:x1] = True
    return Masks.from_arrays(arrays, np.ones(len(boxes)))


MASKS = masks_at((2, 3, 20, 18), (30, 5, 50, 38), (0, 0, 60, 40))


class KnownClip:
    """Gives vectors by the mean colour of a picture, and by the first letter of a text."""

    dim, logit_scale, fingerprint = 3, 20.0, "known"
    pixels = SimpleNamespace(size=8)

    def encode_images(self, pictures):
        means = np.array([one.reshape(-1, 3).mean(axis=0) for one in pictures], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def encode_texts(self, texts):
        axes = ["rgb".find(text[0]) for text in texts]
        return np.array([np.eye(3)[axis] if axis >= 0 else np.ones(3) / 3**0.5 for axis in axes])


def painted(*colors):
    image = np.zeros((40, 60, 3), np.uint8)
    boxes = []
    for number, color in enumerate(colors):
        x = 20 * number
        image[5:25, x : x + 20] = color
        boxes.append((x, 5, x + 20, 25))
    return image, masks_at(*boxes)


def test_masks_get_the_phrase_that_fits():
    image, masks = painted((200, 0, 0), (0, 200, 0), (0, 0, 200))
    named = MaskRanker(TextPrompter(KnownClip())).name(image, masks, ["green", "blue", "red"])
    assert named.phrases == ("red", "green", "blue")
    assert (named.phrase_scores > 0.9).all()
    assert named.rles == masks.rles


def test_what_is_nothing_in_particular_gets_no_phrase():
    image, masks = painted((100, 100, 100), (0, 200, 0))
    ranker = MaskRanker(TextPrompter(KnownClip()), background=("anything",))
    named = ranker.name(image, masks, ["red", "green"])
    assert named.phrases == ("", "green")
    # Without words for the background, one of the phrases has to win.
    chances = MaskRanker(TextPrompter(KnownClip()), background=()).probabilities(
        image, masks, ["red", "green"]
    )
    np.testing.assert_allclose(chances.sum(axis=1), 1)


def test_probabilities_of_a_real_network_are_a_softmax_with_the_background(clip):
    ranker = MaskRanker(TextPrompter(clip))
    chances = ranker.probabilities(IMAGE, MASKS, WORDS)
    codes = ranker.embed(IMAGE, MASKS)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-6)
    texts = clip.encode_texts([*WORDS, *ranker.background])
    odds = np.exp(clip.logit_scale * (codes.astype(np.float64) @ texts.T))
    np.testing.assert_allclose(chances, (odds / odds.sum(axis=1, keepdims=True))[:, :3], rtol=1e-4)
    assert (chances.sum(axis=1) < 1).all()


def test_no_masks_are_no_error(clip):
    none = MASKS.select(np.zeros(0, np.int64))
    named = MaskRanker(TextPrompter(clip)).name(IMAGE, none, WORDS)
    assert named.phrases == ()
    assert named.phrase_scores.shape == (0,)


def test_bad_phrases_are_refused(clip, refusal):
    ranker = MaskRanker(TextPrompter(clip))
    with refusal(PromptError, "at least one phrase"):
        ranker.probabilities(IMAGE, MASKS, [])
    with refusal(PromptError, "text must not be empty"):
        ranker.probabilities(IMAGE, MASKS, ["car", ""])


def test_a_threshold_decides_who_has_a_name(clip):
    ranker = MaskRanker(TextPrompter(clip))
    scores = ranker.name(IMAGE, MASKS, WORDS, thresh=0).phrase_scores
    low, middle, _ = np.sort(scores)
    between = float(low + middle) / 2
    named = ranker.name(IMAGE, MASKS, WORDS, thresh=between)
    assert [bool(one) for one in named.phrases] == (scores >= middle).tolist()
    np.testing.assert_array_equal(named.phrase_scores, scores)


def test_a_fit_finds_how_scores_are_off():
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.02, 0.98, 40_000)
    true = Calibration(slope=0.5, offset=-1.0)
    is_right = rng.uniform(size=len(scores)) < true.apply(scores)
    fitted = fit_calibration(scores, is_right)
    assert abs(fitted.slope - 0.5) < 0.03
    assert abs(fitted.offset + 1) < 0.05
    # In each tenth as many are right as it says.
    calibrated = fitted.apply(scores)
    for low in np.arange(0, 1, 0.1):
        part = (calibrated >= low) & (calibrated < low + 0.1)
        if part.sum() > 1000:
            assert abs(calibrated[part].mean() - is_right[part].mean()) < 0.03


def test_the_fitted_threshold_has_the_precision():
    rng = np.random.default_rng(2)
    scores = rng.uniform(size=5000)
    is_right = rng.uniform(size=5000) < scores
    fitted = fit_calibration(scores, is_right, precision=0.9)
    above = fitted.apply(scores) >= fitted.thresh
    assert 0.9 <= is_right[above].mean() < 0.91


def test_a_fit_that_is_perfect_stays_finite():
    fitted = fit_calibration([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert np.isfinite([fitted.slope, fitted.offset]).all()
    assert (fitted.apply([0.1, 0.9]) > 0.5).tolist() == [False, True]


@pytest.mark.parametrize("is_right", [[], [True, True], [False, False]])
def test_there_must_be_something_to_learn_from(is_right, refusal):
    with refusal(ConfigError, "names that are right and names that are wrong"):
        fit_calibration([0.5] * len(is_right), is_right)


def test_thresholds():
    scores, right = [0.9, 0.8, 0.7, 0.6], [True, True, False, True]
    assert threshold_for_precision(scores, right, 1.0) == 0.8
    assert threshold_for_precision(scores, right, 0.7) == 0.6
    assert threshold_for_precision([0.9, 0.5], [False, False], 0.5) == 1.0
    # Of equal scores none can be left out.
    assert threshold_for_precision([0.5, 0.5, 0.4], [True, False, False], 0.9) == 1.0


@given(st.floats(0, 1), st.floats(0.1, 5), st.floats(-3, 3))
def test_calibration_keeps_the_order_and_the_range(score, slope, offset):
    calibration = Calibration(slope=slope, offset=offset)
    low, high = calibration.apply([score * 0.9, score])
    assert 0 <= low <= high <= 1
    assert np.isfinite(log_odds([0, score, 1])).all()


def test_no_calibration_changes_nothing():
    np.testing.assert_allclose(Calibration().apply([0.001, 0.3, 0.999]), [0.001, 0.3, 0.999])


def test_files_of_calibrations(tmp_path, refusal):
    calibration = Calibration(slope=2.0, offset=-0.25, thresh=0.75)
    calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration
    with refusal(FormatError, "cannot read"):
        Calibration.load(tmp_path / "none.json")
    for content in ('{"slope": "x"}', "[]", "{", '{"other": 1}'):
        (tmp_path / "d.json").write_text(content)
        with refusal(FormatError, "is not a calibration"):
            Calibration.load(tmp_path / "d.json")
    with refusal(ConfigError, "thresh must be from 0 to 1"):
        Calibration(thresh=2.0)


@given(st.lists(st.sampled_from([*WORDS, " red car "]), min_size=1, max_size=6))
def test_a_phrase_given_twice_keeps_its_probability(phrases):
    image, masks = painted((200, 0, 0), (0, 200, 0), (0, 0, 200))
    ranker = MaskRanker(TextPrompter(KnownClip()))
    stripped = [phrase.strip() for phrase in phrases]
    distinct = list(dict.fromkeys(stripped))
    once = ranker.probabilities(image, masks, distinct)
    expected = once[:, [distinct.index(phrase) for phrase in stripped]]
    np.testing.assert_allclose(ranker.probabilities(image, masks, phrases), expected, rtol=1e-12)


def test_a_phrase_given_three_times_is_still_the_name():
    image, masks = painted((200, 0, 0))
    ranker = MaskRanker(TextPrompter(KnownClip()), background=("anything",))
    assert ranker.name(image, masks, ["red", "red", "red", "green"]).phrases == ("red",)
    # A word for the background may be asked for, too.
    once = ranker.probabilities(image, masks, ["red", "anything"])
    assert once.sum() == pytest.approx(1)
