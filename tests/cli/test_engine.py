"""`samkit engine`: from a folder to files for other programs, as commands."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main
from samkit.dataengine import Store, check_password, list_annotations, list_photos

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
    root = tmp_path / "photos"
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
    assert (project["name"], project["root"]) == ("photos", str(begun))
    assert project["classes"] == ["cat", "dog"]
    assert project["photos"] == {"none": 2, "submitted": 0, "accepted": 0, "returned": 0}
    assert (project["num_masks"], project["seconds_per_mask"], shown["users"]) == (0, None, 1)
    with store_of(begun) as store:
        assert check_password(store, name="ada", password=PASSWORD).role == "admin"
    assert main(["engine", "status", "--store", str(begun)]) == 0
    table = capsys.readouterr().out
    assert "photos" in table
    assert str(begun) in table


def test_init_again_adds_what_is_new(begun, capsys):
    Image.new("RGB", (16, 12), "red").save(begun / "c.png")
    (begun / "d.png").write_bytes(b"no photo")
    capsys.readouterr()
    assert main(["engine", "init", str(begun), "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["added"], found["known"], found["faults"]) == (1, 2, 1)
    assert captured.err.startswith("d.png")


def test_import_and_export_with_history(begun, masks_file, tmp_path, capsys):
    assert answer(capsys, "import", masks_file, "--store", begun)["added"] == 1
    again = answer(capsys, "import", masks_file, "--store", begun)
    assert (again["added"], again["known"]) == (0, 1)
    out = tmp_path / "out"
    shown = answer(capsys, "export", out, "--store", begun, "--history", "--copy-photos")
    assert (shown["photos"], shown["masks"], shown["history"]) == ({"all": 2}, {"all": 1}, 1)
    document = json.loads((out / "all.json").read_text())
    assert [one["area"] for one in document["annotations"]] == [10]
    assert (out / "all" / "deep" / "b.png").is_file()
    (line,) = map(json.loads, (out / "history.jsonl").read_text().splitlines())
    assert (line["file_name"], line["user"], line["class"]) == ("a.png", "ada", "cat")


def test_import_tells_what_it_left_out(begun, masks_file, capsys):
    document = json.loads(masks_file.read_text())
    document["images"][0]["file_name"] = "elsewhere.png"
    masks_file.write_text(json.dumps(document))
    capsys.readouterr()
    assert main(["engine", "import", str(masks_file), "--store", str(begun)]) == 1
    assert capsys.readouterr().err == "elsewhere.png: the project has no photo of this name\n"


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
        photo = list_photos(store, 1).items[0]
        assert photo.path == "deep/z.png"
        assert len(list_annotations(store, photo.id)) == 1


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
    assert "say which --project; there are photos, second" in capsys.readouterr().err
    chosen = answer(capsys, "export", tmp_path / "out", "--store", begun, "--project", "second")
    assert chosen["photos"] == {"all": 1}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["status", "--store", "none.db"], "no store at none.db: samkit engine init makes one"),
        (["status", "--store", "mysql://x/y"], "a store is in SQLite or PostgreSQL"),
        (["init", "no-such-folder"], "no such folder: no-such-folder"),
        (["init", "{folder}", "--admin", "eve"], "the store has users already"),
        (["export", "out", "--store", "{folder}", "--project", "cells"], "no project 'cells'"),
        (["export", "out", "--store", "{folder}", "--val-fraction", "1"], "val_fraction must be"),
        (["import", "none.json", "--store", "{folder}"], "none.json"),
        (["import", "x", "--store", "{folder}", "--user", "eve"], "no user 'eve'"),
        (["users", "add", "bob", "--store", "{folder}"], "--password-stdin"),
        (["users", "change", "eve", "--store", "{folder}"], "no user 'eve'"),
        (["move", "{folder}/deep", "--store", "{folder}"], "1 of 2 photos are not below"),
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
