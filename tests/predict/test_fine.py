"""Fine masks of a predictor: of the image's edges, wherever masks are made of an answer."""

import numpy as np
import pytest

import samkit
from samkit import MaskPrediction, Predictor
from samkit.errors import PromptError
from samkit.geometry import CoordMap, decode_rle, fine_mask, logits_to_original
from samkit.models import CONFIGS, Sam
from samkit.types.prediction import MaskDetail
from stub_detector import StubDetector

RNG = np.random.default_rng(0)
IMAGE = np.kron(RNG.integers(0, 256, (30, 40, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
CLICK = {"points": [[150, 140]], "labels": [1]}


@pytest.fixture(scope="module")
def embedding(predictor):
    return predictor.embed(IMAGE)


def expected_masks(answer):
    side = answer.coords.logits_size
    return np.array(
        [
            fine_mask(logits_to_original(logits, answer.coords), answer.coords, IMAGE)
            for logits in answer.logits.reshape(-1, side, side)
        ]
    )


def test_the_default_is_what_it_was(predictor, embedding):
    answer = predictor.predict(embedding, **CLICK)
    assert answer.guide is None
    same = predictor.predict(embedding, **CLICK, fine=False, image=IMAGE)
    np.testing.assert_array_equal(same.masks, answer.masks)
    for number, mask in enumerate(answer.masks):
        np.testing.assert_array_equal(mask, answer.image_logits(number) > 0)


def test_masks_follow_the_image_and_logits_do_not(predictor, embedding):
    plain = predictor.predict(embedding, **CLICK)
    fine = predictor.predict(embedding, **CLICK, fine=True)
    np.testing.assert_array_equal(fine.logits, plain.logits)
    np.testing.assert_array_equal(fine.iou_pred, plain.iou_pred)
    np.testing.assert_array_equal(fine.stability(), plain.stability())
    np.testing.assert_array_equal(fine.masks, expected_masks(plain))
    assert np.count_nonzero(fine.masks != plain.masks) > 100
    given = predictor.predict(embedding, **CLICK, fine=True, image=IMAGE)
    np.testing.assert_array_equal(given.masks, fine.masks)


def test_all_that_is_made_of_an_answer_is_fine(predictor, embedding):
    points = [[[150, 140]], [[60, 200]]]
    answer = predictor.predict(embedding, points=points, labels=[[1], [1]], fine=True)
    masks = expected_masks(answer)
    np.testing.assert_array_equal(answer.masks.reshape(masks.shape), masks)
    np.testing.assert_array_equal([decode_rle(rle) for rle in answer.rles()], masks)
    np.testing.assert_array_equal(answer.to_masks().areas, masks.sum(axis=(1, 2)))
    best = answer.iou_pred.argmax(axis=1)
    for number in range(2):
        own = masks[3 * number + best[number]]
        np.testing.assert_array_equal(answer.best().masks[number, 0], own)
        np.testing.assert_array_equal(answer.prompt(number).best().masks[0], own)
        np.testing.assert_array_equal(answer.candidate(2).masks[number, 0], masks[3 * number + 2])


def test_a_detail_follows_the_image_on_its_own_scale():
    coords, crop = (CoordMap(original_hw=hw, model_size=128) for hw in ((300, 400), (120, 140)))
    y, x = np.mgrid[:32, :32]
    logits, own = (
        ((5 - np.hypot(x - 12 * scale, y - 11 * scale)) * 3).astype(np.float32)
        for scale in (1.0, 1.3)
    )
    detail = MaskDetail(logits=own, box_xyxy=(90, 80, 230, 200), coords=crop)
    answer = MaskPrediction(
        logits=logits[None],
        iou_pred=np.ones(1, np.float32),
        coords=coords,
        details=(detail,),
        guide=IMAGE,
    )
    expected = fine_mask(logits_to_original(logits, coords), coords, IMAGE)
    part = IMAGE[80:200, 90:230]
    expected[80:200, 90:230] = fine_mask(logits_to_original(own, crop), crop, part)
    np.testing.assert_array_equal(answer.masks[0], expected)
    np.testing.assert_array_equal(decode_rle(answer.rles()[0]), expected)
    plain = answer.image_logits(0) > 0
    assert np.count_nonzero(plain[80:200, 90:230] != expected[80:200, 90:230]) > 20


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_refined_answers_are_fine_as_well(predictor, embedding, refine):
    clicks = {"points": [[150, 140], [160, 150], [30, 20]], "labels": [1, 1, 0]}
    plain = predictor.predict(embedding, **clicks, multimask=False, refine=refine)
    fine = predictor.predict(embedding, **clicks, multimask=False, refine=refine, fine=True)
    np.testing.assert_array_equal(fine.logits, plain.logits)
    assert plain.guide is None
    if plain.details is None:
        np.testing.assert_array_equal(fine.masks, expected_masks(plain))


def test_fast_answers_do_not_look_closer_because_of_fine(predictor, embedding, monkeypatch):
    monkeypatch.setattr(predictor.crops, "embed", lambda *_: pytest.fail("a crop is embedded"))
    predictor.predict(embedding, **CLICK, multimask=False, refine="fast", fine=True)


def test_a_session_follows_the_image(predictor):
    session, plain = predictor.session(IMAGE, fine=True), predictor.session(IMAGE)
    for one in (session, plain):
        one.click(150, 140)
        one.click(60, 200, label=0)
    np.testing.assert_array_equal(session.answer.logits, plain.answer.logits)
    np.testing.assert_array_equal(session.mask, expected_masks(plain.answer.best())[0])
    assert not np.array_equal(session.mask, plain.mask)


def test_masks_of_text_follow_the_image(randomise):
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    detector = StubDetector(((100, 80, 220, 200), 0.9, "a car"), ((20, 30, 90, 90), 0.5, "a car"))
    predictor = Predictor(model, model_name="tiny", text_model=detector)
    embedding = predictor.embed(IMAGE)
    plain = predictor.predict_text(embedding, "a car", image=IMAGE)
    fine = predictor.predict_text(embedding, "a car", image=IMAGE, fine=True)
    assert plain.guide is None
    assert fine.phrases == plain.phrases == ("a car", "a car")
    np.testing.assert_array_equal(fine.logits, plain.logits)
    np.testing.assert_array_equal(fine.masks.reshape(-1, 300, 400), expected_masks(plain))


def test_without_pixels_it_is_refused_with_the_way_out(predictor, embedding, tmp_path, refusal):
    embedding.save(tmp_path / "a.safetensors")
    loaded = samkit.ImageEmbedding.load(tmp_path / "a.safetensors")
    with refusal(
        PromptError,
        "fine=True looks at the image again, whose pixels are not cached with this embedding:"
        " give them as image=",
    ):
        predictor.predict(loaded, **CLICK, fine=True)
    with refusal(PromptError, "image must be the embedded one, of 400 x 300 pixels; got 40 x 30"):
        predictor.predict(loaded, **CLICK, fine=True, image=IMAGE[::10, ::10])
    found = predictor.predict(loaded, **CLICK, fine=True, image=IMAGE)
    expected = predictor.predict(embedding, **CLICK, fine=True)
    np.testing.assert_array_equal(found.masks, expected.masks)


def test_a_guide_of_another_size_is_refused(predictor, embedding):
    answer = predictor.predict(embedding, **CLICK)
    with pytest.raises(ValueError, match=r"guide must be \(300, 400, 3\); got \(30, 40, 3\)"):
        MaskPrediction(
            logits=answer.logits,
            iou_pred=answer.iou_pred,
            coords=answer.coords,
            guide=IMAGE[::10, ::10],
        )
