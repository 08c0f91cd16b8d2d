"""Progress of trainings and of work on many images on standard error, where a person watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.training import is_first_process

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from samkit.training import Progress

REPORTS = 20  # lines in all where nobody watches


@contextmanager
def step_bar(*, hidden: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar with losses, scores and the time left; a line now and then without a terminal.

    Of several processes only the first one shows it.
    """
    with training_bars(hidden=hidden) as (on_step, _):
        yield on_step


@contextmanager
def training_bars(
    *, hidden: bool
) -> Iterator[tuple[Callable[[Progress], None], Callable[[int, int], None]]]:
    """A bar of steps, and one of images that are encoded on the way; lines without a terminal.

    Of several processes only the first one shows them.
    """
    hidden = hidden or not is_first_process()
    with _bar(hidden=hidden) as bar:
        jobs = {
            name: None if bar is None else bar.add_task(name, total=None, note="", visible=False)
            for name in ("steps", "encoded")
        }

        def show(name: str, done: int, total: int, note: str, line: str) -> None:
            job = jobs[name]
            if bar is not None and job is not None:
                bar.update(job, completed=done, total=total, note=note, visible=True)
            elif not hidden and done % max(1, total // REPORTS) == 0:
                click.echo(line, err=True)

        def on_step(progress: Progress) -> None:
            done, total, note = progress.step, progress.steps, notes(progress)
            show("steps", done, total, note, f"step {done} of {total}: {note}")

        def on_embedding(done: int, total: int) -> None:
            note = "images, each when first needed"
            show("encoded", done, total, note, f"image {done} of {total} encoded")

        yield on_step, on_embedding


@contextmanager
def embedding_bar(*, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar with images that are encoded; of several processes the first one's."""
    with image_bar(hidden=hidden or not is_first_process()) as on_image:
        yield on_image


@contextmanager
def image_bar(*, hidden: bool, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar with images that are done.

    Yields:
        to be called with how many are done, and of how many if `total` does not tell.
    """
    with _bar(hidden=hidden) as bar:
        job = None if bar is None else bar.add_task("images", total=total, note="", visible=False)

        def on_image(done: int, total: int | None = total) -> None:
            if bar is not None and job is not None:
                visible = total is None or done < total
                bar.update(job, completed=done, total=total, visible=visible)

        yield on_image


def notes(progress: Progress) -> str:
    """Loss and scores in a few words."""
    shown = {"loss": progress.values.get("loss"), **progress.scores}
    return ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Bar | None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if hidden or not console.is_terminal:
        yield None
        return
    columns: list[Any] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    ]
    with Bar(*columns, console=console, transient=True) as bar:
        yield bar
