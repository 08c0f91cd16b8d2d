"""What commands that run a server share: their options, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samkit.backends import BackendChoice
from samkit.cli.options import backend_options, model_option, refine_option
from samkit.errors import ConfigError

if TYPE_CHECKING:
    from samkit.dataengine import Store
    from samkit.predict import Predictor

Command = TypeVar("Command", bound=Callable[..., Any])
BYTES_IN_GB = 10**9
LOOPBACK = ("127.0.0.1", "::1", "localhost")
QUIETLY: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


cache_option = click.option(
    "--cache-gb",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="GB",
    help="Maximum size of the embedding cache on disk; one image takes 4 MB.",
)


def address_options(command: Command) -> Command:
    """Add --host and --port of a server that others may use."""
    host_option = click.option(
        "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
    )
    port_option = click.option(
        "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port."
    )
    return host_option(port_option(command))


def server_options(command: Command) -> Command:
    """Add --model, --text-model, the backend's options, --refine and --cache-gb."""
    text_option = click.option(
        "--text-model",
        metavar="NAME|FOLDER",
        help="Text model that finds what people name on the page: a detector or a CLIP, by its name"
        " on the hub or as a folder.",
    )
    return model_option(text_option(backend_options(refine_option()(cache_option(command)))))


def check_text_model(text_model: str | None) -> None:
    """Check a text model before the server starts; download it if it is not on this disk.

    Raises:
        WeightsError: there is no such model.
        ConfigError: text needs packages that are not installed.
        DownloadError: it cannot be downloaded.
    """
    if text_model is None:
        return
    from samkit.text import check_text_installed, find_text_model

    check_text_installed()
    find_text_model(text_model)


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


def read_secret(path: Path) -> str:
    """Read a file that has a secret alone.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not secret:
        raise ConfigError(f"{path} is empty: it should have the secret")
    return secret
