"""Check the documentation: links resolve; options are described, with their defaults.

    python tools/check_docs.py

prints one line per problem and exits with 1 if there is any.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import click

from samkit.cli.main import cli
from samkit.cli.mask_options import SETTINGS
from samkit.proposals import PRESETS, AutoMaskConfig
from samkit.weights import PUBLISHED_IOU_THRESH

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
CLI_REFERENCE = ROOT / "docs" / "cli.md"
# Start of the header of the reference's table of presets.
PRESETS_HEADER = "| option | no preset |"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def main() -> int:
    """Print all problems; return the exit code."""
    reference = CLI_REFERENCE.read_text(encoding="utf-8")
    faults = [
        *broken_links(),
        *undocumented_commands(cli, "samkit"),
        *wrong_defaults(cli, "samkit", reference),
        *wrong_presets(reference),
    ]
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


def wrong_defaults(command: click.Command, name: str, reference: str) -> Iterator[str]:
    """Options whose row in the table of their command does not name their default value."""
    if isinstance(command, click.Group):
        for sub_name, sub in command.commands.items():
            yield from wrong_defaults(sub, f"{name} {sub_name}", reference)
    rows = option_rows(name, reference)
    for parameter in command.params:
        row = next((rows[option] for option in parameter.opts if option in rows), None)
        if row is None:
            continue
        for value in default_values(parameter):
            # "default 20", "Default: overlay, png and json", or "`auto` (default)"
            plain = row.replace("`", "")
            named = (
                rf"default[^;.]*(?<![\w.]){re.escape(value)}(?![\w])|{re.escape(value)} \(default"
            )
            if re.search(named, plain, re.IGNORECASE) is None:
                yield (
                    f"{CLI_REFERENCE.name}: {parameter.opts[0]} of {name}: the default {value} is"
                    " not named"
                )


def option_rows(name: str, reference: str) -> dict[str, str]:
    """What the table of a command says of each option that has a row of its own."""
    sections = re.split(r"^## ", reference, flags=re.MULTILINE)
    own = [one for one in sections if re.match(rf"`{re.escape(name)}[ `]", one)]
    rows = {}
    for line in "".join(own).splitlines():
        first, _, rest = line.removeprefix("| ").partition(" | ")
        if line.startswith("| `-") and first.count("`--") == 1:
            rows[first.split("`")[1].split()[0]] = rest
    return rows


def default_values(parameter: click.Parameter) -> list[str]:
    """List the values of an option's default as text; empty without a default."""
    default = parameter.to_info_dict()["default"]
    values = default if isinstance(default, (tuple, list)) else [default]
    return [
        f"{one:g}" if isinstance(one, float) else str(one)
        for one in values
        if one not in (None, "") and not isinstance(one, bool)
    ]


def wrong_presets(reference: str) -> Iterator[str]:
    """Yield cells of the table of presets that differ from the code, and options without a row."""
    _, _, table = reference.partition(PRESETS_HEADER)
    header, _, *lines = table.partition("\n\n")[0].splitlines()
    names = [cell.strip().strip("`") for cell in header.strip("| ").split("|")]
    if names != list(PRESETS):
        yield f"{CLI_REFERENCE.name}: the table of presets has {names}, not {list(PRESETS)}"
        return
    cells = {
        row[0].strip("`"): row[1:]
        for row in ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    }
    configs = [
        asdict(config.for_model(PUBLISHED_IOU_THRESH))
        for config in (AutoMaskConfig(), *PRESETS.values())
    ]
    settings = {option: name for name, option, *_ in SETTINGS} | {"--adaptive": "adaptive"}
    for option, setting in settings.items():
        expected = [preset_cell(config, setting) for config in configs]
        if cells.get(option) != expected:
            yield (
                f"{CLI_REFERENCE.name}: presets, {option}: {cells.get(option)}, expected {expected}"
            )


def preset_cell(config: Mapping[str, object], setting: str) -> str:
    """Format a setting's value as in the table of presets."""
    value = config[setting]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}"


if __name__ == "__main__":
    sys.exit(main())
