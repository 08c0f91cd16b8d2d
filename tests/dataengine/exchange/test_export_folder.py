"""An export is what its folder holds afterwards."""

import json
import shutil
import signal
import subprocess
import sys

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


NAMES = ["a", "b", "a/b", "a/b/c", "a/d", "sub/a", "sub/deep/c", "other/d"]


def are_possible(names):
    """Whether no name is a file and also a folder."""
    return not any(one.startswith(f"{other}/") for one in names for other in names)


exports = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.text("xyz", max_size=3)).filter(are_possible),
    max_size=4,
)


@given(exports=exports, own=st.sampled_from([None, "README", "sub/notes", "other/x/y", "a", "a/b"]))
def test_folder_holds_the_last_export_and_what_is_not_of_any(exports, own, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "out"
    export(folder, {})
    if own is not None:
        (folder / own).parent.mkdir(parents=True, exist_ok=True)
        (folder / own).write_bytes(b"mine")
    last = {}
    for files in exports:
        if own is None or (own not in files and are_possible([own, *files])):
            export(folder, files)
            last = files
        else:
            with pytest.raises(OutputError, match=f"^{own} in .* would be replaced"):
                export(folder, files)
        found = {name: text for name, text in contents(folder).items() if text is not None}
        assert found == last | ({} if own is None else {own: "mine"})
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


KILLED = """
import os, pathlib, signal, sys
from samkit.dataengine.exchange.export_folder import export_folder
folder, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
real, moved = pathlib.Path.replace, []
def replace(path, target):
    if path.parent.name != ".samkit-export" and moved:
        os.kill(os.getpid(), signal.SIGKILL)
    if path.parent.name != ".samkit-export":
        moved.append(path)
    return real(path, target)
pathlib.Path.replace = replace
with export_folder(folder, {"project": "cells", "file_format": "yolo"}) as opened:
    for name in names:
        (opened.staging / name).parent.mkdir(parents=True, exist_ok=True)
        (opened.staging / name).write_text("2")
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [(["a", "b"], ["a/b", "c"]), (["a/b/c"], ["a", "c"]), (["a"], ["a", "c"])],
    ids=["file-to-folder", "folder-to-file", "same"],
)
def test_an_export_after_one_that_was_killed_between_two_moves(old, new, tmp_path):
    folder = tmp_path / "out"
    export(folder, dict.fromkeys(old, "1"))
    done = subprocess.run([sys.executable, "-c", KILLED, folder, *new], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / new[0]).read_text() == "2"
    assert not (folder / new[1]).exists()
    export(folder, {"a": "3"})
    assert contents(folder) == {"a": "3"}


@pytest.mark.parametrize("own", ["all", "labels/all", "labels"])
def test_a_file_where_a_folder_is_needed_stops_nothing_later(own, tmp_path, refusal):
    folder = tmp_path / "out"
    export(folder, {"labels.txt": "1"})
    (folder / own).parent.mkdir(exist_ok=True)
    (folder / own).write_text("mine")
    with refusal(OutputError, f"{own} in {folder} would be replaced, but no export wrote it"):
        export(folder, {"labels/all/a": "2", "all/a": "2"})
    export(folder, {"labels.txt": "3"})
    assert (folder / "labels.txt").read_text() == "3"
    assert (folder / own).read_text() == "mine"


def test_folders_that_became_files_and_the_reverse(tmp_path, refusal):
    """What the person did since to the earlier export's files, all of which are gone."""
    folder = tmp_path / "out"
    export(folder, {"a/deep/b": "1"})
    shutil.rmtree(folder / "a/deep")
    export(folder, {"a": "2"})  # in place of a folder with nothing in it
    assert contents(folder) == {"a": "2"}
    export(folder, {"a/b": "3"})
    shutil.rmtree(folder / "a")
    (folder / "a").write_text("mine")
    export(folder, {"c": "4"})
    assert contents(folder) == {"a": "mine", "c": "4"}
    (folder / "link").symlink_to(tmp_path)
    with refusal(OutputError, "link in "):
        export(folder, {"link": "5"})


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
