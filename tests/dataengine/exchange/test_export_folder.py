"""An export is what its folder holds afterwards."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.dataengine.exchange import export_folder as room
from samkit.dataengine.exchange.export_folder import MANIFEST_NAME, export_folder
from samkit.errors import OutputError
from samkit.files import file_sha256

FACTS = {"project": "cells", "file_format": "yolo"}


def export(folder, files, facts=FACTS):
    with export_folder(folder, facts) as opened:
        for name, text in files.items():
            path = opened.staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def contents(folder):
    """All files but the manifest, and all folders, with what they hold."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != MANIFEST_NAME
    }


def test_manifest_lists_the_files(tmp_path):
    export(tmp_path / "out", {"labels/a.txt": "one"}, FACTS | {"options": {"val_fraction": 0.5}})
    document = json.loads((tmp_path / "out" / MANIFEST_NAME).read_text())
    assert document.pop("files") == {
        "labels/a.txt": {"bytes": 3, "sha256": file_sha256(tmp_path / "out/labels/a.txt")}
    }
    assert document == {
        "format": "samkit-export-1",
        **FACTS,
        "options": {"val_fraction": 0.5},
    }


names = st.sampled_from(["a", "b", "sub/a", "sub/deep/c", "other/d"])
exports = st.lists(st.dictionaries(names, st.text("xyz", max_size=3)), max_size=4)


@given(exports=exports, own=st.sampled_from([None, "README", "sub/notes", "other/x/y"]))
def test_folder_holds_the_last_export_and_what_is_not_of_any(exports, own, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "out"
    export(folder, {})
    if own is not None:
        (folder / own).parent.mkdir(parents=True, exist_ok=True)
        (folder / own).write_bytes(b"mine")
    for files in exports:
        export(folder, files)
        found = {name: text for name, text in contents(folder).items() if text is not None}
        assert found == files | ({} if own is None else {own: "mine"})
        for path in folder.rglob("*"):
            assert path.is_file() or any(path.iterdir())  # no folder is left empty


def test_a_failed_export_changes_nothing(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(TypeError):
        export(folder, {"a": "half", "b": 3})
    assert not folder.exists()
    export(folder, {"a": "1", "b": "2"})
    with pytest.raises(TypeError):
        export(folder, {"a": "half", "b": 3})
    assert contents(folder) == {"a": "1", "b": "2"}


def test_an_export_that_was_killed_while_writing_leaves_the_earlier_one(tmp_path):
    folder = tmp_path / "out"
    export(folder, {"a": "1"})
    (folder / ".samkit-export/files").mkdir(parents=True)
    (folder / ".samkit-export/files/z").write_text("half")
    export(folder, {"b": "2"})
    assert contents(folder) == {"b": "2"}


@pytest.mark.parametrize("num_moved", range(4))
def test_an_export_that_was_killed_while_moving_is_finished_first(num_moved, tmp_path, monkeypatch):
    """As if the process ended after some of the three files were moved."""
    folder, seen = tmp_path / "out", []
    export(folder, {"old": "1", "a": "1"})
    real = room.Path.replace

    def replace(path, target):
        if "/files/" in path.as_posix() or path.parent == folder / ".samkit-export":
            seen.append(target)
            if len(seen) > num_moved + 1:  # the first is the list of files
                raise SystemExit
        return real(path, target)

    monkeypatch.setattr(room.Path, "replace", replace)
    with pytest.raises(SystemExit):
        export(folder, {"a": "2", "b": "2", "sub/c": "2"})
    monkeypatch.undo()
    with pytest.raises(KeyError), export_folder(folder, FACTS):
        raise KeyError
    assert contents(folder) == {"a": "2", "b": "2", "sub": None, "sub/c": "2"}
    export(folder, {})
    assert contents(folder) == {}


def test_changed_files_are_named_and_left_alone(tmp_path, refusal):
    folder = tmp_path / "out"
    export(folder, dict.fromkeys("abcde", "1"))
    for name in "abcd":
        (folder / name).write_text("2")
    (folder / "e").unlink()  # nothing is lost with it
    with refusal(OutputError, f"a, b, c and 1 more in {folder} were changed since"):
        export(folder, {"a": "3"})
    assert contents(folder) == dict.fromkeys("abcd", "2")


def test_files_of_nobody_are_not_replaced(tmp_path, refusal):
    folder = tmp_path / "out"
    export(folder, {"a": "1"})
    (folder / "b").write_text("mine")
    with refusal(OutputError, f"b in {folder} would be replaced, but no export wrote it"):
        export(folder, {"b": "2"})
    assert contents(folder) == {"a": "1", "b": "mine"}


def test_folders_of_something_else_are_refused(tmp_path, refusal):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".hidden").write_text("of the system")
    export(folder, {"a": "1"})
    for change in ({"file_format": "coco"}, {"project": "other"}):
        with refusal(OutputError, "holds an export of the project cells as yolo: give another"):
            export(folder, {"a": "1"}, FACTS | change)
    (folder / MANIFEST_NAME).unlink()
    with refusal(OutputError, "is not empty, and holds no export of samkit's: give a new folder"):
        export(folder, {"a": "1"})
    for text in (
        "{",
        "[]",
        '{"format": "samkit-export-1"}',
        '{"format": "samkit-export-1", "files": 3}',
    ):
        (folder / MANIFEST_NAME).write_text(text)
        with refusal(OutputError, "is damaged"):
            export(folder, {})
    (folder / MANIFEST_NAME).write_text('{"format": "samkit-export-9", "files": {}}')
    with refusal(OutputError, "another version of samkit"):
        export(folder, {})


def test_two_exports_at_once_are_refused(tmp_path, refusal):
    folder = tmp_path / "out"
    with export_folder(folder, FACTS) as opened:
        (opened.staging / "a").write_text("1")
        with refusal(OutputError, "another run is writing"):
            export(folder, {"b": "2"})
    assert contents(folder) == {"a": "1"}


def test_an_export_may_be_moved_and_replaced(tmp_path):
    export(tmp_path / "out", {"a": "1", "sub/b": "2"})
    shutil.copytree(tmp_path / "out", tmp_path / "moved")
    export(tmp_path / "moved", {"c": "3"})
    assert contents(tmp_path / "moved") == {"c": "3"}
