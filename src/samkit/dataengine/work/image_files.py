"""Image files of a project: reading them, and receiving uploads."""

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from samkit.arrays import RgbImage
from samkit.dataengine.database import Store
from samkit.dataengine.values import StoredImage
from samkit.dataengine.work.ingest import add_image
from samkit.dataengine.work.projects import get_project
from samkit.dataengine.work.sources import FileMark, ImageSource, page_sha256
from samkit.errors import ConflictError, ImageError, SamkitError, StoreError
from samkit.files import HASH_BLOCK_BYTES, make_folder, remove_least_used
from samkit.formats import (
    Pyramid,
    ValuePyramid,
    has_image_suffix,
    is_deep,
    make_pyramid,
    make_value_pyramid,
    read_image_file,
    read_image_size,
)

AnyPyramid = TypeVar("AnyPyramid", Pyramid, ValuePyramid)

MAX_NAME = 200  # characters
TEMPORARY = ".samkit."  # prefix of files that are being written
ABANDONED_S = 24 * 60 * 60  # age of such a file that nobody writes any more
MAX_IN_MEMORY = 2**25  # bytes; larger files are not read as a whole
# Characters that other systems or shells interpret.
FORBIDDEN = '<>:"|?*\\/'


@contextmanager
def open_image_file(store: Store, image: StoredImage) -> Iterator[IO[bytes]]:
    """Open an image's file, with seek, after checking that it is the one that was added.

    Raises:
        ConflictError: the file has changed; its masks belong to the old pixels.
        StoreError: the file cannot be read.
    """
    with open_image_below(get_project(store, image.project_id).root, image) as file:
        yield file


@contextmanager
def open_image_below(root: str, image: StoredImage) -> Iterator[IO[bytes]]:
    """Open an image's file as `open_image_file` does, without the store.

    Args:
        root: root of the image's project.

    Raises:
        ConflictError: the file has changed; its masks belong to the old pixels.
        StoreError: the file cannot be read.
    """
    source = ImageSource(root)
    with source.open(image.path) as file:
        if image.num_bytes <= MAX_IN_MEMORY:
            content = file.read(image.num_bytes + 1)
            checked: IO[bytes] = io.BytesIO(content)
            sha256 = hashlib.sha256(content).hexdigest()
        else:  # a large stack, say, of which each page is asked for by itself
            checked = file
            mark = source.mark(image.path)
            compute = _known_sha256 if mark.modified_ns else _known_sha256.__wrapped__
            sha256 = compute(source.root, image.path, mark)
        if page_sha256(sha256, image.page) != image.sha256:
            raise ConflictError(f"{image.path} has changed since it was added")
        checked.seek(0)
        yield checked


@lru_cache(maxsize=64)
def _known_sha256(root: str, path: str, mark: FileMark) -> str:  # noqa: ARG001
    """Checksum of a file, computed again only if size or time of the file change."""
    digest = hashlib.sha256()
    with ImageSource(root).open(path) as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_stored_image(store: Store, image: StoredImage, *, max_pixels: int) -> RgbImage:
    """Read an image's upright pixels, uint8 RGB (H, W, 3).

    Raises:
        ImageError: damaged, or larger than `max_pixels`, which is checked before decoding.
        ConflictError: the file has changed since it was added.
        StoreError: the file cannot be read.
    """
    root = get_project(store, image.project_id).root
    return read_image_below(root, image, max_pixels=max_pixels)


def read_image_below(root: str, image: StoredImage, *, max_pixels: int) -> RgbImage:
    """Read an image's pixels as `read_stored_image` does, without the store.

    Args:
        root: root of the image's project.
    """
    with open_image_below(root, image) as file:
        return read_image_file(
            file,
            image.path,
            page=image.page,
            value_range=image.value_range,
            max_pixels=max_pixels,
        )


def pyramid_file(folder: Path, image: StoredImage) -> Path:
    """Where the pyramid of a large image is, in a folder of them."""
    return folder / f"{image.pixels_key}.tiles"


def open_pyramid(store: Store, image: StoredImage, folder: Path) -> Pyramid:
    """Open the pyramid of a large image, which is made if there is none.

    Args:
        folder: of pyramids; opening one records the time, by which the least used go first.

    Raises:
        ConfigError: libvips is not installed.
        ConflictError: the file has changed since it was added.
        ImageError: it is damaged, too large, or of a kind that cannot be read in parts.
        OutputError: the pyramid cannot be written.
        StoreError: the file cannot be read.
    """
    path = pyramid_file(folder, image)
    found = _opened(Pyramid, path)
    if found is None:
        make_folder(folder)
        with open_image_file(store, image) as file:
            make_pyramid(file, image.path, path, page=image.page, value_range=image.value_range)
        found = Pyramid(path)
    return found


def value_pyramid_file(folder: Path, image: StoredImage) -> Path:
    """Where the values of a large image are, in a folder of pyramids."""
    return folder / f"{image.sha256}.values"


def open_value_pyramid(store: Store, image: StoredImage, folder: Path) -> ValuePyramid:
    """Open the values of a large image, which are written if they are not there.

    Arguments and errors are those of `open_pyramid`.
    """
    path = value_pyramid_file(folder, image)
    found = _opened(ValuePyramid, path)
    if found is None:
        make_folder(folder)
        with open_image_file(store, image) as file:
            make_value_pyramid(file, image.path, path, page=image.page)
        found = ValuePyramid(path)
    return found


def trim_pyramids(folder: Path, max_bytes: int, *, newest: Path) -> None:
    """Remove abandoned files of a folder of pyramids, and the least used ones beyond a limit.

    Args:
        newest: one that stays in any case.
    """
    for modified, _, path in list(_files(folder)):
        if path.name.startswith(TEMPORARY) and time.time() - modified > ABANDONED_S:
            path.unlink(missing_ok=True)
    remove_least_used(_files(folder), max_bytes, spared=newest)


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # removed by another process
            status = path.stat()
            yield status.st_mtime, status.st_size, path


def _opened(kind: Callable[[Path], AnyPyramid], path: Path) -> AnyPyramid | None:
    """Open a pyramid and record the time; None if it must be made."""
    with suppress(ImageError):  # missing or damaged
        found = kind(path)
        os.utime(path)
        return found
    return None


def has_deep_values(store: Store, image: StoredImage) -> bool:
    """Whether a large image has values of more than 8 bits, by its file's header.

    Raises:
        ConfigError: libvips is not installed.
        ConflictError: the file has changed since it was added.
        ImageError: it is damaged, too large, or of a kind that cannot be read in parts.
        StoreError: the file cannot be read.
    """
    with open_image_file(store, image) as file:
        return is_deep(file, image.path, page=image.page)


def upload_folder(store: Store, project_id: int) -> Path:
    """Return the folder that receives a project's uploads: its root.

    Raises:
        StoreError: the project's root is a URL.
    """
    folder = ImageSource(get_project(store, project_id).root).folder
    if folder is None:
        raise StoreError("the project's root is a URL: put new images there, then scan")
    return folder


def receive_image(
    store: Store, project_id: int, received: Path, name: str, *, max_pixels: int
) -> StoredImage:
    """Add an uploaded file to a project.

    Args:
        received: the file, in `upload_folder`; the caller may delete it afterwards.
        name: name to store it under, without folders.
        max_pixels: larger images are refused before decoding.

    Raises:
        StoreError: the name is not valid for an image.
        ImageError: not an image, or too large.
        ConflictError: the name or the content exists already.
    """
    check_name(name)
    with received.open("rb") as file:
        read_image_size(file, name, max_pixels=max_pixels)
    folder = upload_folder(store, project_id)
    target = folder / name
    try:
        # Temporary files are readable by their owner only; images get the folder's permissions.
        received.chmod(folder.stat().st_mode & 0o666)
        os.link(received, target)  # unlike renaming, refuses to replace another file
    except FileExistsError as error:
        raise ConflictError(f"there is a file {name!r} already: choose another name") from error
    except OSError as error:
        raise StoreError(f"cannot save {name!r:.100}: {error.strerror}") from error
    try:
        return add_image(store, project_id, name)
    except SamkitError:
        target.unlink()
        raise


def check_name(name: str) -> None:
    """Check the name of an uploaded image.

    Raises:
        StoreError: a path, hidden, not printable, or without the suffix of an image.
    """
    plain = name == PurePosixPath(name).name and not set(name) & set(FORBIDDEN)
    if not plain or not name.isprintable() or name.startswith(".") or len(name) > MAX_NAME:
        raise StoreError(f"{name!r:.100} is not a valid file name: give one without folders")
    if not has_image_suffix(name):
        raise StoreError(f"{name!r:.100} must have the suffix of an image, such as .jpg or .png")
