"""Detectors: parity with transformers' own processors on the same weights."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from samkit.errors import ConfigError, ImageError, PromptError, WeightsError
from samkit.text import Detections, load_detector
from samkit.text.detections import order_boxes, to_pixels
from samkit.text.detectors import (
    GroundingDino,
    Owlv2,
    join_phrases,
    normalise,
    own_tokens,
    pack,
)

PERIOD, BEGIN, END = 1012, 101, 102  # BERT's numbers
# Each phrase has 8 or 9 tokens and its full stop: three fill one text of 30.
LONG = [f"a {word} dog on the small red tree" for word in ("striped", "roof", "car", "cats")]


def make(**changes: object) -> Detections:
    values = {
        "boxes_xyxy": np.array([[0, 0, 4, 5], [1, 2, 3, 4.5], [2, 2, 9, 9]]),
        "scores": np.float32([0.9, 0.5, 0.5]),
        "phrases": ("cat", "dog", "cat"),
    }
    return Detections(**{**values, **changes})


def best_first(found: dict, names: list[str], image: np.ndarray) -> Detections:
    """What a processor found, clipped and ordered as ours is."""
    height, width = image.shape[:2]
    boxes = found["boxes"].double().numpy().clip(0, [width, height, width, height])
    return order_boxes(boxes, found["scores"].numpy(), names, 0)


def assert_same(ours: Detections, theirs: Detections) -> None:
    assert ours.phrases == theirs.phrases
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-5)
    np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-4)


def run_their_dino(dino: GroundingDino, image: np.ndarray, phrases: list[str], thresh: float):
    """Their processor on the same weights, with no score for what is of no phrase.

    Theirs is the highest score of all tokens, the begin, the end and the full stops among them.
    """
    from transformers import GroundingDinoProcessor

    processor = GroundingDinoProcessor(dino.image_processor, dino.tokenizer)
    inputs = processor(images=image, text=[phrases], return_tensors="pt")
    with torch.no_grad():
        outputs = dino.model(**inputs)
    ids = inputs["input_ids"][0]
    number, owners = 0, []
    for token in ids.tolist():
        owners.append(-1 if token in (BEGIN, PERIOD, END) else number)
        number += token == PERIOD
    owners = torch.tensor(owners)
    outputs.logits[0, :, : len(ids)][:, owners < 0] = -torch.inf
    best_tokens = outputs.logits[0].argmax(1)
    kept = outputs.logits[0].sigmoid().amax(1) > thresh
    found = processor.post_process_grounded_object_detection(
        outputs, threshold=thresh, target_sizes=[image.shape[:2]]
    )[0]
    names = [phrases[owners[token]] for token in best_tokens[kept]]
    return best_first(found, names, image)


@pytest.mark.parametrize(
    "phrases",
    [["a cat"], ["a cat", "red car", "small dog"], ["the cat", "a cat", "striped cats"]],
)
def test_grounding_dino_equals_their_processor(dino, image, phrases) -> None:
    ours = dino.detect(image, phrases, box_thresh=0.95)
    assert 10 < len(ours) < 40
    assert len(set(ours.phrases)) > 1 or len(phrases) == 1
    assert_same(ours, run_their_dino(dino, image, phrases, 0.95))


@pytest.mark.parametrize("upright", [False, True])
def test_owlv2_equals_their_processor(owl, image, upright) -> None:
    from transformers import Owlv2Processor

    image = np.ascontiguousarray(image.swapaxes(0, 1)) if upright else image
    phrases = ["a cat", "red car", "small dog", "zebra"]
    processor = Owlv2Processor(owl.image_processor, owl.tokenizer)
    inputs = processor(images=image, text=[phrases], return_tensors="pt")
    with torch.no_grad():
        outputs = owl.model(**inputs)
    found = processor.post_process_grounded_object_detection(
        outputs, threshold=0.9, target_sizes=[image.shape[:2]], text_labels=[phrases]
    )[0]
    ours = owl.detect(image, phrases, box_thresh=0.9)
    assert 10 < len(ours) < 64
    assert len(set(ours.phrases)) > 1
    assert_same(ours, best_first(found, found["text_labels"], image))


def test_what_is_found_lies_in_the_image_and_the_best_comes_first(dino, owl, image) -> None:
    for detector in (dino, owl):
        found = detector.detect(image, ["a cat"], box_thresh=0)
        assert (found.boxes_xyxy <= [70, 45, 70, 45]).all()
        assert (found.boxes_xyxy == [70, 45, 70, 45]).any(), "none was clipped"
        assert (np.diff(found.scores) <= 0).all()
        assert found.boxes_xyxy.dtype == np.float64
        assert found.scores.dtype == np.float32
    assert len(owl.detect(image, ["a cat"], box_thresh=0)) < 64  # some lie in the padding


def test_default_thresholds_are_those_of_the_kind(dino, owl, image) -> None:
    assert (dino.box_thresh, owl.box_thresh) == (0.3, 0.15)
    for detector in (dino, owl):
        given = detector.detect(image, ["red car"], box_thresh=detector.box_thresh)
        assert_same(detector.detect(image, ["red car"]), given)


def test_nothing_found_is_no_boxes(dino, owl, image) -> None:
    for detector in (dino, owl):
        found = detector.detect(image, ["a cat"], box_thresh=1)
        assert (len(found), found.boxes_xyxy.shape, found.phrases) == (0, (0, 4), ())


def test_boxes_are_relative_to_the_image_or_to_the_square_around_it(dino, owl) -> None:
    relative = np.array([[0.5, 0.25, 0.2, 0.1], [0.9, 0.9, 0.4, 0.4]])
    image_wh, square_wh = dino.input_wh((40, 60)), owl.input_wh((40, 60))
    np.testing.assert_allclose(
        to_pixels(relative, image_wh, (40, 60)), [[24, 8, 36, 12], [42, 28, 60, 40]]
    )
    np.testing.assert_allclose(
        to_pixels(relative, square_wh, (40, 60)), [[24, 12, 36, 18], [42, 40, 60, 40]]
    )


def test_boxes_without_area_or_score_are_left_out() -> None:
    boxes = np.array([[42, 40, 60, 40], [0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3.0]])
    found = order_boxes(boxes, np.float32([0.9, 0.5, 0.6, 0.7]), ["a", "b", "c", "d"], 0.5)
    assert found.phrases == ("d", "c")
    assert found.boxes_xyxy[:, 2].tolist() == [3, 2]


def test_a_phrase_that_comes_twice_counts_once(dino, owl, image) -> None:
    for detector in (dino, owl):
        once = detector.detect(image, ["a cat", "red car"], box_thresh=0.9)
        again = detector.detect(image, ["a cat", "red car", "a cat"], box_thresh=0.9)
        assert_same(again, once)


def test_phrases_come_back_as_they_were_written(dino, owl, image) -> None:
    found = dino.detect(image, ["  St. Bernard? "], box_thresh=0.9)
    read = dino.detect(image, ["st bernard"], box_thresh=0.9)
    assert set(found.phrases) == {"  St. Bernard? "}
    np.testing.assert_array_equal(found.boxes_xyxy, read.boxes_xyxy)
    assert set(owl.detect(image, ["Red CAR"], box_thresh=0.9).phrases) == {"Red CAR"}


def test_each_token_belongs_to_its_phrase(dino) -> None:
    text, spans = join_phrases(["a red cat", "red cats", "striped é", "red"])
    assert text == "a red cat. red cats. striped é. red."
    tokens = dino.tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    names = np.array(dino.tokenizer.convert_ids_to_tokens(tokens["input_ids"][0]))
    owned = own_tokens(tokens["offset_mapping"][0], spans).numpy()
    assert [names[row].tolist() for row in owned] == [
        ["a", "red", "cat"],
        ["red", "cat", "##s"],
        ["strip", "##ed", "[UNK]"],  # accents are taken off, and "e" is no word here
        ["red"],
    ]
    assert names[~owned.any(0)].tolist() == ["[CLS]", ".", ".", ".", ".", "[SEP]"]
    assert owned.sum(0).max() == 1


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("A Cat", "a cat"),
        ("3.5 inch disk", "3 5 inch disk"),
        ("what? where...", "what where"),
        (" two\n lines ", "two lines"),
        ("[SEP]", "[sep]"),  # the end of a text is not known in lower case
    ],
)
def test_nothing_within_a_phrase_ends_it(dino, phrase, text) -> None:
    assert normalise(phrase) == text
    ids = dino.tokenizer(normalise(phrase), add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(dino.model.model.special_tokens.tolist())


def test_phrases_that_fit_go_through_at_once(dino, owl) -> None:
    short = tuple(f"{word} cat" for word in ("a", "the", "red", "small", "roof", "car", "tree"))
    assert dino.split(short) == [short]
    assert dino.split(tuple(LONG[:3])) == [tuple(LONG[:3])]
    many = tuple(f"{one} {other}" for one in short for other in short)
    assert owl.split(many) == [many]


def test_phrases_that_do_not_fit_go_through_in_few_passes(dino) -> None:
    phrases = ("a cat", *LONG, "red car")
    groups = dino.split(phrases)
    assert sorted(sum(groups, ())) == sorted(phrases)
    assert len(groups) == 2
    for group in groups:
        text, _ = join_phrases([normalise(phrase) for phrase in group])
        assert len(dino.tokenizer(text)["input_ids"]) <= dino.model.config.max_text_len


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([3, 7], [[0, 1]]),
        ([10, 10], [[0], [1]]),
        ([4, 6, 4, 6], [[0, 1], [2, 3]]),  # in the order given, three groups
        ([1, 9, 5, 5], [[0, 1], [2, 3]]),
    ],
)
def test_packing_fills_groups(sizes, groups) -> None:
    assert sorted(pack(sizes, 10)) == groups


def test_passes_find_what_each_finds_alone(dino, image) -> None:
    phrases = ["a cat", *LONG, "red car"]
    parts = [dino.detect(image, part, box_thresh=0.5) for part in dino.split(tuple(phrases))]
    assert len(parts) == 2
    together = order_boxes(
        np.concatenate([part.boxes_xyxy for part in parts]),
        np.concatenate([part.scores for part in parts]),
        sum((part.phrases for part in parts), ()),
        0.5,
    )
    assert_same(dino.detect(image, phrases, box_thresh=0.5), together)


def test_each_phrase_has_a_score_in_each_pass(dino, image) -> None:
    for part in dino.split(tuple(LONG)):
        boxes, logits = dino.infer(dino.prepare(image), part)
        assert boxes.shape == (40, 4)
        assert logits.shape == (40, len(part))
        assert logits.isfinite().all()
        assert len(logits[0].unique()) == len(part)


def test_owlv2_answers_a_phrase_the_same_among_others(owl, image) -> None:
    pixels, phrases = owl.prepare(image), ("a cat", "small striped dog", "red")
    boxes, logits = owl.infer(pixels, phrases)
    for number, phrase in enumerate(phrases):
        same_boxes, alone = owl.infer(pixels, (phrase,))
        torch.testing.assert_close(alone[:, 0], logits[:, number])
        torch.testing.assert_close(same_boxes, boxes)


def test_images_are_prepared_as_the_folder_says(dino, owl, image) -> None:
    pixels = dino.prepare(image)["pixel_values"]
    assert pixels.shape == (1, 3, 96, 149)  # 96 on the shorter side
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colours = pixels[0].mean(dim=(1, 2)) * std + mean
    np.testing.assert_allclose(colours * 255, image.mean(axis=(0, 1)), atol=1)
    assert dino.prepare(image[:10])["pixel_values"].shape == (1, 3, 23, 160)  # or 160 on the longer
    assert owl.prepare(image)["pixel_values"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 3), (4, 40), (40, 4)])
def test_small_images_are_looked_at(dino, owl, size_hw) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    for detector in (dino, owl):
        found = detector.detect(image, ["a cat"], box_thresh=0)
        height, width = size_hw
        assert (found.boxes_xyxy <= [width, height, width, height]).all()


def test_a_detector_is_frozen_and_answers_the_same_again(dino, owl, image) -> None:
    for detector in (dino, owl):
        assert not detector.model.training
        assert not any(tensor.requires_grad for tensor in detector.model.parameters())
        first = detector.detect(image, ["a cat"], box_thresh=0.5)
        assert_same(detector.detect(image, ["a cat"], box_thresh=0.5), first)


def test_inputs_go_to_the_device_of_the_model(dino, owl, image) -> None:
    class SeenError(Exception):
        pass

    class OnMeta(SimpleNamespace):
        device = torch.device("meta")

        def eval(self):
            return self

        def __call__(self, **inputs):
            raise SeenError({name: value.device.type for name, value in inputs.items()})

    for detector in (dino, owl):
        model = OnMeta(config=detector.model.config)
        twin = type(detector)(model, detector.tokenizer, detector.image_processor, source="twin")
        with pytest.raises(SeenError) as caught:
            twin.detect(image, ["a cat"])
        devices = caught.value.args[0]
        assert {"pixel_values", "input_ids", "attention_mask"} <= set(devices)
        assert set(devices.values()) == {"meta"}


def test_a_detector_is_loaded_by_its_kind_quietly_without_a_network(
    dino_folder, owl_folder, monkeypatch, capfd
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    loaded = [load_detector(folder) for folder in (dino_folder, owl_folder)]
    assert [type(detector) for detector in loaded] == [GroundingDino, Owlv2]
    assert [detector.source for detector in loaded] == [str(dino_folder), str(owl_folder)]
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_their_processor_wrote_is_loaded(dino, dino_folder, image, tmp_path) -> None:
    from transformers import GroundingDinoProcessor

    GroundingDinoProcessor(dino.image_processor, dino.tokenizer).save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(dino_folder / name, tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()  # all is in one file
    ours = load_detector(tmp_path).detect(image, ["a cat"], box_thresh=0.5)
    assert_same(ours, dino.detect(image, ["a cat"], box_thresh=0.5))


def test_weights_of_another_kind_or_damaged_are_refused(
    dino_folder, tmp_path, refusal: Callable
) -> None:
    for model_type in ("clip", None):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        with refusal(
            WeightsError,
            f"{tmp_path} is a model of type {model_type!r}; expected grounding-dino or owlv2",
        ):
            load_detector(tmp_path)
    for name, size in (("model.safetensors", 1000), ("preprocessor_config.json", 0)):
        folder = Path(shutil.copytree(dino_folder, tmp_path / name))
        (folder / name).write_bytes((folder / name).read_bytes()[:size])
        with refusal(WeightsError, f"{folder} cannot be loaded: "):
            load_detector(folder)
    with refusal(WeightsError, "no such folder", "nowhere"):
        load_detector(tmp_path / "nowhere")


def test_bad_phrases_are_refused(dino, owl, image, refusal: Callable) -> None:
    for detector in (dino, owl):
        with refusal(PromptError, "phrases must not be empty: write what to look for"):
            detector.detect(image, [])
        with refusal(PromptError, "phrases must be a list, such as [\"a red car\"]; got 'a cat'"):
            detector.detect(image, "a cat")
        with refusal(PromptError, "text must not be empty"):
            detector.detect(image, ["a cat", " "])
        with refusal(PromptError, "text must be a word or words; got 3"):
            detector.detect(image, ["a cat", 3])
    for nothing in ("?!.."[::3], "\u200b"):
        with refusal(PromptError, "has nothing that", dino.source, "write what to look for"):
            dino.detect(image, ["a cat", nothing])


def test_a_phrase_that_is_too_long_is_refused(dino, owl, image, refusal: Callable) -> None:
    dino.detect(image, ["cats " * 14 + "dog"])
    with refusal(
        PromptError,
        f"a phrase may have 29 tokens for {dino.source};",
        f"{('cats ' * 15)[:60]!r} has 30: shorten it",
    ):
        dino.detect(image, ["a cat", "cats " * 15])
    owl.detect(image, ["cat " * 14])
    with refusal(
        PromptError, f"a phrase may have 14 tokens for {owl.source};", "has 15: shorten it"
    ):
        owl.detect(image, ["a cat", "cat " * 15])


def test_bad_images_and_thresholds_are_refused(dino, owl, image, refusal: Callable) -> None:
    for detector in (dino, owl):
        for wrong in (image / 255, image[..., 0], image[..., :2], image[:0]):
            with refusal(ImageError, f"must be uint8 (H, W, 3); got {wrong.dtype} {wrong.shape}"):
                detector.detect(wrong, ["a cat"])
        for thresh in (-0.1, 1.5, float("nan")):
            with refusal(ConfigError, f"box_thresh must be from 0 to 1; got {thresh}"):
                detector.detect(image, ["a cat"], box_thresh=thresh)


def test_a_image_too_narrow_for_grounding_dino_is_refused(dino, owl, refusal: Callable) -> None:
    ribbon = np.zeros((1, 21, 3), np.uint8)
    with refusal(ImageError, "aspect ratio must be 20:1 at most", "got 21 x 1 pixels: cut it"):
        dino.detect(ribbon, ["a cat"])
    owl.detect(ribbon, ["a cat"])


def test_detections_are_selected_in_order(refusal: Callable) -> None:
    whole = make()
    assert len(whole) == 3
    by_number, by_truth = (
        whole.select(np.array([0, 2])),
        whole.select(np.array([True, False, True])),
    )
    for chosen in (by_number, by_truth):
        assert chosen.phrases == ("cat", "cat")
        assert chosen.scores.tolist() == pytest.approx([0.9, 0.5])
        assert chosen.boxes_xyxy.tolist() == [[0, 0, 4, 5], [2, 2, 9, 9]]
    assert len(whole.select(np.zeros(3, bool))) == 0
    with refusal(PromptError, "ordered by score"):
        whole.select(np.array([1, 0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phrases": ("cat",)}, "1 phrases need boxes (1, 4) and scores (1,); got (3, 4) and (3,)"),
        ({"scores": np.float32([0.5])}, "3 phrases need boxes (3, 4) and scores (3,)"),
        ({"boxes_xyxy": np.full((3, 4), np.nan)}, "boxes must be finite and within the image"),
        ({"boxes_xyxy": np.array([[-1, 0, 1, 1]] * 3)}, "boxes must be finite and within"),
        ({"boxes_xyxy": np.array([[0, 2, 1, 2.0]] * 3)}, "boxes are x0, y0, x1, y1 with x0 < x1"),
        ({"scores": np.float32([1.5, 1, 1])}, "scores must be from 0 to 1"),
        ({"scores": np.float32([1, 1, np.nan])}, "scores must be from 0 to 1"),
        ({"scores": np.float32([0.5, 0.6, 0.7])}, "boxes must be ordered by score, the highest"),
    ],
)
def test_detections_check_themselves(changes, message, refusal: Callable) -> None:
    with refusal(PromptError, message):
        make(**changes)
