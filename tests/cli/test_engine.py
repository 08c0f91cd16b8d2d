"""`samkit engine`: commands from a folder of images to exported files."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samkit.annotations import FORMATS
from samkit.batch import MaskGenerator
from samkit.cli.engine.exchange import IMPORT_FORMATS
from samkit.cli.main import main
from samkit.dataengine import (
    NewEvent,
    Store,
    annotation_events,
    check_password,
    create_user,
    get_project,
    list_annotations,
    list_classes,
    list_images,
    replace_annotation,
    report_unusable,
    save_annotation,
    skip_image,
    take_image,
)
from samkit.errors import DownloadError
from samkit.geometry import decode_rle
from samkit.proposals import PRESETS
from samkit.text import DEFAULT_DETECTOR
from samkit.types import Masks
from samkit.weights import CATALOG, DEFAULT_MODEL

PASSWORD = "correct horse"


@pytest.fixture
def type_in(monkeypatch):
    """Give the next command a standard input that is no terminal."""

    def give(text=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    give()
    return give


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "deep/b.png")):
        Image.fromarray(np.full((12, 16, 3), 40 * number, np.uint8)).save(root / name)
    return root


@pytest.fixture
def begun(folder, type_in, monkeypatch):
    """A folder with a store in it; its admin is ada."""
    monkeypatch.delenv("SAMKIT_STORE", raising=False)
    type_in(PASSWORD + "\n")
    args = ["--classes", "cat, dog", "--admin", "ada", "--password-stdin"]
    assert main(["engine", "init", str(folder), *args]) == 0
    type_in()
    return folder


@pytest.fixture
def masks_file(tmp_path):
    entry = {"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [entry | {"segmentation": {"size": [12, 16], "counts": [0, 10, 182]}}],
    }
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(document))
    return path


def answer(capsys, *args):
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main(["engine", *map(str, args), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def store_of(folder):
    return Store.open(folder / ".samkit" / "project.db")


def test_init_makes_store_project_classes_and_admin(begun, capsys):
    shown = answer(capsys, "status", "--store", begun)
    (project,) = shown["projects"]
    assert (project["name"], project["root"]) == ("images", str(begun))
    assert project["classes"] == ["cat", "dog"]
    states = ("none", "submitted", "accepted", "returned", "skipped", "unusable")
    assert project["images"] == dict.fromkeys(states, 0) | {"none": 2}
    assert (project["num_masks"], project["seconds_per_mask"], shown["users"]) == (0, None, 1)
    with store_of(begun) as store:
        assert check_password(store, name="ada", password=PASSWORD).role == "admin"
    assert main(["engine", "status", "--store", str(begun)]) == 0
    table = capsys.readouterr().out
    assert "images" in table
    assert str(begun) in table


def test_init_again_adds_what_is_new(begun, capsys):
    Image.new("RGB", (16, 12), "red").save(begun / "c.png")
    (begun / "d.png").write_bytes(b"no image")
    capsys.readouterr()
    assert main(["engine", "init", str(begun), "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["added"], found["known"], found["faults"]) == (1, 2, 1)
    assert captured.err.startswith("d.png")


def test_init_stores_the_range_and_tells_what_is_left_out(begun, capsys):
    (begun / "x.heic").write_bytes(b"")
    command = ["engine", "init", str(begun), "--json"]
    capsys.readouterr()
    assert main([*command, "--range", "1%,99%"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["left_out"] == {".heic": 1}
    assert captured.err == "samkit: 1 left out: .heic (1)\n"
    with store_of(begun) as store:
        images = list_images(store, 1).items
        assert {one.value_range for one in images} == {"1.0%,99.0%"}
    assert main(command) == 0  # without the option it stays
    with store_of(begun) as store:
        assert get_project(store, 1).value_range == "1.0%,99.0%"


def test_import_and_export_with_history(begun, masks_file, tmp_path, capsys):
    assert answer(capsys, "import", masks_file, "--store", begun)["added"] == 1
    again = answer(capsys, "import", masks_file, "--store", begun)
    assert (again["added"], again["known"]) == (0, 1)
    out = tmp_path / "out"
    how = ("--store", begun, "--history", "--copy-images", "--states", "none,submitted")
    shown = answer(capsys, "export", out, *how)
    assert (shown["images"], shown["masks"], shown["history"]) == ({"all": 1}, {"all": 1}, 1)
    assert shown["left_out"] == {}
    document = json.loads((out / "all.json").read_text())
    assert [one["area"] for one in document["annotations"]] == [10]
    assert [path.name for path in (out / "all").iterdir()] == ["a.png"]  # nobody opened deep/b.png
    (line,) = map(json.loads, (out / "history.jsonl").read_text().splitlines())
    assert (line["file_name"], line["user"], line["class"]) == ("a.png", "ada", "cat")


def test_status_counts_images_that_were_set_aside(begun, capsys):
    with store_of(begun) as store:
        user = create_user(store, name="ann").id
        images = list_images(store, 1).items
        for image, act in zip(images, (skip_image, report_unusable), strict=True):
            take_image(store, image.id, user)
            act(store, image.id, user, reason="too dark")
    (project,) = answer(capsys, "status", "--store", begun)["projects"]
    states = {"none": 0, "submitted": 0, "returned": 0, "accepted": 0, "skipped": 1, "unusable": 1}
    assert project["images"] == states
    assert main(["engine", "status", "--store", str(begun)]) == 0
    assert "images: 1 image skipped, 1 image unusable\n" in capsys.readouterr().out


def test_export_tells_which_images_it_leaves_out(begun, masks_file, tmp_path, capsys):
    answer(capsys, "import", masks_file, "--store", begun)
    export = ["engine", "export", str(tmp_path / "out"), "--store", str(begun)]
    assert main(export) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out'}: all: 0 images, 0 masks; images left out by their state: 2 none"
        " (--states)\n"
    )
    assert main([*export, "--states", "done"]) == 2
    assert "a state must be one of none, submitted, " in capsys.readouterr().err
    shown = answer(capsys, *export[1:], "--accepted-only")
    assert (shown["images"], shown["left_out"]) == ({"all": 0}, {"none": 2})


def test_export_names_images_that_cannot_be_copied(begun, masks_file, tmp_path, capsys):
    answer(capsys, "import", masks_file, "--store", begun)
    (begun / "a.png").rename(begun / "b.png")
    export = ["engine", "export", str(tmp_path / "out"), "--store", str(begun), "--states", "none"]
    assert main([*export, "--copy-images"]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == f"a.png: no such file: {begun}/a.png"
    assert (
        captured.out == f"{tmp_path / 'out'}: all: 0 images, 0 masks; 1 image left out by faults\n"
    )
    assert main(export) == 0  # into the same folder, without copies
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: all: 1 image, 1 mask\n"
    assert main([*export, "--format", "voc"]) == 2
    assert "holds an export of the project images as coco" in capsys.readouterr().err


def test_import_tells_what_it_left_out(begun, masks_file, capsys):
    document = json.loads(masks_file.read_text())
    document["images"][0]["file_name"] = "elsewhere.png"
    masks_file.write_text(json.dumps(document))
    capsys.readouterr()
    assert main(["engine", "import", str(masks_file), "--store", str(begun)]) == 1
    assert capsys.readouterr().err == (
        "elsewhere.png: the project has no image of this name (1 annotation left out)\n"
    )


def test_users_are_added_and_changed(begun, type_in, capsys):
    at = ["--store", str(begun)]
    type_in("long enough\r\n")
    added = ["engine", "users", "add", "bob", "--role", "reviewer", "--password-stdin", *at]
    assert main(added) == 0
    type_in("another one\n")
    assert main(["engine", "users", "change", "bob", "--password-stdin", *at]) == 0
    with store_of(begun) as store:
        assert check_password(store, name="bob", password="long enough") is None
        assert check_password(store, name="bob", password="another one").role == "reviewer"
    assert main(["engine", "users", "change", "bob", "--inactive", "--role", "annotator", *at]) == 0
    rows = answer(capsys, "users", "list", *at)
    assert rows == [
        {"name": "ada", "role": "admin", "active": True},
        {"name": "bob", "role": "annotator", "active": False},
    ]
    with store_of(begun) as store:
        assert check_password(store, name="bob", password="another one") is None


def test_folder_that_was_moved(begun, masks_file, tmp_path, capsys):
    answer(capsys, "import", masks_file, "--store", begun)
    target = tmp_path / "elsewhere"
    shutil.move(begun, target)
    (target / "a.png").rename(target / "deep" / "z.png")
    shown = answer(capsys, "move", target, "--store", target)
    assert (shown["same"], shown["missing"]) == (1, [])
    assert shown["moved"] == [{"from": "a.png", "to": "deep/z.png"}]
    with store_of(target) as store:
        image = list_images(store, 1).items[0]
        assert image.path == "deep/z.png"
        assert len(list_annotations(store, image.id)) == 1


def test_backup_is_restored(begun, masks_file, tmp_path, capsys):
    answer(capsys, "import", masks_file, "--store", begun)
    kept, target = tmp_path / "kept.db", tmp_path / "again.db"
    assert main(["engine", "backup", str(kept), "--store", str(begun)]) == 0
    assert main(["engine", "restore", str(kept), "--store", str(target)]) == 0
    (project,) = answer(capsys, "status", "--store", target)["projects"]
    assert project["num_masks"] == 1


def test_project_is_renamed_and_deleted(begun, monkeypatch, type_in, capsys):
    monkeypatch.setenv("SAMKIT_STORE", str(begun))
    assert main(["engine", "rename", "cells"]) == 0
    type_in("n\n")
    assert main(["engine", "delete", "cells"]) == 130  # asked, and not agreed
    assert answer(capsys, "status")["projects"][0]["name"] == "cells"
    assert main(["engine", "delete", "cells", "--yes"]) == 0
    assert answer(capsys, "status")["projects"] == []
    assert (begun / "a.png").is_file()


def test_project_is_chosen_by_name(begun, tmp_path, capsys):
    more = tmp_path / "more"
    shutil.copytree(begun / "deep", more)
    shown = answer(capsys, "init", more, "--store", begun, "--name", "second")
    assert (shown["project"], shown["added"]) == ("second", 1)
    capsys.readouterr()
    assert main(["engine", "export", str(tmp_path / "out"), "--store", str(begun)]) == 2
    assert "give a --project; there are images, second" in capsys.readouterr().err
    chosen = answer(capsys, "export", tmp_path / "out", "--store", begun, "--project", "second")
    assert (chosen["project"], chosen["left_out"]) == ("second", {"none": 1})


# --- Masks to begin with ---


class StubMasker:
    """Two masks an image; where classes are looked for, the first mask is of the first one."""

    def __init__(self):
        self.choices = []
        self.calls = 0

    def of(self, choices):
        self.choices.append(choices)
        return self

    def generate(self, image, on_progress=None):
        self.calls += 1
        arrays = np.zeros((2, *image.shape[:2]), bool)
        arrays[0, 2:5, 2:6], arrays[1, 6:8, 8:14] = True, True
        masks = Masks.from_arrays(arrays, [0.9, 0.8])
        choice = self.choices[-1].classes
        if choice is None:
            return masks
        scores = np.array([0.7, 0], np.float32)
        named = replace(masks, phrases=(choice.classes[0], ""), phrase_scores=scores)
        return named if choice.others else named.select(np.arange(1))

    def generate_tiled(self, image, tiling, on_progress=None):
        self.choices.append(tiling)
        self.calls += 1
        return Masks.from_arrays(np.ones((1, *image.shape[:2]), bool), [0.5])


@pytest.fixture
def masker(monkeypatch):
    """Takes the models' place; it knows for what it was asked."""
    stub = StubMasker()
    monkeypatch.setattr(MaskGenerator, "masker", property(stub.of))
    monkeypatch.setattr(MaskGenerator, "everything", property(stub.of))
    monkeypatch.setattr(MaskGenerator, "check", lambda self: None)
    return stub


@pytest.fixture
def detector_at_hand(monkeypatch):
    """As if the default detector had been fetched; `asked` are the names that were looked for."""
    asked = []
    monkeypatch.setattr(
        "samkit.weights.find_cached", lambda name: asked.append(name) or Path("here")
    )
    return asked


@pytest.fixture
def no_detector(monkeypatch):
    """As on a computer that nothing was fetched to; fetching fails the test."""

    def fetch(name):
        raise AssertionError(f"{name} is fetched")

    monkeypatch.setattr("samkit.weights.find_cached", lambda name: None)
    monkeypatch.setattr("samkit.text.loading.fetch_text_model", fetch)


def test_prelabel_names_masks_by_the_project_s_classes(
    begun, masker, detector_at_hand, tmp_path, capsys
):
    shown = answer(capsys, "prelabel", "--store", begun)
    assert shown == {
        "project": "images",
        "classes": ["cat", "dog"],
        "images": 2,
        "added": 4,
        "labelled": 2,
        "left": 0,
        "faults": [],
    }
    assert detector_at_hand == [DEFAULT_DETECTOR]
    choice = masker.choices[0].classes
    assert (choice.classes, choice.text_model) == (("cat", "dog"), DEFAULT_DETECTOR)
    assert (choice.others, choice.thresh) == (True, None)
    again = answer(capsys, "prelabel", "--store", begun)
    assert (again["images"], again["added"], masker.calls) == (0, 0, 2)
    answer(capsys, "export", tmp_path / "out", "--store", begun, "--states", "none")
    document = json.loads((tmp_path / "out" / "all.json").read_text())
    names = {one["id"]: one["name"] for one in document["categories"]}
    found = [(names[one["category_id"]], one["area"]) for one in document["annotations"]]
    assert found == [("cat", 12), ("object", 12)] * 2
    # They are nobody's work.
    (project,) = answer(capsys, "status", "--store", begun)["projects"]
    assert (project["num_masks"], project["seconds_per_mask"]) == (4, None)
    assert project["clicks_per_mask"] is None


def test_prelabel_fetches_nothing_unless_asked(begun, masker, no_detector, capsys):
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(begun)]) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        "samkit: masks get no classes: no text model on this disk:"
        " samkit models fetch IDEA-Research/grounding-dino-tiny\n"
    )
    assert captured.out.startswith("images: 4 masks added, 0 with a class, on 2 images; 0 left")
    assert masker.choices[0].classes is None
    with store_of(begun) as store:
        (first, _) = list_annotations(store, 1)
        assert (first.stage, first.class_id) == ("fully-automatic", None)


def test_prelabel_without_text_packages_says_how_to_install_them(
    begun, masker, monkeypatch, capsys
):
    monkeypatch.setattr("samkit.extras.find_spec", lambda name: None)
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(begun)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "pip install '.[text]'" in captured.err
    assert "4 masks added" in captured.out


def test_prelabel_of_a_project_without_classes_needs_no_words(
    folder, type_in, masker, no_detector, monkeypatch, capsys
):
    monkeypatch.delenv("SAMKIT_STORE", raising=False)
    assert main(["engine", "init", str(folder)]) == 0
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "4 masks added, 0 with a class" in captured.out


def test_prelabel_with_classes_and_settings_of_one_s_own(begun, masker, no_detector, capsys):
    options = ["--classes", "bird, cat,bird", "--only-classes", "--text-thresh", "0.4"]
    settings = ["--preset", "fast", "--iou-thresh", "0.7", "--model", "m.pt", "--backend", "torch"]
    shown = answer(capsys, "prelabel", "--store", begun, *options, *settings)
    assert (shown["classes"], shown["added"], shown["labelled"]) == (["bird", "cat"], 2, 2)
    (choices, _) = masker.choices
    assert (choices.classes.classes, choices.classes.thresh) == (("bird", "cat"), 0.4)
    assert choices.classes.others is False
    assert choices.config == replace(PRESETS["fast"], iou_thresh=0.7)
    assert (choices.model, choices.backend.backend) == ("m.pt", "torch")
    with store_of(begun) as store:
        assert [one.name for one in list_classes(store, 1)] == ["cat", "dog", "bird"]
        (mask,) = list_annotations(store, 1)
        (event,) = annotation_events(store, mask.id)
        assert event.data == {"phrase": "bird", "phrase_score": pytest.approx(0.7)}


def test_prelabel_in_tiles_has_no_classes(begun, masker, detector_at_hand, capsys):
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(begun), "--tile", "64"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "samkit: masks get no classes: classes cannot be combined with --tile\n"
    assert "2 masks added, 0 with a class, on 2 images" in captured.out
    assert {one.tile_px for one in masker.choices if not isinstance(one, MaskGenerator)} == {64}


def test_prelabel_that_is_stopped_goes_on(begun, masker, no_detector, monkeypatch, capsys):
    generate = StubMasker.generate

    def stop_at_the_second(self, image, on_progress=None):
        if self.calls == 1:
            raise KeyboardInterrupt
        return generate(self, image)

    monkeypatch.setattr(StubMasker, "generate", stop_at_the_second)
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(begun)]) == 130
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines[1:] if line] == [
        "samkit: 1 of 2 images done; run the same command again to resume",
        "samkit: stopped",
    ]
    monkeypatch.setattr(StubMasker, "generate", generate)
    shown = answer(capsys, "prelabel", "--store", begun)
    assert (shown["images"], shown["added"], masker.calls) == (1, 2, 2)


def test_prelabel_tells_what_it_left(begun, masker, no_detector, monkeypatch, capsys):
    Image.new("RGB", (16, 12), "red").save(begun / "c.png")
    answer(capsys, "init", begun)
    (begun / "c.png").write_bytes(b"no image")
    with store_of(begun) as store:
        take_image(store, 1, 1)

    def fail(self, image, on_progress=None):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(StubMasker, "generate", fail)
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(begun), "--json"]) == 1
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert (shown["images"], shown["left"]) == (0, 1)
    assert shown["faults"] == [
        "deep/b.png: not enough memory for it: try --tile 1024",
        "c.png has changed since it was added",
    ]
    assert captured.err.splitlines()[1:] == shown["faults"]


def test_prelabel_looks_again_with_other_classes(begun, masker, no_detector, monkeypatch, capsys):
    generate = StubMasker.generate
    monkeypatch.setattr(
        StubMasker,
        "generate",
        lambda self, image, on_progress=None: generate(self, image).select(np.zeros(0, int)),
    )
    first = answer(capsys, "prelabel", "--store", begun, "--classes", "car", "--only-classes")
    assert (first["images"], first["added"]) == (2, 0)
    monkeypatch.setattr(StubMasker, "generate", generate)
    args = ["prelabel", "--store", begun, "--classes", "tree", "--only-classes"]
    assert answer(capsys, *args)["images"] == 0
    shown = answer(capsys, *args, "--again")
    assert (shown["images"], shown["added"], shown["labelled"]) == (2, 2, 2)


def test_status_counts_what_people_make_beside_automatic_masks(begun, masker, no_detector, capsys):
    answer(capsys, "prelabel", "--store", begun)
    with store_of(begun) as store:
        take_image(store, 1, 1)
        code = {"size": [12, 16], "counts": [0, 10, 182]}
        save_annotation(
            store,
            image_id=1,
            user_id=1,
            rle=code,
            events=[NewEvent(kind="point", data={"xy": [1, 1], "label": 1}, duration_ms=3000)],
        )
        replace_annotation(
            store,
            1,
            user_id=1,
            version=1,
            rle=code,
            class_id=None,
            events=[NewEvent(kind="erase", data={}, duration_ms=1_800_000)],
        )
    (project,) = answer(capsys, "status", "--store", begun)["projects"]
    assert project["num_masks"] == 5
    assert (project["seconds_per_mask"], project["clicks_per_mask"]) == (3.0, 1.0)
    assert (project["num_corrected"], project["seconds_per_correction"]) == (1, 1800.0)
    corrected, added = project["people"]
    assert corrected == {
        "user": added["user"],
        "stage": "fully-automatic",
        "num_masks": 0,
        "num_corrected": 1,
        "num_clicks": 1,
        "seconds": 1800.0,
    }
    assert (added["stage"], added["num_masks"], added["seconds"]) == ("semi-automatic", 1, 3.0)
    assert main(["engine", "status", "--store", str(begun)]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[1][-2:] == ["3.0", "1.0"]
    assert words[2] == ["project", "person", "stage", "masks", "corrected", "hours", "s/mask"]
    assert words[3][2:] == ["fully-automatic", "0", "1", "0.50", "1800.0"]
    assert words[4][2:] == ["semi-automatic", "1", "0", "0.00", "3.0"]


def test_prelabel_with_real_models(tmp_path, type_in, clip_folder, monkeypatch, capsys):
    """MobileSAM finds what is there; a CLIP that has learned nothing gives it some name."""
    monkeypatch.delenv("SAMKIT_STORE", raising=False)
    images = tmp_path / "shapes"
    images.mkdir()
    image = np.full((96, 128, 3), 40, np.uint8)
    cv2.circle(image, (32, 24), 18, (220, 60, 50), -1)
    cv2.rectangle(image, (80, 54), (112, 90), (60, 200, 80), -1)
    Image.fromarray(image).save(images / "a.png")
    assert main(["engine", "init", str(images), "--classes", "red circle"]) == 0
    # The grid's four points are the shapes' centres and two of what is around them.
    args = ["--text-model", clip_folder, "--points-per-side", "2", "--text-thresh", "0"]
    shown = answer(capsys, "prelabel", "--store", images, *args)
    assert (shown["classes"], shown["images"], shown["left"]) == (["red circle"], 1, 0)
    assert shown["labelled"] >= 1
    with store_of(images) as store:
        kept = list_annotations(store, 1)
        assert len(kept) == shown["added"] >= 2
        truth = (image == (220, 60, 50)).all(axis=-1)
        found = [decode_rle(one.rle) for one in kept]
        assert max((one & truth).sum() / (one | truth).sum() for one in found) > 0.9
        assert all(CATALOG[DEFAULT_MODEL].iou_thresh <= one.score <= 1 for one in kept)
        assert all(0.95 <= one.stability <= 1 for one in kept)
        named = [one for one in kept if one.class_id is not None]
        assert len(named) == shown["labelled"]
        (event,) = annotation_events(store, named[0].id)
        assert (event.kind, event.data["phrase"]) == ("text", "red circle")
        assert 0 < event.data["phrase_score"] <= 1
    assert answer(capsys, "prelabel", "--store", images, *args)["images"] == 0


PRELABEL = ["prelabel", "--store", "{folder}"]
BAD_PRELABEL = [
    (["--only-classes"], "--only-classes needs a text model: no text model on this disk"),
    (["--classes", " , "], "no classes to look for: give --classes"),
    (["--tile", "64", "--classes", "car"], "cannot be combined with --tile"),
    (["--tile", "0"], "tile_px must be"),
    (["--points-per-side", "0"], "points_per_side must be"),
    (["--text-model", "no/such/folder"], "no such folder: no/such/folder"),
    (["--text-model", "a/b"], "cannot fetch a/b"),
    (["--classes", "car"], f"cannot fetch {DEFAULT_DETECTOR}"),
    (["--text-model", "{folder}"], "is not a text model"),
    (["--model", "sam_vit_x"], "known are mobile_sam"),
    (["--user", "eve"], "no user 'eve'"),
    (["--project", "cells"], "no project 'cells'"),
]


@pytest.mark.parametrize(("args", "message"), BAD_PRELABEL)
def test_prelabel_refuses_in_one_line(args, message, begun, monkeypatch, capsys):
    def fetch(name):
        raise DownloadError(f"cannot fetch {name}: no network")

    monkeypatch.setattr("samkit.weights.find_cached", lambda name: None)
    monkeypatch.setattr("samkit.text.loading.fetch_text_model", fetch)
    capsys.readouterr()
    given = [arg.format(folder=begun) for arg in (*PRELABEL, *args)]
    assert main(["engine", *given]) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert message in last
    assert captured.out == ""
    with store_of(begun) as store:
        assert [image.num_masks for image in list_images(store, 1).items] == [0, 0]


def test_prelabel_is_not_for_annotators(begun, type_in, masker, no_detector, capsys):
    type_in("long enough\n")
    added = ["users", "add", "bob", "--role", "annotator", "--password-stdin"]
    assert main(["engine", *added, "--store", str(begun)]) == 0
    capsys.readouterr()
    assert main(["engine", "prelabel", "--store", str(begun), "--user", "bob"]) == 2
    assert "needs the role reviewer or admin" in capsys.readouterr().err
    assert masker.calls == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["status", "--store", "none.db"],
            "no store at none.db: create one with samkit engine init",
        ),
        (["status", "--store", "mysql://x/y"], "a store is in SQLite or PostgreSQL"),
        (["init", "no-such-folder"], "no such folder: no-such-folder"),
        (["init", "{folder}", "--admin", "eve"], "the store has users already"),
        (["export", "out", "--store", "{folder}", "--project", "cells"], "no project 'cells'"),
        (["export", "out", "--store", "{folder}", "--val-fraction", "1"], "val_fraction must be"),
        (["import", "none.json", "--store", "{folder}"], "none.json"),
        (["import", "x", "--store", "{folder}", "--user", "eve"], "no user 'eve'"),
        (["users", "add", "bob", "--store", "{folder}"], "--password-stdin"),
        (["users", "change", "eve", "--store", "{folder}"], "no user 'eve'"),
        (["move", "{folder}/deep", "--store", "{folder}"], "1 of 2 images are not below"),
        (["restore", "none.db", "--store", "{folder}"], "exists: move it away"),
        (["backup", "no/such/folder/b.db", "--store", "{folder}"], "cannot write"),
    ],
)
def test_bad_input_is_one_line(args, message, begun, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["engine", *(arg.format(folder=begun) for arg in args)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_formats_of_imports_are_those_that_are_read():
    assert tuple(FORMATS) == IMPORT_FORMATS
