"""Sessions on one image: clicks, answers and undo."""

import numpy as np
import pytest

from samkit.errors import PromptError
from samkit.predict import Refinement, ask_all

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture
def session(predictor):
    return predictor.session(IMAGE)


def test_clicks_are_asked_as_a_person_refines(predictor, session):
    first = session.click(50, 40)
    expected = predictor.predict(session.embedding, points=[[50, 40]], labels=[1])
    np.testing.assert_array_equal(first.logits, expected.logits)
    np.testing.assert_array_equal(session.mask, expected.best().masks[0])

    second = session.click(60, 70, label=0)
    expected = predictor.predict(
        session.embedding,
        points=[[50, 40], [60, 70]],
        labels=[1, 0],
        mask_logits=first.best().logits[0],
        multimask=False,
    )
    np.testing.assert_allclose(second.logits, expected.logits, atol=1e-5)
    assert second.logits.shape[0] == 1


def test_undo_and_redo_go_through_all_states(session):
    assert not session.mask.any()
    assert session.mask.shape == (90, 120)
    answers = [
        None,
        session.click(50, 40),
        session.click(20, 20, label=0),
        session.box(5, 5, 99, 80),
    ]
    for answer in answers[-2::-1]:
        session.undo()
        assert session.answer is answer
    session.undo()  # nothing is left
    assert session.answer is None
    for answer in answers[1:]:
        session.redo()
        assert session.answer is answer
    session.undo()
    new = session.click(33, 33)
    session.redo()  # what was undone is gone
    assert session.answer is new
    assert session.refinement.points_xy == ((50, 40), (20, 20), (33, 33))
    session.reset()
    assert session.answer is None


def test_another_candidate_is_gone_on_from(session):
    first = session.click(50, 40)
    worst = int(first.iou_pred.argmin())
    session.choose(worst)
    np.testing.assert_array_equal(session.answer.logits[0], first.logits[worst])
    np.testing.assert_array_equal(session.refinement.mask_logits, first.logits[worst])
    with pytest.raises(PromptError, match="the last answer has 1 candidates; got number 1"):
        session.choose(1)


def test_a_refused_click_changes_nothing(session, refusal):
    answer = session.click(50, 40)
    with refusal(PromptError, "point (500, 40) lies outside"):
        session.click(500, 40)
    assert session.answer is answer


def test_many_masks_are_refined_at_once_as_one_by_one(predictor):
    embedding = predictor.embed(IMAGE)
    starts = [Refinement().clicked(50, 40, 1), Refinement().clicked(20, 70, 1)]
    together = ask_all(predictor, embedding, starts, multimask=True)
    for number, start in enumerate(starts):
        alone = ask_all(predictor, embedding, [start], multimask=True)
        np.testing.assert_allclose(together.logits[number], alone.logits[0], atol=1e-4)


def test_no_refinements_have_an_empty_answer(predictor):
    answer = ask_all(predictor, predictor.embed(IMAGE), [], multimask=False)
    assert answer.masks.shape == (0, 1, 90, 120)


def test_pixels_are_held_only_where_they_are_looked_at(predictor):
    assert predictor.session(IMAGE).image is None
    assert predictor.session(IMAGE, refine="fast").image is None
    for choice in ({"refine": "best"}, {"fine": True}):
        np.testing.assert_array_equal(predictor.session(IMAGE, **choice).image, IMAGE)
