"""Image embeddings: computed once, one at a time, requested images first."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from samkit.dataengine import (
    ModelVersion,
    Store,
    StoredImage,
    add_model_version,
    read_stored_image,
)
from samkit.errors import OutputError, SamkitError
from samkit.formats import Region
from samkit.web.config import WebConfig
from samkit.web.tiles import TileCache
from samkit.web.workers import PriorityPool

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import EmbeddingCache, Predictor
    from samkit.types import ImageEmbedding

logger = logging.getLogger(__name__)

# Priorities: the model is loaded first.
LOADING, REQUESTED, AHEAD = 0, 1, 2
# Limit of images queued to be encoded ahead; others are encoded on request.
MAX_AHEAD = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedModel:
    """The model that answers prompts at a moment; each answer asks for it anew.

    Attributes:
        version: the store's record of the predictor's weights.
        cache: embeddings on disk.
    """

    predictor: Predictor
    version: ModelVersion
    cache: EmbeddingCache


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """An image that is ready for prompts, whichever decoder of its encoder answers them.

    Attributes:
        encode_ms: time to encode; 0 if the embedding was cached.
    """

    embedding: ImageEmbedding
    encode_ms: float


@dataclass
class _Request:
    """A requested image, and the number of people waiting for it."""

    future: Future[Encoded]
    num_waiting: int = 0


# An image's pixels_key, the checksum of a learned image encoder (empty for the server's own), and
# the key of a region (empty for the image).
EncodedKey: TypeAlias = tuple[str, str, str]


class Embedder:
    """Encodes images on one thread; caches embeddings in memory and on disk, within limits.

    Versions with an image encoder of their own have their own embeddings.
    """

    def __init__(
        self,
        store: Store,
        config: WebConfig,
        load_predictor: Callable[[], Predictor],
        tiles: TileCache,
    ) -> None:
        self._store = store
        self._tiles = tiles
        self._config = config
        self._load_predictor = load_predictor
        self._pool = PriorityPool(1, "encoder")
        self._lock = threading.Lock()
        self._cached: OrderedDict[EncodedKey, Encoded] = OrderedDict()
        self._requests: dict[EncodedKey, _Request] = {}
        self._ahead: set[EncodedKey] = set()
        self._served: ServedModel | None = None
        self._load_error: SamkitError | None = None
        self._loading: Future[None] = Future()

    @property
    def model(self) -> ModelVersion | None:
        """The model version; None until the model is loaded."""
        return None if self._served is None else self._served.version

    @property
    def is_loading(self) -> bool:
        """Whether the model will be there in a while."""
        return self._served is None and self._load_error is None

    def served(self) -> ServedModel:
        """The model that answers now.

        Raises:
            SamkitError: it is not loaded, or could not be.
        """
        if self._served is None:
            raise self._load_error or SamkitError("the model is not loaded")
        return self._served

    def loading(self) -> Future[None]:
        """Done once the model is loaded, or cannot be."""
        return self._loading

    def start(self) -> None:
        """Start the thread, which loads the model first."""
        self._pool.start()
        self._loading = self._pool.submit(LOADING, self._load)

    def stop(self) -> None:
        """Stop the thread after its current work."""
        self._pool.stop()

    def ask(
        self,
        image: StoredImage,
        served: ServedModel | None = None,
        region: Region | None = None,
    ) -> Future[Encoded]:
        """Request an image's embedding; a caller that stops waiting must call `give_up`.

        Args:
            served: the model that shall answer its prompts; None for the server's own.
            region: of an image by tiles, the part to encode.
        """
        key = self._key(image, served, region)
        with self._lock:
            cached = self._cached.get(key)
            if cached is not None:
                self._cached.move_to_end(key)
                done: Future[Encoded] = Future()
                done.set_result(cached)
                return done
            request = self._requests.get(key)
            if request is None:
                work = partial(self._encode, image, served, region)
                request = _Request(self._pool.submit(REQUESTED, work))
                self._requests[key] = request
                request.future.add_done_callback(lambda _: self._requests.pop(key, None))
            request.num_waiting += 1
            return request.future

    def give_up(
        self,
        image: StoredImage,
        future: Future[Encoded],
        served: ServedModel | None = None,
        region: Region | None = None,
    ) -> None:
        """Stop waiting for a future from `ask`; work that nobody waits for is cancelled."""
        key = self._key(image, served, region)
        with self._lock:
            request = self._requests.get(key)
            if request is not None and request.future is future:
                request.num_waiting -= 1
                if not request.num_waiting:
                    future.cancel()

    def encode_ahead(
        self, images: Iterable[StoredImage], served: ServedModel | None = None
    ) -> None:
        """Encode images that will likely be requested, while nobody is waiting.

        Of images by tiles nobody knows which part will be asked about.
        """
        with self._lock:
            for image in images:
                if self._tiles.is_tiled(image):
                    continue
                key = self._key(image, served)
                known = key in self._cached or key in self._requests or key in self._ahead
                if not known and len(self._ahead) < MAX_AHEAD:
                    self._ahead.add(key)
                    self._pool.submit(AHEAD, partial(self._encode_ahead, image, served))

    def _key(
        self, image: StoredImage, served: ServedModel | None, region: Region | None = None
    ) -> EncodedKey:
        """Where the embedding is that a model needs."""
        part = "" if region is None else region.key
        if served is None or self._served is None:  # only the server's own is there before
            return image.pixels_key, "", part
        encoder = served.predictor.encoder_checksum
        own = self._served.predictor.encoder_checksum
        return image.pixels_key, "" if encoder == own else encoder, part

    def _load(self) -> None:
        from samkit.predict import EmbeddingCache
        from samkit.weights import weights_sha256, weights_sha256_of_bytes

        try:
            predictor = self._load_predictor()
            predictor.decoder.contexts_cached = self._config.embeddings_cached
            warm_up(predictor)
            version = add_model_version(
                self._store,
                name=predictor.model_name,
                checksum=weights_sha256(predictor.model),
                former_checksum=weights_sha256_of_bytes(predictor.model),
                path="",
            )
            folder, most = self._config.cache_folder, self._config.cache_bytes
            cache = EmbeddingCache(folder, max_bytes=most)
            self._served = ServedModel(predictor=predictor, version=version, cache=cache)
        except SamkitError as error:
            logger.error("the model cannot be loaded: %s", error)  # noqa: TRY400 - it is a line
            self._load_error = error
        except Exception:  # from torch or OpenVINO; nobody else would report it
            logger.exception("the model cannot be loaded")
            self._load_error = SamkitError("the model cannot be loaded: see the server's log")

    def _encode_ahead(self, image: StoredImage, served: ServedModel | None) -> None:
        with self._lock:
            self._ahead.discard(self._key(image, served))
        try:
            self._encode(image, served)
        except SamkitError as error:
            logger.info("not encoded ahead: %s", error)
        except Exception:  # whoever requests the image gets the error
            logger.exception("not encoded ahead: %s", image.path)

    def _encode(
        self, image: StoredImage, served: ServedModel | None, region: Region | None = None
    ) -> Encoded:
        """Look up or compute an embedding; runs on the encoder's thread."""
        key = self._key(image, served, region)
        cached = self._cached.get(key)
        if cached is not None:
            return cached
        predictor = self.served().predictor if served is None else served.predictor
        if region is None:
            encoded = self._encode_image(image, predictor)
        else:  # of which there are so many that they would drive all others from the disk
            pixels = self._tiles.read(image, region)
            started = time.perf_counter()
            embedding = predictor.embed(pixels)
            encoded = Encoded(embedding=embedding, encode_ms=(time.perf_counter() - started) * 1000)
        with self._lock:
            self._cached[key] = encoded
            while len(self._cached) > self._config.embeddings_cached:
                self._cached.popitem(last=False)
        release_freed_memory()  # takes milliseconds, encoding hundreds
        return encoded

    def _encode_image(self, image: StoredImage, predictor: Predictor) -> Encoded:
        cache = self.served().cache
        encode_ms = 0.0
        embedding = cache.get(image.pixels_key, predictor.encoder_checksum) or cache.get(
            image.pixels_key, predictor.former_checksum
        )
        if embedding is None or embedding.coords.original_hw != image.size_hw:
            pixels = read_stored_image(self._store, image, max_pixels=self._config.max_pixels)
            started = time.perf_counter()
            embedding = predictor.embed(pixels)
            encode_ms = (time.perf_counter() - started) * 1000
            try:
                cache.put(image.pixels_key, embedding)
            except OutputError as error:  # such as a full disk
                logger.warning("the embedding of %s is not cached: %s", image.path, error)
        return Encoded(embedding=embedding, encode_ms=encode_ms)


def warm_up(predictor: Predictor) -> None:
    """Run each decoder path once, so that the first click does not wait for compilation."""
    import numpy as np

    embedding = predictor.embed(np.zeros((8, 8, 3), np.uint8))
    answer = predictor.predict(embedding, points=[[4, 4]], labels=[1])
    predictor.predict(embedding, points=[[4, 4]], labels=[1], mask_logits=answer.logits[0])


def release_freed_memory() -> None:
    """Return freed memory to the system.

    glibc by itself returns only what lies at the end of its heaps. Embeddings and logits of a few
    megabytes, freed in another order than they were allocated in, leave holes between those still
    in use, and the server would hold hundreds of megabytes more than it needs.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


def _find_malloc_trim() -> Callable[[int], int] | None:
    """Look up glibc's malloc_trim; None where the C library has none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


_malloc_trim = _find_malloc_trim()
