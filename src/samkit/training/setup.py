"""Setup of a run, which each kind of training provides: task, data and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol

from samkit.datasets import SampleSource, SampleStream, open_data
from samkit.errors import ConfigError
from samkit.training.loop import Trained
from samkit.training.task import Evaluate, Loader, OnEvaluation, TaskT

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Called with the number of images done and of all images.
OnImage = Callable[[int, int], None]


class ClosableLoader(Loader, Protocol):
    """A loader whose worker processes end with a `with` block."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings in which a recipe is run.

    Attributes:
        fabric: a launched Fabric.
        folder: output folder.
        source: data set to train on; None for the one that the recipe names.
        on_embedding: called after each image that is encoded.
        on_crops: called after each image whose crops are encoded.
    """

    fabric: Fabric
    folder: Path
    source: SampleSource | SampleStream | None = None
    on_embedding: OnImage | None = None
    on_crops: OnImage | None = None

    def open_data(self, spec: str | None, *, seed: int) -> SampleSource | SampleStream:
        """Open the data set to train on.

        Raises:
            ConfigError: neither a data set nor its name is given.
            DataError: it is missing or invalid.
        """
        return open_training_data(spec, seed=seed) if self.source is None else self.source


def open_training_data(spec: str | None, *, seed: int) -> SampleSource | SampleStream:
    """Open the data set that `data.train` names.

    Raises:
        ConfigError: it names none.
        DataError: the data set is missing or invalid.
    """
    if spec is None:
        raise ConfigError(
            "no images to train on: give data.train=coco:FILE.json, png:FOLDER, sa1b:FOLDER,"
            " shards:FOLDER or, where masks are not needed, images:FOLDER"
        )
    return open_data(spec, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Setup(Generic[TaskT]):
    """A recipe ready to run.

    Attributes:
        task: the task to train.
        loader: batches of its data.
        evaluate: returns scores; None for no evaluation.
        on_evaluation: called after each evaluation.
        finish: called in all processes with the result of the training; returns the result for
            the caller.
    """

    task: TaskT
    loader: ClosableLoader
    evaluate: Evaluate[TaskT] | None = None
    on_evaluation: OnEvaluation[TaskT] | None = None
    finish: Callable[[Trained], Trained] | None = None
