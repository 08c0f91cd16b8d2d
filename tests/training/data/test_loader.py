"""Batches: contents, order, and resuming."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from samkit.datasets import ImageFolder, Sa1bShards, Sample
from samkit.errors import ConfigError, DataError, EmbeddingError, ImageError
from samkit.geometry import CoordMap, encode_rle
from samkit.image_spec import ImageSpec
from samkit.predict.preprocess import normalise, resize_image
from samkit.training.data.loader import BatchLoader
from samkit.training.data.placement import place_image, place_mask, plain_placement
from samkit.training.data.sampling import EpochSampler

SIDE, TRUTH = 32, 16
AUGMENTED = {"scale_jitter": (0.5, 2.0), "flip": True, "max_masks_per_image": 3}
# Python from 3.12 on warns of forks of processes with threads, which torch has.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
    # torch thinks that this machine has too few cores for them.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def load(source, recipe, **fields):
    return BatchLoader(source, recipe, SIDE, TRUTH, **({"seed": 1} | fields))


def take(loader, count):
    batches = list(islice(loader, count))
    loader.close()
    return batches


def assert_same(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.masks, other.masks)
        assert torch.equal(one.image_index, other.image_index)


def keys_of(batches):
    return [key for batch in batches for key in batch.keys]


def test_batch_holds_images_and_masks_as_in_prediction(make_source, recipe):
    source = make_source(5)
    batch = next(load(source, recipe(images_per_batch=3)))
    assert batch.features is None
    assert batch.pixels.shape == (3, 3, SIDE, SIDE)
    assert batch.pixels.dtype == torch.float32
    assert batch.masks.dtype == torch.bool
    assert batch.image_index.dtype == torch.int64
    place = 0
    for number, key in enumerate(batch.keys):
        sample = source[int(key.split(".")[0])]
        placement = plain_placement(sample.image.shape[:2], SIDE)
        coords = CoordMap(original_hw=sample.image.shape[:2], model_size=SIDE)
        resized = resize_image(sample.image, coords)
        assert torch.equal(batch.pixels[number], normalise(resized, ImageSpec(size=SIDE))[0])
        for rle in sample.rles:
            expected = place_mask(rle, placement, TRUTH)
            np.testing.assert_array_equal(batch.masks[place].numpy(), expected)
            assert batch.image_index[place] == number
            place += 1
    assert place == len(batch.masks)


def test_budget_draws_other_masks_in_each_epoch(make_source, recipe):
    source = make_source(1)
    loader = load(source, recipe(images_per_batch=1, max_masks_per_image=2))
    chosen = Counter()
    every = [
        place_mask(rle, plain_placement((40, 60), SIDE), TRUTH).tobytes() for rle in source[0].rles
    ]
    for batch in take(loader, 60):
        assert len(batch.masks) == 2
        order = [every.index(mask.numpy().tobytes()) for mask in batch.masks]
        assert order == sorted(order)
        chosen.update(order)
    expected = 60 * 2 / len(every)
    assert len(chosen) == len(every)
    assert all(0.5 * expected < count < 1.7 * expected for count in chosen.values())


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 4, 7, 30])
def test_each_sample_comes_once_an_epoch_over_all_processes(count, world):
    """Also where the number of processes does not divide the number of samples."""
    orders = [EpochSampler(count=count, seed=3, rank=rank, world=world) for rank in range(world)]
    epochs = {}
    for order in orders:
        for epoch, index in islice(order.indices(0), 4 * count):
            epochs.setdefault(epoch, []).append(index)
    for epoch in range(3):
        assert sorted(epochs[epoch]) == list(range(count))
    # All go at the same pace: none is more than one sample ahead of its share.
    for order in orders:
        ahead = Counter(epoch for epoch, _ in islice(order.indices(0), 4 * count))
        assert all(count // world <= ahead[epoch] <= -(-count // world) for epoch in range(3))
    for start in (0, 1, count, count + 3):
        draws = list(islice(orders[-1].indices(0), start + 5))
        assert list(islice(orders[-1].indices(start), 5)) == draws[start:]


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 0), (2, 2)])
def test_loaders_share_each_epoch_out(world, workers, make_source, recipe):
    source = make_source(12)
    seen = Counter()
    for rank in range(world):
        loader = load(source, recipe(workers=workers), rank=rank, world=world)
        batches = take(loader, 12 // world)  # two epochs, of which each process has the same part
        assert {len(batch.keys) for batch in batches} == {2}
        seen.update(keys_of(batches))
    assert set(seen.values()) == {2}
    assert len(seen) == 12


def test_order_is_another_in_each_epoch_and_for_each_seed(make_source, recipe):
    source = make_source(10)
    keys = keys_of(take(load(source, recipe()), 10))
    assert sorted(keys[:10]) == sorted(keys[10:])
    assert keys[:10] != keys[10:]
    assert keys != keys_of(take(load(source, recipe(), seed=2), 10))
    assert keys == keys_of(take(load(source, recipe()), 10))


def test_batches_do_not_depend_on_the_number_of_workers(scenes, recipe):
    batches = take(load(scenes, recipe(**AUGMENTED)), 9)
    for workers in (1, 2):
        assert_same(batches, take(load(scenes, recipe(workers=workers, **AUGMENTED)), 9))


def test_augmentation_is_another_in_each_epoch_and_for_each_seed(scenes, recipe):
    def pixels(**fields):
        batches = take(load(scenes, recipe(images_per_batch=12, **AUGMENTED), **fields), 2)
        return [dict(zip(batch.keys, batch.pixels, strict=True)) for batch in batches]

    first, second = pixels()
    (other, _) = pixels(seed=2)
    assert first.keys() == second.keys() == other.keys()
    assert not any(torch.equal(first[key], second[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 5])
def test_resumed_equals_uninterrupted(stop, workers, scenes, recipe):
    """Bit for bit, in the middle of an epoch, with augmentation, whatever was prefetched."""
    settings = recipe(images_per_batch=3, workers=workers, **AUGMENTED)
    whole = take(load(scenes, settings), 10)
    first = load(scenes, settings)
    assert_same(whole[:stop], list(islice(first, stop)))
    state = json.loads(json.dumps(first.state_dict()))
    first.close()
    again = load(scenes, settings)
    again.load_state_dict(state)
    assert_same(whole[stop:], take(again, 10 - stop))
    # The other number of workers goes on with the same.
    other = load(scenes, recipe(images_per_batch=3, workers=2 - workers, **AUGMENTED))
    other.load_state_dict(state)
    assert_same(whole[stop : stop + 2], take(other, 2))


def test_image_whose_masks_are_all_cropped_away_is_taken_whole(make_source, recipe):
    corner = np.zeros((100, 100), bool)
    corner[:3, :3] = True
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    source = make_source(1)
    source.samples = [Sample(key="a", image=image, rles=(encode_rle(corner),))]
    loader = load(source, recipe(images_per_batch=1, scale_jitter=(3.0, 3.0)))
    plain = place_image(image, plain_placement((100, 100), SIDE))
    batches = take(loader, 10)
    assert all(batch.masks.any() for batch in batches)
    assert sum(torch.equal(batch.pixels[0], plain) for batch in batches) >= 7
    assert not loader.skipped


def test_state_may_be_loaded_into_a_loader_that_runs(scenes, recipe):
    loader = load(scenes, recipe(**AUGMENTED))
    state = loader.state_dict()
    batches = list(islice(loader, 5))
    loader.load_state_dict(state)
    assert_same(batches, take(loader, 5))
    assert state == load(scenes, recipe()).state_dict()  # a state does not change afterwards


def test_resumed_equals_uninterrupted_where_images_are_broken(make_source, recipe):
    source = make_source(9, broken=(1, 2, 5))
    whole = load(source, recipe())
    batches = list(islice(whole, 12))
    for stop in (0, 2, 3, 7, 11):
        first = load(source, recipe())
        list(islice(first, stop))
        again = load(source, recipe())
        again.load_state_dict(first.state_dict())
        assert_same(batches[stop:], list(islice(again, 12 - stop)))
        assert again.skipped == whole.skipped
        assert again.state_dict() == whole.state_dict()


def test_global_random_state_has_no_part_and_stays(scenes, recipe):
    batches = take(load(scenes, recipe(workers=2, **AUGMENTED)), 3)
    torch.manual_seed(77)
    np.random.seed(77)  # noqa: NPY002 - that it does not matter
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert_same(batches, take(load(scenes, recipe(workers=2, **AUGMENTED)), 3))
    assert_same(batches, take(load(scenes, recipe(**AUGMENTED)), 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002


@pytest.mark.parametrize(
    "fields", [{"seed": 2}, {"rank": 1, "world": 2}, {"world": 2}, {"source": 6}]
)
def test_state_of_another_order_is_refused(fields, make_source, recipe, refusal):
    source = make_source(fields.pop("source", 5))
    other = load(source, recipe(), **fields)
    with refusal(ConfigError, "the order of the data cannot be resumed"):
        other.load_state_dict(load(make_source(5), recipe()).state_dict())


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_samples_are_skipped_counted_and_logged_once(
    workers, make_source, make_sample, recipe, caplog
):
    source = make_source(8, broken=(3, 4))
    source.samples[5] = ImageError("5.png cannot be read: truncated")
    source.samples[6] = Sample(key="6.png", image=source[0].image, rles=())
    faulty = make_sample(7)
    source.samples[7] = Sample(
        key="7.png", image=faulty.image, rles=faulty.rles, faults=("annotation 2: odd", "3: even")
    )
    loader = load(source, recipe(workers=workers))
    with caplog.at_level(logging.WARNING):
        batches = take(loader, 8)
    assert set(keys_of(batches)) == {"0.png", "1.png", "2.png", "7.png"}
    assert {len(batch.keys) for batch in batches} == {2}
    assert all(len(set(batch.image_index.tolist())) == 2 for batch in batches)
    assert loader.skipped == {
        "broken sample": 2,
        "broken image": 1,
        "no usable mask": 1,
        "broken annotation": 2,
    }
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(message.split(":")[0] for message in messages) == [
        f"skipped {index}.png" for index in (3, 4, 5, 6, 7)
    ]
    assert "skipped 5.png: broken image: 5.png cannot be read: truncated" in messages


def test_what_follows_fills_the_batch(make_source, recipe):
    broken = (0, 2, 3, 7)
    whole = keys_of(take(load(make_source(10), recipe()), 10))
    kept = [key for key in whole if int(key[0]) not in broken]
    assert keys_of(take(load(make_source(10, broken), recipe()), 5)) == kept[:10]


def test_masks_that_filters_leave_out_make_a_image_unusable(make_source, recipe):
    loader = load(make_source(3), recipe(min_area_px=2000))
    with pytest.raises(DataError):
        next(loader)
    assert loader.skipped == {"no usable mask": 3}


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_without_a_usable_image_is_an_error(workers, make_source, recipe, refusal):
    source = make_source(5, broken=range(5))
    source.samples[4] = Sample(key="4.png", image=np.zeros((5, 5, 3), np.uint8), rles=())
    loader = load(source, recipe(workers=workers))
    with refusal(DataError, "no image of a full epoch", "4 broken sample", "1 no usable mask"):
        next(loader)


def test_one_usable_image_is_enough(make_source, recipe):
    for seed in range(5):
        loader = load(make_source(6, broken=range(5)), recipe(images_per_batch=3), seed=seed)
        assert next(loader).keys == ("5.png",) * 3


def test_signals_to_all_processes_leave_the_workers_to_the_training(scenes, recipe):
    settings = recipe(workers=2, prefetch=1)
    loader = load(scenes, settings)
    first = next(loader)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    assert_same([first, *take(loader, 5)], take(load(scenes, recipe()), 6))
    assert not multiprocessing.active_children()


def test_what_workers_need_can_be_sent_to_them(scenes, recipe):
    """Where processes are not forked, it is pickled."""
    reader = load(scenes, recipe(**AUGMENTED))._reader
    again = pickle.loads(pickle.dumps(reader))
    one, other = next(reader.read(reader.start())), next(again.read(again.start()))
    assert torch.equal(one.result.pixels, other.result.pixels)


def test_empty_data_set_is_refused(make_source, recipe, refusal):
    with refusal(DataError, "no images"):
        load(make_source(0), recipe())


@pytest.mark.parametrize("workers", [0, 1])
def test_error_that_is_not_of_one_sample_ends_the_training(workers, make_source, recipe, refusal):
    source = make_source(4)
    source.samples = [EmbeddingError("of another encoder")] * 4
    with refusal(EmbeddingError, "of another encoder"):
        next(load(source, recipe(workers=workers)))


def test_images_alone_need_no_masks(make_source, recipe):
    source = make_source(4)
    source.samples = [Sample(key=f"{i}.png", image=source[i].image, rles=()) for i in range(4)]
    batch = next(load(source, recipe(**AUGMENTED), with_masks=False))
    assert batch.pixels.shape == (2, 3, SIDE, SIDE)
    assert batch.masks.shape == (0, TRUTH, TRUTH)
    assert batch.image_index.shape == (0,)
    loader = load(make_source(1), recipe(scale_jitter=(2.0, 2.0)), with_masks=False)
    assert (
        len({pixels.numpy().tobytes() for batch in take(loader, 4) for pixels in batch.pixels}) > 4
    )


@pytest.mark.parametrize(
    "fields", [{"seed": -1}, {"rank": 2, "world": 2}, {"rank": -1}, {"world": 0}]
)
def test_numbers_without_sense_are_refused(fields, make_source, recipe, refusal):
    with refusal(ConfigError, "seed"):
        load(make_source(2), recipe(), **fields)


@pytest.mark.parametrize("seed", range(5))
def test_masks_of_augmented_batches_cover_their_colour(seed, make_source, recipe):
    """Through the whole way: colours are brighter or darker than the grey around."""
    source = make_source(6)
    for batch in take(load(source, recipe(**AUGMENTED), seed=seed), 3):
        spread = batch.pixels.amax(1) - batch.pixels.amin(1)  # grey has next to none
        for mask, number in zip(batch.masks, batch.image_index, strict=True):
            fine = mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
            assert spread[number][fine].median() > 1


# Streams


@pytest.fixture
def shards(tmp_path, sa1b_files, write_tar):
    """Shards of 5, 3 and 4 images, two of which are broken."""
    files = [sa1b_files(range(5)), sa1b_files(range(5, 8)), sa1b_files(range(8, 12))]
    files[0]["sa_1.png"] = files[0]["sa_1.png"][:-30]
    files[2]["sa_9.json"] = b"{"
    return Sa1bShards(
        [write_tar(tmp_path / f"{number}.tar", part) for number, part in enumerate(files)]
    )


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 0), (2, 2), (1, 3)])
def test_streams_give_each_image_once_an_epoch(world, workers, shards, recipe):
    seen = Counter()
    for rank in range(world):
        settings = recipe(images_per_batch=1, workers=workers)
        loader = load(shards, settings, rank=rank, world=world)
        # As many as its readers have in their first epoch: counted by reading them.
        readers = max(1, workers)
        parts = [
            [
                one.key
                for one in shards.read(0, rank * readers + reader, world * readers)
                if not isinstance(one, DataError)
            ]
            for reader in range(readers)
        ]
        batches = take(loader, 30)
        found = keys_of(batches)
        for part in parts:
            own = [key for key in found if key in part]
            if world * readers == 1:
                assert own[: len(part)] == part
            seen.update(part)
            assert set(part) <= set(own)
        assert {len(batch.keys) for batch in batches} == {1}
    assert len(seen) == 10
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_stream_equals_uninterrupted(workers, shards, recipe):
    settings = recipe(images_per_batch=2, workers=workers, **AUGMENTED)
    whole = load(shards, settings)
    batches = list(islice(whole, 14))
    for stop in (1, 8, 13):
        first = load(shards, settings)
        list(islice(first, stop))
        state = json.loads(json.dumps(first.state_dict()))
        first.close()
        again = load(shards, settings)
        again.load_state_dict(state)
        assert_same(batches[stop:], take(again, 14 - stop))
        assert again.state_dict() == whole.state_dict()
    assert whole.skipped["broken sample"] == 2
    whole.close()


def test_augmentation_of_a_stream_does_not_depend_on_the_reader(shards, recipe):
    def pixels(workers):
        settings = recipe(images_per_batch=1, workers=workers, **AUGMENTED)
        batches = take(load(shards, settings), 10)
        return {batch.keys[0]: batch.pixels for batch in batches[:5]}

    alone, shared = pixels(0), pixels(2)
    common = alone.keys() & shared.keys()
    assert common
    assert all(torch.equal(alone[key], shared[key]) for key in common)


def test_state_of_a_stream_with_other_workers_is_refused(shards, recipe, refusal):
    with refusal(ConfigError, "workers 0 (now 2)"):
        load(shards, recipe(workers=2)).load_state_dict(load(shards, recipe()).state_dict())


@pytest.mark.parametrize("workers", [0, 2])
def test_stream_without_a_usable_image_is_an_error(
    workers, tmp_path, write_tar, sa1b_files, recipe, refusal
):
    files = dict.fromkeys(sa1b_files(range(3)), b"")
    stream = Sa1bShards([write_tar(tmp_path / "a.tar", files)])
    with refusal(DataError, "no image of a full epoch", "3 broken sample"):
        next(load(stream, recipe(workers=workers)))


def test_images_alone_make_batches_without_masks_and_broken_ones_are_skipped(
    tmp_path, recipe, refusal, caplog
):
    for number in range(3):
        Image.new("RGB", (40, 30), (80 * number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    source = ImageFolder(tmp_path)
    loader = load(source, recipe(images_per_batch=3), with_masks=False)
    first, second = take(loader, 2)
    assert sorted(first.keys) == ["0.png", "1.png", "2.png"]
    assert first.pixels.shape == (3, 3, SIDE, SIDE)
    assert first.masks.shape == (0, TRUTH, TRUTH)
    assert sorted(second.keys) == sorted(first.keys)
    assert loader.skipped == Counter({"broken image": 1})
    assert sum("skipped broken.jpg" in line for line in caplog.messages) == 1
    with refusal(ConfigError, f"images:{tmp_path} has no masks", "samkit pretrain"):
        load(source, recipe())
