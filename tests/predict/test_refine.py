"""Refined answers: the same as by hand, the same one by one as together, never worse at a click."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

import samkit
from samkit.errors import ConfigError, PromptError
from samkit.geometry import CoordMap, crop_of_logits, put_crop_logits
from samkit.models import CONFIGS, Sam
from samkit.predict.crops import choose_crop
from samkit.predict.refine import FINE_SHARE, MARGIN, correct_at_clicks, mask_boxes

IMAGE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
SPACE = CoordMap(original_hw=(300, 400), model_size=128)
CLICKS = {"points": [[150, 140], [160, 150], [30, 20]], "labels": [1, 1, 0]}


@pytest.fixture(scope="module")
def embedding(predictor):
    return predictor.embed(IMAGE)


@pytest.fixture
def small_object():
    """Logits of a disc around the first click, which the network is asked to refine."""
    y, x = np.mgrid[:32, :32]
    return (3 - np.hypot(x - 12, y - 11)).astype(np.float32) * 4


def assert_same(one, other, atol=0.0):
    np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=atol)
    np.testing.assert_allclose(one.iou_pred, other.iou_pred, rtol=0, atol=atol)
    assert (one.details is None) == (other.details is None)
    for own, others in zip(one.details or (), other.details or (), strict=True):
        assert (own is None) == (others is None)
        if own is not None:
            assert own.box_xyxy == others.box_xyxy
            np.testing.assert_allclose(own.logits, others.logits, rtol=0, atol=atol)


# --- Correction at clicks ---


def at_pixels(logits, points_xy):
    """Logits at the centres of pixels."""
    x, y = (SPACE.points_to_model(np.asarray(points_xy) + 0.5) / 4 - 0.5).T.astype(np.float32)
    return cv2.remap(logits, x[None], y[None], cv2.INTER_LINEAR)[0]


def disc(radius, slope=2.0):
    y, x = np.mgrid[:32, :32]
    return (slope * (radius - np.hypot(x - 15, y - 11))).astype(np.float32)


def test_honoured_clicks_change_nothing():
    logits = disc(6)
    points, labels = np.array([[195.0, 145], [20, 20]]), np.array([1, 0])
    assert correct_at_clicks(logits, points, labels, SPACE) is logits


@given(
    st.floats(2, 9),
    st.lists(st.tuples(st.integers(2, 30), st.integers(2, 22), st.booleans()), max_size=8),
)
def test_clicks_far_apart_are_all_honoured(radius, drawn):
    clicks = []
    for x, y, label in drawn:  # four cells apart and more
        if all(max(abs(x - other[0]), abs(y - other[1])) >= 4 for other in clicks):
            clicks.append((x, y, label))
    if not clicks:
        return
    points = np.array([[x * 12.5, y * 12.5] for x, y, _ in clicks])
    labels = np.array([int(label) for *_, label in clicks])
    logits = disc(radius)
    found = correct_at_clicks(logits, points, labels, SPACE)
    sign = 2.0 * labels - 1
    before, after = (sign * at_pixels(one, points) for one in (logits, found))
    wrong = before <= 0
    assert (after[wrong] > 0.5 * MARGIN).all()
    assert (after[~wrong] >= before[~wrong] - 0.2 * np.abs(found - logits).max()).all()


def test_a_contradicted_click_moves_its_surroundings_and_nothing_far_away():
    logits = disc(6)
    points, labels = np.array([[195.0, 145], [290, 145]]), np.array([1, 1])  # the second is outside
    change = correct_at_clicks(logits, points, labels, SPACE) - logits
    np.testing.assert_allclose(at_pixels(logits + change, points)[1], MARGIN, rtol=0.1)
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert abs(x - 22.7) <= 1
    assert abs(y - 11.1) <= 1
    np.testing.assert_allclose(change[:, :15], 0, atol=0.01)


def test_boxes_of_masks():
    logits = np.full((3, 32, 32), -1, np.float32)
    logits[0, 4:8, 10:20] = 1
    logits[2, 20:, 28:] = 1  # into the padding
    np.testing.assert_allclose(
        mask_boxes(logits, SPACE),
        [[125, 50, 250, 100], [np.nan] * 4, [350, 250, 400, 300]],
    )


# --- Levels ---


def test_none_is_the_default_and_what_it_was(predictor, embedding):
    plain = predictor.predict(embedding, **CLICKS, multimask=False)
    assert_same(predictor.predict(embedding, **CLICKS, multimask=False, refine="none"), plain)
    assert plain.details is None


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_three_candidates_stay_as_they_are(predictor, embedding, refine):
    assert_same(
        predictor.predict(embedding, points=[[150, 140]], refine=refine),
        predictor.predict(embedding, points=[[150, 140]]),
    )


def test_fast_is_a_correction_at_clicks(predictor, embedding, small_object):
    prompt = {**CLICKS, "multimask": False, "mask_logits": small_object}
    plain = predictor.predict(embedding, **prompt)
    points, labels = np.array(CLICKS["points"], float), np.array(CLICKS["labels"])
    expected = correct_at_clicks(plain.logits[0], points, labels, embedding.coords)
    assert not np.array_equal(expected, plain.logits[0])
    found = predictor.predict(embedding, **prompt, refine="fast")
    np.testing.assert_array_equal(found.logits[0], expected)
    np.testing.assert_array_equal(found.iou_pred, plain.iou_pred)
    assert found.details is None


@pytest.fixture
def large_answers(predictor, monkeypatch):
    """No object is small in the image."""
    monkeypatch.setattr("samkit.predict.crops.choose_crop", lambda *_: None)


def test_best_is_a_second_pass_and_a_correction(predictor, embedding, small_object, large_answers):
    prompt = {**CLICKS, "multimask": False}
    first = predictor.predict(embedding, **prompt, mask_logits=small_object)
    second = predictor.predict(
        embedding,
        **prompt,
        mask_logits=first.logits[0],
        boxes=mask_boxes(first.logits, SPACE)[0],
    )
    points, labels = np.array(CLICKS["points"], float), np.array(CLICKS["labels"])
    expected = correct_at_clicks(second.logits[0], points, labels, embedding.coords)
    found = predictor.predict(embedding, **prompt, mask_logits=small_object, refine="best")
    np.testing.assert_array_equal(found.logits[0], expected)
    np.testing.assert_array_equal(found.iou_pred, second.iou_pred)
    assert found.details is None


def test_a_box_is_kept_in_the_second_pass(predictor, embedding, large_answers):
    prompt = {"boxes": [100, 80, 220, 200], "points": [[160, 150]], "multimask": False}
    first = predictor.predict(embedding, **prompt)
    second = predictor.predict(embedding, **prompt, mask_logits=first.logits[0])
    expected = correct_at_clicks(
        second.logits[0], np.array([[160.0, 150]]), np.array([1]), embedding.coords
    )
    found = predictor.predict(embedding, **prompt, refine="best")
    np.testing.assert_array_equal(found.logits[0], expected)


@pytest.fixture
def disc_answers(predictor, monkeypatch, small_object):
    """A decoder that answers the image with a small disc, and crops as the network does."""
    decode = predictor.decoder.decode
    asked = []

    def answer(embedding, prompts, *, multimask):
        asked.append((embedding, prompts))
        found = decode(embedding, prompts, multimask=multimask)
        if embedding.coords.original_hw != IMAGE.shape[:2]:
            return found
        return replace(found, logits=np.broadcast_to(small_object, found.logits.shape).copy())

    monkeypatch.setattr(predictor.decoder, "decode", answer)
    return asked


def test_best_looks_into_a_crop(predictor, embedding, disc_answers, small_object):
    found = predictor.predict(embedding, **CLICKS, multimask=False, refine="best")
    (detail,) = found.details
    box = np.array([125.0, 112.5, 187.5, 175.0])
    np.testing.assert_array_equal(mask_boxes(small_object[None], SPACE)[0], box)
    assert detail.box_xyxy == choose_crop(box, (300, 400))
    x0, y0, x1, y1 = detail.box_xyxy
    crop, prompts = disc_answers[-1]
    assert crop.coords.original_hw == (y1 - y0, x1 - x0)
    # The third click lies outside of the crop.
    np.testing.assert_array_equal(prompts.points_xy, [[[150 - x0, 140 - y0], [160 - x0, 150 - y0]]])
    np.testing.assert_array_equal(prompts.labels, [[1, 1]])
    np.testing.assert_array_equal(prompts.boxes_xyxy[0], box - [x0, y0, x0, y0])
    coarse = crop_of_logits(small_object, embedding.coords, detail.box_xyxy, crop.coords)
    np.testing.assert_array_equal(prompts.mask_logits[0, 0], coarse)
    fine = predictor.predict(
        crop,
        points=prompts.points_xy[0],
        labels=prompts.labels[0],
        boxes=prompts.boxes_xyxy[0],
        mask_logits=coarse,
        multimask=False,
    ).logits[0]
    expected = correct_at_clicks(
        FINE_SHARE * fine + (1 - FINE_SHARE) * coarse,
        prompts.points_xy[0],
        prompts.labels[0],
        crop.coords,
    )
    np.testing.assert_array_equal(detail.logits, expected)
    np.testing.assert_array_equal(
        found.logits[0],
        put_crop_logits(
            small_object, embedding.coords, detail.logits, detail.box_xyxy, crop.coords
        ),
    )
    # The mask is the crop's inside and the image's outside.
    own, around = found.masks[0], predictor.predict(embedding, **CLICKS, multimask=False).masks[0]
    inside = np.zeros_like(own)
    inside[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(own[~inside], around[~inside])


def test_a_crop_without_a_click_inside_is_asked_by_box_and_mask(predictor, embedding, disc_answers):
    clicks = {"points": [[30, 20], [20, 30], [380, 280]], "labels": [0, 0, 0]}
    found = predictor.predict(embedding, **clicks, multimask=False, refine="best")
    assert found.details[0] is not None
    assert disc_answers[-1][1].points_xy is None


def test_a_click_on_another_part_makes_the_crop_larger(predictor, embedding, disc_answers):
    near = predictor.predict(embedding, **CLICKS, multimask=False, refine="best").details[0]
    clicks = {"points": [[150, 140], [160, 150], [110, 140]], "labels": [1, 1, 1]}
    far = predictor.predict(embedding, **clicks, multimask=False, refine="best").details[0]
    near_side, far_side = (one.box_xyxy[2] - one.box_xyxy[0] for one in (near, far))
    assert (near_side, far_side) == (128, 181)
    assert far.box_xyxy[0] <= 110 < far.box_xyxy[2]


def test_large_objects_and_unclear_prompts_have_no_crop(predictor, embedding, disc_answers):
    two = {"points": CLICKS["points"][:2], "labels": [1, 1], "multimask": False}
    assert predictor.predict(embedding, **two, refine="best").details is None
    clicks = {"points": [[150, 140], [160, 150], [390, 290]], "labels": [1, 1, 1]}
    assert predictor.predict(embedding, **clicks, multimask=False, refine="best").details is None


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_prompts_together_get_the_answers_they_get_alone(
    predictor, embedding, disc_answers, refine
):
    points = [np.array(CLICKS["points"]), np.array([[300, 200]]), np.array([[90, 90], [160, 150]])]
    labels = [np.array(CLICKS["labels"]), np.array([1]), np.array([0, 1])]
    together = predictor.predict(
        embedding, points=points, labels=labels, multimask=False, refine=refine
    )
    for number, (own_points, own_labels) in enumerate(zip(points, labels, strict=True)):
        alone = predictor.predict(
            embedding, points=own_points, labels=own_labels, multimask=False, refine=refine
        )
        found = together.prompt(number)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)
        detail = None if found.details is None else found.details[0]
        assert (detail is None) == (alone.details is None)
    again = predictor.predict(
        embedding, points=points, labels=labels, multimask=False, refine=refine
    )
    assert_same(again, together)


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_no_prompts_have_an_empty_answer(predictor, embedding, refine):
    answer = predictor.predict(embedding, boxes=[], multimask=False, refine=refine)
    assert answer.masks.shape == (0, 1, 300, 400)


def test_an_empty_mask_is_left_empty(predictor, embedding, monkeypatch):
    decode = predictor.decoder.decode

    def nothing(*args, **kwargs):
        found = decode(*args, **kwargs)
        return replace(found, logits=np.full_like(found.logits, -5))

    monkeypatch.setattr(predictor.decoder, "decode", nothing)
    answer = predictor.predict(embedding, boxes=[100, 80, 220, 200], multimask=False, refine="best")
    assert not answer.masks.any()
    assert answer.details is None


# --- The image ---


def test_best_without_pixels_is_refused_with_the_way_out(predictor, embedding, tmp_path, refusal):
    embedding.save(tmp_path / "a.safetensors")
    loaded = samkit.ImageEmbedding.load(tmp_path / "a.safetensors")
    prompt = {**CLICKS, "multimask": False}
    with refusal(PromptError, "are not cached with this embedding: give them as image="):
        predictor.predict(loaded, **prompt, refine="best")
    assert_same(
        predictor.predict(loaded, **prompt, refine="best", image=IMAGE),
        predictor.predict(embedding, **prompt, refine="best"),
        atol=1e-5,
    )
    predictor.predict(loaded, **prompt, refine="fast")  # needs none


def test_unknown_levels_are_refused(predictor, embedding, refusal):
    with refusal(ConfigError, "refine must be none, fast or best; got 'better'"):
        predictor.predict(embedding, **CLICKS, refine="better")
    with refusal(ConfigError, "refine must be none, fast or best; got True"):
        predictor.session(IMAGE, refine=True)


def test_decoders_of_one_encoder_share_crops(predictor, embedding, randomise):
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    other = predictor.with_decoder(model)
    assert other.crops is predictor.crops
    assert_same(
        other.predict(embedding, **CLICKS, multimask=False, refine="best"),
        predictor.predict(embedding, **CLICKS, multimask=False, refine="best"),
        atol=1e-4,
    )


# --- Sessions ---


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_a_session_refines_every_answer_and_undoes_it(predictor, disc_answers, refine):
    session = predictor.session(IMAGE, refine=refine)
    answers = [session.click(150, 140), session.click(160, 150), session.click(30, 20, label=0)]
    masks = [answer.best().logits[0] for answer in answers]
    expected = predictor.predict(
        session.embedding,
        **CLICKS,
        mask_logits=masks[1],
        multimask=False,
        refine=refine,
        image=IMAGE,
    )
    assert_same(answers[2], expected, atol=1e-5)
    np.testing.assert_array_equal(session.mask, answers[2].masks[0])
    session.undo()
    assert session.answer is answers[1]
    assert_same(session.click(30, 20, label=0), answers[2], atol=1e-5)


def test_a_session_needs_no_cached_pixels(predictor, disc_answers):
    session = predictor.session(IMAGE, refine="best")
    predictor.crops._pixels.clear()
    for (x, y), label in zip(*CLICKS.values(), strict=True):
        answer = session.click(x, y, label)
    assert answer.details is not None


# --- The embedded weights ---


@pytest.fixture(scope="module")
def mobile_sam():
    return samkit.Predictor.load(backend="torch", precision="float32")


def test_the_spoon_of_the_coffee_is_seen_in_detail(mobile_sam):
    """Three clicks on an object of 1.4% of the image; every click is honoured."""
    image = skimage.data.coffee()
    embedding = mobile_sam.embed(image)
    clicks = {"points": [[470, 310], [440, 290], [400, 330]], "labels": [1, 1, 0]}
    for refine in ("fast", "best"):
        answer = mobile_sam.predict(embedding, **clicks, multimask=False, refine=refine)
        (mask,) = answer.masks
        assert [mask[y, x] for x, y in clicks["points"]] == [True, True, False]
