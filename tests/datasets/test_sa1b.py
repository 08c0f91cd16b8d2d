"""SA-1B as folders and as tar shards."""

import json

import numpy as np
import pytest

from samkit.datasets import Sa1bShards, open_data
from samkit.errors import ConfigError, DataError, ImageError
from samkit.geometry import decode_rle


@pytest.fixture
def folder(tmp_path, sa1b_files):
    for name, data in sa1b_files(range(4)).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def shards(tmp_path, sa1b_files, write_tar):
    """Three shards of 5, 2 and 7 images."""
    parts = [range(5), range(5, 7), range(7, 14)]
    return [
        write_tar(tmp_path / f"sa_{number}.tar", sa1b_files(part))
        for number, part in enumerate(parts)
    ]


def keys(entries):
    return [entry.key for entry in entries]


def test_pairs_of_a_folder(folder, make_colored):
    (folder / "deep").mkdir()
    (folder / "sa_3.png").rename(folder / "deep" / "sa_3.png")
    (folder / "sa_3.json").rename(folder / "deep" / "sa_3.json")
    (folder / "alone.png").write_bytes(b"")
    data = open_data(f"sa1b:{folder}")
    assert [data.key(index) for index in range(len(data))] == [
        "deep/sa_3.png",
        "sa_0.png",
        "sa_1.png",
        "sa_2.png",
    ]
    image, masks = make_colored(seed=3)
    np.testing.assert_array_equal(data[0].image, image)
    np.testing.assert_array_equal([decode_rle(rle) for rle in data[0].rles], masks)


def test_broken_pairs_leave_the_others(folder, refusal):
    (folder / "sa_0.png").write_bytes((folder / "sa_0.png").read_bytes()[:-40])
    (folder / "sa_1.json").write_text('{"annotations": 5}')
    document = json.loads((folder / "sa_2.json").read_text())
    document["annotations"] += [7, {"id": 3}]
    (folder / "sa_2.json").write_text(json.dumps(document))
    document["image"] |= {"width": 61, "file_name": "sa_3.png"}
    (folder / "sa_3.json").write_text(json.dumps(document))
    data = open_data(f"sa1b:{folder}")
    with pytest.raises(ImageError, match=r"sa_0\.png cannot be read"):
        data[0]
    with refusal(DataError, "sa_1.json: its JSON file has no list of annotations"):
        data[1]
    assert len(data[2].faults) == 2
    assert len(data[2].rles) == len(document["annotations"]) - 2
    with refusal(DataError, "sa_3.png: the image is 60 x 40 pixels, but 61 x 40"):
        data[3]


def test_folder_without_pairs_is_refused(tmp_path, refusal):
    with refusal(DataError, "has no .json files"):
        open_data(f"sa1b:{tmp_path}")
    with refusal(DataError, "has no .json files"):
        open_data(f"sa1b:{tmp_path}/missing")


def test_shards_give_what_the_folder_gives(folder, tmp_path, write_tar, sa1b_files):
    shard = write_tar(tmp_path / "sa_9.tar", sa1b_files(range(4)))
    from_folder = open_data(f"sa1b:{folder}")
    by_key = {sample.key: sample for sample in Sa1bShards([shard]).read(0, 0, 1)}
    assert sorted(by_key) == [f"sa_9/sa_{index}" for index in range(4)]
    for index in range(4):
        streamed = by_key[f"sa_9/sa_{index}"]
        np.testing.assert_array_equal(streamed.image, from_folder[index].image)
        assert streamed.rles == from_folder[index].rles


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7, 20])
def test_readers_share_each_epoch_out(shards, world):
    data = Sa1bShards(shards)
    for epoch in range(2):
        read = [keys(data.read(epoch, rank, world)) for rank in range(world)]
        everything = sorted(key for part in read for key in part)
        assert len(everything) == 14
        assert len(set(everything)) == 14


def test_order_is_another_in_each_epoch_and_the_same_in_each_run(shards):
    orders = [keys(Sa1bShards(shards[:1]).read(epoch, 0, 1)) for epoch in range(6)]
    assert len({tuple(order) for order in orders}) > 3
    assert orders[2] == keys(Sa1bShards(shards[:1]).read(2, 0, 1))
    assert orders[0] != keys(Sa1bShards(shards[:1], seed=1).read(0, 0, 1))


@pytest.mark.parametrize("world", [1, 2, 5])
def test_start_leaves_out_the_first(shards, world):
    data = Sa1bShards(shards)
    for rank in range(world):
        whole = keys(data.read(1, rank, world))
        for start in range(len(whole) + 2):
            assert keys(data.read(1, rank, world, start=start)) == whole[start:]


def test_broken_members_are_told_and_the_rest_is_read(tmp_path, sa1b_files, write_tar):
    files = sa1b_files(range(8))
    files["sa_0.png"] = files["sa_0.png"][:-30]
    files["sa_1.png"] = b"not an image"
    files["sa_2.json"] = b'{"annotations": ['
    files["sa_3.json"] = b"[]"
    del files["sa_4.json"]
    del files["sa_5.png"]
    files["readme"] = b"no suffix"
    read = list(Sa1bShards([write_tar(tmp_path / "a.tar", files)]).read(0, 0, 1))
    assert sorted(one.key for one in read if not isinstance(one, DataError)) == [
        "a/sa_6",
        "a/sa_7",
    ]
    messages = sorted(str(one) for one in read if isinstance(one, DataError))
    expected = [
        "a/sa_0: the image cannot be read",
        "a/sa_1: the image is not an image",
        "a/sa_2: its annotations are not JSON",
        "a/sa_3: its JSON file has no list",
        "a/sa_4: its JSON file is missing",
        "a/sa_5: its image is missing",
    ]
    assert [message[: len(part)] for message, part in zip(messages, expected, strict=True)] == (
        expected
    )


def test_damaged_shards_are_told_and_the_rest_is_read(shards):
    shards[0].write_bytes(shards[0].read_bytes()[:1700])  # in its first images
    shards[1].write_bytes(b"not a tar file" * 100)
    read = list(Sa1bShards(shards).read(0, 0, 1))
    faults = [str(one) for one in read if isinstance(one, DataError)]
    assert any(f"{shards[0]}: the shard is damaged" in fault for fault in faults)
    assert any(f"{shards[1]}: the shard is damaged" in fault for fault in faults)
    whole = {one.key for one in read if not isinstance(one, DataError)}
    assert whole >= {f"sa_2/sa_{index}" for index in range(7, 14)}


def test_shard_that_vanishes_is_told(shards):
    data = Sa1bShards(shards)
    shards[1].unlink()
    faults = [str(one) for one in data.read(0, 0, 1) if isinstance(one, DataError)]
    assert faults == [f"{shards[1]}: cannot be read: No such file or directory"]


def test_shards_that_are_not_there_are_refused(tmp_path, refusal):
    with refusal(DataError, "at least one"):
        Sa1bShards([])
    with refusal(DataError, "no such file", "a.tar"):
        Sa1bShards([tmp_path / "a.tar"])


def test_missing_webdataset_is_told(shards, monkeypatch, refusal):
    monkeypatch.setattr("samkit.datasets.sa1b.find_spec", lambda name: None)
    with refusal(ConfigError, "pip install '.[train]'"):
        Sa1bShards(shards)
