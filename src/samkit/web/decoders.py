"""Decoders that the page runs itself: one for each model version, made once, and cached on disk."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from samkit.dataengine import StoredImage
from samkit.errors import ConfigError, MissingError, SamkitError
from samkit.files import make_folder, remove_least_used
from samkit.web.tiles import TileCache
from samkit.web.workers import PriorityPool

if TYPE_CHECKING:
    from samkit.web.config import WebConfig
    from samkit.web.embedder import ServedModel

logger = logging.getLogger(__name__)

Part: TypeAlias = Literal["prepare", "decode"]
# Why the server must answer: it refines clicks, the model sees parts of the image, browsers do not
# run the model, a package is missing, or the decoder could not be made, as the log says.
Hindrance: TypeAlias = Literal["refine", "tiles", "model", "failed"]

LAYOUT = 1  # of the files; another number makes them anew
MAX_BYTES = 2**29  # of the folder: some 35 versions


class DecoderFiles:
    """A folder of decoders as ONNX files, made on one thread when they are first asked for."""

    def __init__(self, config: WebConfig, tiles: TileCache) -> None:
        self._config, self._tiles = config, tiles
        self._folder = config.cache_folder / "decoders"
        self._pool = PriorityPool(1, "decoders")
        self._lock = threading.Lock()
        self._made: dict[str, Future[bool]] = {}  # by the model's checksum

    def start(self) -> None:
        """Start the thread."""
        self._pool.start()

    def stop(self) -> None:
        """Stop the thread after its current work."""
        self._pool.stop()

    def hindrance(self, image: StoredImage, served: ServedModel) -> Hindrance | None:
        """Why prompts on an image cannot be decoded in browsers; None if they probably can."""
        from samkit.export import check_for_browser

        if self._config.refine != "none":
            return "refine"
        if self._tiles.is_tiled(image):
            return "tiles"
        try:
            check_for_browser(served.predictor)
        except ConfigError:
            return "model"
        return None

    def ask(self, served: ServedModel) -> Future[bool]:
        """Have a version's decoder made, unless it is there; the result is whether it is."""
        checksum = served.version.checksum
        with self._lock:
            known = self._made.get(checksum)
            if known is None:
                known = self._made[checksum] = self._pool.submit(0, lambda: self._make(served))
            return known

    def read(self, served: ServedModel, part: Part) -> bytes:
        """A part of a version's decoder, of which `ask` said that it is there.

        Raises:
            MissingError: it is not, or no longer.
        """
        path = self._path(served, part)
        try:
            content = path.read_bytes()
        except OSError as error:
            with self._lock:
                self._made.pop(served.version.checksum, None)
            raise MissingError("there is no such decoder now: ask for it first") from error
        with suppress(OSError):
            os.utime(path)  # record the time of use
        return content

    def _path(self, served: ServedModel, part: str) -> Path:
        return self._folder / f"{served.version.checksum}-{LAYOUT}-{part}.onnx"

    def _make(self, served: ServedModel) -> bool:
        """Make a version's decoder; runs on the thread."""
        from samkit.export import BROWSER_PARTS, write_for_browser

        paths = {part: self._path(served, part) for part in BROWSER_PARTS}
        if all(path.is_file() for path in paths.values()):
            return True
        try:
            make_folder(self._folder)
            with tempfile.TemporaryDirectory(prefix=".samkit.", dir=self._folder) as temporary:
                write_for_browser(served.predictor, Path(temporary))
                for part, path in paths.items():
                    (Path(temporary) / f"{part}.onnx").replace(path)
            self._trim()
        except (SamkitError, OSError) as error:
            logger.warning("browsers cannot decode with %s: %s", served.version.name, error)
            return False
        except Exception:  # from torch or ONNX Runtime
            logger.exception("browsers cannot decode with %s", served.version.name)
            return False
        return True

    def _trim(self) -> None:
        files = []
        for path in self._folder.glob("*.onnx"):
            with suppress(FileNotFoundError):  # removed by another process
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        remove_least_used(files, MAX_BYTES)
