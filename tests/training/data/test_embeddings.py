"""Embeddings kept on disk, and batches of them."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors import safe_open

from samkit.datasets.sa1b import Sa1bShards
from samkit.errors import ConfigError, DataError, EmbeddingError, OutputError
from samkit.files import write_tensors
from samkit.models import CONFIGS, Sam
from samkit.predict import Predictor
from samkit.training.data import cached_files
from samkit.training.data.embeddings import EmbeddedData, cache_embeddings
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


def file_name(key):
    return cached_files.file_name(key, ".emb.safetensors")


def load(data, recipe, **fields):
    return BatchLoader(data, recipe, SIDE, TRUTH, seed=1, **fields)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_features_are_those_of_the_predictor(predictor, source, tmp_path, recipe):
    cache_embeddings(predictor, source, tmp_path, dtype="float32")
    data = EmbeddedData(source, tmp_path, predictor)
    assert len(data) == 6
    batch = next(load(data, recipe(images_per_batch=6)))
    assert batch.pixels is None
    assert batch.features.dtype == torch.float32
    for key, features in zip(batch.keys, batch.features, strict=True):
        image = source[int(key[0])].image
        assert torch.equal(features, predictor.embed(image).features.grid[0])


def test_masks_and_order_are_those_of_the_images(predictor, source, tmp_path, recipe):
    cache_embeddings(predictor, source, tmp_path)
    data = EmbeddedData(source, tmp_path, predictor)
    embedded = islice(load(data, recipe(max_masks_per_image=2)), 7)
    plain = islice(load(source, recipe(max_masks_per_image=2)), 7)
    for one, other in zip(embedded, plain, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.masks, other.masks)
        assert torch.equal(one.image_index, other.image_index)


def test_half_precision_is_near(predictor, source, tmp_path):
    cache_embeddings(predictor, source, tmp_path)
    data = EmbeddedData(source, tmp_path, predictor)
    exact = predictor.embed(source[2].image).features.grid[0]
    kept = data[2].features
    assert kept.dtype == torch.float16
    assert (kept.float() - exact).norm() / exact.norm() < 5e-4


def test_resumed_batches_equal_uninterrupted(predictor, source, tmp_path, recipe):
    cache_embeddings(predictor, source, tmp_path)
    data = EmbeddedData(source, tmp_path, predictor)
    first = load(data, recipe())
    list(islice(first, 2))
    again = load(data, recipe())
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for one, other in zip(islice(first, 4), islice(again, 4), strict=True):
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.masks, other.masks)


def test_each_image_is_encoded_once(predictor, source, tmp_path, monkeypatch):
    told, encoded = [], []
    embed = predictor.embed
    monkeypatch.setattr(predictor, "embed", lambda image: encoded.append(1) or embed(image))
    kept = cache_embeddings(predictor, source, tmp_path, lambda *at: told.append(at))
    assert (kept.encoded, kept.found, kept.skipped) == (6, 0, {})
    assert told == [(done, 6) for done in range(1, 7)]
    kept = cache_embeddings(predictor, source, tmp_path)
    assert (kept.encoded, kept.found) == (0, 6)
    assert len(encoded) == 6
    # Another precision is another file.
    assert cache_embeddings(predictor, source, tmp_path, dtype="float32").encoded == 6


def test_processes_share_the_images(predictor, source, tmp_path):
    shares = [cache_embeddings(predictor, source, tmp_path, rank=r, world=4) for r in range(4)]
    assert [(kept.encoded, kept.found) for kept in shares] == [(2, 0), (2, 0), (1, 0), (1, 0)]
    assert cache_embeddings(predictor, source, tmp_path).found == 6


def test_stopped_run_goes_on(predictor, source, tmp_path):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_embeddings(predictor, source, tmp_path, stop)
    assert len(names(tmp_path)) == 4
    kept = cache_embeddings(predictor, source, tmp_path)
    assert (kept.encoded, kept.found) == (2, 4)
    assert names(tmp_path) == sorted(file_name(source.key(index)) for index in range(6))


def test_damaged_files_are_made_again(predictor, source, tmp_path, recipe):
    cache_embeddings(predictor, source, tmp_path)
    first, second = (tmp_path / file_name(source.key(index)) for index in range(2))
    first.write_bytes(first.read_bytes()[:-7])
    second.write_bytes(b"garbage")
    data = EmbeddedData(source, tmp_path, predictor)
    for index in range(2):
        with pytest.raises(DataError, match="is damaged"):
            data[index]
    kept = cache_embeddings(predictor, source, tmp_path)
    assert (kept.encoded, kept.found) == (2, 4)
    assert data[0].features.shape == data[1].features.shape


def test_broken_images_are_counted_and_skipped(predictor, make_source, tmp_path, recipe):
    source = make_source(5, broken=(1, 3))
    kept = cache_embeddings(predictor, source, tmp_path)
    assert kept.encoded == 3
    assert kept.skipped == {"1.png": "1.png is broken", "3.png": "3.png is broken"}
    data = EmbeddedData(source, tmp_path, predictor)
    loader = load(data, recipe())
    keys = [key for batch in islice(loader, 3) for key in batch.keys]
    assert set(keys) == {"0.png", "2.png", "4.png"}
    assert loader.skipped == {"broken sample": 2}


def test_embeddings_of_another_encoder_are_refused(
    predictor, other_predictor, source, tmp_path, recipe, refusal
):
    cache_embeddings(predictor, source, tmp_path)
    with refusal(EmbeddingError, "was made by the encoder", f"delete {tmp_path}"):
        cache_embeddings(other_predictor, source, tmp_path)
    with refusal(EmbeddingError, "was made by the encoder", "another folder"):
        EmbeddedData(source, tmp_path, other_predictor)
    # One of many that is not the first is found when its turn comes, and is no broken sample.
    data = EmbeddedData(source, tmp_path, predictor)
    (tmp_path / file_name(source.key(3))).unlink()
    cache_embeddings(other_predictor, OneOf(source, 3), tmp_path)
    with pytest.raises(EmbeddingError, match="was made by"):
        list(islice(load(data, recipe()), 3))


class OneOf:
    """A data set of one of another's samples."""

    def __init__(self, source, index):
        self.source, self.index = source, index

    def __len__(self):
        return 1

    def key(self, index):
        return self.source.key(self.index)

    def __getitem__(self, index):
        return self.source[self.index]


def test_files_carry_key_and_encoder(predictor, source, tmp_path):
    cache_embeddings(predictor, source, tmp_path)
    with safe_open(tmp_path / file_name("4.png"), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["key"] == "4.png"
    assert metadata["encoder_checksum"] == predictor.encoder_checksum
    assert metadata["original_hw"] == "40,60"


def test_embedding_of_another_image_is_a_broken_sample(
    predictor, make_source, make_sample, tmp_path
):
    source = make_source(2)
    cache_embeddings(predictor, source, tmp_path)
    data = EmbeddedData(source, tmp_path, predictor)
    sample = source.samples[1]
    for other in (make_sample(1, size_hw=(41, 60)), replace(sample, image=255 - sample.image)):
        source.samples[1] = other
        with pytest.raises(DataError, match=r"was made of another image than 1.png is now"):
            data[1]


def test_names_of_files_are_legible_and_differ():
    keys = ["a/b.jpg", "a_b.jpg", "ä.jpg", "ö.jpg", "x" * 300, "y" + "x" * 300, "..", "a\nb"]
    files = [file_name(key) for key in keys]
    assert len(set(files)) == len(keys)
    assert files[0].startswith("a_b.jpg-")
    assert all(len(name) < 120 and "/" not in name and "\n" not in name for name in files)


@pytest.mark.parametrize("fields", [{"flip": True}, {"scale_jitter": (0.5, 1.0)}])
def test_augmentation_is_refused(fields, predictor, source, tmp_path, recipe, refusal):
    cache_embeddings(predictor, source, tmp_path)
    data = EmbeddedData(source, tmp_path, predictor)
    with refusal(ConfigError, "kept embeddings", "without scale_jitter and flip"):
        load(data, recipe(**fields))


def test_embeddings_of_earlier_versions_are_still_read(predictor, source, tmp_path):
    """Their checksum was one of bytes, which tells -0.0 from +0.0."""
    predictor.model.image_encoder.neck[0].weight.data[0, 0, 0, 0] = -0.0
    cache_embeddings(predictor, source, tmp_path)
    for path in tmp_path.iterdir():
        with safe_open(path, framework="pt") as file:
            metadata, features = file.metadata(), file.get_tensor("features")
        metadata["encoder_checksum"] = predictor.former_checksum
        metadata["photo_crc32"] = metadata.pop("image_crc32")
        write_tensors(path, {"features": features}, metadata)
    assert predictor.former_checksum != predictor.encoder_checksum
    assert cache_embeddings(predictor, source, tmp_path).found == len(source)
    assert EmbeddedData(source, tmp_path, predictor)[0].features.shape == features.shape


def test_what_makes_no_sense_is_refused(
    predictor, source, tmp_path, write_tar, sa1b_files, refusal
):
    with refusal(EmbeddingError, "has no embeddings of this data set"):
        EmbeddedData(source, tmp_path / "none", predictor)
    with refusal(ConfigError, "dtype must be one of float16, float32"):
        cache_embeddings(predictor, source, tmp_path, dtype="int8")
    shard = write_tar(tmp_path / "a.tar", sa1b_files(range(2)))
    with refusal(ConfigError, "unpack tar shards"):
        cache_embeddings(predictor, Sa1bShards([shard]), tmp_path)
    with refusal(OutputError, "cannot write to"):
        cache_embeddings(predictor, source, shard / "folder")
