"""The command group `samkit`, and conversion of errors to one line and an exit code.

Exit codes: 0 success, 1 some of several inputs failed, 2 wrong input, 130 interrupted by the user.
"""

import logging
import sys
from collections.abc import Sequence

import click

import samkit
from samkit.cli.annotate import annotate
from samkit.cli.auto import auto
from samkit.cli.bench import bench
from samkit.cli.check import check
from samkit.cli.demo import demo
from samkit.cli.distill import distill
from samkit.cli.doctor import doctor
from samkit.cli.engine import engine
from samkit.cli.evaluate import evaluate
from samkit.cli.exit_codes import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from samkit.cli.export import export
from samkit.cli.models import models
from samkit.cli.pretrain import pretrain
from samkit.cli.segment import segment
from samkit.cli.serve import serve
from samkit.cli.serve_model import serve_model
from samkit.cli.track import track
from samkit.cli.train import train
from samkit.errors import SamkitError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(samkit.__version__, prog_name="samkit")
def cli() -> None:
    """Segment anything in images and videos: clicks, boxes, text; train, evaluate, annotate.

    Works offline: the default model is in the package. Text models and larger SAMs are downloaded
    once, by samkit models fetch or when first used.
    """


for command in (
    demo,
    segment,
    auto,
    track,
    annotate,
    engine,
    serve,
    serve_model,
    models,
    export,
    doctor,
    check,
    train,
    pretrain,
    distill,
    evaluate,
    bench,
):
    cli.add_command(command)


def main(args: Sequence[str]) -> int:
    """Run a command line; return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="samkit: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)  # some packages set their own loggers to INFO
    try:
        code = cli.main(args=list(args), prog_name="samkit", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_BAD_INPUT
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        name = where.command_path if where is not None else "samkit"
        return _fail(f"{name}: {error.format_message()} (see {name} --help)")
    except SamkitError as error:
        return _fail(f"samkit: {error}")
    except (click.Abort, KeyboardInterrupt):
        _fail("samkit: stopped")
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    """Print one line to standard error."""
    click.echo(" ".join(message.split()), err=True)
    return EXIT_BAD_INPUT


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main(sys.argv[1:]))
