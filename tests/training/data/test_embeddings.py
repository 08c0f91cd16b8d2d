"""Batches of cached embeddings; images are encoded when first needed."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch

from samkit.errors import ConfigError, OutputError
from samkit.files import write_tensors
from samkit.models import CONFIGS, Sam
from samkit.predict import EmbeddingCache, Predictor
from samkit.training.data.embeddings import CachingEncoder, EmbeddedData, warn_of_former_files
from samkit.training.data.loader import BatchLoader

SIDE, TRUTH = CONFIGS["tiny"].image_size, 16


@pytest.fixture
def predictor(tiny_sam):
    return Predictor(tiny_sam, model_name="tiny")


@pytest.fixture
def other_predictor(randomise):
    model = Sam(CONFIGS["tiny"])
    randomise(model, 5)
    return Predictor(model, model_name="tiny")


@pytest.fixture
def source(make_source):
    return make_source(6)


def plain(data, recipe, **fields):
    return BatchLoader(data, recipe, SIDE, TRUTH, seed=1, **fields)


def load(source, folder, predictor, recipe, told=None, dtype="float16", **fields):
    cache = EmbeddingCache(folder, dtype=dtype)
    data = EmbeddedData(source, cache, predictor.encoder_checksum)
    encoder = CachingEncoder(predictor, cache, num_images=len(source), on_embedding=told)
    return plain(data, recipe, encoder=encoder, **fields)


@pytest.fixture
def encoded(predictor, monkeypatch):
    """Images that the predictor has encoded."""
    images, encode = [], predictor.encode
    monkeypatch.setattr(predictor, "encode", lambda image: images.append(image) or encode(image))
    return images


def test_features_are_those_of_the_predictor(predictor, source, tmp_path, recipe):
    loader = load(source, tmp_path, predictor, recipe(images_per_batch=6), dtype="float32")
    for _ in range(2):  # encoded now, then from the cache
        batch = next(loader)
        assert batch.pixels is None
        assert batch.features.dtype == torch.float32
        for key, features in zip(batch.keys, batch.features, strict=True):
            image = source[int(key[0])].image
            assert torch.equal(features, predictor.embed(image).features.grid[0])


def test_masks_and_order_are_those_of_the_images(predictor, source, tmp_path, recipe):
    embedded = islice(load(source, tmp_path, predictor, recipe(max_masks_per_image=2)), 7)
    images = islice(plain(source, recipe(max_masks_per_image=2)), 7)
    for one, other in zip(embedded, images, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.masks, other.masks)
        assert torch.equal(one.image_index, other.image_index)


def test_half_precision_is_near(predictor, source, tmp_path, recipe):
    batch = next(load(source, tmp_path, predictor, recipe()))
    exact = predictor.embed(source[int(batch.keys[0][0])].image).features.grid[0]
    assert torch.equal(batch.features[0], exact.half().float())
    assert (batch.features[0] - exact).norm() / exact.norm() < 5e-4


def test_only_images_of_used_batches_are_encoded(predictor, source, tmp_path, recipe, encoded):
    told = []
    loader = load(source, tmp_path, predictor, recipe(), lambda *at: told.append(at))
    assert encoded == []
    next(loader)
    assert len(encoded) == 2
    next(loader)
    assert len(encoded) == 4
    assert told == [(done, 6) for done in range(1, 5)]
    assert len(list(tmp_path.iterdir())) == 4


def test_each_image_is_encoded_once(predictor, source, tmp_path, recipe, encoded):
    first = [batch.features for batch in islice(load(source, tmp_path, predictor, recipe()), 9)]
    assert len(encoded) == 6
    again = [batch.features for batch in islice(load(source, tmp_path, predictor, recipe()), 9)]
    assert len(encoded) == 6
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_workers_look_up_and_the_training_process_encodes(
    predictor, source, tmp_path, recipe, encoded
):
    """Workers read ahead: an image may be encoded between their look-up and its batch."""
    expected = [b.features for b in islice(load(source, tmp_path / "a", predictor, recipe()), 9)]
    del encoded[:]
    with load(source, tmp_path / "b", predictor, recipe(workers=2)) as loader:
        got = [batch.features for batch in islice(loader, 9)]
    assert len(encoded) == 6
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


def test_processes_share_the_folder(predictor, source, tmp_path, recipe, encoded):
    loaders = [load(source, tmp_path, predictor, recipe(), rank=r, world=3) for r in range(3)]
    for loader in loaders:
        next(loader)
    assert len(encoded) == 6  # each its own images of the epoch
    for loader in loaders:
        list(islice(loader, 3))
    assert len(encoded) == 6


def test_resumed_batches_equal_uninterrupted(predictor, source, tmp_path, recipe):
    first = load(source, tmp_path, predictor, recipe())
    list(islice(first, 2))
    again = load(source, tmp_path / "other", predictor, recipe())
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for one, other in zip(islice(first, 4), islice(again, 4), strict=True):
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.masks, other.masks)


def test_a_batch_that_was_not_finished_is_read_again(predictor, source, tmp_path, recipe):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    loader = load(source, tmp_path, predictor, recipe(), stop)
    expected = list(islice(load(source, tmp_path / "other", predictor, recipe()), 2))
    assert next(loader).keys == expected[0].keys
    with pytest.raises(KeyboardInterrupt):
        next(loader)
    assert next(loader).keys == expected[1].keys


def test_damaged_files_are_made_again(predictor, source, tmp_path, recipe, encoded):
    before = next(load(source, tmp_path, predictor, recipe(images_per_batch=6)))
    first, second, *_ = tmp_path.iterdir()
    first.write_bytes(first.read_bytes()[:-7])
    second.write_bytes(b"garbage")
    after = next(load(source, tmp_path, predictor, recipe(images_per_batch=6)))
    assert len(encoded) == 8
    assert torch.equal(before.features, after.features)


def test_broken_images_are_counted_and_skipped(predictor, make_source, tmp_path, recipe):
    loader = load(make_source(5, broken=(1, 3)), tmp_path, predictor, recipe())
    keys = [key for batch in islice(loader, 3) for key in batch.keys]
    assert set(keys) == {"0.png", "2.png", "4.png"}
    assert loader.skipped == {"broken sample": 2}


def test_encoders_and_changed_images_have_their_own_embeddings(
    predictor, other_predictor, source, tmp_path, recipe
):
    batch_of_all = recipe(images_per_batch=6)
    one = next(load(source, tmp_path, predictor, batch_of_all))
    other = next(load(source, tmp_path, other_predictor, batch_of_all))
    assert not torch.equal(one.features, other.features)
    assert torch.equal(next(load(source, tmp_path, predictor, batch_of_all)).features, one.features)
    source.samples[1] = replace(source[1], image=255 - source[1].image)
    changed = next(load(source, tmp_path, predictor, batch_of_all))
    differs = [not torch.equal(a, b) for a, b in zip(one.features, changed.features, strict=True)]
    assert [key for key, is_other in zip(one.keys, differs, strict=True) if is_other] == ["1.png"]


@pytest.mark.parametrize("fields", [{"flip": True}, {"scale_jitter": (0.5, 1.0)}])
def test_augmentation_is_refused(fields, predictor, source, tmp_path, recipe, refusal):
    with refusal(ConfigError, "cached embeddings", "without data.scale_jitter and data.flip"):
        load(source, tmp_path, predictor, recipe(**fields))


def test_embeddings_of_earlier_versions_are_told_and_left_alone(
    predictor, source, tmp_path, recipe, caplog
):
    cache = EmbeddingCache(tmp_path)
    warn_of_former_files(cache)
    assert caplog.text == ""
    former = tmp_path / "0.png-0123456789ab.emb.safetensors"
    write_tensors(former, {"features": torch.zeros(1)}, {"format": "samkit-kept-embedding-1"})
    next(load(source, tmp_path, predictor, recipe()))
    warn_of_former_files(cache)
    assert "has 1 embeddings of an earlier version" in caplog.text
    assert former.name in caplog.text
    assert former.exists()


def test_a_folder_that_cannot_be_made_is_refused(predictor, source, tmp_path, recipe, refusal):
    (tmp_path / "file").touch()
    with refusal(OutputError, "cannot create"):
        load(source, tmp_path / "file" / "folder", predictor, recipe())
