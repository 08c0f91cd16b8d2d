"""A progress bar on standard error, where a person watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class RunProgress:
    """How far a run over images is, and how fast.

    Attributes:
        images: computed so far.
        masks: found so far.
    """

    def __init__(self, bar: Progress | None, total: int) -> None:
        self.images = self.masks = 0
        self._bar = bar
        self._started_s: float | None = None
        self._images_job: TaskID | None = None
        self._image_job: TaskID | None = None
        if bar is not None:
            self._images_job = bar.add_task("images", total=total, note="")
            self._image_job = bar.add_task("", total=None, note="", visible=False)

    @property
    def elapsed_s(self) -> float:
        """Time since the first image was begun."""
        return 0.0 if self._started_s is None else time.monotonic() - self._started_s

    def start_image(self, name: str) -> None:
        """An image is begun."""
        if self._started_s is None:  # not before: a model may take long to load
            self._started_s = time.monotonic()
        if self._bar is not None and self._image_job is not None:
            self._bar.reset(self._image_job, total=None, description=name, note="", visible=True)

    def within_image(self, done: int, total: int) -> None:
        """So many of the image's points or tiles are done."""
        if self._bar is not None and self._image_job is not None:
            self._bar.update(self._image_job, completed=done, total=total)

    def finish_image(self, masks: int | None) -> None:
        """An image is done with so many new masks, or without work if that is None."""
        if masks is not None:
            self.images += 1
            self.masks += masks
        if self._bar is not None and self._images_job is not None:
            self._bar.update(self._images_job, advance=1, note=self.rates())

    def rates(self) -> str:
        """Images and masks in a second, over the whole run."""
        elapsed_s = max(self.elapsed_s, 1e-9)
        return f"{self.images / elapsed_s:.2f} images/s, {self.masks / elapsed_s:.1f} masks/s"


@contextmanager
def run_progress(total: int, *, hidden: bool) -> Iterator[RunProgress]:
    """Show a run's progress if standard error is a terminal, and take it away at the end."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if hidden or not console.is_terminal:
        yield RunProgress(None, total)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Else rich would send to standard error what is printed into a file.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        yield RunProgress(bar, total)
