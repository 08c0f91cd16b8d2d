"""The command line as a whole, and `samkit models`."""

import json
import subprocess
import sys

import pytest

import samkit
from samkit.cli import options
from samkit.cli.main import main
from samkit.predict import REFINE_LEVELS
from samkit.weights.catalog import CATALOG, TEXT_CATALOG


def run(*args):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=True)


def test_import_and_help_do_not_load_torch():
    code = "import sys, samkit, samkit.cli.main; print('torch' in sys.modules)"
    assert run("-c", code).stdout.strip() == "False"
    shown = run(
        "-c",
        "import sys; from samkit.cli.main import main; main(['--help']); "
        "print('torch' in sys.modules)",
    ).stdout
    assert "segment" in shown
    assert shown.strip().endswith("False")


def test_module_runs_as_a_command():
    assert (
        run("-m", "samkit", "--version").stdout.strip() == f"samkit, version {samkit.__version__}"
    )


def test_without_a_verb_help_is_shown(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_unknown_verb_is_one_line(capsys):
    assert main(["segmnt"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_models_lists_what_can_be_loaded(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [*CATALOG, *TEXT_CATALOG]
    assert {name: row["kind"] for name, row in rows.items() if row["kind"] != "sam"} == {
        name: entry.kind for name, entry in TEXT_CATALOG.items()
    }
    assert rows["mobile_sam"]["embedded"] is True
    assert rows["sam_vit_b"]["parameters"] == 93_735_472
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in rows)
    assert "in the package" in table


def test_verify_tells_what_a_file_is(capsys):
    assert main(["models", "verify", str(CATALOG["mobile_sam"].embedded)]) == 0
    shown = capsys.readouterr().out
    assert "mobile_sam" in shown
    assert "the published file" in shown


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fetch", "sam_vit_x"], "known are mobile_sam"),
        (["verify", "none.pth"], "no such file: none.pth"),
    ],
)
def test_models_errors_are_one_line(args, message, capsys):
    assert main(["models", *args]) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert message in captured


@pytest.mark.parametrize(
    "verb", ["segment", "auto", "annotate", "serve", "train", "evaluate", "pretrain", "distill"]
)
def test_help_shows_examples_line_by_line(verb, capsys):
    assert main([verb, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "\\b" not in lines
    assert sum(line.startswith(f"samkit {verb} ") for line in lines) >= 1


def test_levels_of_refinement_are_those_of_the_library():
    assert options.REFINE_NAMES == REFINE_LEVELS
