"""What takes a model takes a SAM 2."""

import copy
import pickle

import numpy as np
import pytest
import torch

from samkit.datasets import Sample
from samkit.evaluation.one_click import OneClick
from samkit.geometry import encode_rle
from samkit.predict import EmbeddingCache, Predictor
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.types import ImageEmbedding
from samkit.weights.checkpoint import save_checkpoint

IMAGE_SHA256 = "0" * 64


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (70, 130, 3), np.uint8)


@pytest.fixture
def predictor(tiny_sam2, tmp_path):
    save_checkpoint(tiny_sam2, tmp_path / "own.safetensors", name="tiny_sam2")
    return Predictor.load(tmp_path / "own.safetensors")


def assert_same(one, other):
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.iou_pred, other.iou_pred)


def test_saved_and_cached_embeddings_answer_the_same(predictor, image, tmp_path):
    embedding = predictor.embed(image)
    prompt = {"points": [[60, 30]], "labels": [1]}
    expected = predictor.predict(embedding, **prompt)
    embedding.save(tmp_path / "one.emb.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "one.emb.safetensors")
    assert_same(predictor.predict(loaded, **prompt), expected)
    cache = EmbeddingCache(tmp_path / "cache")
    cache.put(IMAGE_SHA256, embedding)
    cached = cache.get(IMAGE_SHA256, predictor.encoder_checksum)
    assert_same(predictor.predict(cached, **prompt), expected)


def test_another_process_and_a_copy_answer_the_same(predictor, image):
    expected = predictor.predict(predictor.embed(image), boxes=[5, 5, 80, 60], multimask=False)
    for other in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
        embedding = other.embed(image)
        assert_same(other.predict(embedding, boxes=[5, 5, 80, 60], multimask=False), expected)


def test_another_decoder_serves_the_same_embeddings(predictor, image):
    embedding = predictor.embed(image)
    expected = predictor.predict(embedding, boxes=[5, 5, 80, 60]).logits
    tuned = copy.deepcopy(predictor.model)
    with torch.no_grad():
        tuned.no_mem_embed.add_(1)
    other = predictor.with_decoder(tuned)
    assert np.abs(other.predict(embedding, boxes=[5, 5, 80, 60]).logits - expected).max() > 0.01


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_sessions_refine_their_answers(predictor, image, refine):
    session = predictor.session(image, refine=refine, fine=True)
    for x, y, label in ((60, 30, 1), (20, 50, 0), (100, 40, 1), (90, 20, 1)):
        answer = session.click(x, y, label)
    assert answer.masks.shape[-2:] == (70, 130)
    session.undo()


def test_everything_in_an_image_is_proposed(predictor, image):
    config = AutoMaskConfig(points_per_side=4, iou_thresh=0.0, stability_thresh=0.0)
    masks = AutoMasker(predictor, config).generate(image)
    assert len(masks) > 0
    assert masks.size_hw == (70, 130)


def test_evaluation_measures_it(predictor, image):
    mask = np.zeros((70, 130), bool)
    mask[10:50, 20:90] = True
    sample = Sample(key="a", image=image, rles=(encode_rle(mask),))
    embedding = predictor.embed(image)
    result = OneClick().measure(predictor, embedding, sample)
    assert np.shape(result["ious"]) == (1, 3)


def test_files_have_sam_2s_threshold_of_automatic_masks(predictor):
    assert predictor.iou_thresh == 0.8
