"""What `samkit annotate` and `samkit serve` share: the model and its cache of embeddings."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from samkit.cli.options import BackendChoice, backend_options, model_option
from samkit.errors import ConfigError

if TYPE_CHECKING:
    from samkit.dataengine import Store
    from samkit.predict import Predictor

Command = TypeVar("Command", bound=Callable[..., Any])
BYTES_IN_GB = 10**9
QUIETLY: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def server_options(command: Command) -> Command:
    """Give a verb --model, the backend's options and --cache-gb."""
    cache_option = click.option(
        "--cache-gb",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        metavar="GB",
        help="Most that kept embeddings take on disk; one takes 4 MB.",
    )
    return model_option(backend_options(cache_option(command)))


def make_app(
    store: Store, *, model: str, backend: BackendChoice, cache_gb: float, **settings: Any
) -> Any:
    """The app of a store; the model is loaded when the app runs.

    Args:
        store: what it works on.
        model: name or file.
        backend: how it runs.
        cache_gb: most that kept embeddings take.
        settings: others of `samkit.web.WebConfig`.
    """
    from samkit.files import cache_folder
    from samkit.web import WebConfig, create_app

    config = WebConfig(
        cache_folder=cache_folder() / "embeddings",
        cache_bytes=int(cache_gb * BYTES_IN_GB),
        **settings,
    )
    return create_app(store, load_predictor=lambda: load_predictor(model, backend), config=config)


def load_predictor(model: str, backend: BackendChoice) -> Predictor:
    """Load a model for a server, where somebody waits for the first image.

    A model that is not yet converted for OpenVINO, which takes half a minute, runs in torch this
    time; another process converts it for the next time.
    """
    from samkit.backends import create_backend
    from samkit.predict import Predictor

    predictor = Predictor.load(model, **backend)
    if backend["backend"] != "auto" or predictor.backend.info.backend != "openvino":
        return predictor
    from samkit.backends.openvino_backend import OpenVinoBackend

    assert isinstance(predictor.backend, OpenVinoBackend)
    if predictor.backend.is_converted():
        return predictor
    command = [sys.executable, "-m", "samkit", "models", "prepare", "--model", model]
    threading.Thread(target=subprocess.run, args=(command,), kwargs=QUIETLY, daemon=True).start()
    network = predictor.model
    in_torch = create_backend(
        network, backend="torch", precision=backend["precision"], threads=backend["threads"]
    )
    return Predictor(network, model_name=predictor.model_name, backend=in_torch)


def leave() -> None:
    """End the process at once if threads of a server are still busy, such as with loading a model.

    Nothing is lost: what was acknowledged is on the disk. Python itself would abort when they come
    back from native code after its own end.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def check_model(model: str) -> None:
    """Find a misspelt model before the server starts, where loading it would be too late.

    Raises:
        ConfigError: it is no known name, and no file.
    """
    from samkit.weights.catalog import CATALOG

    if model not in CATALOG and not Path(model).is_file():
        raise ConfigError(f"no model {model}: expected a file, or one of {', '.join(CATALOG)}")
