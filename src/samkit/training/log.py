"""Training log: CSV files of losses and scores, and events for TensorBoard."""

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
    """Rows of numbers in `log.csv` and `scores.csv`.

    Rows after the step that a training starts from are dropped; a new training drops all of them.
    """

    def __init__(self, folder: Path, *, from_step: int, quiet: bool = False) -> None:
        """Open the logs of a folder; `quiet` writes nothing, for all processes but the first."""
        self.folder, self.quiet = folder, quiet
        self._events: Any = None
        if quiet:
            return
        for name in (STEPS, SCORES):
            drop_after(folder / name, from_step if from_step > 0 else -1)
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(folder / EVENTS, purge_step=from_step + 1)

    def close(self) -> None:
        """Flush buffered events."""
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


def drop_after(path: Path, step: int) -> None:
    """Drop the rows of a log that come after a step or are incomplete."""
    if not path.exists():
        return
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1]  # the last row may be cut off within a number
    rows = list(csv.reader(lines.splitlines()))
    header = rows[0] if rows else []
    remaining = [
        row
        for row in rows[1:]
        if len(row) == len(header) and row[0].isdecimal() and int(row[0]) <= step
    ]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *remaining] if remaining else [])
    write_bytes(path, buffer.getvalue().encode())
