"""The file from which a training goes on: written whole or not at all, and it runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samkit.errors import ConfigError, WeightsError
from samkit.files import replacing

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from samkit.training.loop import Loader

NAME = "last.ckpt"
# What a resumed run may change without ceasing to be the same training.
FREE = (
    "run.steps",
    "run.log_every",
    "run.evaluate_every",
    "run.evaluate_first",
    "run.save_every",
    "data.workers",
)


class StateFile:
    """A training's state in its folder.

    Attributes:
        path: of the file.
    """

    def __init__(self, folder: Path, fabric: Fabric, settings: Mapping[str, Any]) -> None:
        self.path = folder / NAME
        self.fabric = fabric
        self.settings = {name: json.dumps(value) for name, value in settings.items()}

    def save(
        self, parts: Mapping[str, Any], loader: Loader, *, step: int, best_score: float | None
    ) -> None:
        """Write model, optimiser, schedule, average and data position.

        Raises:
            OutputError: the file cannot be written.
        """
        state = self._with_plain_states(parts) | {
            "step": step,
            "best_score": best_score,
            "settings": self.settings,
            "positions": self._of_all_processes(loader.state_dict()),
        }
        if not self.fabric.is_global_zero:
            self.fabric.save(self.path, state)  # takes part; the first process writes
            return
        with replacing(self.path) as temporary:
            self.fabric.save(temporary, state)

    def load(self, parts: Mapping[str, Any], loader: Loader) -> tuple[int, float | None]:
        """Bring everything to where the file says; give its step and best score.

        A folder without the file is at step 0.

        Raises:
            WeightsError: the file is damaged.
            ConfigError: it is of another recipe or number of processes.
        """
        for leftover in self.path.parent.glob(".samkit.*"):  # of a process that was killed
            if self.fabric.is_global_zero:
                leftover.unlink(missing_ok=True)
        if not self.path.exists():
            return 0, None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch stumbles over damaged bytes in many ways
            raise WeightsError(
                f"{self.path} is damaged: begin anew without --resume, in another folder"
            ) from error
        self._check_settings(state["settings"])
        positions = state["positions"]
        if len(positions) != self.fabric.world_size:
            raise ConfigError(
                f"{self.path} is of {len(positions)} processes; resume with as many,"
                f" not with {self.fabric.world_size}"
            )
        for name, part in parts.items():
            if part is not None:
                part.load_state_dict(state[name])
        loader.load_state_dict(positions[self.fabric.global_rank])
        return int(state["step"]), state["best_score"]

    def _check_settings(self, saved: Mapping[str, str]) -> None:
        names = [name for name in {**saved, **self.settings} if name not in FREE]
        wrong = [name for name in names if saved.get(name) != self.settings.get(name)]
        if wrong:
            was = ", ".join(f"{name}={saved.get(name)}" for name in wrong)
            raise ConfigError(f"{self.path} is of another recipe: resume it with {was}")

    def _with_plain_states(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Fabric takes care of the modules and optimisers that it wraps, not of the others."""
        plain = ("schedule", "average", "scaler")
        return {
            name: part.state_dict() if name in plain else part
            for name, part in parts.items()
            if part is not None
        }

    def _of_all_processes(self, position: dict[str, Any]) -> list[dict[str, Any]]:
        if self.fabric.world_size == 1:
            return [position]
        positions: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(positions, position)
        return positions
