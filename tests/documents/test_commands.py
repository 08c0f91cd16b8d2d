"""Every command in the documents runs unchanged, apart from settings that shorten it."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from documents.blocks import PAGES, ROOT, read_blocks, read_commands
from documents.running import run_page
from documents.shortened import NOT_RUN, SHORTENED
from samkit.cli.main import cli, main

if sys.version_info >= (3, 11):
    import tomllib

TRAINING = "docs/training.md"
FLYWHEEL = "docs/flywheel.md"
QUICK = ("docs/data-engine.md",)
RECIPES = ("train", "pretrain", "distill")
WITH_COMMANDS = [page for page in PAGES if read_commands(page)]
pytestmark = pytest.mark.usefixtures("server_ends")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page in QUICK else pytest.mark.slow)
        for page in WITH_COMMANDS
        if page not in (TRAINING, FLYWHEEL)
    ],
)
def test_commands_run_one_after_another(page, folder, capsys):
    run_page(page, folder, capsys)


def parse(words):
    """Parse a command line as the command line tool does, without running it."""
    context = click.Context(cli, info_name="samkit")
    command, args = cli, list(words)
    while isinstance(command, click.Group) and args:
        name, command, args = command.resolve_command(context, args)
    command.make_context(name, args, parent=context)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_name_options_and_settings_that_exist(page, capsys):
    for command in read_commands(page):
        first, *words = command.words
        if first == "torchrun":
            first, *words = words[words.index("-m") + 1 :]
        if first != "samkit":
            continue
        try:
            parse(words)
        except click.ClickException as error:
            pytest.fail(f"{command.where}: {error.format_message()}")
        if words[0] in RECIPES:
            assert main([*words, "--show"]) == 0, f"{command.where}: {capsys.readouterr().err}"


def test_other_commands_name_what_exists():
    others = [
        command
        for page in WITH_COMMANDS
        for command in read_commands(page)
        if command.words[0] not in ("samkit", "torchrun")
    ]
    assert {command.words[0] for command in others} <= {"make", "pip", "cvat-cli"}
    for command in others:
        if command.words[0] == "make":
            done = subprocess.run(
                ["make", "--dry-run", *command.words[1:]],
                cwd=ROOT,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, f"{command.where}: {done.stderr.decode()}"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
@pytest.mark.parametrize("page", PAGES)
def test_named_extras_exist(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"(?:samkit|\.)\[([\w,]+)\]'", PAGES[page].read_text(encoding="utf-8"))
    extras = {extra for names in named for extra in names.split(",")}
    assert extras <= set(project["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES)
def test_all_blocks_are_of_a_language_that_runs(page):
    fences = re.findall(r"^\s*```(.*)$", PAGES[page].read_text(encoding="utf-8"), re.MULTILINE)
    # Drawings have none; "sh" is for other programs, which are not there, and so is "xml"; "js" is
    # of the page's modules, which tests/web runs.
    assert set(fences) <= {"", "bash", "python", "json", "sh", "xml", "js"}
    drawings = "".join(block.text for block in read_blocks(page, ""))
    assert re.search(r"^\s*samkit ", drawings, re.MULTILINE) is None


def test_each_exception_is_used():
    commands = [command for page in WITH_COMMANDS for command in read_commands(page)]
    texts = [" ".join(command.words) for command in commands]
    unused = [prefix for prefix in NOT_RUN if not any(text.startswith(prefix) for text in texts)]
    unused += [
        prefix
        for prefix in SHORTENED
        if not any(command.starts_with(prefix) for command in commands)
    ]
    assert unused == []
