"""`samkit auto --format shards`: what readers get, runs that are killed, and images behind URLs."""

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.batch import STATE_NAME
from samkit.batch.shards import shard_key
from samkit.cli.main import main
from samkit.datasets import open_data
from samkit.formats import read_image

pytest.importorskip("webdataset")

STUB_PATH = Path(__file__).parent / "stub_masker.py"
SHARDS = ["--format", "shards", "--shard-images", "2"]


def contents(folder):
    """Each member of all shards with what is in it; each is there once."""
    found = {}
    for path in sorted(Path(folder, "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.name not in found
                found[member.name] = tar.extractfile(member).read()
    return found


def samples(folder):
    read = list(open_data(f"shards:{folder}/shards").read(0, 0, 1))
    assert len({one.key.partition("/")[2] for one in read}) == len(read)
    return {one.key.partition("/")[2]: one for one in read}


def names(folder):
    return sorted(path.name for path in Path(folder, "shards").iterdir())


def test_readers_get_what_was_found(images, stub, capsys):
    assert main(["auto", "images", "-o", "out", "--json", *SHARDS]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["shards"] == ["out/shards/sa_000000.tar", "out/shards/sa_000001.tar"]
    assert sorted(path.name for path in Path("out").iterdir()) == [STATE_NAME, "shards"]
    read = samples("out")
    assert sorted(read) == ["a", "b", "deep/c"]
    for name in ("a.png", "b.jpg", "deep/c.png"):
        sample = read[name.rpartition(".")[0]]
        pixels = read_image(Path("images", name))
        np.testing.assert_array_equal(sample.image, pixels)
        assert sample.rles == stub.generate(pixels).rles
        assert sample.faults == ()
    assert contents("out")["b.jpg"] == Path("images/b.jpg").read_bytes()
    assert not list(Path("out", STATE_NAME, "images").rglob("*.image"))


def test_images_are_as_the_model_has_seen_them(images, stub, new_image):
    Path("images/deep/c.png").unlink()
    turned = Image.open(new_image(images / "x.jpg", 3, (50, 30)))
    exif = turned.getexif()
    exif[274] = 6
    turned.save(images / "b.jpg", exif=exif)
    values = np.random.default_rng(0).integers(900, 3000, (2, 30, 40)).astype(np.uint16)
    tifffile.imwrite(images / "v1.2.tif", values, photometric="minisblack")
    assert main(["auto", "images", "-o", "out", "--pages", "all", *SHARDS]) == 0
    read = samples("out")
    assert sorted(read) == ["a", "b", "v1%2E2", "v1%2E2_page2", "x"]
    assert read["b"].image.shape == (50, 30, 3)
    with Image.open(io.BytesIO(contents("out")["b.jpg"])) as opened:
        assert (opened.size, opened.format, opened.getexif().get(274)) == ((30, 50), "JPEG", None)
    for key, page in (("v1%2E2", 1), ("v1%2E2_page2", 2)):
        pixels = read_image("images/v1.2.tif", page=page)
        np.testing.assert_array_equal(read[key].image, pixels)
        assert read[key].rles == stub.generate(pixels).rles


def test_names_are_those_that_readers_take_apart_right():
    assert [shard_key(base) for base in ("a", "a.b/c.d", "__a", "a/__b", "50%")] == [
        "a",
        "a%2Eb/c%2Ed",
        "%5F_a",
        "a/__b",
        "50%25",
    ]


def test_new_images_come_into_new_shards(images, stub, new_image, capsys):
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    before = {path: path.read_bytes() for path in Path("out/shards").iterdir()}
    new_image(images / "more.png", 9)
    stub.calls.clear()
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    assert len(stub.calls) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert names("out") == ["sa_000000.tar", "sa_000001.tar", "sa_000002.tar"]
    assert sorted(samples("out")) == ["a", "b", "deep/c", "more"]
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0  # nothing to do
    assert len(names("out")) == 3


def test_masks_that_are_there_are_not_generated_again(images, stub):
    assert main(["auto", "images", "-o", "out"]) == 0
    stub.calls.clear()
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    assert stub.calls == []
    assert sorted(samples("out")) == ["a", "b", "deep/c"]


def test_a_shard_that_was_removed_is_made_again(images, stub):
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    whole = contents("out")
    stub.calls.clear()
    Path("out/shards/sa_000000.tar").unlink()
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    assert stub.calls == []
    assert contents("out") == whole


def test_an_image_that_changed_is_told_and_not_doubled(images, stub, new_image, capsys):
    args = ["auto", "images", "-o", "out", *SHARDS]
    assert main(args) == 0
    before = contents("out")
    new_image(images / "a.png", 77)
    assert main(args) == 1
    assert (
        "skipped images/a.png: images/a.png has changed since it came into"
        " out/shards/sa_000000.tar, or its record is gone: remove that file"
    ) in capsys.readouterr().err
    assert contents("out") == before
    Path("out/shards/sa_000000.tar").unlink()
    assert main(args) == 0
    assert sorted(contents("out")) == sorted(before)
    assert contents("out")["a.png"] != before["a.png"]


def test_what_other_formats_do_in_between(images, stub, new_image, capsys):
    args = ["auto", "images", "-o", "out"]
    assert main([*args, *SHARDS]) == 0
    stub.calls.clear()
    assert main([*args, "--format", "geojson"]) == 0
    assert main([*args, *SHARDS]) == 0
    assert stub.calls == []
    before = contents("out")
    new_image(images / "a.png", 77)
    assert main([*args, "--format", "geojson"]) == 0  # records the new image
    assert main([*args, *SHARDS]) == 1
    assert "images/a.png has changed since it came into" in capsys.readouterr().err
    assert contents("out") == before


@pytest.mark.parametrize("more", [("--format", "label"), SHARDS])
def test_masks_never_meet_an_older_copy_of_their_image(more, images, stub, new_image, monkeypatch):
    """A copy that waits when a run is stopped is of the image as it was then."""
    args = ["auto", "images/a.png", "-o", "out"]
    with monkeypatch.context() as patch:
        patch.setattr("samkit.batch.shards.Shards.finish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main([*args, *SHARDS])
    new_image(images / "a.png", 77)
    assert main([*args, *more]) == 0
    assert main([*args, *SHARDS]) == 0
    (sample,) = samples("out").values()
    np.testing.assert_array_equal(sample.image, read_image("images/a.png"))
    assert sample.rles == stub.generate(sample.image).rles


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda: ["--iou-thresh", "0.5"], "out/shards has masks of other settings: remove it"),
        (lambda: Path("out/shards/x.tar").touch(), "out/shards/x.tar is not of this run"),
        (lambda: Path("out/shards/sa_000001.tar").write_bytes(b""), "bytes; it has 0: remove it"),
        (
            lambda: Path("out", STATE_NAME, "shards/sa_000000.json").write_text("{"),
            "sa_000000.json is damaged",
        ),
    ],
)
def test_shards_of_others_are_left_alone(damage, message, images, stub, capsys):
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    options = damage()
    more = options if isinstance(options, list) else []
    before = contents("out") if more else None
    capsys.readouterr()
    assert main(["auto", "images", "-o", "out", *SHARDS, *more]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert before is None or contents("out") == before


def test_killed_at_any_moment_a_run_goes_on(images, stub, monkeypatch):
    """Each time that a file is moved to its place, or a copy is removed, is such a moment."""
    args = ["auto", "images", *SHARDS, "-o"]
    assert main([*args, "whole"]) == 0
    whole = contents("whole")
    moves = {"replace": Path.replace, "unlink": Path.unlink}
    for moment in range(1, 200):
        left = Counter({"moves": moment})

        def move_or_stop(self, *given, _name, left=left, **options):
            left["moves"] -= 1
            if left["moves"] == 0:
                raise KeyboardInterrupt
            return moves[_name](self, *given, **options)

        for name in moves:
            monkeypatch.setattr(
                Path,
                name,
                lambda self, *a, _name=name, **o: move_or_stop(self, *a, _name=_name, **o),
            )
        code = main([*args, f"out{moment}"])
        for name, move in moves.items():
            monkeypatch.setattr(Path, name, move)
        assert contents(f"out{moment}").items() <= whole.items()
        stub.calls.clear()
        assert main([*args, f"out{moment}"]) == 0
        assert contents(f"out{moment}") == whole
        if code == 0:
            break
        assert code == 130
    assert moment > 20


@pytest.mark.parametrize("moment", [7, 14, 20])
def test_a_run_that_is_killed_for_good_goes_on(moment, images, stub):
    command = [sys.executable, STUB_PATH, str(moment), "auto", "images", "-o", "out", *SHARDS]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    assert main(["auto", "images", "-o", "out", *SHARDS]) == 0
    assert sorted(samples("out")) == ["a", "b", "deep/c"]
    assert len(names("out")) == 2


def test_images_behind_urls(images, stub, capsys, memory_files):
    files = memory_files
    for path in images.rglob("*.*"):
        files.pipe(f"/bucket/{path.relative_to(images).as_posix()}", path.read_bytes())
    files.pipe("/bucket/bad.png", b"no image")
    args = ["auto", "memory://bucket", "--format", "sa1b", *SHARDS]
    assert main([*args, "-o", "out", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [one["image"] for one in report["results"]] == [
        "memory://bucket/a.png",
        "memory://bucket/b.jpg",
        "memory://bucket/deep/c.png",
    ]
    (error,) = report["errors"]
    assert error["image"] == "memory://bucket/bad.png"
    assert error["error"].startswith("memory://bucket/bad.png is not an image")
    assert main(["auto", "images", "--format", "sa1b", *SHARDS, "-o", "local"]) == 0
    assert contents("out") == contents("local")
    for name in ("a.json", "b.json", "deep/c.json"):
        assert Path("out", name).read_bytes() == Path("local", name).read_bytes()
    stub.calls.clear()
    assert main([*args, "-o", "out"]) == 1
    assert stub.calls == []
    files.pipe("/bucket/b.jpg", (images / "a.png").read_bytes())  # written again
    assert main(["auto", "memory://bucket/*.jpg", "-o", "out", "--format", "sa1b"]) == 0
    assert len(stub.calls) == 1


def test_a_package_that_is_missing_is_one_line(images, stub, capsys, monkeypatch):
    from fsspec.registry import known_implementations

    absent = {"class": "absent_package.Files", "err": "Install absent_package to access it"}
    monkeypatch.setitem(known_implementations, "absent", absent)
    assert main(["auto", "absent://bucket/images", "-o", "out"]) == 2
    told = capsys.readouterr().err
    assert (
        told == "samkit: cannot open absent://bucket/images: Install absent_package to access it\n"
    )
    assert not Path("out").exists()
