"""Image sources: a folder or an fsspec URL. Files outside of it are never opened.

Paths may name pages of files, such as `stack.tif#page=2`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from samkit.errors import ConfigError, StoreError
from samkit.formats import FoundImages, find_images_below, sort_out_images, split_page
from samkit.urls import file_system, is_url, local_name


@dataclass(frozen=True, kw_only=True)
class FileMark:
    """Size and time of a file, by which changes are noticed without reading it; 0 if unknown."""

    num_bytes: int
    modified_ns: int


def page_sha256(sha256: str, page: int) -> str:
    """Checksum of a page: of the first it is the file's."""
    return sha256 if page == 1 else hashlib.sha256(f"{sha256}#page={page}".encode()).hexdigest()


class ImageSource:
    """The images below one root.

    Attributes:
        root: an absolute path or a URL.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Resolve the root.

        Raises:
            StoreError: the root is neither a folder nor a URL that fsspec knows.
        """
        name = local_name(os.fspath(root))
        self._files: Any = None
        if is_url(name):
            self.root = name.rstrip("/")
            self._files, self._base = _file_system(self.root)
            return
        try:
            self._folder = Path(name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise StoreError(f"no such folder: {name}") from error
        if not self._folder.is_dir():
            raise StoreError(f"a project's root must be a folder; {name} is a file")
        self.root = str(self._folder)

    @property
    def folder(self) -> Path | None:
        """The root's folder; None for a URL."""
        return None if self._files is not None else self._folder

    def find(self) -> FoundImages:
        """Find all images below the root, and what is left out; see `find_images_below`."""
        if self._files is None:
            return find_images_below(self._folder)
        found = self._files.find(self._base)
        return sort_out_images(path[len(self._base) :].lstrip("/") for path in found)

    def paths(self) -> Iterator[str]:
        """Iterate over the paths of all images below the root, sorted by folder."""
        return iter(self.find().names)

    def mark(self, path: str) -> FileMark:
        """Return size and time of a file.

        Raises:
            StoreError: the file is missing or outside of the root.
        """
        if self._files is not None:
            try:
                size = self._files.info(self._below(path)).get("size")
            except OSError as error:
                raise StoreError(f"cannot read {self.root}/{path}: {error}") from error
            return FileMark(num_bytes=int(size or 0), modified_ns=0)
        try:
            status = self._local(path).stat()
        except OSError as error:
            raise StoreError(f"cannot read {self.root}/{path}: {error.strerror}") from error
        return FileMark(num_bytes=status.st_size, modified_ns=status.st_mtime_ns)

    def open(self, path: str) -> IO[bytes]:
        """Open an image for reading.

        Raises:
            StoreError: the file is missing, outside of the root, or cannot be read.
        """
        try:
            if self._files is not None:
                return cast("IO[bytes]", self._files.open(self._below(path), "rb"))
            return self._local(path).open("rb")
        except OSError as error:
            raise StoreError(
                f"cannot read {self.root}/{path}: {error.strerror or error}"
            ) from error

    def _local(self, path: str) -> Path:
        """Resolve links; refuse a file that lies outside of the root."""
        _check_relative(path)
        try:
            real = (self._folder / split_page(path)[0]).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise StoreError(f"no such file: {self.root}/{path}") from error
        if not real.is_relative_to(self._folder):
            raise StoreError(f"{path!r:.100} lies outside of the project's root")
        if not real.is_file():
            raise StoreError(f"{self.root}/{path} is not a file")
        return real

    def _below(self, path: str) -> str:
        _check_relative(path)
        return f"{self._base}/{split_page(path)[0]}"


def _check_relative(path: str) -> None:
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise StoreError(f"{path!r:.100} lies outside of the project's root")


def _file_system(url: str) -> tuple[Any, str]:
    """Return a URL's fsspec file system, and its path there."""
    try:
        files, base = file_system(url)
    except ConfigError as error:
        raise StoreError(str(error)) from error
    return files, base.rstrip("/")
