"""Text prompts: as tokens of a model that takes them, or as boxes that a detector finds."""

import json
import shutil

import numpy as np
import pytest
import torch

from samkit import Predictor, Prompts
from samkit.errors import ImageError, PromptError, WeightsError
from samkit.models import PromptTensors
from samkit.text import Clip, TextPrompter
from samkit.weights.checkpoint import TextEncoder, save_checkpoint
from stub_detector import StubDetector

HEIGHT, WIDTH = 90, 120
CLICK = {"points": [[50, 40]], "labels": [1]}
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


BOXES = (
    ((10, 10, 60, 50), 0.9, "a car"),
    ((11, 10, 60, 50), 0.8, "a car"),  # the same car
    ((70, 30, 110, 80), 0.7, "a tree"),
)


@pytest.fixture
def predictor(text_sam, text_encoder, clip):
    return Predictor(
        text_sam, model_name="tiny", text_encoder=text_encoder, text_model=TextPrompter(clip)
    )


@pytest.fixture
def embedding(predictor):
    return predictor.embed(IMAGE)


@pytest.fixture
def plain_sam(tiny_sam):
    return tiny_sam


def grounded(sam, *found):
    return Predictor(sam, model_name="tiny", text_model=StubDetector(*found))


# --- Tokens ---


def test_words_are_the_networks_answer_to_their_vectors(predictor, embedding, clip):
    answer = predictor.predict_text(embedding, ["red car", "a tree"])
    codes = torch.from_numpy(clip.encode_texts(["red car", "a tree"]))
    with torch.no_grad():
        logits, iou_pred = predictor.model.decode(
            embedding.features, PromptTensors(text_embeds=codes)
        )
    np.testing.assert_allclose(answer.logits, logits, atol=1e-4)
    np.testing.assert_allclose(answer.iou_pred, iou_pred, atol=1e-5)
    assert answer.phrases == ("red car", "a tree")
    np.testing.assert_array_equal(answer.phrase_scores, answer.iou_pred.max(axis=1).clip(0, 1))
    assert not np.allclose(answer.logits[0], answer.logits[1])


def test_one_phrase_has_a_prompt_axis_too(predictor, embedding):
    one = predictor.predict_text(embedding, "red car")
    assert one.masks.shape == (1, 3, HEIGHT, WIDTH)
    both = predictor.predict_text(embedding, ["red car", "a tree"])
    np.testing.assert_allclose(one.logits[0], both.logits[0], atol=1e-4)
    single = predictor.predict_text(embedding, "red car", multimask=False)
    assert single.iou_pred.shape == (1, 1)


def test_vectors_are_taken_as_they_are(predictor, embedding, clip):
    codes = clip.encode_texts(["red car", "a tree"])
    words = predictor.predict_text(embedding, ["red car", "a tree"])
    vectors = predictor.predict_text(embedding, codes)
    np.testing.assert_allclose(vectors.logits, words.logits, atol=1e-5)
    assert vectors.phrases is None
    assert predictor.predict_text(embedding, codes[0]).iou_pred.shape == (1, 3)
    # Those of a picture are of the same space.
    assert predictor.predict_text(embedding, clip.encode_images([IMAGE[:90, :90]])).phrases is None


def test_points_boxes_and_masks_go_with_a_phrase(predictor, embedding, clip):
    code = clip.encode_texts(["red car"])
    first = predictor.predict_text(embedding, "red car").best()
    for parts in (
        CLICK,
        {"boxes": [10, 10, 60, 50]},
        {**CLICK, "mask_logits": first.logits[0]},
        {**CLICK, "boxes": [10, 10, 60, 50]},
    ):
        answer = predictor.predict_text(embedding, "red car", multimask=False, **parts)
        prompts = Prompts.of(text_embeds=code[0], **parts)
        expected = predictor.decode(embedding, prompts, multimask=False)
        np.testing.assert_allclose(answer.logits[0], expected.logits, atol=1e-5)
        without = predictor.predict(embedding, multimask=False, **parts)
        assert not np.allclose(answer.logits[0], without.logits)


def test_points_of_each_of_several_phrases(predictor, embedding):
    answer = predictor.predict_text(
        embedding, ["red car", "a tree"], points=[[[5, 5]], [[50, 60]]], labels=[[1], [0]]
    )
    alone = predictor.predict_text(embedding, "a tree", points=[[50, 60]], labels=[0])
    np.testing.assert_allclose(answer.logits[1], alone.logits[0], atol=1e-4)


def test_masks_carry_phrase_and_score(predictor, embedding):
    answer = predictor.predict_text(embedding, ["red car", "a tree"])
    masks = answer.to_masks()
    assert masks.phrases == ("red car",) * 3 + ("a tree",) * 3
    np.testing.assert_array_equal(masks.phrase_scores, np.repeat(answer.phrase_scores, 3))
    best = answer.best().to_masks()
    assert best.phrases == ("red car", "a tree")
    assert best.labels[0] == f"red car {answer.phrase_scores[0]:.2f}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "text must not be empty"),
        ([], "at least one phrase"),
        (["car", ""], "text must not be empty"),
        ("red " * 99, "shorten it"),
        (5, "text_embeds must be (D,) or (P, D); got ()"),
        ([5], "text must be a word or words"),
        (np.ones(5, np.float32), "text_embeds must be (P, 12)"),
        (np.zeros((1, 1, 12), np.float32), "text_embeds must be (D,) or (P, D)"),
        (np.zeros(12, np.float32), "text_embeds must have a direction"),
        (np.full(12, np.nan, np.float32), "text_embeds must be finite"),
    ],
)
def test_bad_text_is_refused(predictor, embedding, text, told, refusal):
    with refusal(PromptError, told):
        predictor.predict_text(embedding, text)


def test_parts_must_agree_in_number(predictor, embedding, refusal):
    with refusal(PromptError, "2 of points", "1 of texts"):
        predictor.predict_text(embedding, ["car"], points=[[[5, 5]]] * 2, labels=[[1]] * 2)
    with refusal(PromptError, "go with one phrase; got 2 phrases"):
        predictor.predict_text(embedding, ["car", "tree"], **CLICK)


def test_a_list_of_one_is_its_phrase(predictor, embedding):
    batched = {"points": [[[50, 40]]], "labels": [[1]]}
    for parts, same in (({}, {}), (CLICK, CLICK), (CLICK, batched)):
        one = predictor.predict_text(embedding, "car", **parts)
        other = predictor.predict_text(embedding, ["car"], **same)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
        assert one.phrases == other.phrases == ("car",)


def test_only_the_direction_of_vectors_counts(predictor, embedding, clip):
    code = clip.encode_texts(["car"])[0]
    one, other = (predictor.predict_text(embedding, vector) for vector in (code, 7 * code))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)


def test_thresholds_are_for_detectors(predictor, embedding, refusal):
    with refusal(PromptError, "text_thresh is for detectors"):
        predictor.predict_text(embedding, "car", text_thresh=0.5)


# --- Which text model ---


def test_a_checkpoint_knows_its_clip(text_sam, text_encoder, tmp_path, predictor, embedding):
    path = tmp_path / "mine.safetensors"
    save_checkpoint(text_sam, path, name="tiny", text_encoder=text_encoder)
    loaded = Predictor.load(path, backend="torch", precision="float32")
    assert loaded.text_encoder == text_encoder
    answer = loaded.predict_text(loaded.embed(IMAGE), "red car")
    expected = predictor.predict_text(embedding, "red car")
    np.testing.assert_allclose(answer.logits, expected.logits, atol=1e-4)


def test_a_clip_that_was_moved_is_named(text_sam, clip_folder, text_encoder, tmp_path, refusal):
    moved = tmp_path / "moved"
    shutil.copytree(clip_folder, moved)
    gone = TextEncoder(source=str(tmp_path / "gone"), fingerprint=text_encoder.fingerprint, dim=12)
    path = tmp_path / "mine.safetensors"
    save_checkpoint(text_sam, path, name="tiny", text_encoder=gone)
    lost = Predictor.load(path)
    with refusal(WeightsError, f"no such folder: {tmp_path / 'gone'}"):
        lost.predict_text(lost.embed(IMAGE), "red car")
    found = Predictor.load(path, text_model=moved)
    assert found.predict_text(found.embed(IMAGE), "red car").phrases == ("red car",)


def test_another_clip_is_refused(text_sam, text_encoder, clip_folder, refusal):
    other = Clip.load(clip_folder)
    other.model.visual_projection.weight.data *= 2
    predictor = Predictor(
        text_sam, model_name="tiny", text_encoder=text_encoder, text_model=TextPrompter(other)
    )
    with refusal(WeightsError, "are of the CLIP", text_encoder.fingerprint[:12]):
        predictor.predict_text(predictor.embed(IMAGE), "car")


def test_a_model_without_text_weights_says_so(plain_sam, clip_folder, clip, refusal):
    predictor = Predictor(plain_sam, model_name="tiny", text_model=clip_folder)
    embedding = predictor.embed(IMAGE)
    with refusal(WeightsError, "tiny has no text weights", "samkit train text", "detector"):
        predictor.predict_text(embedding, "red car")
    with refusal(WeightsError, "tiny has no text weights", "takes no CLIP embeddings"):
        predictor.predict_text(embedding, clip.encode_texts(["car"]))


def test_a_file_that_does_not_name_its_clip_says_so(text_sam, tmp_path, refusal):
    path = tmp_path / "unnamed.safetensors"
    save_checkpoint(text_sam, path, name="tiny")
    predictor = Predictor.load(path)
    assert predictor.text_encoder == TextEncoder(source="", fingerprint="", dim=12)
    with refusal(WeightsError, "does not name the CLIP", "text_model"):
        predictor.predict_text(predictor.embed(IMAGE), "car")


def test_another_kind_of_text_model_is_refused(plain_sam, clip_folder, tmp_path, refusal):
    folder = tmp_path / "bert"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    predictor = Predictor(plain_sam, model_name="tiny", text_model=folder)
    with refusal(WeightsError, "is a model of type 'bert'; expected"):
        predictor.predict_text(predictor.embed(IMAGE), "car", image=IMAGE)


# --- Boxes of a detector ---


def test_each_thing_that_is_found_is_answered(plain_sam):
    predictor = grounded(plain_sam, *BOXES)
    embedding = predictor.embed(IMAGE)
    answer = predictor.predict_text(
        embedding, ["a car", "a tree"], image=IMAGE, text_thresh=0.25, multimask=False
    )
    ((image, phrases, thresh),) = predictor.text_model.asked
    np.testing.assert_array_equal(image, IMAGE)
    assert (phrases, thresh) == (("a car", "a tree"), 0.25)
    assert answer.phrases == ("a car", "a tree")  # of two boxes around one car, the better
    np.testing.assert_allclose(answer.phrase_scores, [0.9, 0.7])
    boxes = predictor.predict(embedding, boxes=[BOXES[0][0], BOXES[2][0]], multimask=False)
    np.testing.assert_array_equal(answer.logits, boxes.logits)


def test_nothing_found_is_an_answer(plain_sam):
    predictor = grounded(plain_sam)
    answer = predictor.predict_text(predictor.embed(IMAGE), "a car", image=IMAGE)
    assert answer.iou_pred.shape == (0, 3)
    assert answer.masks.shape == (0, 3, HEIGHT, WIDTH)
    assert len(answer.to_masks()) == len(answer.best().to_masks()) == 0


@pytest.mark.parametrize(
    ("points", "labels", "meant"),
    [
        ([[90, 60]], [1], 1),  # in the tree, which has the lower score
        ([[20, 20]], [1], 0),
        ([[113, 60]], [1], 1),  # just beside it
        ([[90, 60]], [0], 0),  # what it is not does not choose: the best
        ([[90, 60], [75, 40], [20, 20]], [1, 1, 1], 1),
    ],
)
def test_points_correct_the_box_that_they_mean(plain_sam, points, labels, meant):
    predictor = grounded(plain_sam, BOXES[0], BOXES[2])
    embedding = predictor.embed(IMAGE)
    answer = predictor.predict_text(
        embedding, "things", image=IMAGE, points=points, labels=labels, multimask=False
    )
    box, score, _ = (BOXES[0], BOXES[2])[meant]
    assert answer.phrases == ("things",)
    assert answer.phrase_scores == pytest.approx([score])
    expected = predictor.predict(
        embedding, boxes=box, points=points, labels=labels, multimask=False
    )
    np.testing.assert_array_equal(answer.logits[0], expected.logits)


@pytest.mark.parametrize("found", [(), (BOXES[0], BOXES[2])])
def test_points_on_what_the_detector_missed_stand_alone(plain_sam, found):
    predictor = grounded(plain_sam, *found)
    embedding = predictor.embed(IMAGE)
    click = {"points": [[5, 85]], "labels": [1]}
    answer = predictor.predict_text(embedding, "a car", image=IMAGE, **click)
    assert (answer.phrases, answer.phrase_scores.tolist()) == (("a car",), [0.0])
    np.testing.assert_array_equal(answer.logits[0], predictor.predict(embedding, **click).logits)


def test_a_mask_goes_with_the_points(plain_sam):
    predictor = grounded(plain_sam, BOXES[0])
    embedding = predictor.embed(IMAGE)
    mask = predictor.predict(embedding, **CLICK).best().logits
    answer = predictor.predict_text(
        embedding, "a car", image=IMAGE, mask_logits=mask, multimask=False, **CLICK
    )
    expected = predictor.predict(
        embedding, boxes=BOXES[0][0], mask_logits=mask, multimask=False, **CLICK
    )
    np.testing.assert_array_equal(answer.logits[0], expected.logits)


def test_what_a_detector_cannot_do_is_refused(plain_sam, refusal):
    predictor = grounded(plain_sam, *BOXES)
    embedding = predictor.embed(IMAGE)
    with refusal(PromptError, "a detector needs the image itself", "image=image"):
        predictor.predict_text(embedding, "a car")
    with refusal(PromptError, "image must be the embedding's image", "(90, 120)"):
        predictor.predict_text(embedding, "a car", image=IMAGE[:50])
    with refusal(ImageError, "no such file"):
        predictor.predict_text(embedding, "a car", image="nowhere.jpg")
    with refusal(PromptError, "a detector finds the boxes of a text itself"):
        predictor.predict_text(embedding, "a car", image=IMAGE, boxes=[1, 1, 5, 5])
    with refusal(PromptError, "points (N, 2)", "2 prompts"):
        predictor.predict_text(
            embedding, "a car", image=IMAGE, points=[[[5, 5]]] * 2, labels=[[1]] * 2
        )
    with refusal(PromptError, "one phrase", "2 phrases"):
        predictor.predict_text(embedding, ["a", "b"], image=IMAGE, **CLICK)
    with refusal(PromptError, "text must not be empty"):
        predictor.predict_text(embedding, " ", image=IMAGE)


def test_text_prompts_are_no_tokens_for_a_detector(plain_sam, predictor):
    assert predictor.reads_as_tokens
    assert not grounded(plain_sam).reads_as_tokens


def test_the_text_model_is_not_touched_without_text(plain_sam):
    predictor = Predictor(plain_sam, model_name="tiny", text_model="/nowhere")
    assert predictor.predict(predictor.embed(IMAGE), **CLICK).phrases is None
