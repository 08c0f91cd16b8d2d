"""Every command in the documents runs unchanged, apart from settings that shorten it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import click
import numpy as np
import pytest
from safetensors.torch import load_file

import samkit.web
from documents.blocks import PAGES, ROOT, Command, read_blocks, read_commands
from documents.conftest import write_coco
from documents.shortened import NOT_RUN, SHORTENED
from read_log import read_log
from samkit.cli.main import cli, main
from samkit.dataengine import Learning, Store, list_learned_models, serving_version, work_once
from samkit.datasets.synthetic import NamedScenes
from samkit.learning import Learner

if sys.version_info >= (3, 11):
    import tomllib

TRAINING = "docs/training.md"
FLYWHEEL = "docs/flywheel.md"
QUICK = ("docs/data-engine.md",)
RECIPES = ("train", "pretrain", "distill")
WITH_COMMANDS = [page for page in PAGES if read_commands(page)]


def is_run(command: Command) -> bool:
    text = " ".join(command.words)
    return not any(text.startswith(prefix) for prefix in NOT_RUN)


def serve_until_scanned(app, **_options):
    """In the place of a server that runs until Ctrl-C: do the job that looks for images."""
    while work_once(app.state.studio.store) is not None:
        pass


@pytest.fixture(autouse=True)
def server_ends(monkeypatch):
    monkeypatch.setattr(samkit.web, "serve", serve_until_scanned)
    monkeypatch.setattr("samkit.cli.annotate.leave", lambda: None)


def run_page(page, folder, capsys):
    """Run the commands of a page, one after another."""
    for block in read_blocks(page, "json"):  # the only one, in cli.md, is a file of prompts
        (folder / "prompts.json").write_text(block.text)
    for command in filter(is_run, read_commands(page)):
        assert command.words[0] == "samkit", f"{command.where}: neither run nor in NOT_RUN"
        added = [SHORTENED[prefix] for prefix in SHORTENED if command.starts_with(prefix)]
        args = [*command.words[1:], *(word for words in added for word in words)]
        code = main(args)
        assert code == 0, f"{command.where}: {capsys.readouterr().err}"


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


@pytest.mark.slow
@pytest.mark.usefixtures("all_backends")
def test_fine_tuning_in_ten_lines_changes_the_decoder_alone(folder, capsys):
    before = samkit.Predictor.load("mobile_sam")
    embedding = before.embed("image.jpg")
    run_page(TRAINING, folder, capsys)
    assert [row["step"] for row in read_log(folder / "mine/scores.csv")] == [0, 1, 2]
    tuned, old = load_file("mine/last.safetensors"), before.model.state_dict()
    changed = {name for name, value in tuned.items() if not value.equal(old[name])}
    assert any(name.startswith("mask_decoder") for name in changed)
    assert not any(name.startswith("image_encoder") for name in changed)
    # What was embedded before the training is answered by the new decoder.
    after = samkit.Predictor.load("mine/last.safetensors")
    point = {"points": [[300, 200]], "labels": [1]}
    answers = [predictor.predict(embedding, **point) for predictor in (before, after)]
    assert not np.array_equal(answers[0].logits, answers[1].logits)


@pytest.mark.slow
def test_the_flywheel_turns(folder, capsys, monkeypatch):
    """With few steps, and a judge that is content with each model, on drawn scenes."""
    images = [NamedScenes(count=16, size=96, seed=5)[index].image for index in range(16)]
    write_coco(folder / "train.json", images)
    monkeypatch.setattr("samkit.learning.learner.MAX_STEPS", 2)
    monkeypatch.setattr("samkit.learning.learner.MIN_STEPS", 2)
    monkeypatch.setattr("samkit.learning.judge.MASKS_PER_IMAGE", 1)
    content = replace(Learning(), max_clicks=1)
    monkeypatch.setattr("samkit.dataengine.Learning", lambda **_: content)
    found = Learner.judge

    def promote(*arguments):
        return replace(found(*arguments), is_better=True)

    monkeypatch.setattr(Learner, "judge", promote)
    run_page(FLYWHEEL, folder, capsys)
    assert len(json.loads((folder / "turn/rounds.json").read_text())["rounds"]) == 4
    with Store.open(folder / "turn/store.db") as store:
        assert len(list_learned_models(store, 1)) >= 2
        assert serving_version(store, 1) == 2


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
    assert {command.words[0] for command in others} <= {"make", "pip"}
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
    assert set(fences) <= {"", "bash", "python", "json"}  # drawings have none
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
