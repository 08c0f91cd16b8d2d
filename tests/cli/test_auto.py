"""`samkit auto`: results in all formats, interrupted and resumed runs, bad input."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from pycocotools.coco import COCO

import samkit.proposals
from samkit.batch import FORMATS, STATE_NAME
from samkit.cli.main import main
from samkit.cli.mask_options import PRESET_NAMES, SETTINGS, config_from_options
from samkit.formats import read_image, read_sa1b
from samkit.types import Masks

STUB_PATH = Path(__file__).parent / "stub_masker.py"
# Shards have tests of their own, test_auto_shards.
ALL_FORMATS = [part for name in FORMATS if name != "shards" for part in ("--format", name)]
FEW_FORMATS = ["--format", "sa1b", "--format", "label", "--format", "png", "--format", "coco"]


def tree(folder):
    """All visible files with what is in them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and STATE_NAME not in path.parts
    }


def state_names(folder):
    state = Path(folder) / STATE_NAME
    return sorted(path.relative_to(state).as_posix() for path in state.rglob("*"))


def results(capsys):
    return json.loads(capsys.readouterr().out)


# --- What is written ---


def test_all_formats_of_a_folder(images, stub, capsys):
    assert main(["auto", "images", "-o", "out", *ALL_FORMATS]) == 0
    assert stub.calls == [(30, 40), (30, 41), (30, 42)]
    expected = ["coco.json"]
    for base in ("a", "b", "deep/c"):
        suffixes = [".json", ".txt", "_labels.png", ".geojson", "_overlay.png"]
        expected += [base + suffix for suffix in suffixes]
        expected += [f"{base}_masks/{number:04d}.png" for number in (1, 2, 3)]
    assert sorted(tree("out")) == sorted(expected)
    told = capsys.readouterr()
    assert told.err == (
        "samkit: 3 images to do; masks of everything, 32 x 32 points; mobile_sam_tuned; into out\n"
    )
    assert "images/deep/c.png: 3 masks" in told.out
    assert "3 images done, 9 masks in" in told.out

    document = json.loads(Path("out/deep/c.json").read_text())
    assert document["image"]["file_name"] == "deep/c.png"
    masks = read_sa1b("out/deep/c.json")
    truth = stub.generate(read_image("images/deep/c.png"))
    assert masks.rles == truth.rles
    np.testing.assert_array_equal(masks.points_xy, truth.points_xy)
    arrays = truth.to_arrays()
    for number, mask in enumerate(arrays, start=1):
        picture = np.asarray(Image.open(f"out/deep/c_masks/{number:04d}.png"))
        np.testing.assert_array_equal(picture, mask * 255)
    overlay = np.asarray(Image.open("out/deep/c_overlay.png"))
    np.testing.assert_array_equal(overlay, truth.overlay(read_image("images/deep/c.png")))
    labels = np.asarray(Image.open("out/deep/c_labels.png"))
    assert [(labels == number).sum() for number in (1, 2)] == [9 * 12 - 12, 12]
    assert len(json.loads(Path("out/deep/c.geojson").read_text())["features"]) == 3
    assert Path("out/deep/c.txt").read_text().count("\n") == 3
    coco = COCO("out/coco.json")
    assert [image["file_name"] for image in coco.loadImgs([1, 2, 3])] == [
        "a.png",
        "b.jpg",
        "deep/c.png",
    ]
    for annotation, mask in zip(coco.loadAnns(coco.getAnnIds(imgIds=[3])), arrays, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)


def test_by_default_sa1b_and_overlay(images, stub):
    assert main(["auto", "images/a.png"]) == 0
    assert sorted(tree("samkit-output")) == ["a.json", "a_overlay.png"]


def test_json_tells_what_was_done(images, stub, capsys):
    (images / "bad.png").write_text("no image")
    assert main(["auto", "images", "-o", "out", "--json", "--format", "coco"]) == 1
    report = results(capsys)
    assert [one["image"] for one in report["results"]] == [
        "images/a.png",
        "images/b.jpg",
        "images/deep/c.png",
    ]
    first = report["results"][0]
    assert (first["width"], first["height"], first["masks"]) == (40, 30, 3)
    assert first["done_before"] is False
    assert first["files"] == {}
    assert report["coco"] == "out/coco.json"
    (error,) = report["errors"]
    assert error["image"] == "images/bad.png"
    assert "bad.png is not an image" in error["error"]
    assert main(["auto", "images/a.png", "-o", "out", "--json"]) == 0
    (again,) = results(capsys)["results"]
    assert again["done_before"] is True
    assert again["files"] == {"sa1b": ["out/a.json"], "overlay": ["out/a_overlay.png"]}


def test_tiles_for_huge_images(images, stub):
    assert main(["auto", "images", "-o", "out", "--tile", "64"]) == 0
    assert stub.calls == [("tiled", 64)] * 3
    assert sorted(tree("out"))[:2] == ["a.json", "a_overlay.png"]
    assert main(["auto", "images", "-o", "out"]) == 0  # other settings: done again
    assert len(stub.calls) == 6


def test_no_masks_at_all(images, stub, monkeypatch):
    empty = stub.generate(np.zeros((30, 40, 3), np.uint8)).select(np.zeros(0, int))
    monkeypatch.setattr(type(stub), "generate", lambda self, image, on_progress=None: empty)
    assert main(["auto", "images/a.png", "-o", "out", *ALL_FORMATS]) == 0
    np.testing.assert_array_equal(read_image("out/a_overlay.png"), read_image("images/a.png"))
    assert json.loads(Path("out/coco.json").read_text())["annotations"] == []
    assert main(["auto", "images/a.png", "-o", "out", *ALL_FORMATS]) == 0


def test_progress_is_shown_to_who_watches(images, stub, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes any stream for a terminal then
    assert main(["auto", "images", "-o", "out"]) == 0
    captured = capsys.readouterr()
    assert "3/3" in captured.err
    assert "images/s" in captured.err
    assert "masks/s" in captured.err
    assert captured.out.splitlines()[0].startswith("images/a.png: 3 masks")
    assert main(["auto", "images", "-o", "out2", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert len(json.loads(captured.out)["results"]) == 3


# --- Settings ---


def test_presets_are_those_of_the_library():
    assert list(samkit.proposals.PRESETS) == list(PRESET_NAMES)
    for name in PRESET_NAMES:
        assert config_from_options(name, {}) == samkit.proposals.PRESETS[name]
    assert config_from_options(None, {}) == samkit.proposals.AutoMaskConfig()


def test_each_option_changes_its_setting(images, stub):
    given = {
        "points_per_side": 9,
        "crop_layers": 1,
        "crop_points_downscale": 3,
        "iou_thresh": 0.5,
        "stability_thresh": 0.6,
        "stability_offset": 2.0,
        "box_nms_thresh": 0.4,
        "crop_nms_thresh": 0.3,
        "max_proposals": 50,
        "objectness_thresh": 0.2,
        "min_area_px": 7,
        "max_area_fraction": 0.8,
    }
    assert [name for name, *_ in SETTINGS] == list(given)
    args = [part for name, option, *_ in SETTINGS for part in (option, str(given[name]))]
    assert main(["auto", "images/a.png", "-o", "out", "--adaptive", *args]) == 0
    record = json.loads(Path("out", STATE_NAME, "records/a.json").read_text())
    of_boxes = {"max_proposals", "objectness_thresh"}  # which a grid does not have
    expected = {name: value for name, value in given.items() if name not in of_boxes}
    expected["adaptive"] = True
    assert {name: record["settings"]["config"][name] for name in expected} == expected


def test_options_change_a_preset():
    paper = samkit.proposals.PRESETS["paper"]
    changed = config_from_options("paper", {"points_per_side": 8, "iou_thresh": None})
    assert changed.points_per_side == 8
    assert changed.iou_thresh == paper.iou_thresh
    assert changed.crop_layers == paper.crop_layers


# --- Runs that go on ---


def test_finished_images_are_not_done_again(images, stub, capsys):
    assert main(["auto", "images/a.png", "images/b.jpg", "-o", "out", *FEW_FORMATS]) == 0
    stub.calls.clear()
    capsys.readouterr()
    assert main(["auto", "images", "-o", "out", *FEW_FORMATS]) == 0
    assert stub.calls == [(30, 42)]
    assert "1 image done, 2 done before" in capsys.readouterr().out
    assert main(["auto", "images", "-o", "whole", *FEW_FORMATS]) == 0
    assert tree("out") == tree("whole")


def test_records_with_the_former_name_of_the_image_count_as_finished(images, stub):
    assert main(["auto", "images/a.png", "-o", "out", *FEW_FORMATS]) == 0
    path = Path("out", STATE_NAME, "records/a.json")
    record = json.loads(path.read_text())
    record["photo"] = record.pop("image")
    path.write_text(json.dumps(record))
    stub.calls.clear()
    assert main(["auto", "images/a.png", "-o", "out", *FEW_FORMATS]) == 0
    assert stub.calls == []


def test_another_format_takes_no_new_masks(images, stub, monkeypatch):
    assert main(["auto", "images", "-o", "out", "--format", "overlay"]) == 0
    assert main(["auto", "images", "-o", "whole", *ALL_FORMATS]) == 0
    stub.calls.clear()
    assert main(["auto", "images", "-o", "out", "--format", "geojson"]) == 0
    assert main(["auto", "images", "-o", "out", *ALL_FORMATS]) == 0
    assert stub.calls == []
    assert tree("out") == tree("whole")


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("out/b.json").unlink(),
        lambda: Path("out/b_masks/0002.png").unlink(),
        lambda: Path("out", STATE_NAME, "records/b.json").unlink(),
        lambda: Path("out", STATE_NAME, "records/b.json").write_text("{"),
        lambda: Path("out", STATE_NAME, "records/b.json").write_text("[]"),
        lambda: Path("out", STATE_NAME, "records/b.json").write_text("{}"),
    ],
)
def test_missing_and_damaged_results_are_made_again(change, images, stub):
    assert main(["auto", "images", "-o", "out", *FEW_FORMATS]) == 0
    whole = tree("out")
    change()
    assert main(["auto", "images", "-o", "out", *FEW_FORMATS]) == 0
    assert tree("out") == whole


def test_damaged_masks_are_found_again(images, stub):
    assert main(["auto", "images", "-o", "out"]) == 0
    whole = tree("out")
    Path("out/b.json").write_text("{")
    stub.calls.clear()
    assert main(["auto", "images", "-o", "out", "--format", "sa1b", "--format", "label"]) == 0
    assert stub.calls == [(30, 41)]
    assert Path("out/b.json").read_bytes() == whole["b.json"]


def test_other_settings_and_other_images_are_done_anew(images, stub, new_image):
    args = ["auto", "images", "-o", "out"]
    assert main(args) == 0
    stub.calls.clear()
    assert main([*args, "--iou-thresh", "0.5"]) == 0
    assert len(stub.calls) == 3
    stub.calls.clear()
    new_image(images / "b.jpg", 77, (50, 60))
    assert main([*args, "--iou-thresh", "0.5"]) == 0
    assert stub.calls == [(60, 50)]


def test_touched_and_moved_images_are_the_same(images, stub):
    assert main(["auto", "images", "-o", "out"]) == 0
    stub.calls.clear()
    (images / "a.png").touch()
    images.rename(images.parent / "moved")
    assert main(["auto", "moved", "-o", "out"]) == 0
    assert stub.calls == []


def test_fewer_masks_than_before_leave_none_behind(images, stub, monkeypatch):
    args = ["auto", "images/a.png", "-o", "out", "--format", "png"]
    assert main(args) == 0
    for name in ("notes.txt", "2024-01.png", "00003.png"):  # somebody else's
        Path("out/a_masks", name).write_text("mine")
    two = stub.generate(read_image("images/a.png")).select(np.arange(2))
    monkeypatch.setattr(type(stub), "generate", lambda self, image, on_progress=None: two)
    assert main([*args, "--min-area", "5"]) == 0
    assert sorted(tree("out/a_masks")) == [
        "00003.png",
        "0001.png",
        "0002.png",
        "2024-01.png",
        "notes.txt",
    ]


def test_stopped_at_any_moment_a_run_goes_on(images, stub, monkeypatch, capsys):
    args = ["auto", "images", "-o", "out", *FEW_FORMATS]
    assert main([*args[:3], "whole", *FEW_FORMATS]) == 0
    whole, state = tree("whole"), state_names("whole")
    move = Path.replace
    stopped = 0
    for moment in range(1, 100):
        moves = 0

        def move_or_stop(self, target, moment=moment):
            nonlocal moves
            moves += 1
            if moves == moment:
                raise KeyboardInterrupt
            return move(self, target)

        monkeypatch.setattr(Path, "replace", move_or_stop)
        code = main([*args[:3], f"out{moment}", *FEW_FORMATS])
        monkeypatch.setattr(Path, "replace", move)
        if code == 0:
            break
        assert code == 130
        assert capsys.readouterr().err.strip().endswith("samkit: stopped")
        part = tree(f"out{moment}")
        assert part.items() <= whole.items()
        stopped += 1
        stub.calls.clear()
        assert main([*args[:3], f"out{moment}", *FEW_FORMATS]) == 0
        done = sum(f"records/{base}.json" in state_names(f"out{moment}") for base in "ab")
        assert done == 2
        assert tree(f"out{moment}") == whole
        assert state_names(f"out{moment}") == state
        capsys.readouterr()
    # Of each image 5 files and a record, written and moved; and the data set.
    assert stopped == 3 * 12 + 2


def test_a_stopped_run_tells_how_far_it_came(images, stub, monkeypatch, capsys):
    generate = type(stub).generate

    def stop_at_the_second(self, image, on_progress=None):
        if len(self.calls) == 1:
            raise KeyboardInterrupt
        return generate(self, image)

    monkeypatch.setattr(type(stub), "generate", stop_at_the_second)
    assert main(["auto", "images", "-o", "out"]) == 130
    assert "samkit: 1 of 3 images done; run the same command again" in capsys.readouterr().err
    assert sorted(tree("out")) == ["a.json", "a_overlay.png"]


# Of each image 5 files are put into staging, then moved from there; then its record, likewise.
@pytest.mark.parametrize("moment", [1, 8, 11, 12, 13, 24, 38])
def test_a_killed_run_goes_on(moment, images, stub):
    done = subprocess.run(
        [sys.executable, STUB_PATH, str(moment), "auto", "images", "-o", "out", *FEW_FORMATS],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9
    part = tree("out")
    stub.calls.clear()
    assert main(["auto", "images", "-o", "out", *FEW_FORMATS]) == 0
    finished = (moment - 1) // 12
    assert len(stub.calls) == 3 - finished
    assert main(["auto", "images", "-o", "whole", *FEW_FORMATS]) == 0
    whole = tree("whole")
    assert part.items() <= whole.items()  # no file was half written
    assert tree("out") == whole
    assert state_names("out") == state_names("whole")


def test_two_runs_do_not_write_to_one_folder(images, stub, monkeypatch, capsys):
    generate = type(stub).generate
    codes = []

    def run_another(self, image, on_progress=None):
        if not codes:
            codes.append(main(["auto", "images", "-o", "out"]))
        return generate(self, image)

    monkeypatch.setattr(type(stub), "generate", run_another)
    assert main(["auto", "images", "-o", "out"]) == 0
    assert codes == [2]
    assert "another run is writing to out" in capsys.readouterr().err


# --- Bad input ---


def test_a_bad_image_is_skipped_and_named(images, stub, capsys):
    (images / "bad.jpg").write_text("no image")
    (images / "deep/empty.png").write_bytes(b"")
    assert main(["auto", "images", "missing.jpg", "-o", "out", "--format", "coco"]) == 1
    plan, *lines = capsys.readouterr().err.splitlines()
    assert plan.startswith("samkit: 6 images to do; ")
    assert lines[-1] == "samkit: 3 skipped: images/bad.jpg, images/deep/empty.png, missing.jpg"
    assert [line.split(":")[1] for line in lines[:-1]] == [
        " skipped images/bad.jpg",
        " skipped images/deep/empty.png",
        " skipped missing.jpg",
    ]
    assert len(COCO("out/coco.json").getImgIds()) == 3
    assert main(["auto", "images", "-o", "out", "--format", "coco"]) == 1


def test_too_little_memory_is_told(images, stub, monkeypatch, capsys):
    generate = type(stub).generate

    def fail_at_first(self, image, on_progress=None):
        if image.shape[1] == 40:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return generate(self, image)

    monkeypatch.setattr(type(stub), "generate", fail_at_first)
    assert main(["auto", "images", "-o", "out"]) == 1
    assert "not enough memory for images/a.png: try --tile" in capsys.readouterr().err


def test_a_full_disk_stops_the_run(images, stub, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert main(["auto", "images", "-o", "out"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert stub.calls == [(30, 40)]
    assert not Path("out").exists()


def test_a_name_that_is_too_long_is_skipped(images, stub, new_image, capsys):
    new_image(images / ("x" * 250 + ".png"), 5)
    assert main(["auto", "images", "-o", "out"]) == 1
    assert "File name too long" in capsys.readouterr().err
    assert len(stub.calls) == 3 + 3  # three attempts


BAD_OPTIONS = {
    "no input": ([], "at least one image"),
    "missing image": (["none.jpg"], "no such file: none.jpg"),
    "empty name": ([""], "an empty name"),
    "name too long": (["a" * 5000], "name too long"),
    "name that cannot be": (["a\0b.jpg"], "null"),
    "empty folder": (["empty"], "no image in the folder empty"),
    "pattern of nothing": (["images/*.bmp"], "no image matches images/*.bmp"),
    "text named jpg": (["text.jpg"], "not an image"),
    "several, all bad": (["text.jpg", "text.jpg"], "not an image"),
    "unknown format": (["images", "--format", "voc"], "'voc' is not one of"),
    "unknown preset": (["images", "--preset", "slow"], "'slow' is not one of"),
    "no points": (["images", "--points-per-side", "0"], "points_per_side must be"),
    "half a point": (["images", "--points-per-side", "1.5"], "'1.5' is not a valid integer"),
    "nan": (["images", "--iou-thresh", "nan"], "iou_thresh must be"),
    "beyond one": (["images", "--stability-thresh", "1.5"], "stability_thresh must be"),
    "words": (["images", "--box-nms-thresh", "much"], "not a valid float"),
    "negative area": (["images", "--min-area", "-1"], "min_area_px must be"),
    "negative layers": (["images", "--crop-layers", "-1"], "crop_layers must be"),
    "no tile": (["images", "--tile", "0"], "tile_px must be"),
    "negative tile": (["images", "--tile", "-5"], "tile_px must be"),
    "unknown model": (["images", "--model", "sam_vit_x"], "known are mobile_sam"),
    "damaged model": (["images", "--model", "weights.safetensors"], "damaged"),
    "unknown device": (["images", "--device", "quantum"], "quantum"),
    "unwritable output": (["images", "-o", "text.jpg/out"], "is not a folder"),
    "output is input": (["images", "-o", "images"], "is the folder for the results"),
    "same names": (["images/a.png", "other/a.png"], "would write the same files"),
    "no workers": (["images", "--workers", "0"], "0 is not in the range"),
    "here and there": (
        ["images", "--workers", "2", "--ray", "auto"],
        "--workers cannot be combined with --ray",
    ),
    "unknown option": (["images", "--point", "1,1"], "--point"),
}


@pytest.mark.parametrize(("args", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_one_line_and_exit_code_2(args, message, images, new_image, capsys):
    Path("empty").mkdir()
    Path("text.jpg").write_text("hello")
    Path("weights.safetensors").write_bytes(b"\0" * 100)
    new_image(Path("other/a.png"), 9)
    before = sorted(Path().rglob("*"))
    assert main(["auto", *args]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert sorted(Path().rglob("*")) == before


def test_several_inputs_and_none_is_good(images, stub, capsys):
    Path("text.jpg").write_text("hello")
    assert main(["auto", "text.jpg", "none.jpg", "-o", "out"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "samkit: no image could be segmented"
    assert len(lines) == 4  # a plan, and one for each image
    assert not Path("out").exists()


# --- The real thing ---


def test_real_model_finds_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = np.full((120, 160, 3), 40, np.uint8)
    cv2.circle(image, (45, 60), 30, (220, 60, 50), -1)
    cv2.rectangle(image, (95, 30), (145, 95), (60, 200, 80), -1)
    Image.fromarray(image).save("shapes.png")
    args = ["--points-per-side", "4", "--backend", "torch", "--precision", "float32"]
    assert main(["auto", "shapes.png", "-o", "out", *args]) == 0
    masks = read_sa1b("out/shapes.json")
    for color in ((220, 60, 50), (60, 200, 80)):
        truth = (image == color).all(axis=-1)
        found = masks.to_arrays()
        ious = (found & truth).sum(axis=(1, 2)) / (found | truth).sum(axis=(1, 2))
        assert ious.max() > 0.95


@pytest.mark.slow
def test_workers_write_what_one_process_writes(images, capsys):
    args = ["--points-per-side", "4", "--iou-thresh", "0.5", "--stability-thresh", "0.5"]
    args += ["--threads", "1", *FEW_FORMATS]
    assert main(["auto", "images", "-o", "one", *args]) == 0
    assert main(["auto", "images", "-o", "two", "--workers", "2", *args]) == 0
    capsys.readouterr()
    assert tree("two") == tree("one")
    assert state_names("two") == state_names("one")
    assert sum(len(read_sa1b(f"one/{base}.json")) for base in ("a", "b", "deep/c")) > 0


# --- Pages, ranges, and files that are left out ---


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """A stack of three pages of 12 bits, and a plain image."""
    monkeypatch.chdir(tmp_path)
    pages = np.random.default_rng(0).integers(0, 4000, (3, 30, 40)).astype(np.uint16)
    (tmp_path / "images").mkdir()
    tifffile.imwrite("images/stack.tif", pages, photometric="minisblack")
    Image.new("RGB", (40, 30), (9, 9, 9)).save("images/plain.png")
    return pages


def test_first_page_is_taken_and_told(stack, stub, notices):
    assert main(["auto", "images", "-o", "out", "--format", "sa1b"]) == 0
    assert sorted(tree("out")) == ["plain.json", "stack.json"]
    assert any("3 pages, of which the first is used" in line for line in notices())


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ("all", ["plain", "stack", "stack_page2", "stack_page3"]),
        ("2", ["plain", "stack_page2"]),
        ("2-9", ["plain", "stack_page2", "stack_page3"]),
    ],
)
def test_each_page_is_an_image_of_its_own(pages, expected, stack, stub, capsys, notices):
    command = ["auto", "images", "-o", "out", "--format", "sa1b", "--pages", pages]
    assert main(command) == 0
    assert sorted(tree("out")) == [f"{name}.json" for name in expected]
    assert not any("of which the first is used" in line for line in notices())
    calls = len(stub.calls)
    assert main([*command, "--format", "coco"]) == 0  # resumed
    assert len(stub.calls) == calls
    names = [one["file_name"] for one in json.loads(Path("out/coco.json").read_text())["images"]]
    assert [name for name in names if "#page=" in name] == [
        f"stack.tif#page={page}" for page in (2, 3) if f"stack_page{page}" in expected
    ]


def test_a_page_is_the_same_by_its_name(stack, stub):
    assert main(["auto", "images/stack.tif#page=2", "-o", "one", "--format", "label"]) == 0
    assert main(["auto", "images/stack.tif", "--pages", "2", "-o", "two", "--format", "label"]) == 0
    assert tree("one") == tree("two")
    assert list(tree("one")) == ["stack_page2_labels.png"]


def test_page_that_a_stack_lacks_is_skipped(stack, stub, capsys):
    assert main(["auto", "images", "--pages", "4-5", "-o", "out"]) == 1
    assert "skipped images/stack.tif: images/stack.tif has 3 pages: there is no page 4" in (
        capsys.readouterr().err
    )


def test_range_is_a_setting_of_the_run(stack, stub, monkeypatch):
    seen = []
    monkeypatch.setattr(stub, "generate", lambda image, **_: seen.append(image) or _no_masks(image))
    command = ["auto", "images/stack.tif", "-o", "out", "--format", "sa1b"]
    for options in ([], ["--range", "0,4095"], ["--range", "0,4095"], ["--range", "full"]):
        assert main([*command, *options]) == 0
    expected = [read_image(stack[0], value_range=one) for one in ("auto", (0, 4095), "full")]
    assert len(seen) == len(expected)  # a run is resumed with the same range only
    for image, pixels in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(image, pixels)


def _no_masks(image):
    return Masks.from_arrays(np.zeros((0, *image.shape[:2]), bool), [])


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--range", "9,1"], "low < high"),
        (["--range", "bright"], "auto, full, LOW,HIGH"),
        (["--pages", "0"], "all, a page as 2, or pages as 2-5"),
        (["--pages", "5-2"], "all, a page as 2, or pages as 2-5"),
    ],
)
def test_ranges_and_pages_that_are_none(option, told, stack, stub, capsys):
    assert main(["auto", "images", *option]) == 2
    assert told in capsys.readouterr().err


def test_what_is_left_out_is_told(images, stub, caplog):
    (images / "x.heic").write_bytes(b"")
    (images / "link").symlink_to(images.parent)
    (images / ".thumbnails").mkdir()
    (images / "a.png").rename(images / "a.jfif")
    assert main(["auto", "images", "-o", "out", "--format", "sa1b"]) == 0
    assert sorted(tree("out")) == ["a.json", "b.json", "deep/c.json"]
    assert [record.getMessage() for record in caplog.records] == [
        "images: 2 left out: .heic (1), linked folders (1)"
    ]
