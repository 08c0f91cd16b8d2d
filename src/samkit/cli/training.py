"""What `samkit train`, `samkit pretrain` and `samkit distill` share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from samkit.cli.options import json_option
from samkit.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])


def training_options(folder: str) -> Callable[[Command], Command]:
    """Give a verb KEY=VALUE arguments, --output (`folder` by default), --resume, --show, --json."""

    def decorate(command: Command) -> Command:
        options = (
            click.argument("changes", nargs=-1, metavar="[KEY=VALUE]..."),
            click.option(
                "--output",
                "-o",
                type=click.Path(path_type=Path),
                default=Path(folder),
                show_default=True,
                metavar="DIR",
                help="Folder for checkpoints, weights and logs.",
            ),
            click.option(
                "--resume", is_flag=True, help="Go on from the folder's checkpoint, if it has one."
            ),
            click.option("--show", is_flag=True, help="Print all settings and do nothing."),
            json_option,
        )
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def check_new(folder: Path, *, resume: bool) -> None:
    """Refuse to write over a training.

    Raises:
        ConfigError: the folder has one, and it is not to be resumed.
    """
    from samkit.training import CHECKPOINT

    if (folder / CHECKPOINT).exists() and not resume:
        raise ConfigError(f"{folder} has a training already: --resume it, or choose another -o")


def is_first_process() -> bool:
    """Whether this process speaks for all of a training; the others train in silence.

    The first variable is torchrun's, the second one also Lightning's, which starts processes of one
    machine.
    """
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def tell(text: str) -> None:
    """Print a result, once for all processes."""
    if is_first_process():
        click.echo(text)


def shown(values: Mapping[str, Any], *, as_json: bool) -> str:
    """All settings, one a line."""
    if as_json:
        return json.dumps(values, indent=2)
    return "\n".join(f"{name}={value}" for name, value in values.items())
