"""Option types and options shared by several commands."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from samkit.backends import BackendChoice

Command = TypeVar("Command", bound=Callable[..., Any])


class Numbers(click.ParamType[tuple[float, ...]]):
    """Option type: a fixed number of comma-separated numbers, such as a point or a box."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.name = ",".join(fields)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(self.fields):
            self.fail(f"expected {self.name} in pixels; got {value!r}", param, ctx)
        return numbers

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return self.name.upper()


model_option = click.option(
    "--model",
    default="mobile_sam",
    show_default=True,
    metavar="NAME|FILE",
    help="Model: a name that samkit models lists, or a checkpoint file.",
)
DEFAULT_DETECTOR = "IDEA-Research/grounding-dino-tiny"  # not read from samkit.text, which is slow
BACKEND_NAMES = ("auto", "torch", "compile", "openvino", "onnx")
PRECISION_NAMES = ("auto", "float32", "bfloat16", "float16")


def backend_options(command: Command) -> Command:
    """Add --device, --backend, --precision and --threads, as one `BackendChoice`: `backend`."""

    @wraps(command)
    def packed(
        *, device: str | None, backend: str, precision: str, threads: int | None, **others: Any
    ) -> Any:
        choice = BackendChoice(device=device, backend=backend, precision=precision, threads=threads)
        return command(backend=choice, **others)

    options = (
        click.option(
            "--device",
            metavar="NAME",
            help="Device: cpu, cuda, ...; by default a GPU if there is one.",
        ),
        click.option(
            "--backend",
            type=click.Choice(BACKEND_NAMES),
            default="auto",
            show_default=True,
            envvar="SAMKIT_BACKEND",
            help="Inference runtime; auto is the fastest that is installed.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISION_NAMES),
            default="auto",
            show_default=True,
            envvar="SAMKIT_PRECISION",
            help="Number format; auto is bfloat16 if the processor supports it, else float32.",
        ),
        click.option("--threads", type=int, metavar="N", help="Number of CPU threads."),
    )
    decorated: Callable[..., Any] = packed
    for option in reversed(options):
        decorated = option(decorated)
    return cast("Command", decorated)


def output_option(default: str) -> Callable[[Command], Command]:
    """Make the option --output, the output folder."""
    return click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        metavar="DIR",
        help="Output folder.",
    )


def text_options(default: str) -> Callable[[Command], Command]:
    """Add --text-model, with `default` described in its help, and --text-thresh."""

    def decorate(command: Command) -> Command:
        options = (
            click.option(
                "--text-model",
                metavar="NAME|FOLDER",
                help="Text model: a detector or a CLIP, by its name on the hub or as a folder."
                f" By default {default}.",
            ),
            click.option(
                "--text-thresh",
                type=float,
                metavar="N",
                help="Minimum score of a text match, 0 to 1; by default the text model's own.",
            ),
        )
        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        return cast("Command", decorated)

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
