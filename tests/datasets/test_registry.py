"""Opening data sets from specifications."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.datasets import (
    KINDS,
    AnnotatedImages,
    DataKind,
    ImageFolder,
    JoinedData,
    Sa1bShards,
    SampleSource,
    SampleStream,
    find_shared_with,
    open_data,
)
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError, DataError


def test_coco(coco_folder, tmp_path):
    path, _ = coco_folder(2)
    for spec in (str(path), f"coco:{path}", f"coco:{path},images={tmp_path / 'val'}"):
        data = open_data(spec)
        assert isinstance(data, AnnotatedImages)
        assert isinstance(data, SampleSource)
        assert not isinstance(data, SampleStream)
        assert len(data) == 2


def test_several_data_sets_are_one(coco_folder, tmp_path):
    path, _ = coco_folder(2)
    joined = open_data(f"coco:{path}; scenes:count=3,size=32 ;coco:{path}")
    assert isinstance(joined, JoinedData)
    assert len(joined) == 7
    own = open_data(str(path))
    keys = [own.key(0), own.key(1)]
    assert [joined.key(i) for i in range(7)][:2] == keys
    assert [joined.key(i) for i in range(7)][5:] == [f"{key}#3" for key in keys]
    assert [joined[i].key for i in range(7)] == [joined.key(i) for i in range(7)]
    assert (joined[6].image == own[1].image).all()
    assert joined[6].rles == own[1].rles
    assert (joined[3].image == open_data("scenes:count=3,size=32")[1].image).all()
    for index in (-1, 7):
        with pytest.raises(IndexError):
            joined[index]


def test_images_of_joined_data_sets_are_compared_with_others(coco_folder):
    path, _ = coco_folder(2)
    joined = open_data(f"scenes:count=1;coco:{path}")
    assert len(find_shared_with(joined, open_data(f"coco:{path}"))) == 2
    assert find_shared_with(joined, open_data("scenes:count=1")) == []


def test_a_semicolon_joins_only_data_sets_of_numbered_samples(tmp_path, sa1b_files, write_tar):
    shard = write_tar(tmp_path / "a.tar", sa1b_files(range(2)))
    with pytest.raises(ConfigError, match="several data sets at once need numbered data sets"):
        open_data(f"shards:{shard};scenes")
    with pytest.raises(ConfigError, match="no data set beside a semicolon"):
        open_data("scenes;")


def test_a_file_may_have_a_semicolon_in_its_name(coco_folder):
    path, _ = coco_folder(1)
    odd = path.rename(path.with_name("a;b.json"))
    assert len(open_data(f"coco:{odd},images={path.parent / 'val'}")) == 1


def test_sa1b_folder_and_shards(tmp_path, sa1b_files, write_tar):
    files = sa1b_files(range(3))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert open_data(str(tmp_path)).annotations.format_name == "sa1b"
    (tmp_path / "tars").mkdir()
    shard = write_tar(tmp_path / "tars" / "a.tar", files)
    for spec in (str(shard), str(shard.parent), f"shards:{shard}", f"shards:{shard.parent}"):
        data = open_data(spec)
        assert isinstance(data, Sa1bShards)
        assert isinstance(data, SampleStream)
        assert data.shards == [shard]
    assert len(open_data(f"sa1b:{tmp_path}")) == 3


def test_instance_png(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (5, 5)).save(tmp_path / "images" / "a.png")
    Image.new("L", (5, 5), 1).save(tmp_path / "masks" / "a.png")
    for spec in (str(tmp_path), f"png:{tmp_path}"):
        assert open_data(spec).annotations.format_name == "png"


def test_the_order_of_shards_depends_on_the_seed(tmp_path, sa1b_files, write_tar):
    for number in range(6):
        write_tar(tmp_path / f"{number}.tar", sa1b_files([number]))

    def order(seed):
        return [sample.key for sample in open_data(f"shards:{tmp_path}", seed=seed).read(0, 0, 1)]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2))
    assert open_data(str(tmp_path), seed=3).seed == 3


def test_images_alone(tmp_path):
    Image.new("RGB", (8, 5), "red").save(tmp_path / "a.gif")
    assert isinstance(open_data(f"images:{tmp_path}"), ImageFolder)


def test_kinds_may_be_added(monkeypatch):
    monkeypatch.setitem(KINDS, "mine", DataKind(open=lambda rest, seed: (rest, seed)))
    assert open_data("mine:a,b=c", seed=3) == ("a,b=c", 3)


def test_settings_of_annotations(coco_folder):
    path, document = coco_folder(2)
    document["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(document))
    with_crowds = open_data(f"{path},crowds=yes")[0]
    without = open_data(f"coco:{path},crowds=no,images={path.parent / 'val'}")[0]
    assert len(without.rles) == len(with_crowds.rles) - 1
    assert without.faults == ("1 crowd region left out, as asked for",)


@pytest.mark.parametrize("setting", ["crowds=maybe", "boxes=", "range=wide"])
def test_unknown_settings_of_annotations_are_refused(setting, coco_folder, refusal):
    with refusal(ConfigError, setting.partition("=")[0]):
        open_data(f"{coco_folder(1)[0]},{setting}")


def test_scenes():
    assert open_data("scenes") == Scenes()
    assert open_data("scenes:") == Scenes()
    assert open_data("scenes:seed=3,count=7") == Scenes(count=7, seed=3)
    assert open_data("scenes:count=5,size=64,seed=2") == Scenes(count=5, size=64, seed=2)


@pytest.mark.parametrize("settings", ["count", "count=", "count=x", "colour=3", "count=-1", "7"])
def test_unknown_settings_of_scenes_are_refused(settings, refusal):
    with refusal(ConfigError, "scenes:count=1000,size=256,seed=0", settings):
        open_data(f"scenes:{settings}")


@pytest.mark.parametrize(
    ("spec", "kind", "part"),
    [
        ("tar:x", ConfigError, "unknown kind of data 'tar': expected one of coco, yolo"),
        ("coco:", ConfigError, "coco: needs a path"),
        ("missing", DataError, "no such file or folder: missing"),
        ("", DataError, "is no data set"),
        ("coco:missing.json", DataError, "cannot read missing.json"),
        ("sa1b:missing", DataError, "missing has no .json files"),
        ("shards:missing", DataError, "no such file or folder: missing"),
        ("png:missing", DataError, "missing has no .png or .tif"),
        ("images:missing", DataError, "no such folder: missing"),
        ("images:.", DataError, "no image in .: expected .avif"),
        ("scenes:count=0", ConfigError, "count of scenes must be"),
        ("a\0b", DataError, "no such file or folder"),
        ("x" * 5000, DataError, "no such file or folder"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_one_line(
    spec, kind, part, refusal, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with refusal(kind, part):
        open_data(spec)


def test_other_files_and_folders_are_refused(tmp_path, refusal):
    with refusal(DataError, "is no data set: expected annotations", f"images:{tmp_path}"):
        open_data(str(tmp_path))
    (tmp_path / "a.txt").write_text("")
    with refusal(DataError, "a.txt is no data set: expected annotations"):
        open_data(str(tmp_path / "a.txt"))
    with refusal(DataError, "no tar file in the folder"):
        open_data(f"shards:{tmp_path}")


def test_range_of_values_of_a_data_set(tmp_path, caplog):
    """12 bits in 16: stretched by default, and as the range says where it is given."""
    pixels = np.zeros((20, 30), np.uint16)
    pixels[:, 15:] = 2048
    Image.fromarray(pixels).save(tmp_path / "a.png")
    entry = {"id": 1, "file_name": "a.png", "width": 30, "height": 20}
    (tmp_path / "a.json").write_text(json.dumps({"images": [entry], "annotations": []}))
    for kind in (f"coco:{tmp_path / 'a.json'}", f"images:{tmp_path}"):
        assert open_data(kind)[0].image.max() == 255
        assert open_data(f"{kind},range=0,4095")[0].image.max() == 128
    with pytest.raises(ConfigError, match="range"):
        open_data(f"images:{tmp_path},range=wide")


def test_unusual_masks_are_told_once(coco_folder, caplog):
    path, document = coco_folder(1)
    document["annotations"].append(document["annotations"][0])
    path.write_text(json.dumps(document))
    data = open_data(str(path))
    for _ in range(2):
        data[0]
    told = [line for line in caplog.messages if "drawn twice" in line]
    assert told == ["0.png: 1 mask drawn twice: the same pixels and class as another"]


def test_settings_that_mean_nothing_are_refused(coco_folder, refusal):
    with refusal(ConfigError, "coco data have no setting void"):
        open_data(f"coco:{coco_folder(1)[0]},void=255")
