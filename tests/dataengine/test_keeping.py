"""The cache of embeddings on disk."""

import os

import torch

from samkit.dataengine import EmbeddingCache
from samkit.errors import StoreError
from samkit.geometry import CoordMap
from samkit.models import ImageFeatures
from samkit.types import ImageEmbedding

ENCODER = "e" * 64


def embedding(value=0.0):
    return ImageEmbedding(
        features=ImageFeatures((torch.full((1, 4, 8, 8), value),)),
        coords=CoordMap(original_hw=(12, 16), model_size=128),
        model_name="tiny",
        encoder_checksum=ENCODER,
    )


def key(number):
    return f"{number:064x}"


def test_embedding_is_made_once_and_again_when_it_is_missing_or_damaged(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", max_bytes=10**6)
    made = []

    def make():
        made.append(1)
        return embedding(len(made))

    def ask():
        return float(cache.get_or_make(key(1), ENCODER, make).features.grid[0, 0, 0, 0])

    assert [ask(), ask()] == [1, 1]
    (path,) = cache.folder.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert [ask(), ask()] == [2, 2]
    path.unlink()
    assert ask() == 3


def test_least_recently_used_embeddings_go_first(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=10**6)
    cache.put(key(0), ENCODER, embedding())
    size = cache.num_bytes()
    cache = EmbeddingCache(tmp_path, max_bytes=3 * size)
    for number in (1, 2):
        cache.put(key(number), ENCODER, embedding())
    for number in (0, 1, 2):  # used in this order, long ago
        os.utime(cache._path(key(number), ENCODER), (number + 1, number + 1))
    assert cache.get(key(0), ENCODER) is not None
    cache.put(key(3), ENCODER, embedding())
    assert [cache.get(key(n), ENCODER) is not None for n in range(4)] == [True, False, True, True]
    assert cache.num_bytes() == 3 * size


def test_cache_of_no_bytes_keeps_nothing(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=0)
    assert cache.get_or_make(key(1), ENCODER, embedding).model_name == "tiny"
    assert cache.num_bytes() == 0


def test_keys_that_are_no_checksums_are_refused(tmp_path, refusal):
    cache = EmbeddingCache(tmp_path, max_bytes=100)
    for bad in ("../../etc/passwd", "", "A" * 64, "a" * 63):
        with refusal(StoreError, "must be a SHA-256"):
            cache.get(bad, ENCODER)
    with refusal(StoreError, "the embedding is of encoder"):
        cache.put(key(1), "f" * 64, embedding())
