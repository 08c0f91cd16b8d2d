"""Masks of objects of given classes, by a detector and by CLIP."""

from dataclasses import replace

import numpy as np
import pytest

from proposals.scenery import make_image
from samkit.errors import ConfigError, PromptError
from samkit.predict import Predictor
from samkit.proposals import ClassMasker
from samkit.proposals.classes import join, one_of_each
from samkit.text import Calibration, MaskRanker, TextPrompter
from samkit.types import Masks
from stub_detector import StubDetector

IMAGE = make_image(80, 120)
BOXES = ((10, 10, 60, 50), (70, 30, 110, 75))


def masks_at(*boxes, scores=None):
    arrays = np.zeros((len(boxes), 80, 120), bool)
    for array, (x0, y0, x1, y1) in zip(arrays, boxes, strict=True):
        array[y0:y1, x0:x1] = True
    return Masks.from_arrays(
        arrays, np.linspace(0.9, 0.8, len(boxes)) if scores is None else scores
    )


class StubMasker:
    """Finds the same masks in each image."""

    def __init__(self, masks, predictor=None):
        self.masks, self.predictor, self.images = masks, predictor, []

    def generate(self, image, *, embedding=None, on_progress=None):
        self.images.append(image)
        self.embedding = embedding
        if on_progress is not None:
            on_progress(1, 1)
        return self.masks


def test_a_detectors_boxes_are_answered(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    detector = StubDetector((BOXES[0], 0.8, "car"), (BOXES[1], 0.6, "tree"))
    everything = StubMasker(masks_at(BOXES[0]), predictor)
    masker = ClassMasker(everything, ["car", "tree"], detector, thresh=0.4)
    masks = masker.generate(IMAGE)
    assert everything.images == []
    assert [thresh for *_, thresh in detector.asked] == [0.4]
    expected = predictor.predict(predictor.embed(IMAGE), boxes=BOXES, multimask=False)
    found = [index for index in range(2) if expected.masks[index, 0].any()]
    assert found
    np.testing.assert_array_equal(masks.to_arrays(), expected.masks[found, 0])
    assert masks.phrases == tuple(("car", "tree")[index] for index in found)
    np.testing.assert_allclose(masks.phrase_scores, np.array([0.8, 0.6])[found], rtol=1e-6)


def test_an_image_that_is_embedded_is_not_embedded_again(tiny_sam, monkeypatch):
    predictor = Predictor(tiny_sam, model_name="tiny")
    everything = StubMasker(masks_at(BOXES[0]), predictor)
    detector = StubDetector((BOXES[1], 0.8, "car"))
    masker = ClassMasker(everything, ["car"], detector, keep_others=True)
    expected = masker.generate(IMAGE)
    embedding = predictor.embed(IMAGE)
    monkeypatch.setattr(predictor, "embed", None)
    assert masker.generate(IMAGE, embedding=embedding).rles == expected.rles
    assert everything.embedding is embedding


def test_the_embedding_of_an_image_of_another_size_is_refused(tiny_sam, refusal):
    predictor = Predictor(tiny_sam, model_name="tiny")
    masker = ClassMasker(StubMasker(None, predictor), ["car"], StubDetector())
    with refusal(PromptError, "of (90, 120) pixels (height, width), and this one has (80, 120)"):
        masker.generate(IMAGE, embedding=predictor.embed(make_image(90, 120)))


def test_nothing_found_is_no_masks(tiny_sam):
    masker = ClassMasker(
        StubMasker(None, Predictor(tiny_sam, model_name="tiny")), ["car"], StubDetector()
    )
    masks = masker.generate(IMAGE)
    assert (len(masks), masks.phrases) == (0, ())


def test_with_a_detector_others_are_those_of_everything(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    detector = StubDetector((BOXES[0], 0.8, "car"))
    own = ClassMasker(StubMasker(None, predictor), ["car"], detector).generate(IMAGE)
    same, other = tuple(own.boxes_xyxy[0].tolist()), (0, 60, 30, 80)
    everything = StubMasker(masks_at(same, other), predictor)
    masker = ClassMasker(everything, ["car"], detector, keep_others=True)
    masks = masker.generate(IMAGE)
    assert masks.phrases == ("car", "")
    assert masks.rles[0] == own.rles[0]
    assert masks.boxes_xyxy[1].tolist() == list(other)
    assert masks.phrase_scores.tolist()[1] == 0


def test_clip_names_everything(clip):
    everything = masks_at((5, 5, 40, 40), (60, 10, 110, 70), (0, 0, 120, 80))
    prompter = TextPrompter(clip)
    calls = []
    masker = ClassMasker(StubMasker(everything), ["red car", "tree"], prompter, thresh=0.0)
    masks = masker.generate(IMAGE, on_progress=lambda *at: calls.append(at))
    named = MaskRanker(prompter).name(IMAGE, everything, ["red car", "tree"], thresh=0.0)
    assert calls == [(1, 1)]
    assert sorted(masks.phrases) == sorted(named.phrases)
    assert masks.phrase_scores.tolist() == sorted(named.phrase_scores.tolist(), reverse=True)


def test_clips_calibration_counts(clip):
    everything = masks_at((5, 5, 40, 40), (60, 10, 110, 70))
    never = Calibration(slope=1.0, offset=-50.0)
    prompter = TextPrompter(clip)
    masker = ClassMasker(StubMasker(everything), ["tree"], prompter, calibration=never)
    assert len(masker.generate(IMAGE)) == 0
    kept = ClassMasker(
        StubMasker(everything), ["tree"], prompter, calibration=never, keep_others=True
    ).generate(IMAGE)
    assert kept.phrases == ("", "")


def test_of_one_class_one_of_each_thing_stays():
    masks = replace(
        masks_at((0, 0, 40, 40), (1, 0, 40, 40), (0, 0, 40, 39), (60, 0, 100, 40)),
        phrases=("car", "car", "tree", ""),
        phrase_scores=np.array([0.5, 0.9, 0.7, 0.1], np.float32),
    )
    assert one_of_each(masks, keep_others=False).phrase_scores.tolist() == pytest.approx([0.9, 0.7])
    assert one_of_each(masks, keep_others=True).phrases == ("car", "tree", "")


def test_joined_masks_keep_what_both_have():
    named = replace(
        masks_at((0, 0, 40, 40)), phrases=("car",), phrase_scores=np.array([0.5], np.float32)
    )
    everything = replace(
        masks_at((0, 0, 40, 41), (50, 0, 90, 40)), stability=np.ones(2, np.float32)
    )
    both = join(named, everything)
    assert both.phrases == ("car", "")
    np.testing.assert_array_equal(both.stability, [np.nan, 1])
    assert both.points_xy is None
    assert both.boxes_xyxy.tolist() == [[0, 0, 40, 40], [50, 0, 90, 40]]
    assert len(join(named, everything.select(np.zeros(0, int)))) == 1
    assert len(join(named.select(np.zeros(0, int)), everything)) == 2


@pytest.mark.parametrize("classes", [[], [""], ["car", " "]])
def test_classes_must_be_words(classes, refusal):
    with refusal(PromptError, "classes must be words"):
        ClassMasker(StubMasker(None), classes, StubDetector())


def test_classes_are_asked_for_once(tiny_sam):
    everything = StubMasker(None, Predictor(tiny_sam, model_name="tiny"))
    masker = ClassMasker(everything, ["car", "tree", "car"], StubDetector())
    assert masker.classes == ("car", "tree")


def test_a_detector_needs_a_predictor_that_answers_boxes(refusal):
    with refusal(ConfigError, "boxes are answered: create the AutoMasker with a samkit.Predictor"):
        ClassMasker(StubMasker(None), ["car"], StubDetector())
