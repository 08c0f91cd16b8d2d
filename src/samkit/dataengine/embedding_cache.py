"""Embeddings on disk: an image is encoded once. Bounded; the least recently used go first."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from samkit.errors import ConfigError, EmbeddingError, OutputError, StoreError
from samkit.types import ImageEmbedding

SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
SUFFIX = ".emb.safetensors"
TEMPORARY = ".samkit."  # names of files that are being written begin so


class EmbeddingCache:
    """A folder of embeddings by the image's content and the encoder's weights.

    Threads and processes may share a folder. Two that miss the same embedding at once both make it.

    Attributes:
        folder: where the files are.
        max_bytes: most that they take together.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: int) -> None:
        """Use a folder, which is made if need be.

        Raises:
            ConfigError: max_bytes is negative.
            OutputError: the folder cannot be made.
        """
        if max_bytes < 0:
            raise ConfigError(f"max_bytes must not be negative; got {max_bytes}")
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {self.folder}: {error.strerror}") from error

    def get_or_make(
        self, image_sha256: str, encoder_checksum: str, make: Callable[[], ImageEmbedding]
    ) -> ImageEmbedding:
        """The kept embedding; a missing or damaged one is made and kept.

        Raises:
            StoreError: a key is no SHA-256, or `make` has used another encoder.
        """
        kept = self.get(image_sha256, encoder_checksum)
        if kept is not None:
            return kept
        embedding = make()
        self.put(image_sha256, encoder_checksum, embedding)
        return embedding

    def get(self, image_sha256: str, encoder_checksum: str) -> ImageEmbedding | None:
        """The kept embedding; None if it is missing or damaged."""
        path = self._path(image_sha256, encoder_checksum)
        try:
            embedding = ImageEmbedding.load(path)
        except EmbeddingError:
            return None
        if embedding.encoder_checksum != encoder_checksum:
            return None
        with suppress(OSError):  # removed meanwhile
            os.utime(path)  # the time of last use
        return embedding

    def put(self, image_sha256: str, encoder_checksum: str, embedding: ImageEmbedding) -> None:
        """Keep an embedding, and remove those that were not used for longest.

        Raises:
            StoreError: a key is no SHA-256, or the embedding is of another encoder.
            OutputError: it cannot be written.
        """
        path = self._path(image_sha256, encoder_checksum)
        if embedding.encoder_checksum != encoder_checksum:
            raise StoreError(
                f"the embedding is of encoder {embedding.encoder_checksum:.12};"
                f" expected {encoder_checksum:.12}"
            )
        embedding.save(path)
        self._trim()

    def num_bytes(self) -> int:
        """What the files take together."""
        return sum(size for _, size, _ in self._files())

    def _path(self, image_sha256: str, encoder_checksum: str) -> Path:
        for name, value in (("image", image_sha256), ("encoder", encoder_checksum)):
            if not SHA256.fullmatch(value):
                raise StoreError(f"{name} must be a SHA-256 in hexadecimal; got {value!r:.80}")
        return self.folder / f"{image_sha256}-{encoder_checksum}{SUFFIX}"

    def _files(self) -> list[tuple[int, int, Path]]:
        """Time of last use in ns, size and path of each file."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if not entry.name.endswith(SUFFIX) or entry.name.startswith(TEMPORARY):
                    continue
                with suppress(FileNotFoundError):  # removed by another process
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
        return found

    def _trim(self) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size
