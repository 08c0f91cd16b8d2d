"""App and options shared by `samkit annotate` and `samkit serve`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samkit.backends import BackendChoice
from samkit.cli.options import backend_options, model_option, refine_option

if TYPE_CHECKING:
    from samkit.dataengine import Store
    from samkit.predict import Predictor

Command = TypeVar("Command", bound=Callable[..., Any])
BYTES_IN_GB = 10**9
QUIETLY: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def server_options(command: Command) -> Command:
    """Add --model, the backend's options, --refine and --cache-gb."""
    cache_option = click.option(
        "--cache-gb",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        metavar="GB",
        help="Maximum size of the embedding cache on disk; one image takes 4 MB.",
    )
    return model_option(backend_options(refine_option()(cache_option(command))))


def make_app(
    store: Store, *, model: str, backend: BackendChoice, cache_gb: float, **settings: Any
) -> Any:
    """Create the app of a store; the model is loaded when the app starts.

    Args:
        cache_gb: maximum size of the embedding cache.
        settings: other fields of `samkit.web.WebConfig`.
    """
    from samkit.files import cache_folder
    from samkit.web import WebConfig, create_app

    config = WebConfig(
        cache_folder=cache_folder() / "embeddings",
        cache_bytes=int(cache_gb * BYTES_IN_GB),
        learner_options=("--model", model, *backend.arguments()),
        **settings,
    )
    return create_app(store, load_predictor=lambda: load_predictor(model, backend), config=config)


def load_predictor(model: str, backend: BackendChoice) -> Predictor:
    """Load a model quickly, since somebody is waiting for the first image.

    If the model must first be converted for OpenVINO, it runs in PyTorch this time, and another
    process converts it for the next time.
    """
    from samkit.backends import ready_backend
    from samkit.predict import Predictor

    predictor = Predictor.load(model, **backend.options())
    ready = ready_backend(predictor.backend, predictor.model, backend)
    if ready is predictor.backend:
        return predictor
    command = [sys.executable, "-m", "samkit", "models", "prepare", "--model", model]
    threading.Thread(target=subprocess.run, args=(command,), kwargs=QUIETLY, daemon=True).start()
    return Predictor(
        predictor.model,
        model_name=predictor.model_name,
        backend=ready,
        text_encoder=predictor.text_encoder,
        iou_thresh=predictor.iou_thresh,
    )


def leave() -> None:
    """End the process at once if threads of a server are still busy, for example loading a model.

    Nothing is lost: what was acknowledged is on disk. Python would abort if they returned from
    native code after its shutdown.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
