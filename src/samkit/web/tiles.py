"""Images too large to decode whole: their pyramids of tiles, in a folder of bounded size."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from samkit.dataengine import Store, StoredImage, open_pyramid, pyramid_file
from samkit.errors import ConflictError
from samkit.files import remove_least_used
from samkit.formats import Pyramid, Region
from samkit.web.workers import PriorityPool

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.web.config import WebConfig

TEMPORARY = ".samkit."  # prefix of files that are being written
ABANDONED_S = 24 * 60 * 60  # age of such a file that nobody writes any more
MAX_OPEN = 16  # pyramids
OPENED, SHOWN = 0, 1  # priorities: by somebody, in a gallery


class TileCache:
    """Pyramids by the key of their image's pixels; the least recently used go first.

    One is made at a time: libvips uses all cores.
    """

    def __init__(self, store: Store, config: WebConfig) -> None:
        self._store = store
        self._max_pixels = config.max_pixels
        self._folder = config.tile_folder
        self._max_bytes = config.cache_bytes
        self._pool = PriorityPool(1, "tiles")
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, Pyramid] = OrderedDict()
        self._making: dict[str, Future[Pyramid]] = {}

    def start(self) -> None:
        """Start the thread."""
        self._pool.start()

    def stop(self) -> None:
        """Stop the thread after its current work."""
        self._pool.stop()

    def is_tiled(self, image: StoredImage) -> bool:
        """Whether an image is too large to be decoded as a whole."""
        return math.prod(image.size_hw) > self._max_pixels

    def ask(self, image: StoredImage, priority: int = OPENED) -> Future[Pyramid]:
        """Request the pyramid of an image, which is made if there is none.

        Raises:
            ConflictError: the image is small enough to be decoded as a whole.
        """
        if not self.is_tiled(image):
            raise ConflictError(f"{image.path} is shown whole: it has no tiles")
        key = image.pixels_key
        with self._lock:
            known = self._opened.get(key)
            if known is not None:
                self._opened.move_to_end(key)
                done: Future[Pyramid] = Future()
                done.set_result(known)
                return done
            making = self._making.get(key)
            if making is None:
                making = self._pool.submit(priority, lambda: self._open(image))
                self._making[key] = making
                making.add_done_callback(lambda _: self._making.pop(key, None))
            return making

    def read(self, image: StoredImage, region: Region) -> RgbImage:
        """Read a region of an image whose pyramid is there, or will be."""
        return self.ask(image).result().read(region.level, region.box_xyxy)

    def _open(self, image: StoredImage) -> Pyramid:
        path = pyramid_file(self._folder, image)
        is_new = not path.exists()
        pyramid = open_pyramid(self._store, image, self._folder)
        if is_new:
            self._trim(path)
        with self._lock:
            self._opened[image.pixels_key] = pyramid
            while len(self._opened) > MAX_OPEN:
                self._opened.popitem(last=False)
        return pyramid

    def _trim(self, newest: Path) -> None:
        """Remove abandoned files, and the least recently used ones beyond the limit."""
        for modified, _, path in list(self._files()):
            if path.name.startswith(TEMPORARY) and time.time() - modified > ABANDONED_S:
                path.unlink(missing_ok=True)
        remove_least_used(self._files(), self._max_bytes, spared=newest)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # removed by another process
                status = path.stat()
                yield status.st_mtime, status.st_size, path
