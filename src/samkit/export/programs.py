"""Parts as programs of torch.export, and their run for the comparison."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from samkit.backends import ExportedBackend, ExportedFolder, Part
from samkit.export.graphs import PartSpec


def write_program(spec: PartSpec, path: Path) -> None:
    """Write a part as a program."""
    axes = tuple(
        dict.fromkeys(spec.axes.get(name, {}), torch.export.Dim.DYNAMIC) for name in spec.inputs
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(spec.module.eval(), spec.example, dynamic_shapes=axes)
        program.example_inputs = None  # they would be saved, too
        torch.export.save(program, path)


class ProgramBackend(ExportedBackend):
    """Runs the programs of a folder that was just written: only those may be trusted."""

    def __init__(self, exported: ExportedFolder, specs: Mapping[str, PartSpec]) -> None:
        self.specs = specs
        super().__init__(exported, runtime="torch", threads=None)

    def open(self, part: str) -> Part:
        """Load a part's program."""
        spec = self.specs[part]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.export.load(self.exported.path(part)).module()

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            given = {name: torch.from_numpy(inputs[name]) for name in spec.inputs}
            if "mask_input" in given:  # one for each prompt
                count = len(given["point_coords"])
                given["mask_input"] = given["mask_input"].expand(count, -1, -1, -1)
            found = module(*given.values())
            arrays = found if isinstance(found, tuple) else (found,)
            return {name: one.numpy() for name, one in zip(spec.outputs, arrays, strict=True)}

        return run
