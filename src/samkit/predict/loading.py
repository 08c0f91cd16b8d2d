"""A network and the backend that runs it, from a name, a checkpoint or an exported folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from samkit.backends import (
    Backend,
    BackendChoice,
    ExportedBackend,
    ExportedFolder,
    create_backend,
    is_exported,
)
from samkit.errors import BackendError
from samkit.models import Sam
from samkit.predict.programs import network_of_programs
from samkit.weights import CATALOG, TextEncoder, load_model


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """What a predictor is made of.

    Attributes:
        model_name: see `Predictor`.
        text_encoder: the CLIP of the network's text prompts; None without.
        iou_thresh: predicted IoU from which automatic masks are taken.
        exported: the folder whose graphs are run, and which has the checksums of weights that are
            not in memory; None for a network with weights.
    """

    model: Sam
    model_name: str
    backend: Backend
    iou_thresh: float
    text_encoder: TextEncoder | None = None
    exported: ExportedFolder | None = None


def load_network(source: str | os.PathLike[str], choice: BackendChoice) -> LoadedNetwork:
    """Load a network and create its backend; see `Predictor.load`.

    Raises:
        WeightsError: the weights are unknown, missing, damaged or do not fit.
        BackendError: the backend, precision or device is not available here.
    """
    if source in CATALOG or not is_exported(source):
        loaded = load_model(source)
        return LoadedNetwork(
            model=loaded.model,
            model_name=str(source) if source in CATALOG else loaded.name,
            backend=create_backend(loaded.model, **choice.options()),
            iou_thresh=loaded.iou_thresh,
            text_encoder=loaded.text_encoder,
        )
    folder = ExportedFolder.read(Path(source))
    if folder.format == "torch":  # its programs are not run: they could run other code
        model = network_of_programs(folder)
        backend = create_backend(model, **choice.options())
        exported = None
    else:
        backend = _backend_of_graphs(folder, choice)
        model, exported = backend.model, folder
    return LoadedNetwork(
        model=model,
        model_name=folder.config,
        backend=backend,
        iou_thresh=folder.iou_thresh,
        exported=exported,
    )


def _backend_of_graphs(exported: ExportedFolder, choice: BackendChoice) -> ExportedBackend:
    """The backend that runs a folder's graphs.

    Raises:
        BackendError: its runtime is not installed, or the device or precision is another.
    """
    folder = exported.folder
    if choice.device not in (None, "cpu"):
        raise BackendError(f"{folder} was exported for the CPU; device is {choice.device}")
    if choice.precision not in ("auto", exported.precision):
        raise BackendError(
            f"{folder} was exported in {exported.precision}; got {choice.precision}: leave it out"
        )
    return ExportedBackend(exported, runtime=choice.backend, threads=choice.threads)
