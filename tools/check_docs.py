"""Check the documentation: links resolve, and every command and option is described.

    python tools/check_docs.py

prints one line per problem and exits with 1 if there is any.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from samkit.cli.main import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
CLI_REFERENCE = ROOT / "docs" / "cli.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def main() -> int:
    """Print all problems; return the exit code."""
    faults = [*broken_links(), *undocumented_commands(cli, "samkit")]
    for fault in faults:
        print(fault)
    print(f"{len(DOCUMENTS)} documents checked, {len(faults)} faults")
    return 1 if faults else 0


def broken_links() -> Iterator[str]:
    """Yield relative links to missing files or headings."""
    for document in DOCUMENTS:
        for target in LINK.findall(document.read_text(encoding="utf-8")):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            file = (document.parent / path) if path else document
            if not file.exists():
                yield f"{document.relative_to(ROOT)}: no such file: {target}"
            elif anchor and anchor not in headings(file):
                yield f"{document.relative_to(ROOT)}: no such heading: {target}"


def headings(document: Path) -> set[str]:
    """Anchors of a document's headings, as code hosts generate them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def undocumented_commands(command: click.Command, name: str) -> Iterator[str]:
    """Yield commands and options that are missing from the command-line reference."""
    text = CLI_REFERENCE.read_text(encoding="utf-8")
    if isinstance(command, click.Group):
        for sub_name, sub in command.commands.items():
            yield from undocumented_commands(sub, f"{name} {sub_name}")
    if f"`{name}" not in text:
        yield f"{CLI_REFERENCE.name}: {name} is not described"
    for parameter in command.params:
        options = [*parameter.opts, *parameter.secondary_opts]
        for option in options if isinstance(parameter, click.Option) else []:
            if option.startswith("--") and not re.search(rf"{option}\b", text):
                yield f"{CLI_REFERENCE.name}: {option} of {name} is not described"


if __name__ == "__main__":
    sys.exit(main())
