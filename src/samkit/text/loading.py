"""Finding, downloading and loading text models.

A model is a folder saved by `transformers`: config.json, weights, tokenizer. Everything is read
from that folder alone, so that a downloaded model works without a network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samkit.errors import DataError, WeightsError
from samkit.extras import require_packages
from samkit.files import read_json
from samkit.weights import (
    CONFIG_FILE,
    asking_hub,
    check_reachable,
    find_cached,
    has_tokenizer,
)

# Everything but the weights, which are downloaded as safetensors or, if a repository has none, as
# .bin, which is read without running code from it.
SMALL_FILES = ("*.json", "*.txt", "*.model")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
REASON_LENGTH = 300  # transformers may explain a failure over a whole page
WAY_OUT = (
    "fetch it where there is a network (samkit models fetch {name}), and bring the hub's cache or"
    " the model's folder here"
)
PACKAGES = ("transformers", "scipy")  # scipy resizes images for OWLv2


def check_text_installed() -> None:
    """Raise a ConfigError with the install command if the packages for text are missing."""
    require_packages("text", PACKAGES, "text")


def find_text_model(source: str | os.PathLike[str]) -> Path:
    """Folder of a text model, downloaded from the hub if it is not on this disk.

    Args:
        source: a folder, or a repository's name on the hub, such as "openai/clip-vit-base-patch32".

    Raises:
        ConfigError: the packages for text are not installed.
        WeightsError: the folder holds no model.
        DownloadError: the model is not on this disk and could not be downloaded.
    """
    check_text_installed()
    folder = Path(source)
    if folder.is_dir():
        if not (folder / CONFIG_FILE).is_file():
            raise WeightsError(f"{folder} is not a text model: it has no {CONFIG_FILE}")
        return folder
    name = os.fspath(source)
    if HUB_NAME.fullmatch(name) is None:
        raise WeightsError(
            f"no such folder: {name}; a text model is a folder or a name on the hub, such as"
            " openai/clip-vit-base-patch32"
        )
    return find_cached(name) or fetch_text_model(name)


def fetch_text_model(name: str) -> Path:
    """Download a model from the hub, which shows progress; return its folder.

    Raises:
        DownloadError: no network, or no such model.
    """
    from huggingface_hub import HfApi, snapshot_download

    with asking_hub(name, WAY_OUT.format(name=name)):
        check_reachable(name, CONFIG_FILE)
        files = HfApi().list_repo_files(name)
        top = [file for file in files if "/" not in file]
        weights = "*.safetensors" if any(f.endswith(".safetensors") for f in top) else "*.bin"
        return Path(
            snapshot_download(name, allow_patterns=[*SMALL_FILES, weights], ignore_patterns="*/*")
        )


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model's configuration.

    Raises:
        WeightsError: it cannot be read.
    """
    return read_json_object(folder / CONFIG_FILE)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        WeightsError: the file is missing or not a JSON object.
    """
    try:
        found = read_json(path)
    except DataError as error:
        raise WeightsError(str(error)) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} must hold a JSON object; got {type(found).__name__}")
    return found


def check_tokenizer(folder: Path) -> None:
    """Raise a WeightsError unless a text model's folder holds its tokenizer."""
    if not has_tokenizer(folder):
        raise WeightsError(
            f"{folder} has no tokenizer: tokenizer.json, or vocab.json and merges.txt, or vocab.txt"
        )


def load_network(kind: Any, folder: Path) -> tuple[Any, list[str]]:
    """Load a network of a transformers class from its folder alone.

    Returns:
        the network, and names of the tensors that the files lack and that are therefore random.
    """
    network, info = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    return network, sorted(info["missing_keys"])


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Silence transformers while a model is read, and turn any failure into one line.

    Raises:
        WeightsError: files are missing or damaged, or tensors do not fit.
    """
    from transformers.utils import logging

    their_logging: Any = logging  # its functions are untyped
    level, bar = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:REASON_LENGTH] or type(error).__name__
        raise WeightsError(f"{folder} cannot be loaded: {reason}") from error
    finally:
        their_logging.set_verbosity(level)
        if bar:
            their_logging.enable_progress_bar()
