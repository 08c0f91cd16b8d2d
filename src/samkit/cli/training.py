"""Options, checks and messages shared by `samkit train`, `pretrain` and `distill`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samkit.cli.options import json_option
from samkit.cli.progress import is_first_process
from samkit.cli.wording import counted
from samkit.errors import ConfigError
from samkit.extras import require_packages

if TYPE_CHECKING:
    from samkit.training import RunRecipe

Command = TypeVar("Command", bound=Callable[..., Any])


def training_options(folder: str) -> Callable[[Command], Command]:
    """Add KEY=VALUE arguments, --output (`folder` by default), --resume, --show and --json."""

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
                "--resume",
                is_flag=True,
                help="Resume from the folder's checkpoint, if it has one.",
            ),
            click.option("--show", is_flag=True, help="Print all settings and exit."),
            json_option,
        )
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def check_training(folder: Path, data: str | None, *, resume: bool, seed: int = 0) -> str:
    """Check a training's folder, packages and data before anything is loaded.

    Args:
        data: data set to train on, as `open_data` takes it.

    Returns:
        description of the data set, with its number of images if known.

    Raises:
        ConfigError: the folder contains a training that is not resumed, a package is missing, or
            the data set is of an unknown kind.
        DataError: the data set cannot be read.
        OutputError: the folder cannot be written to.
    """
    from samkit.datasets import SampleSource
    from samkit.training import open_training_data

    check_folder(folder, resume=resume)
    source = open_training_data(data, seed=seed)
    if isinstance(source, SampleSource):
        return f"{data} ({counted(len(source), 'image')})"
    return str(data)


def check_videos(folder: Path, data: str | None, *, resume: bool) -> str:
    """Do the same for a training on videos, as `open_videos` takes them."""
    from samkit.training import open_training_videos

    check_folder(folder, resume=resume)
    return f"{data} ({counted(len(open_training_videos(data)), 'video')})"


def check_folder(folder: Path, *, resume: bool) -> None:
    """Check a training's folder and packages.

    Raises:
        ConfigError: the folder contains a training that is not resumed, or a package is missing.
        OutputError: the folder cannot be written to.
    """
    from samkit.files import check_writable
    from samkit.training import CHECKPOINT

    if (folder / CHECKPOINT).exists() and not resume:
        raise ConfigError(f"{folder} contains a training: --resume it, or choose another -o")
    check_writable(folder)
    require_packages("training", ("lightning_fabric",), "train")


def print_plan(run: RunRecipe, batch: str, data: str | None, *, resume: bool, quiet: bool) -> None:
    """Print the plan of a training in one line, in the first of several processes only.

    Args:
        batch: size of a batch in each process, such as "4 images".
        quiet: print nothing.
    """
    if quiet or not is_first_process():
        return
    from samkit.training import world_layout

    here, machines = world_layout(run)
    batches = here * machines * run.accumulate
    times = f"{batches} x " if batches > 1 else ""
    evaluated = f", evaluated every {run.evaluate_every:,}" if run.evaluate_every else ""
    resumed = "; resumed from its checkpoint, if there is one" if resume else ""
    line = f"{counted(run.steps, 'step')} of {times}{batch}{evaluated}; {data}{resumed}"
    click.echo(f"samkit: {line}", err=True)


def print_once(text: str) -> None:
    """Print a result, in the first of several processes only."""
    if is_first_process():
        click.echo(text)


def shown(values: Mapping[str, Any], *, as_json: bool) -> str:
    """Format settings, one per line."""
    if as_json:
        return json.dumps(values, indent=2)
    return "\n".join(f"{name}={value}" for name, value in values.items())
