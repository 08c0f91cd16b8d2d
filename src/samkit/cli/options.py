"""Option types and options shared by several commands."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from samkit.backends import BackendChoice
from samkit.batch import PageChoice
from samkit.errors import ConfigError
from samkit.weights import DEFAULT_MODEL

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
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|FILE",
    help="Model: a name that samkit models lists, or a checkpoint file.",
)
DEFAULT_DETECTOR = "IDEA-Research/grounding-dino-tiny"  # not read from samkit.text, which is slow
BACKEND_NAMES = ("auto", "torch", "compile", "openvino", "onnx")
REFINE_NAMES = ("none", "fast", "best")
# Not read from samkit.video, likewise.
POLICY_NAMES = ("plain", "samurai", "distractor_aware", "hypotheses", "pooled")
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


policy_option = click.option(
    "--policy",
    type=click.Choice(POLICY_NAMES),
    help="Rules of a SAM 2's memory; default plain.",
)


def refine_option(protocol: str = "") -> Callable[[Command], Command]:
    """Make the option --refine; `protocol` begins its help where it is for one only."""
    return click.option(
        "--refine",
        type=click.Choice(REFINE_NAMES),
        default="none",
        show_default=True,
        help=f"{protocol}refine single answers: fast at contradicted clicks, best also by a second"
        " pass and by crops around small objects; see docs/quality.md.",
    )


class ValueRangeType(click.ParamType[str]):
    """Option type: which values of images become black and white."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from samkit.formats import ValueRange

        try:
            return str(ValueRange.of(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return "auto|full|LOW,HIGH|LOW%,HIGH%"


range_option = click.option(
    "--range",
    "value_range",
    type=ValueRangeType(),
    default="auto",
    show_default=True,
    help="Which values become black and white in images of more than 8 bits: numbers, or"
    " percentiles of each image. auto stretches those that do not use their range, and says so.",
)


class PagesType(click.ParamType[PageChoice]):
    """Option type: pages of TIFF stacks and animations, as `PageChoice`."""

    name = "pages"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, PageChoice):
            return value
        if value == "all":
            return PageChoice()
        match = re.fullmatch(r"([1-9]\d*)(?:-([1-9]\d*))?", str(value))
        if match is None or int(match[2] or match[1]) < int(match[1]):
            self.fail(f"expected all, a page as 2, or pages as 2-5; got {value!r}", param, ctx)
        return PageChoice(first=int(match[1]), last=int(match[2] or match[1]))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return "all|N|N-N"


pages_option = click.option(
    "--pages",
    type=PagesType(),
    help="Pages of TIFF stacks and animations, each as an image of its own; by default the first.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
