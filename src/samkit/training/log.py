"""What happened at each step, as a CSV file for everyone and as events for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from samkit.files import write_bytes

STEPS, SCORES = "log.csv", "scores.csv"
EVENTS = "tensorboard"


class TrainingLog:
    """Rows of numbers in `log.csv` and `scores.csv`; rows after the step begun from are dropped.

    A training that begins at step 0 drops all of them.
    """

    def __init__(self, folder: Path, *, from_step: int, quiet: bool = False) -> None:
        """Open the logs of a folder; `quiet` writes nothing, for all processes but one."""
        self.folder, self.quiet = folder, quiet
        self._events: Any = None
        if quiet:
            return
        for name in (STEPS, SCORES):
            keep_until(folder / name, from_step if from_step > 0 else -1)
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(folder / EVENTS, purge_step=from_step + 1)

    def close(self) -> None:
        """Write what is held back."""
        if self._events is not None:
            self._events.close()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row of losses and rates."""
        self._add(STEPS, "train", step, values)

    def add_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Add a row of an evaluation."""
        self._add(SCORES, "evaluation", step, scores)

    def _add(self, name: str, group: str, step: int, values: Mapping[str, float]) -> None:
        if self.quiet:
            return
        path = self.folder / name
        header = not path.exists() or not path.stat().st_size
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if header:
                writer.writerow(["step", *values])
            writer.writerow([step, *(f"{value:.6g}" for value in values.values())])
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(f"{group}/{key}", value, step)


def keep_until(path: Path, step: int) -> None:
    """Drop the rows of a log that come after a step, or that were cut off in the middle."""
    if not path.exists():
        return
    whole = path.read_text()
    lines = whole[: whole.rfind("\n") + 1]  # a number may have been cut off in its last column
    rows = list(csv.reader(lines.splitlines()))
    header = rows[0] if rows else []
    kept = [
        row
        for row in rows[1:]
        if len(row) == len(header) and row[0].isdecimal() and int(row[0]) <= step
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *kept] if kept else [])
    write_bytes(path, text.getvalue().encode())


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log, by column."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
