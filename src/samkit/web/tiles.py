"""Images too large to decode whole: their pyramids, of pixels and values, in a bounded folder."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from samkit.dataengine import (
    Store,
    StoredImage,
    has_deep_values,
    open_pyramid,
    open_value_pyramid,
    pyramid_file,
    trim_pyramids,
    value_pyramid_file,
)
from samkit.errors import ConflictError
from samkit.formats import Pyramid, Region, ValuePyramid
from samkit.web.workers import PriorityPool

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.web.config import WebConfig

MAX_OPEN = 16  # pyramids
MAX_DEEP = 1024  # images of which it is known whether they have values of more than 8 bits
OPENED, SHOWN, LOOKED_INTO = 0, 1, 2  # priorities: by somebody, in a gallery, by other values

AnyPyramid: TypeAlias = Pyramid | ValuePyramid


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
        self._opened: OrderedDict[Path, AnyPyramid] = OrderedDict()
        self._making: dict[Path, Future[AnyPyramid]] = {}
        self._deep: OrderedDict[str, bool] = OrderedDict()

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
        self._check(image)
        path = pyramid_file(self._folder, image)
        found: Any = self._ask(
            path, priority, lambda: open_pyramid(self._store, image, self._folder)
        )
        return found  # type: ignore[no-any-return]

    def ask_values(self, image: StoredImage) -> Future[ValuePyramid]:
        """Request the values of an image in tiles, which are written if they are not there.

        Raises:
            ConflictError: the image is small enough to be decoded as a whole.
        """
        self._check(image)
        path = value_pyramid_file(self._folder, image)
        found: Any = self._ask(
            path, LOOKED_INTO, lambda: open_value_pyramid(self._store, image, self._folder)
        )
        return found  # type: ignore[no-any-return]

    def is_deep(self, image: StoredImage) -> bool:
        """Whether an image by tiles has values of more than 8 bits; its file is asked once.

        Raises:
            SamkitError: the file cannot be read, or has changed.
        """
        with self._lock:
            known = self._deep.get(image.sha256)
        if known is None:
            known = has_deep_values(self._store, image)
            with self._lock:
                self._deep[image.sha256] = known
                while len(self._deep) > MAX_DEEP:
                    self._deep.popitem(last=False)
        return known

    def has_values(self, image: StoredImage) -> bool:
        """Whether values of an image by tiles can be read at once.

        Raises:
            SamkitError: the file cannot be read, or has changed.
        """
        return not self.is_deep(image) or value_pyramid_file(self._folder, image).exists()

    def read(self, image: StoredImage, region: Region) -> RgbImage:
        """Read a region of an image whose pyramid is there, or will be."""
        return self.ask(image).result().read(region.level, region.box_xyxy)

    def _check(self, image: StoredImage) -> None:
        if not self.is_tiled(image):
            raise ConflictError(f"{image.path} is shown whole: it has no tiles")

    def _ask(self, path: Path, priority: int, make: Callable[[], AnyPyramid]) -> Future[AnyPyramid]:
        with self._lock:
            known = self._opened.get(path)
            if known is not None:
                self._opened.move_to_end(path)
                done: Future[AnyPyramid] = Future()
                done.set_result(known)
                return done
            making = self._making.get(path)
            if making is None:
                making = self._pool.submit(priority, lambda: self._open(path, make))
                self._making[path] = making
                making.add_done_callback(lambda _: self._making.pop(path, None))
            return making

    def _open(self, path: Path, make: Callable[[], AnyPyramid]) -> AnyPyramid:
        is_new = not path.exists()
        pyramid = make()
        if is_new:
            trim_pyramids(self._folder, self._max_bytes, newest=path)
        with self._lock:
            self._opened[path] = pyramid
            while len(self._opened) > MAX_OPEN:
                self._opened.popitem(last=False)
        return pyramid
