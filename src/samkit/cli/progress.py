"""Progress display on standard error: bars on a terminal, otherwise occasional lines."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from samkit.cli.wording import counted, rough_time

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from samkit.training import Progress as TrainingProgress

Clock = Callable[[], float]

FIRST_LINE_S = 15.0  # after the start; shorter work prints no line
LINE_EVERY_S = 50.0  # plus a tick, still less than a minute
TICK_S = 5.0  # interval at which the ticker checks whether a line is due
LONG_S = 60.0  # estimates above this are printed as soon as known


class Display(Protocol):
    """Displays a meter; called after each change."""

    def show(self, meter: Meter) -> None: ...


class Meter:
    """Counts finished units of long work, and estimates the remaining time.

    Attributes:
        unit: name of a unit in the singular, such as "image".
        done: number of finished units, including those that took no work.
        total: total number of units; None until it is known.
        worked: number of finished units that took work.
        label: name of the current unit, such as an image's.
        within: finished parts of the current unit, and their total; None if unknown.
        note: additional information to show, such as a loss.
    """

    def __init__(
        self, unit: str, total: int | None, display: Display, clock: Clock = time.monotonic
    ) -> None:
        self.unit, self.total = unit, total
        self.done = self.worked = 0
        self.label = self.note = ""
        self.within: tuple[int, int] | None = None
        self._display, self._clock = display, clock
        self._began_s: float | None = None
        # Time at which the first unit was finished: it is slow, as graphs are compiled for it.
        self._first_s: float | None = None
        self._first_is_timed = False

    def beside(self, unit: str, total: int | None = None) -> Meter:
        """Make another meter on the same display, for another part of the work."""
        return Meter(unit, total, self._display, self._clock)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first unit was started."""
        return 0.0 if self._began_s is None else self._clock() - self._began_s

    @property
    def left_s(self) -> float | None:
        """Estimated seconds for the remaining units; None before the first measurement."""
        if self.total is None or self._began_s is None or self._first_s is None:
            return None
        left = max(0, self.total - self.done)
        if self.worked > 1:
            return left * (self._clock() - self._first_s) / (self.worked - 1)
        return left * (self._first_s - self._began_s) if self._first_is_timed else None

    def start(self, label: str = "") -> None:
        """Start a unit."""
        if self._began_s is None:  # not earlier, since loading a model may take long
            self._began_s = self._clock()
        self.label, self.within = label, None
        self._display.show(self)

    def part(self, done: int, total: int) -> None:
        """Set the number of finished parts of the current unit, and their total."""
        self.within = done, total
        self._display.show(self)

    def advance(self, *, worked: bool = True, note: str | None = None) -> None:
        """Count one more unit; `worked` is false if it was done before, or failed at once."""
        if worked and self._first_s is None and self._began_s is not None:
            self._first_s, self._first_is_timed = self._clock(), True
        self.worked += worked
        self._set(self.done + 1, note)

    def update(self, done: int, total: int | None = None, *, note: str | None = None) -> None:
        """Set the number of finished units, and the total unless it is None.

        At the first call, `done` may include units of an earlier run, which are not measured.
        """
        now = self._clock()
        if total is not None:
            self.total = total
        if self._began_s is None:
            self._began_s = now
        if self._first_s is None:
            self._first_s, self.worked = now, 1
        else:
            self.worked += max(0, done - self.done)
        self._set(done, note)

    def _set(self, done: int, note: str | None) -> None:
        self.done, self.within = done, None
        if note is not None:
            self.note = note
        self._display.show(self)


class Lines:
    """Prints lines: the first one early if the work is long, then about one a minute."""

    def __init__(
        self, clock: Clock = time.monotonic, write: Callable[[str], None] | None = None
    ) -> None:
        self._clock = clock
        self._write = write or (lambda line: click.echo(line, err=True))
        self._lock = threading.Lock()
        self._meter: Meter | None = None
        self._next_s: float | None = None  # None before the work has started
        self._estimated: set[int] = set()
        self._printed = ""

    def show(self, meter: Meter) -> None:
        """Print a line if one is due."""
        with self._lock:
            if self._next_s is None:
                self._next_s = self._clock() + FIRST_LINE_S
            self._meter = meter
            left_s = meter.left_s
            if left_s is not None and id(meter) not in self._estimated:
                self._estimated.add(id(meter))
                if left_s >= LONG_S:
                    self._next_s = self._clock()
            self._print_if_due()

    def tick(self) -> None:
        """Print a line if one is due, while a unit takes long."""
        with self._lock:
            self._print_if_due()

    def finish(self) -> None:
        """Print a last line if there were any before."""
        with self._lock:
            meter = self._meter
            if self._printed and meter is not None and progress_line(meter) != self._printed:
                self._print(meter)

    def _print_if_due(self) -> None:
        if self._meter is None or self._next_s is None:
            return
        if self._clock() >= self._next_s:
            self._print(self._meter)

    def _print(self, meter: Meter) -> None:
        self._next_s = self._clock() + LINE_EVERY_S
        self._printed = progress_line(meter)
        self._write(self._printed)


class Rich:
    """Shows a bar for each meter, and one for the parts of the current unit."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._units: dict[int, TaskID] = {}
        self._parts = bar.add_task("", total=None, note="", visible=False)
        self._label = ""

    def show(self, meter: Meter) -> None:
        """Update the bars."""
        bar = self._bar
        if id(meter) not in self._units:
            self._units[id(meter)] = bar.add_task(f"{meter.unit}s", total=None, note="")
        bar.update(self._units[id(meter)], completed=meter.done, total=meter.total, note=meter.note)
        if meter.label != self._label:
            self._label = meter.label
            bar.reset(self._parts, description=meter.label, visible=bool(meter.label))
        if meter.within is not None:
            bar.update(self._parts, completed=meter.within[0], total=meter.within[1])


class Hidden:
    """Shows nothing."""

    def show(self, meter: Meter) -> None:
        """Do nothing."""


def progress_line(meter: Meter) -> str:
    """Describe progress and times in one line, as for a log."""
    total = meter.total
    of = (
        f"{meter.unit} {meter.done:,}"
        if total is None
        else (f"{meter.done:,} of {counted(total, meter.unit)} done")
    )
    parts = [of]
    if meter.within is not None and meter.within[1]:
        done, all_parts = meter.within
        parts.append(f"{meter.label}: {100 * done // all_parts}%")
    parts.append(f"{rough_time(meter.elapsed_s)} so far")
    left_s = meter.left_s
    if total is not None and meter.done < total:
        left = "time left not known yet" if left_s is None else f"about {rough_time(left_s)} left"
        parts.append(left)
    return f"samkit: {', '.join(parts)}{f': {meter.note}' if meter.note else ''}"


@contextmanager
def progress(unit: str, total: int | None = None, *, bar: bool = True) -> Iterator[Meter]:
    """Show progress on standard error while the block runs.

    A terminal shows a bar, which is removed at the end. Otherwise lines are printed, at least one a
    minute, even while a single unit takes long. Of several processes only the first shows progress.

    Args:
        unit: name of a unit in the singular.
        total: total number of units; None if it is not known yet.
        bar: false shows no bar on terminals, as for output that programs read.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not is_first_process() or (console.is_terminal and not bar):
        yield Meter(unit, total, Hidden())
    elif console.is_terminal:
        with _bar(console) as shown:
            yield Meter(unit, total, Rich(shown))
    else:
        lines, ended = Lines(), threading.Event()

        def keep_ticking() -> None:
            while not ended.wait(TICK_S):
                lines.tick()

        ticker = threading.Thread(target=keep_ticking, daemon=True, name="samkit-progress")
        ticker.start()
        try:
            yield Meter(unit, total, lines)
        finally:
            ended.set()
            ticker.join()
            lines.finish()


def _bar(console: object) -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
        console=console,  # type: ignore[arg-type]
        transient=True,
        # Otherwise rich would redirect standard output to standard error.
        redirect_stdout=sys.stdout.isatty(),
    )


def is_first_process() -> bool:
    """Whether this process is the first of a training, which prints for all of them.

    The first variable is torchrun's; the second is also set by Lightning, which starts the
    processes of one machine.
    """
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def on_step_of(meter: Meter) -> Callable[[TrainingProgress], None]:
    """Make an `on_step` callback of a training that shows steps, loss and scores."""

    def on_step(progress: TrainingProgress) -> None:
        shown = {"loss": progress.values.get("loss"), **progress.scores}
        values = [f"{name} {value:.3f}" for name, value in shown.items() if value is not None]
        meter.update(progress.step, progress.steps, note=", ".join(values))

    return on_step
