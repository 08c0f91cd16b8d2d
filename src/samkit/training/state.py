"""Checkpoint of a training, written atomically and loaded without executing code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samkit.errors import ConfigError, OutputError, RecipeError, WeightsError
from samkit.files import replacing
from samkit.training.distributed import all_ranks_or_fail
from samkit.training.sharding import gather_full, load_full_optimiser_state, load_full_state
from samkit.training.task import Loader

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT = "last.ckpt"
# Settings that a resumed run may change.
FREE = (
    "run.steps",
    "run.log_every",
    "run.evaluate_every",
    "run.evaluate_first",
    "run.save_every",
    "run.strategy",
    "data.workers",
)


def renamed(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a checkpoint's settings by their current names; earlier versions had others."""
    return {
        name.replace("photo", "image"): value.replace('"photos:', '"images:')
        for name, value in settings.items()
    }


class StateFile:
    """Checkpoint of a training in its folder.

    Attributes:
        path: path of the checkpoint.
    """

    def __init__(self, folder: Path, fabric: Fabric, settings: Mapping[str, Any]) -> None:
        self.path = folder / CHECKPOINT
        self.fabric = fabric
        self.settings = {name: json.dumps(value) for name, value in settings.items()}

    def save(
        self, parts: Mapping[str, Any], loader: Loader, *, step: int, best_score: float | None
    ) -> None:
        """Write the states of all parts and of the loaders of all processes.

        Raises:
            OutputError: the file cannot be written.
        """
        state: dict[str, Any] = {
            name: gather_full(part.state_dict(), keep=self.fabric.is_global_zero)
            for name, part in parts.items()
            if part is not None
        }
        state |= {
            "step": step,
            "best_score": best_score,
            "settings": self.settings,
            "positions": self._gather(loader.state_dict()),
        }
        with all_ranks_or_fail(self.fabric):
            if self.fabric.is_global_zero:
                self._write(state)

    def _write(self, state: Mapping[str, Any]) -> None:
        with replacing(self.path) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # torch has no other error for a full disk
                raise OutputError(
                    f"cannot write {self.path}: is the disk full? Free some space, then --resume"
                ) from error

    def load(self, parts: Mapping[str, Any], loader: Loader) -> tuple[int, float | None]:
        """Restore all parts and the loader; return step and best score.

        Without a checkpoint, the step is 0.

        Raises:
            WeightsError: the file is damaged.
            RecipeError: the checkpoint is of another recipe.
            ConfigError: it is of another number of processes.
        """
        with all_ranks_or_fail(self.fabric):
            state = self._read()
        if state is None:
            return 0, None
        for name, part in parts.items():
            if isinstance(part, torch.nn.Module):
                load_full_state(part, state[name])
            elif isinstance(part, torch.optim.Optimizer):
                load_full_optimiser_state(part, state[name])
            elif part is not None:
                part.load_state_dict(state[name])
        loader.load_state_dict(state["positions"][self.fabric.global_rank])
        return int(state["step"]), state["best_score"]

    def _read(self) -> dict[str, Any] | None:
        """Read the file; None if there is none."""
        for leftover in self.path.parent.glob(".samkit.*"):  # left by a process that was killed
            if self.fabric.is_global_zero:
                leftover.unlink(missing_ok=True)
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types on damaged bytes
            raise WeightsError(
                f"{self.path} is damaged: start again without --resume, in another folder"
            ) from error
        self._check_settings(state["settings"])
        processes = len(state["positions"])
        if processes != self.fabric.world_size:
            raise ConfigError(
                f"{self.path} was written by {processes} processes: resume with as many,"
                f" not with {self.fabric.world_size}"
            )
        return state

    def _check_settings(self, saved: Mapping[str, str]) -> None:
        saved = renamed(saved)
        free = set(FREE)
        if self.settings.get("optim.schedule") == json.dumps("cosine"):
            free.remove("run.steps")  # the rates of all steps depend on it
        names = [name for name in {**saved, **self.settings} if name not in free]
        wrong = [name for name in names if saved.get(name) != self.settings.get(name)]
        if wrong:
            was = ", ".join(f"{name}={saved.get(name)}" for name in wrong)
            why = "; rates of the cosine schedule depend on run.steps" * ("run.steps" in wrong)
            raise RecipeError(f"{self.path} is of another recipe: resume it with {was}{why}")

    def _gather(self, position: dict[str, Any]) -> list[dict[str, Any]]:
        if self.fabric.world_size == 1:
            return [position]
        positions: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(positions, position)
        return positions
