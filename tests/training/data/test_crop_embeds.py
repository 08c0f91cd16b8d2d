"""CLIP embeddings of mask crops on disk, and batches of them."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from samkit.datasets import Sa1bShards
from samkit.errors import ConfigError, DataError
from samkit.geometry.rle import rle_area
from samkit.predict import EmbeddingCache, Predictor
from samkit.text import Clip
from samkit.training.data.crop_embeds import (
    CropEmbeddedData,
    CropRecipe,
    cache_crop_embeds,
    crop_embeds,
    fraction_with_crops,
)
from samkit.training.data.embeddings import CachingEncoder, EmbeddedData
from samkit.training.data.loader import BatchLoader

LEAST_PX = 100


@pytest.fixture
def source(make_source):
    return make_source(5)


@pytest.fixture
def crops(tmp_path):
    return CropRecipe(folder=str(tmp_path / "crops"), variants=3, min_area_px=LEAST_PX)


def load(data, recipe, **fields):
    return BatchLoader(data, recipe, 128, 16, seed=1, **fields)


def test_codes_are_of_length_one_and_missing_for_small_masks(clip, source, crops):
    sample = source[0]
    codes = crop_embeds(clip, sample, crops)
    assert codes.shape == (len(sample.rles), 3, clip.dim)
    large = [rle_area(rle) >= LEAST_PX for rle in sample.rles]
    assert any(large)
    np.testing.assert_array_equal(np.isfinite(codes).all(axis=(1, 2)), large)
    np.testing.assert_allclose(np.linalg.norm(codes[large].astype(float), axis=2), 1, atol=2e-3)
    assert not np.allclose(codes[large][0, 0], codes[large][0, 1])  # another crop
    none = CropRecipe(variants=2, min_area_px=10**6)
    assert np.isnan(crop_embeds(clip, sample, none)).all()


def test_crops_depend_on_the_image_alone(clip, source, crops, make_source):
    np.testing.assert_array_equal(
        crop_embeds(clip, source[2], crops), crop_embeds(clip, make_source(5)[2], crops)
    )


def test_what_is_kept_comes_back_in_batches(clip, source, crops, recipe):
    kept = cache_crop_embeds(clip, source, crops)
    assert (kept.encoded, kept.found) == (5, 0)
    assert cache_crop_embeds(clip, source, crops).found == 5
    data = CropEmbeddedData(source, crops, clip_fingerprint=clip.fingerprint)
    assert (len(data), data.key(1)) == (5, source.key(1))
    np.testing.assert_array_equal(data[1].crop_embeds, crop_embeds(clip, source[1], crops))
    seen = set()
    for batch in islice(load(data, recipe(images_per_batch=5)), 6):
        assert batch.text_embeds.shape == (len(batch.masks), clip.dim)
        for key, own in zip(
            batch.keys, batch.text_embeds.split(batch.image_index.bincount().tolist()), strict=True
        ):
            codes = crop_embeds(clip, source[int(key[0])], crops).astype(np.float32)
            for code in own.numpy():
                found = [m for m in range(len(codes)) for v in range(3) if same(codes[m, v], code)]
                assert found
                seen.add((key, code.tobytes()))
    assert len(seen) > 5 * 4  # crops change from epoch to epoch


def same(one, other):
    return np.array_equal(one, other, equal_nan=True)


def test_batches_without_crops_have_none(source, recipe):
    assert next(load(source, recipe())).text_embeds is None


def test_resumed_batches_equal_uninterrupted(clip, source, crops, recipe):
    cache_crop_embeds(clip, source, crops)
    data = CropEmbeddedData(source, crops, clip_fingerprint=clip.fingerprint)
    first = load(data, recipe())
    list(islice(first, 2))
    again = load(data, recipe())
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for one, other in zip(islice(first, 4), islice(again, 4), strict=True):
        torch.testing.assert_close(one.text_embeds, other.text_embeds, equal_nan=True)


def test_embeddings_and_codes_go_together(clip, source, crops, tiny_sam, tmp_path, recipe):
    predictor = Predictor(tiny_sam, model_name="tiny")
    cache_crop_embeds(clip, source, crops)
    with_crops = CropEmbeddedData(source, crops, clip_fingerprint=clip.fingerprint)
    cache = EmbeddingCache(tmp_path / "embeddings")
    both = EmbeddedData(with_crops, cache, predictor.encoder_checksum)
    encoder = CachingEncoder(predictor, cache, num_images=len(source))
    batch = next(load(both, recipe(), encoder=encoder))
    assert batch.features is not None
    assert batch.text_embeds.shape == (len(batch.masks), clip.dim)


def test_other_crops_are_other_files(clip, source, crops, tmp_path):
    cache_crop_embeds(clip, source, crops)
    more = CropRecipe(folder=crops.folder, variants=4, min_area_px=LEAST_PX)
    assert cache_crop_embeds(clip, source, more).encoded == 5
    data = CropEmbeddedData(source, more, clip_fingerprint=clip.fingerprint)
    assert data[0].crop_embeds.shape[1] == 4


def test_codes_follow_the_masks(clip, source, crops):
    cache_crop_embeds(clip, source, crops)
    data = CropEmbeddedData(source, crops, clip_fingerprint=clip.fingerprint)
    sample = source.samples[2]
    turned = replace(sample, rles=sample.rles[::-1])
    fewer = replace(sample, rles=sample.rles[:-1])
    none = replace(sample, rles=())
    for changed in (turned, fewer, none):
        source.samples[2] = changed
        with pytest.raises(DataError, match="are not in"):
            data[2]
        kept = cache_crop_embeds(clip, source, crops)
        assert (kept.encoded, kept.found) == (1, 4)
        np.testing.assert_array_equal(data[2].crop_embeds, crop_embeds(clip, changed, crops))


def test_share_of_masks_with_crops(make_source, crops):
    source = make_source(5, broken=(1,))
    good = [source[index] for index in (0, 2, 3, 4)]
    large = [rle_area(rle) >= LEAST_PX for sample in good for rle in sample.rles]
    assert fraction_with_crops(source, crops, images=100) == pytest.approx(np.mean(large))
    assert fraction_with_crops(make_source(0), crops, images=100) == 0


def test_embeddings_of_another_clip_are_other_files(clip, clip_folder, source, crops):
    cache_crop_embeds(clip, source, crops)
    other = Clip.load(clip_folder)
    other.model.visual_projection.weight.data *= 2
    assert cache_crop_embeds(other, source, crops).encoded == 5
    assert cache_crop_embeds(clip, source, crops).found == 5


def test_damaged_and_broken_ones_are_told(clip, make_source, crops, tmp_path):
    source = make_source(3, broken=(1,))
    cached = cache_crop_embeds(clip, source, crops)
    assert (cached.encoded, cached.skipped) == (2, {"1.png": "1.png is broken"})
    data = CropEmbeddedData(source, crops, clip_fingerprint=clip.fingerprint)
    path = data.cache.path(source[2])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"2.png: its mask crops are not in .* or the file"):
        data[2]
    assert cache_crop_embeds(clip, source, crops).encoded == 1
    assert data[2].crop_embeds.shape[1] == 3


def test_invalid_input_is_refused(clip, crops, tmp_path, write_tar, sa1b_files, refusal):
    shard = write_tar(tmp_path / "a.tar", sa1b_files(range(2)))
    with refusal(ConfigError, "unpack tar shards"):
        cache_crop_embeds(clip, Sa1bShards([shard]), crops)
    with refusal(ConfigError, "variants must be at least 1"):
        CropRecipe(variants=0)
