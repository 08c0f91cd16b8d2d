"""The commands of a page of the documents, run one after another."""

from itertools import pairwise

from documents.blocks import Command, read_blocks, read_commands
from documents.shortened import (
    DEFAULT_PROTOCOLS,
    NOT_RUN,
    SHORTENED,
    SHORTENED_PROTOCOLS,
)
from samkit.cli.main import main


def is_run(command: Command) -> bool:
    text = " ".join(command.words)
    return not any(text.startswith(prefix) for prefix in NOT_RUN)


def shortening(command: Command) -> list[str]:
    """What is added to a command, so that it takes seconds."""
    added = [SHORTENED[prefix] for prefix in SHORTENED if command.starts_with(prefix)]
    if command.starts_with("samkit evaluate"):
        words = command.words
        chosen = {after for word, after in pairwise(words) if word == "--protocol"}
        for protocols, options in SHORTENED_PROTOCOLS.items():
            if {*protocols} & (chosen or DEFAULT_PROTOCOLS):
                added.append(options)
    return [word for words in added for word in words]


def run_page(page, folder, capsys):
    """Run the commands of a page, one after another."""
    for block in read_blocks(page, "json"):  # the only one, in cli.md, is a file of prompts
        (folder / "prompts.json").write_text(block.text)
    for command in filter(is_run, read_commands(page)):
        assert command.words[0] == "samkit", f"{command.where}: neither run nor in NOT_RUN"
        args = [*command.words[1:], *shortening(command)]
        code = main(args)
        assert code == 0, f"{command.where}: {capsys.readouterr().err}"
