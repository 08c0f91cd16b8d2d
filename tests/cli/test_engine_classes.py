"""`samkit engine classes`, and what `samkit annotate` says of files that it leaves out."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.cli.annotate import tell_left_out
from samkit.cli.main import main
from samkit.dataengine import SCAN, Store, add_job, create_project, list_classes, work_once


@pytest.fixture
def at(tmp_path, capsys):
    """Options of a store with the classes cat, dog and cow."""
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(tmp_path / "a.png")
    options = ["--store", str(tmp_path / "s.db")]
    begun = ["engine", "init", str(tmp_path), "--classes", "cat,dog,cow", "--admin", "eve"]
    assert main([*begun, *options]) == 0
    capsys.readouterr()
    return options


def names(at):
    with Store.open(at[1]) as store:
        return [one.name for one in list_classes(store, 1)]


def test_classes_are_changed(at, capsys):
    for command in (
        ["add", "ant", "--color", "#102030"],
        ["change", "cat", "--name", "kitten", "--color", "#010203"],
        ["order", "cow", "ant"],
        ["merge", "kitten", "dog"],
    ):
        assert main(["engine", "classes", *command, *at]) == 0
    assert names(at) == ["cow", "ant", "dog"]
    capsys.readouterr()
    assert main(["engine", "classes", "list", "--json", *at]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["masks"], one["images"]) for one in rows] == [
        ("cow", 0, 0),
        ("ant", 0, 0),
        ("dog", 0, 0),
    ]
    assert rows[1]["color"] == "#102030"
    assert main(["engine", "classes", "delete", "ant", *at]) == 0
    assert main(["engine", "classes", "list", *at]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("cow  #")
    assert names(at) == ["cow", "dog"]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["delete", "horse"], "no class 'horse': samkit engine classes list shows all"),
        (["change", "cat", "--name", "dog"], "there is a class 'dog' already"),
        (["change", "cat", "--color", "red"], "a colour must be #rrggbb; got 'red'"),
        (["merge", "cat", "cat"], "'cat' cannot be merged into 'cat'"),
    ],
)
def test_bad_input_is_one_line(at, command, line, capsys):
    assert main(["engine", "classes", *command, *at]) == 2
    assert line in capsys.readouterr().err
    assert names(at) == ["cat", "dog", "cow"]


def test_files_that_are_left_out_are_told(tmp_path, capsys):
    root = tmp_path / "images"
    root.mkdir()
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(root / "a.png")
    (root / "b.png").write_bytes((root / "a.png").read_bytes())
    (root / "notreally.jpg").write_bytes(b"no image")
    with Store.open(tmp_path / "s.db") as store:
        job = add_job(store, create_project(store, name="p", root=root).id, SCAN, {})
        work_once(store)
        tell_left_out(store, job.id)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == "samkit: notreally.jpg is not an image that can be read"
    assert lines[1] == "samkit: b.png: has the content of a.png"
