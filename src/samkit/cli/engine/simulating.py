"""The command `samkit engine simulate`."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.backends import BackendChoice
from samkit.cli.engine.learning import general_option, lora_option, open_learner
from samkit.cli.options import backend_options, json_option, model_option
from samkit.cli.progress import progress
from samkit.cli.stores import check_installed
from samkit.cli.wording import counted
from samkit.errors import StoreError

if TYPE_CHECKING:
    from samkit.cli.progress import Meter
    from samkit.learning import Order, Round


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--rounds", type=click.IntRange(1), default=4, show_default=True, metavar="N")
@click.option(
    "--held-out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="COCO file of images to measure on; by default a fifth of FILE's, as their contents"
    " decide.",
)
@click.option(
    "--masks-per-image",
    type=click.IntRange(1),
    metavar="N",
    help="Limit of masks that robots make on an image; by default all.",
)
@click.option(
    "--images-per-round",
    type=click.IntRange(1),
    metavar="N",
    help="Number of images in a round; by default all images are annotated.",
)
@click.option(
    "--order",
    type=click.Choice(("file", "random", "chosen")),
    default="file",
    show_default=True,
    help="Order of the images; chosen: after a random first round those from which the model would"
    " learn most.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random orders."
)
@click.option(
    "--judge/--no-judge",
    "judged",
    default=True,
    help="Without the judge every candidate answers, however few images there are.",
)
@click.option(
    "--prefill/--no-prefill",
    "prefills",
    default=True,
    help="Prefill confident masks from the second round on.",
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Fraction of prefilled masks that shall be accepted.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="New folder for the store, rounds.json and a picture; by default nothing stays.",
)
@general_option
@lora_option
@model_option
@backend_options
@json_option
def simulate(
    *,
    file: Path,
    rounds: int,
    held_out: Path | None,
    masks_per_image: int | None,
    images_per_round: int | None,
    order: Order,
    seed: int,
    judged: bool,
    prefills: bool,
    target_precision: float,
    output: Path | None,
    general: str | None,
    lora: bool,
    model: str,
    backend: BackendChoice,
    as_json: bool,
) -> None:
    """Let robots annotate a COCO file's images in rounds, with a model that learns in between.

    A robot clicks each mask until its IoU is 0.85, at most 8 clicks, and then paints it, which
    counts as 5 more. After each round, images that nobody annotates are clicked with the model as
    it is now, and with the one that never learned.

    \b
    samkit engine simulate train.json --rounds 4 --json
    """
    check_installed()
    from samkit.dataengine import Learning, Store
    from samkit.datasets import open_data, require_indexed
    from samkit.learning import Simulation, plot_rounds

    learning = Learning(prefill=prefills, target_precision=target_precision)
    with ExitStack() as stack:
        folder = output
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        elif folder.exists() and any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty: give a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        store = stack.enter_context(Store.open(folder / "store.db"))
        learner = open_learner(
            store,
            model,
            backend,
            general,
            folder=folder / "learning",
            judged=judged,
            learns="lora" if lora else "decoder",
        )
        phases = Phases(stack.enter_context(progress("image", bar=not as_json)))
        simulation = Simulation(
            require_indexed(open_data(f"coco:{file}"), "a simulation"),
            learner,
            folder,
            learning=learning,
            held_out=None
            if held_out is None
            else require_indexed(open_data(f"coco:{held_out}"), "a simulation"),
            masks_per_image=masks_per_image,
            order=order,
            seed=seed,
            on_image=phases.show,
        )
        results: list[Round] = []
        for one in simulation.rounds(rounds, images_per_round=images_per_round):
            results.append(one)
            if output is not None:
                write_rounds(output / "rounds.json", results)
                plot_rounds(results, output / "rounds.png", title=file.parent.name)
            if not as_json:
                click.echo(round_line(one))
    if as_json:
        click.echo(json.dumps({"rounds": [one.figures() for one in results]}, indent=2))


def round_line(one: Round) -> str:
    """A round in one line."""
    held_out = one.held_out
    prefilled = ""
    if one.prefilled:
        prefilled = f"; {one.prefilled_accepted} of {one.prefilled} prefilled masks accepted"
    return (
        f"round {one.round}: {counted(one.masks, 'mask')} on {counted(one.images, 'image')},"
        f" {one.clicks_per_mask:.2f} clicks a mask{prefilled}; held out"
        f" {held_out.clicks_per_mask:.2f} clicks, frozen {held_out.frozen_clicks_per_mask:.2f};"
        f" version {one.model_version}, {one.learned}"
    )


def write_rounds(path: Path, results: list[Round]) -> None:
    """Write the rounds so far."""
    from samkit.files import write_bytes

    content = json.dumps({"rounds": [one.figures() for one in results]}, indent=2)
    write_bytes(path, content.encode())


class Phases:
    """Shows what a simulation is doing: a meter for each phase."""

    def __init__(self, meter: Meter) -> None:
        self._first = self._meter = meter
        self._phase = ""

    def show(self, phase: str, done: int, total: int) -> None:
        """Show a phase's numbers."""
        if phase != self._phase:
            self._phase = phase
            self._meter = self._first.beside("step" if phase == "learning" else "image", total)
        self._meter.update(done, total, note=phase)
