"""The `text` protocol, with predictors whose answers are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.stub import SIDE, SURE, make_sample, rectangle
from samkit.evaluation import MaskChoice, TextToMask
from samkit.evaluation.text import is_pair, masks_by_phrase
from samkit.geometry import CoordMap
from samkit.types import MaskPrediction

RED_CIRCLE, RED_SQUARE = rectangle(0, 0, 16, 16), rectangle(32, 32, 56, 56)
NOTHING = np.zeros((SIDE, SIDE), bool)
PHRASES = ("a red circle", "a red square")


class TextStub:
    """Answers each phrase with the masks and scores of a table, and clicks with one mask.

    Attributes:
        asked: keyword arguments of each call.
    """

    def __init__(self, table, corrected=None):
        self.table, self.corrected, self.asked = table, corrected, []

    reads_as_tokens = True

    def predict(self, embedding, **prompts):
        return self.predict_text(embedding, None, **prompts)

    def predict_text(self, embedding, text, **prompts):
        prompts["text"] = text
        self.asked.append(prompts)
        if prompts.get("points") is not None:
            found = [(prompts["text"], self.corrected, 1.0)]
        else:
            found = [
                (phrase, mask, score)
                for phrase in prompts["text"]
                for mask, score in self.table.get(phrase, [])
            ]
        logits = [[np.where(mask, SURE, -SURE)] for _, mask, _ in found]
        return MaskPrediction(
            logits=np.array(logits, np.float32).reshape(-1, 1, SIDE, SIDE),
            iou_pred=np.ones((len(found), 1), np.float32),
            coords=embedding.coords,
            phrases=tuple(phrase for phrase, _, _ in found),
            phrase_scores=np.array([score for *_, score in found], np.float32),
        )


def measure(stub, phrases=PHRASES, masks=(RED_CIRCLE, RED_SQUARE)):
    sample = replace(make_sample(*masks), phrases=phrases)
    embedding = SimpleNamespace(coords=CoordMap(original_hw=(SIDE, SIDE), model_size=4 * SIDE))
    result = TextToMask().measure(stub, embedding, sample)
    return result, TextToMask().summarise([result]).metrics


def test_right_answers():
    stub = TextStub({PHRASES[0]: [(RED_CIRCLE, 0.9)], PHRASES[1]: [(RED_SQUARE, 0.9)]})
    result, metrics = measure(stub)
    assert result == {"masks": 2, "ious": [1, 1], "corrected": [1, 1], "pairs": [True, True]}
    assert metrics["text_miou"] == metrics["text_corrected_miou"] == 1
    assert metrics["text_pairs_right"] == 1
    assert len(stub.asked) == 1  # nothing is left to be corrected


def test_answers_that_are_exchanged():
    stub = TextStub({PHRASES[0]: [(RED_SQUARE, 0.9)], PHRASES[1]: [(RED_CIRCLE, 0.9)]}, RED_CIRCLE)
    result, metrics = measure(stub)
    assert (result["ious"], result["pairs"]) == ([0, 0], [False, False])
    assert metrics["text_pairs_right"] == 0
    assert result["corrected"] == [1, 0]
    click = stub.asked[1]
    assert click["text"] == PHRASES[0]
    # The square that is wrong is larger than the circle that was missed.
    assert click["labels"] == [0]
    (x, y) = click["points"][0]
    assert RED_SQUARE[y, x]
    assert click["mask_logits"].shape == (SIDE, SIDE)
    assert click["multimask"] is False


def test_of_several_answers_the_best_score_counts():
    stub = TextStub({PHRASES[0]: [(NOTHING, 0.2), (RED_CIRCLE, 0.8)], PHRASES[1]: []}, RED_CIRCLE)
    result, _ = measure(stub)
    assert result["ious"] == [1, 0]  # nothing was found for the second
    assert result["corrected"] == [1, 0]
    assert result["pairs"] == [True, False]


def test_any_of_the_masks_that_are_called_so_is_right():
    stub = TextStub({"a dog": [(RED_SQUARE, 0.9)]})
    result, metrics = measure(stub, ("a dog", "a dog"))
    assert (result["masks"], result["ious"], result["pairs"]) == (1, [1.0], [])
    assert "text_pairs_right" not in metrics


def test_masks_without_a_name_are_not_asked_for():
    stub = TextStub({})
    assert measure(stub, ())[0]["masks"] == 0
    assert measure(stub, ("", ""))[0]["masks"] == 0
    assert stub.asked == []
    assert TextToMask().summarise([]).metrics == {}


@pytest.mark.parametrize(
    ("one", "other", "pair"),
    [
        ("a red circle", "a red square", True),
        ("a red circle", "a blue circle", True),
        ("a red circle", "a blue square", False),
        ("a red circle", "a striped red circle", False),
        ("a red circle", "a red circle", False),
    ],
)
def test_pairs_differ_in_one_word(one, other, pair):
    assert is_pair(one, other) is pair


def test_settings_say_what_reads_text():
    assert TextToMask(text_model="somewhere").settings()["text_model"] == "somewhere"


def test_all_masks_that_are_called_so_are_right_also_those_not_chosen():
    many = [rectangle(8 * n, 0, 8 * n + 6, 6) for n in range(6)]
    sample = replace(make_sample(*many), phrases=("a dog",) * 6)
    assert [len(masks) for masks in masks_by_phrase(sample, [2]).values()] == [6]
    stub = TextStub({"a dog": [(many[5], 0.9)]})
    embedding = SimpleNamespace(coords=CoordMap(original_hw=(SIDE, SIDE), model_size=4 * SIDE))
    one = TextToMask(choice=MaskChoice(masks_per_image=1, min_area_px=1))
    assert one.measure(stub, embedding, sample)["ious"] == [1.0]


def test_with_a_detector_the_click_goes_with_the_mask_alone():
    stub = TextStub({PHRASES[0]: [(RED_SQUARE, 0.9)], PHRASES[1]: [(RED_SQUARE, 0.9)]}, RED_CIRCLE)
    stub.reads_as_tokens = False
    result, _ = measure(stub)
    assert result["corrected"] == [1, 1]
    assert stub.asked[1]["text"] is None
