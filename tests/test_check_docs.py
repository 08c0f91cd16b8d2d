"""The documentation check finds values that differ from the code."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "check_docs.py"


@pytest.fixture(scope="module")
def check_docs():
    spec = importlib.util.spec_from_file_location("check_docs", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(check_docs):
    return check_docs.CLI_REFERENCE.read_text(encoding="utf-8")


def faults(check_docs, reference):
    wrong = check_docs.wrong_defaults(check_docs.cli, "samkit", reference)
    return [*wrong, *check_docs.wrong_presets(reference)]


def test_the_reference_has_no_fault(check_docs, reference):
    assert faults(check_docs, reference) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("clicks per mask; default 20", "clicks per mask; default 25", "--max-clicks of samkit"),
        ("clicks per mask; default 20", "clicks per mask", "the default 20 is not named"),
        ("Default: overlay, png and json", "Default: overlay and png", "the default json"),
        (
            "| `--points-per-side` | 32 | 32 | 24 |",
            "| `--points-per-side` | 32 | 32 | 16 |",
            "presets",
        ),
        ("| `--min-area` | 0 | 100 | 0 | 100 | 25 |\n", "", "presets, --min-area: None"),
        ("| `fast` | `paper` |", "| `fast` | `slow` |", "the table of presets has"),
    ],
)
def test_wrong_values_are_found(right, wrong, fault, check_docs, reference):
    assert reference.count(right) == 1
    found = faults(check_docs, reference.replace(right, wrong))
    assert len(found) == 1
    assert fault in found[0]
