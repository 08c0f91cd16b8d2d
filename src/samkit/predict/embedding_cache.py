"""Cache of image embeddings on disk, keyed by image content and encoder weights."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samkit.errors import ConfigError, EmbeddingError, OutputError
from samkit.files import remove_least_used
from samkit.types import ImageEmbedding

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
SUFFIX = ".emb.safetensors"
NAME = re.compile(rf"[0-9a-f]{{64}}-[0-9a-f]{{64}}{re.escape(SUFFIX)}", re.ASCII)
TEMPORARY = ".samkit."  # prefix of files that are being written


class EmbeddingCache:
    """A folder of embeddings, one file for each image and encoder.

    Files are those of `ImageEmbedding.save`, named by two checksums: of the image's content and of
    the encoder's weights. So one folder serves any number of data sets and encoders, and a changed
    image has another key. Threads and processes may share a folder; if two need the same missing
    embedding at once, both compute it.

    Attributes:
        folder: folder of the files.
        max_bytes: limit of their total size; the least recently used are removed first. None is
            unlimited.
        dtype: precision of the files. "float16" takes half of the space and changes an embedding by
            some 0.02%; files of lower precision than this count as missing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        dtype: Literal["float16", "float32"] = "float32",
    ) -> None:
        """Open a folder, creating it if it is missing.

        Raises:
            ConfigError: max_bytes is negative, or the dtype unknown.
            OutputError: the folder cannot be created.
        """
        if max_bytes is not None and max_bytes < 0:
            raise ConfigError(f"max_bytes must not be negative; got {max_bytes}")
        if dtype not in ("float16", "float32"):
            raise ConfigError(f"dtype must be float16 or float32; got {dtype!r}")
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.dtype = dtype
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create {self.folder}: {error.strerror}") from error

    def get(self, image_sha256: str, encoder_checksum: str) -> ImageEmbedding | None:
        """Return the cached embedding in float32, on the CPU; None if it is missing or damaged.

        Args:
            image_sha256: SHA-256 of the image's file, or `pixels_sha256`.
            encoder_checksum: `Predictor.encoder_checksum`.

        Raises:
            EmbeddingError: a key is not a SHA-256.
        """
        path = self.path(image_sha256, encoder_checksum)
        try:
            embedding = ImageEmbedding.load(path)
        except EmbeddingError:
            return None
        if embedding.encoder_checksum != encoder_checksum:
            return None
        if self.dtype == "float32" and embedding.features.grid.itemsize < 4:
            return None
        if self.max_bytes is not None:
            with suppress(OSError):  # removed in the meantime
                os.utime(path)  # record the time of use
        return self._rounded(embedding)

    def put(self, image_sha256: str, embedding: ImageEmbedding) -> ImageEmbedding:
        """Add an embedding, and remove the least recently used ones beyond `max_bytes`.

        Returns:
            the embedding with its values rounded as `get` returns them.

        Raises:
            EmbeddingError: a key is not a SHA-256.
            OutputError: the file cannot be written.
        """
        path = self.path(image_sha256, embedding.encoder_checksum)
        if self.dtype == "float16":
            _half(embedding).save(path)
        else:
            embedding.save(path)
        self._trim()
        return self._rounded(embedding)

    def num_bytes(self) -> int:
        """Return the total size of the files in bytes."""
        return sum(size for _, size, _ in self._files())

    def images(self, encoder_checksum: str) -> set[str]:
        """Return the keys of the images that have an embedding by an encoder."""
        end = f"-{encoder_checksum}{SUFFIX}"
        return {
            path.name.removesuffix(end) for _, _, path in self._files() if path.name.endswith(end)
        }

    def move_to(self, other: EmbeddingCache) -> None:
        """Move the files to another cache; those that cannot be moved stay."""
        for _, _, path in self._files():
            with suppress(OSError):  # such as a full disk: they can be computed again
                shutil.move(path, other.folder / path.name)

    def other_files(self) -> list[Path]:
        """List embeddings in the folder that are named otherwise and so are not this cache's."""
        return [
            path
            for path in sorted(self.folder.glob(f"*{SUFFIX}"))
            if not NAME.fullmatch(path.name) and not path.name.startswith(TEMPORARY)
        ]

    def _rounded(self, embedding: ImageEmbedding) -> ImageEmbedding:
        """Round an embedding to what the files can hold; the result is float32."""
        if self.dtype == "float16":
            return replace(embedding, features=_half(embedding).features.float())
        return embedding

    def path(self, image_sha256: str, encoder_checksum: str) -> Path:
        """Where an embedding is, or would be.

        Raises:
            EmbeddingError: a key is not a SHA-256.
        """
        for name, value in (("image", image_sha256), ("encoder", encoder_checksum)):
            if not SHA256.fullmatch(value):
                raise EmbeddingError(f"{name} must be a SHA-256 in hexadecimal; got {value!r:.80}")
        return self.folder / f"{image_sha256}-{encoder_checksum}{SUFFIX}"

    def _files(self) -> list[tuple[int, int, Path]]:
        """List time of last use in ns, size and path of each file."""
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
        if self.max_bytes is not None:
            remove_least_used(self._files(), self.max_bytes)


def _half(embedding: ImageEmbedding) -> ImageEmbedding:
    import torch

    return replace(embedding, features=embedding.features.to(torch.float16))


def pixels_sha256(image: npt.NDArray[np.uint8]) -> str:
    """Compute the SHA-256 of a decoded image (H, W, 3), of its shape and pixels."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
