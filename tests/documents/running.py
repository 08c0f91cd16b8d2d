"""The commands of a page of the documents, run one after another."""

from documents.blocks import Command, read_blocks, read_commands
from documents.shortened import NOT_RUN, SHORTENED
from samkit.cli.main import main


def is_run(command: Command) -> bool:
    text = " ".join(command.words)
    return not any(text.startswith(prefix) for prefix in NOT_RUN)


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
