"""Image sources: a folder or an fsspec URL. Files outside of it are never opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from samkit.errors import StoreError
from samkit.formats import has_image_suffix


@dataclass(frozen=True, kw_only=True)
class FileMark:
    """Size and time of a file, by which changes are noticed without reading it; 0 if unknown."""

    num_bytes: int
    modified_ns: int


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
        name = os.fspath(root).removeprefix("file://")
        self._files: Any = None
        if "://" in name:
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

    def paths(self) -> Iterator[str]:
        """Iterate over the paths of all images below the root, by suffix, sorted by name."""
        if self._files is not None:
            found = sorted(self._files.find(self._base))
            below = (path[len(self._base) :].lstrip("/") for path in found)
            yield from (path for path in below if has_image_suffix(path))
            return
        for folder, folders, names in os.walk(self._folder):
            folders.sort()
            relative = Path(folder).relative_to(self._folder)
            yield from (
                (relative / name).as_posix() for name in sorted(names) if has_image_suffix(name)
            )

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
            real = (self._folder / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise StoreError(f"no such file: {self.root}/{path}") from error
        if not real.is_relative_to(self._folder):
            raise StoreError(f"{path!r:.100} lies outside of the project's root")
        if not real.is_file():
            raise StoreError(f"{self.root}/{path} is not a file")
        return real

    def _below(self, path: str) -> str:
        _check_relative(path)
        return f"{self._base}/{path}"


def _check_relative(path: str) -> None:
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise StoreError(f"{path!r:.100} lies outside of the project's root")


def _file_system(url: str) -> tuple[Any, str]:
    """Return a URL's fsspec file system, and its path there."""
    import fsspec

    try:
        files, base = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise StoreError(f"cannot open {url}: {error}") from error
    return files, str(base).rstrip("/")
