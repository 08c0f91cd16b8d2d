"""`samkit engine members`, `samkit engine assign` and `samkit engine tokens`."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main
from samkit.dataengine import (
    Store,
    assignees,
    create_user,
    get_members,
    list_images,
    resume_token,
)


@pytest.fixture
def at(tmp_path, capsys):
    """Options of a store with three images, the admin eve, and the annotators ann and bob."""
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((12, 16, 3), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    options = ["--store", str(tmp_path / "s.db")]
    assert main(["engine", "init", str(tmp_path), "--admin", "eve", *options]) == 0
    with Store.open(options[1]) as store:
        for name in ("ann", "bob"):
            create_user(store, name=name)
    capsys.readouterr()
    return options


def test_members(at, capsys):
    for command, line in (
        (["add", "bob", "ann"], "members of"),
        (["remove", "ann"], ": bob"),
    ):
        assert main(["engine", "members", *command, *at]) == 0
        assert line in capsys.readouterr().out
    with Store.open(at[1]) as store:
        assert [one.name for one in get_members(store, 1).people] == ["eve", "bob"]
    assert main(["engine", "members", "list", "--json", *at]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["everybody"], found["people"][1]) == (False, {"name": "bob", "role": "annotator"})
    assert main(["engine", "members", "add", "carl", *at]) == 2
    assert "no user 'carl'" in capsys.readouterr().err
    assert main(["engine", "members", "everybody", *at]) == 0
    with Store.open(at[1]) as store:
        assert get_members(store, 1).everybody


def test_assign(at, capsys):
    command = ["engine", "assign", "--to", "ann,bob", "--deal", "--batch", "one"]
    assert main([*command, "--priority", "high", *at]) == 0
    assert capsys.readouterr().out.startswith("3 images of ")
    assert main(["engine", "assign", "--of-batch", "one", "--name", "c.", "--batch", "", *at]) == 0
    with Store.open(at[1]) as store:
        images = list_images(store, 1).items
        assert [(one.batch, one.priority) for one in images] == [("one", "high")] * 2 + [
            ("", "high")
        ]
        assert [assignees(store, one.id) for one in images] == [(2,), (3,), (2,)]
    assert main(["engine", "assign", *at]) == 2
    assert "nothing to set: give --to, --priority or --batch" in capsys.readouterr().err


def test_tokens(at, capsys):
    assert main(["engine", "tokens", "add", "ann", "nightly", "--days", "30", *at]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("samkit_")
    with Store.open(at[1]) as store:
        assert resume_token(store, secret).user.name == "ann"
    assert main(["engine", "tokens", "revoke", "1", *at]) == 0
    capsys.readouterr()
    assert main(["engine", "tokens", "list", "ann", *at]) == 0
    line = capsys.readouterr().out
    assert line.startswith("1  nightly  annotator  used ")
    assert line.endswith("revoked\n")
    with Store.open(at[1]) as store:
        assert resume_token(store, secret) is None
    assert main(["engine", "tokens", "add", "ann", "x", "--role", "admin", *at]) == 2
    assert "a token of 'ann' can be annotator at most" in capsys.readouterr().err
