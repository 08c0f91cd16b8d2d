"""Option types and options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Numbers(click.ParamType[tuple[float, ...]]):
    """A fixed count of numbers with commas between them, such as a point or a box."""

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
    help="A model's name (samkit models lists them) or a checkpoint file.",
)
device_option = click.option(
    "--device", metavar="NAME", help="cpu, cuda, ...; by default a GPU where there is one."
)


def output_option(default: str) -> Callable[[Command], Command]:
    """Folder that results are written to."""
    return click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        metavar="DIR",
        help="Folder for the results.",
    )


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the results as JSON, for other programs."
)
