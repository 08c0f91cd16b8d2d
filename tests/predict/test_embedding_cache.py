"""The embedding cache: look-up by image and encoder, size limit, two precisions."""

import os

import numpy as np
import pytest
import torch

from samkit.errors import ConfigError, EmbeddingError, OutputError
from samkit.geometry import CoordMap
from samkit.models import ImageFeatures
from samkit.predict import EmbeddingCache, pixels_sha256
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


def value_of(found):
    return None if found is None else float(found.features.grid[0, 0, 0, 0])


def test_embeddings_are_found_by_image_and_encoder_and_missed_when_damaged(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache")
    assert cache.get(key(1), ENCODER) is None
    cache.put(key(1), embedding(1.5))
    cache.put(key(2), embedding(2.5))
    found = cache.get(key(1), ENCODER)
    assert value_of(found) == 1.5
    assert (found.coords, found.model_name) == (embedding().coords, "tiny")
    assert cache.get(key(1), "f" * 64) is None
    path = cache.path(key(1), ENCODER)
    path.write_bytes(path.read_bytes()[:100])
    assert cache.get(key(1), ENCODER) is None
    cache.put(key(1), embedding(3.5))
    assert value_of(cache.get(key(1), ENCODER)) == 3.5


def test_images_of_an_encoder_are_listed_and_files_moved(tmp_path):
    cache, other = EmbeddingCache(tmp_path / "one"), EmbeddingCache(tmp_path / "two")
    for number in (1, 2):
        cache.put(key(number), embedding(number))
    other.put(key(2), embedding(7))
    assert cache.images(ENCODER) == {key(1), key(2)}
    assert cache.images("f" * 64) == set()
    cache.move_to(other)
    assert cache.images(ENCODER) == set()
    assert [value_of(other.get(key(number), ENCODER)) for number in (1, 2)] == [1, 2]


def test_files_are_saved_embeddings(tmp_path):
    """A saved embedding of any version is read where it lies under a cache's name."""
    cache = EmbeddingCache(tmp_path)
    embedding(0.25).save(tmp_path / f"{key(7)}-{ENCODER}.emb.safetensors")
    assert value_of(cache.get(key(7), ENCODER)) == 0.25
    cache.put(key(8), embedding(0.5))
    saved = ImageEmbedding.load(tmp_path / f"{key(8)}-{ENCODER}.emb.safetensors")
    assert value_of(saved) == 0.5


def test_half_precision_gives_the_same_values_before_and_after_the_disk(tmp_path):
    exact = 1 + 2**-20
    half = EmbeddingCache(tmp_path, dtype="float16")
    returned = half.put(key(1), embedding(exact))
    found = half.get(key(1), ENCODER)
    assert value_of(returned) == value_of(found) == 1.0
    assert returned.features.grid.dtype == found.features.grid.dtype == torch.float32
    half_bytes = half.num_bytes()
    # Full precision does not take what half precision has rounded; half precision rounds it.
    full = EmbeddingCache(tmp_path)
    assert full.get(key(1), ENCODER) is None
    assert value_of(full.put(key(1), embedding(exact))) == value_of(embedding(exact))
    assert value_of(full.get(key(1), ENCODER)) == value_of(embedding(exact))
    assert value_of(half.get(key(1), ENCODER)) == 1.0
    assert full.num_bytes() == half_bytes + 2 * 4 * 8 * 8


def test_least_recently_used_embeddings_are_removed_first(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=10**6)
    cache.put(key(0), embedding())
    size = cache.num_bytes()
    cache = EmbeddingCache(tmp_path, max_bytes=3 * size)
    for number in (1, 2):
        cache.put(key(number), embedding())
    for number in (0, 1, 2):  # used in this order, long ago
        os.utime(cache.path(key(number), ENCODER), (number + 1, number + 1))
    assert cache.get(key(0), ENCODER) is not None
    cache.put(key(3), embedding())
    assert [cache.get(key(n), ENCODER) is not None for n in range(4)] == [True, False, True, True]
    assert cache.num_bytes() == 3 * size


def test_a_cache_of_no_bytes_stores_nothing(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=0)
    assert value_of(cache.put(key(1), embedding(2.0))) == 2.0
    assert cache.num_bytes() == 0


def test_images_have_one_checksum_each():
    image = np.zeros((2, 6, 3), np.uint8)
    other = image.copy()
    other[1, 5, 2] = 1
    sums = {pixels_sha256(one) for one in (image, image.copy(), other, image.reshape(3, 4, 3))}
    assert len(sums) == 3
    assert all(len(one) == 64 for one in sums)


def test_invalid_keys_and_settings_are_refused(tmp_path, refusal):
    cache = EmbeddingCache(tmp_path)
    for bad in ("../../etc/passwd", "", "A" * 64, "a" * 63):
        with refusal(EmbeddingError, "must be a SHA-256"):
            cache.get(bad, ENCODER)
        with refusal(EmbeddingError, "must be a SHA-256"):
            cache.put(bad, embedding())
    with refusal(ConfigError, "max_bytes must not be negative"):
        EmbeddingCache(tmp_path, max_bytes=-1)
    with refusal(ConfigError, "dtype must be float16 or float32"):
        EmbeddingCache(tmp_path, dtype="int8")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot create"):
        EmbeddingCache(tmp_path / "file")
