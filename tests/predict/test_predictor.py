"""Embed once, prompt many times."""

import copy
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils._pytree import tree_leaves

import samkit
from samkit import ImageEmbedding, Predictor, Prompts
from samkit.backends.choose import choose_device
from samkit.errors import BackendError, EmbeddingError, ImageError, PromptError, WeightsError
from samkit.geometry import mask_to_logits
from samkit.models import CONFIGS, Sam
from samkit.predict.decoder import PROMPTS_AT_ONCE
from samkit.predict.preprocess import normalise, resize_image

HEIGHT, WIDTH = 90, 120
CLICK = {"points": [[50, 40]], "labels": [1]}


def random_image(height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def tiny_predictor(randomise, seed=0):
    model = Sam(CONFIGS["tiny"])
    randomise(model, seed)
    return Predictor(model, model_name="tiny")


@pytest.fixture(scope="module")
def predictor(randomise):
    return tiny_predictor(randomise)


@pytest.fixture(scope="module")
def embedding(predictor):
    return predictor.embed(random_image())


def assert_same_answer(one, other, atol=0.0):
    assert one.logits.shape == other.logits.shape
    np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=atol)
    np.testing.assert_allclose(one.iou_pred, other.iou_pred, rtol=0, atol=atol)
    assert one.coords == other.coords


# --- Embedding ---


def test_features_are_the_encoders_of_the_preprocessed_image(predictor):
    image = random_image()
    embedding = predictor.embed(image)
    coords = predictor.coord_map(image)
    assert (coords.original_hw, coords.resized_hw) == ((90, 120), (96, 128))
    with torch.no_grad():
        expected = predictor.model.encode(
            normalise(resize_image(image, coords), predictor.model.image_spec)
        ).grid
    torch.testing.assert_close(embedding.features.grid, expected, rtol=0, atol=0)
    assert not embedding.features.grid.requires_grad
    assert embedding.coords == coords
    assert embedding.model_name == "tiny"


def test_file_image_and_array_have_the_same_features(predictor, tmp_path):
    image = random_image()
    expected = predictor.embed(image).features.grid
    Image.fromarray(image).save(tmp_path / "a.png")
    same = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(image),
        image.astype(np.uint16) * 257,
        image / 255,
        (image / 255).astype(np.float32),
    ]
    for source in same:
        torch.testing.assert_close(predictor.embed(source).features.grid, expected, rtol=0, atol=0)


def test_gray_image_has_the_features_of_three_equal_channels(predictor):
    gray = random_image()[..., 0]
    expected = predictor.embed(np.stack([gray] * 3, axis=-1)).features.grid
    for image in (gray, gray[..., None], Image.fromarray(gray)):
        torch.testing.assert_close(predictor.embed(image).features.grid, expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 700), (128, 128)])
def test_images_of_any_size_are_segmented(shape, predictor):
    height, width = shape
    embedding = predictor.embed(random_image(height, width))
    corner = predictor.predict(embedding, points=[[width - 1, height - 1]], labels=[1])
    whole = predictor.predict(embedding, boxes=[0, 0, width, height])
    for result in (corner, whole):
        assert result.masks.shape == (3, height, width)
        assert np.isfinite(result.logits).all()
        assert np.isfinite(result.iou_pred).all()


def test_image_that_cannot_be_read_is_refused(predictor, tmp_path, refusal):
    with refusal(ImageError, "no such file"):
        predictor.embed(tmp_path / "a.png")


def test_model_is_put_in_evaluation_mode(tiny_sam):
    assert not Predictor(tiny_sam.train(), model_name="tiny").model.training


# --- Shapes of answers ---


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_one_prompt_has_one_answer(multimask, count, predictor, embedding):
    result = predictor.predict(embedding, **CLICK, multimask=multimask)
    assert result.logits.shape == (count, 32, 32)
    assert result.logits.dtype == np.float32
    assert result.iou_pred.shape == (count,)
    assert result.masks.shape == (count, HEIGHT, WIDTH)
    assert len(result.to_masks()) == count


@pytest.mark.parametrize("prompts", [1, 2, PROMPTS_AT_ONCE + 1])
@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_batch_has_an_answer_for_each_prompt(multimask, count, prompts, predictor, embedding):
    boxes = [[i, i, 50 + i, 60 + i] for i in range(prompts)]
    result = predictor.predict(embedding, boxes=boxes, multimask=multimask)
    assert result.logits.shape == (prompts, count, 32, 32)
    assert result.iou_pred.shape == (prompts, count)
    assert result.masks.shape == (prompts, count, HEIGHT, WIDTH)
    assert len(result.to_masks()) == prompts * count


# --- Laws ---


def random_batch(kinds, count, num_points, seed):
    rng = np.random.default_rng(seed)
    batch = {}
    if "points" in kinds:
        batch["points"] = rng.random((count, num_points, 2)) * (WIDTH, HEIGHT)
        batch["labels"] = rng.integers(0, 2, (count, num_points))
    if "box" in kinds:
        corner = rng.random((count, 2)) * (WIDTH / 2, HEIGHT / 2)
        batch["boxes"] = np.concatenate([corner, corner + 1 + rng.random((count, 2)) * 40], axis=1)
    if "mask" in kinds:
        batch["mask_logits"] = rng.normal(size=(count, 1, 32, 32))
    return batch


KINDS = st.sets(st.sampled_from(["points", "box", "mask"]), min_size=1)


@settings(max_examples=12)
@example(kinds={"points"}, count=PROMPTS_AT_ONCE, num_points=1, seed=0, multimask=True)
@example(kinds={"points"}, count=PROMPTS_AT_ONCE + 1, num_points=1, seed=0, multimask=True)
@example(kinds={"box"}, count=2 * PROMPTS_AT_ONCE + 1, num_points=1, seed=0, multimask=False)
@given(
    kinds=KINDS,
    count=st.integers(1, 2 * PROMPTS_AT_ONCE + 2),
    num_points=st.integers(1, 4),
    seed=st.integers(0, 99),
    multimask=st.booleans(),
)
def test_batch_equals_loop(kinds, count, num_points, seed, multimask, predictor, embedding):
    batch = random_batch(kinds, count, num_points, seed)
    together = predictor.predict(embedding, **batch, multimask=multimask)
    for index in range(count):
        one = {name: value[index] for name, value in batch.items()}
        alone = predictor.predict(embedding, **one, multimask=multimask)
        np.testing.assert_allclose(together.logits[index], alone.logits, atol=1e-4)
        np.testing.assert_allclose(together.iou_pred[index], alone.iou_pred, atol=1e-4)


@settings(max_examples=12)
@example(counts=[1, 2], with_box=False, with_mask=False, seed=0)
@example(counts=[2, 0, 1], with_box=True, with_mask=True, seed=0)
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=PROMPTS_AT_ONCE + 2),
    with_box=st.booleans(),
    with_mask=st.booleans(),
    seed=st.integers(0, 99),
)
def test_prompts_of_different_lengths_have_the_answers_that_each_has_alone(
    counts, with_box, with_mask, seed, predictor, embedding
):
    kinds = {"points"} | ({"box"} if with_box else set()) | ({"mask"} if with_mask else set())
    batch = random_batch(kinds, len(counts), max(counts), seed)
    points = [list(row[:count]) for row, count in zip(batch["points"], counts, strict=True)]
    labels = [list(row[:count]) for row, count in zip(batch["labels"], counts, strict=True)]
    padded = batch["labels"].copy()
    for row, count in zip(padded, counts, strict=True):
        row[count:] = -1
    ragged = predictor.predict(embedding, **batch | {"points": points, "labels": labels})
    by_label = predictor.predict(embedding, **batch | {"labels": padded})
    assert_same_answer(by_label, ragged)
    for index, count in enumerate(counts):
        one = {name: value[index] for name, value in batch.items()}
        one |= {"points": points[index], "labels": labels[index]}
        if count == 0:
            del one["points"], one["labels"]
        alone = predictor.predict(embedding, **one)
        np.testing.assert_allclose(ragged.logits[index], alone.logits, atol=1e-4)
        np.testing.assert_allclose(ragged.iou_pred[index], alone.iou_pred, atol=1e-4)


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
@pytest.mark.parametrize(
    "nothing",
    [
        {"boxes": np.zeros((0, 4))},
        {"boxes": []},
        {"points": np.zeros((0, 2, 2)), "labels": np.zeros((0, 2))},
        {"mask_logits": np.zeros((0, 1, 32, 32)), "boxes": torch.zeros(0, 4)},
    ],
)
def test_no_prompts_have_no_answers(nothing, multimask, count, predictor, embedding):
    answer = predictor.predict(embedding, **nothing, multimask=multimask)
    assert answer.logits.shape == (0, count, 32, 32)
    assert answer.iou_pred.shape == (0, count)
    assert answer.masks.shape == (0, count, HEIGHT, WIDTH)
    assert answer.stability().shape == (0, count)
    assert answer.best().masks.shape == (0, 1, HEIGHT, WIDTH)
    assert len(answer.to_masks()) == 0
    assert repr(answer) == f"<MaskPrediction (0, {count}) of 120 x 90 pixels, iou_pred []>"


@settings(max_examples=15)
@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
def test_order_of_points_does_not_matter(order, seed, predictor, embedding):
    batch = random_batch({"points"}, 1, 4, seed)
    points, labels = batch["points"][0], batch["labels"][0]
    expected = predictor.predict(embedding, points=points, labels=labels)
    order = list(order)
    shuffled = predictor.predict(embedding, points=points[order], labels=labels[order])
    assert_same_answer(shuffled, expected, atol=1e-4)


def test_different_prompts_have_different_answers(predictor, embedding):
    # The other laws would hold for a model that ignores its prompts.
    batch = random_batch({"points", "box", "mask"}, 2, 2, seed=0)
    logits = predictor.predict(embedding, **batch).logits
    assert abs(logits[0] - logits[1]).max() > 0.01
    for name in ("boxes", "mask_logits"):
        without = {key: value for key, value in batch.items() if key != name}
        assert abs(predictor.predict(embedding, **without).logits - logits).max() > 0.01
    switched = batch | {"labels": 1 - batch["labels"]}
    assert abs(predictor.predict(embedding, **switched).logits - logits).max() > 0.01


def test_nothing_is_kept_between_calls(predictor, embedding):
    expected = predictor.predict(embedding, **CLICK)
    other = predictor.embed(random_image(30, 40, seed=1))
    predictor.predict(other, boxes=[[0, 0, 9, 9]] * 3, multimask=False)
    assert_same_answer(predictor.predict(embedding, **CLICK), expected)


def test_prompts_are_answered_while_another_image_is_encoded(predictor, embedding, monkeypatch):
    begun, gate = Event(), Event()
    encode = predictor.backend.encode

    def wait(pixels):
        begun.set()
        assert gate.wait(60)
        return encode(pixels)

    told = predictor.predict(embedding, **CLICK)
    monkeypatch.setattr(predictor.backend, "encode", wait)
    with ThreadPoolExecutor(1) as pool:
        encoding = pool.submit(predictor.embed, np.zeros((9, 9, 3), np.uint8))
        assert begun.wait(60)
        answer = predictor.predict(embedding, **CLICK)
        assert not encoding.done()
        gate.set()
        assert encoding.result(60).coords.original_hw == (9, 9)
    assert_same_answer(answer, told)


def test_prompts_made_before_give_the_same_answer(predictor, embedding):
    expected = predictor.predict(embedding, **CLICK)
    assert_same_answer(predictor.decode(embedding, Prompts.of(**CLICK)), expected)


def test_earlier_answer_is_taken_as_a_prompt(predictor, embedding):
    first = predictor.predict(embedding, **CLICK)
    refined = predictor.predict(embedding, **CLICK, mask_logits=first.best().logits)
    assert refined.logits.shape == (3, 32, 32)
    assert abs(refined.logits - first.logits).max() > 0.01
    same = predictor.predict(embedding, **CLICK, mask_logits=first.best().logits[0])
    assert_same_answer(same, refined)


def test_earlier_answers_of_a_batch_are_taken_as_prompts(predictor, embedding):
    boxes = [[0, 0, 50, 50], [20, 20, 90, 80]]
    first = predictor.predict(embedding, boxes=boxes)
    refined = predictor.predict(embedding, boxes=boxes, mask_logits=first.best().logits)
    assert refined.logits.shape == (2, 3, 32, 32)


# --- Kept embeddings ---


def test_reloaded_embedding_gives_equal_answers(predictor, embedding, tmp_path):
    embedding.save(tmp_path / "a.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "a.safetensors")
    for prompt in (CLICK, {"boxes": [[0, 0, 50, 50], [20, 20, 90, 80]]}):
        expected = predictor.predict(embedding, **prompt)
        assert_same_answer(predictor.predict(loaded, **prompt), expected)


def test_embedding_of_another_encoder_is_refused(randomise, embedding, refusal):
    other = tiny_predictor(randomise, seed=1)
    made_by = f"made by tiny ({embedding.encoder_checksum[:12]})"
    with refusal(EmbeddingError, made_by, f"({other.encoder_checksum[:12]})", "embed the image"):
        other.predict(embedding, **CLICK)


def test_embedding_of_one_changed_weight_is_refused(predictor, embedding, refusal):
    model = copy.deepcopy(predictor.model)
    with torch.no_grad():
        next(model.image_encoder.parameters()).view(-1)[0] += 1e-3
    with refusal(EmbeddingError, "made by tiny"):
        Predictor(model, model_name="tiny").predict(embedding, **CLICK)


def test_embedding_outlives_training_of_the_decoder(predictor, embedding):
    model = copy.deepcopy(predictor.model)
    with torch.no_grad():
        for part in (model.mask_decoder, model.prompt_encoder):
            for weight in part.parameters():
                weight.add_(0.01)
    trained = Predictor(model, model_name="tiny")
    after = trained.predict(embedding, **CLICK)
    before = predictor.predict(embedding, **CLICK)
    assert abs(after.logits - before.logits).max() > 0.001


# --- Refusals ---


def test_point_outside_is_refused(predictor, embedding, refusal):
    with refusal(PromptError, "point (120, 40)", "width 120 and height 90"):
        predictor.predict(embedding, points=[[120, 40]], labels=[1])


def test_box_outside_is_refused(predictor, embedding, refusal):
    with refusal(PromptError, "box (0, 90, 9, 99)", "width 120 and height 90"):
        predictor.predict(embedding, boxes=[0, 90, 9, 99])


def test_mask_of_another_size_is_refused(predictor, embedding, refusal):
    with refusal(PromptError, "mask_logits must be (32, 32)", "got (256, 256)"):
        predictor.predict(embedding, mask_logits=np.zeros((256, 256)))


def test_prompt_without_anything_is_refused(predictor, embedding, refusal):
    with refusal(PromptError, "needs text, points, a box or mask_logits"):
        predictor.predict(embedding)


def test_embedding_is_checked_before_prompts(predictor, embedding, refusal):
    strange = dataclasses.replace(embedding, encoder_checksum="0" * 64)
    with refusal(EmbeddingError, "(000000000000)"):
        predictor.predict(strange, points=[[999, 999]], labels=[1])


# --- Devices ---


def test_default_device_is_there():
    chosen = choose_device(None)
    assert chosen.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["nonsense", "", "cpu:x", "cuda:999"])
def test_unknown_device_is_refused(device, refusal):
    with refusal(BackendError, f"device {device!r} cannot be used"):
        choose_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_is_refused_where_there_is_none(refusal):
    with refusal(BackendError, "device 'cuda' cannot be used"):
        choose_device("cuda")


# --- Another decoder ---


def test_another_decoder_answers_embeddings_of_the_same_encoder(predictor, embedding):
    tuned = copy.deepcopy(predictor.model)
    with torch.no_grad():
        tuned.mask_decoder.iou_token.weight += 0.5
    other = predictor.with_decoder(tuned, model_name="tuned")
    answer, before = other.predict(embedding, **CLICK), predictor.predict(embedding, **CLICK)
    assert other.model_name == "tuned"
    assert not np.array_equal(answer.logits, before.logits)
    expected = Predictor(tuned, model_name="tiny").predict(embedding, **CLICK)
    np.testing.assert_array_equal(answer.logits, expected.logits)
    again = other.embed(random_image())
    assert torch.equal(again.features.grid, embedding.features.grid)


def test_a_decoder_of_another_encoder_is_refused(predictor, randomise, refusal):
    other = Sam(CONFIGS["tiny"])
    randomise(other, 7)
    with refusal(WeightsError, "belongs to another image encoder"):
        predictor.with_decoder(other)


def test_an_image_in_place_of_an_embedding_is_told(predictor, refusal):
    with refusal(EmbeddingError, "must be an ImageEmbedding; got ndarray", "predictor.embed"):
        predictor.predict(random_image(), points=[[1, 2]])


def test_the_decoder_keeps_no_gradients(predictor, embedding):
    """Its methods are public, and are called by themselves too."""
    fresh = Predictor(predictor.model, model_name="tiny")
    fresh.decoder.prepare(embedding)
    (context,) = fresh.decoder._contexts.values()
    assert not any(tensor.requires_grad for tensor in tree_leaves(context))
    prompts = Prompts.of(**CLICK)
    answer = fresh.decoder.decode(embedding, prompts, multimask=True)
    np.testing.assert_array_equal(answer.logits, predictor.decode(embedding, prompts).logits)


def test_mask_of_booleans_is_taken_as_its_logits(predictor, embedding):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:50, 20:60] = True
    logits = mask_to_logits(mask, embedding.coords)
    expected = predictor.predict(embedding, mask_logits=logits)
    assert_same_answer(predictor.predict(embedding, mask_logits=mask), expected)
    assert_same_answer(
        predictor.predict(embedding, mask_logits=logits > 0, multimask=True),
        predictor.predict(embedding, mask_logits=np.where(logits > 0, 12, -12)),
    )


def test_range_of_values_is_that_of_the_reader(predictor):
    values = np.random.default_rng(0).integers(0, 4000, (HEIGHT, WIDTH)).astype(np.uint16)
    for choice in ("auto", "full", (0, 4095)):
        seen = samkit.read_image(values, value_range=choice)
        expected = predictor.embed(seen).features
        embedding = predictor.embed(values, value_range=choice)
        assert torch.equal(embedding.features.grid, expected.grid)
        session = predictor.session(values, value_range=choice)
        assert torch.equal(session.embedding.features.grid, expected.grid)
