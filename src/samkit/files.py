"""Atomic file writes, locks, checksums and the cache folder."""

import atexit
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from platformdirs import user_cache_path

from samkit.errors import DataError, OutputError

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows: concurrent runs into one folder go unnoticed
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

HASH_BLOCK_BYTES = 2**22
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
CACHE_VARIABLE = "SAMKIT_CACHE"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# After UTF-8: what Windows programs write in China, whose bytes hardly ever make sense by chance,
# and in western Europe.
OTHER_ENCODINGS = ("gb18030", "cp1252")


def cache_folder() -> Path:
    """Folder for files that can be recomputed: $SAMKIT_CACHE, else the user's cache folder.

    If it is not writable, a temporary folder takes its place until the process ends, with one
    warning; but an existing folder with content is still read from.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    return _usable_cache(Path(chosen) if chosen else user_cache_path("samkit"))


@cache
def _usable_cache(folder: Path) -> Path:
    try:
        check_writable(folder)
    except OutputError as error:
        if folder.is_dir() and any(folder.iterdir()):
            return folder
        temporary = Path(tempfile.mkdtemp(prefix="samkit-cache-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        logger.warning(
            "no cache: %s; it is in %s until this process ends, and models are converted anew each"
            " time: set %s to a folder that can be written to",
            error,
            temporary,
            CACHE_VARIABLE,
        )
        return temporary
    return folder


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on failure.

    Raises:
        OutputError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        # Not named after the target, whose name may already be as long as the disk allows.
        descriptor, name = tempfile.mkstemp(prefix=".samkit.", dir=target.parent)
        os.close(descriptor)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason(error)}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason(error)}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def reason(error: OSError) -> str:
    """The system's message, with advice if the disk is full."""
    said = error.strerror or str(error)
    return f"{said}; free some space" if error.errno in FULL_DISK else said


def _umask() -> int:
    """The process's file mode mask, which `mkstemp` ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file in UTF-8 or UTF-16, or in what Windows programs write.

    Raises:
        DataError: the file is missing, or in none of these encodings.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {os.fspath(path)}: {why}") from error
    first = "utf-16" if data.startswith(UTF16_MARKS) else "utf-8-sig"
    for encoding in (first, *OTHER_ENCODINGS):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:  # noqa: PERF203 - three at most
            continue
    raise DataError(f"{os.fspath(path)} is no text: save it as UTF-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read any JSON file, in any of the encodings of `read_text`.

    Raises:
        DataError: missing, or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{os.fspath(path)} is not JSON: {error}") from error


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, "Tensor"], metadata: dict[str, str]
) -> None:
    """Write tensors on any device to a safetensors file, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(own, temporary, metadata=metadata)
        except SafetensorError as error:  # such as a full disk
            raise OutputError(f"cannot write {path}: {error}") from error


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Create a folder with all folders above it, unless it exists.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {reason(error)}") from error


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Check that a folder is writable or can be created, without creating it.

    An empty folder is created for a moment in the nearest folder that exists, since some places
    refuse what their file modes allow, such as /proc and disks mounted read-only.

    Raises:
        OutputError: the folder cannot be written to.
    """
    folder = Path(folder)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise OutputError(f"cannot write to {folder}: {existing} is not a folder")
    try:
        Path(tempfile.mkdtemp(prefix=".samkit.", dir=existing)).rmdir()
    except PermissionError as error:
        raise OutputError(f"cannot write to {folder}: no permission in {existing}") from error
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {reason(error)} when creating a folder in {existing}"
        ) from error


def hold(file: BinaryIO, place: str | os.PathLike[str]) -> None:
    """Lock `place` against other runs for as long as `file`, one of its files, stays open.

    Raises:
        OutputError: another run holds the lock.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"another run is writing to {place}: wait for it, or give another folder"
        ) from error
    except OSError:  # a file system without locks
        return


def complete_lines(file: BinaryIO) -> list[bytes]:
    """Read the lines of a file that is open for appending.

    Half a line at its end, of a run that was killed, is removed.
    """
    file.seek(0)
    content = file.read()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        file.truncate(len(complete))
    return complete.splitlines()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def remove_least_used(
    files: Iterable[tuple[float, int, Path]], max_bytes: int, *, spared: Path | None = None
) -> None:
    """Remove the least recently used files of a cache until the others are within a limit.

    Args:
        files: time of last use, size and path of each.
        spared: one that stays in any case.
    """
    ordered = sorted(files)
    total = sum(size for _, size, _ in ordered)
    for _, size, path in ordered:
        if total <= max_bytes:
            return
        if path != spared:
            with suppress(OSError):  # on Windows, open in another process
                path.unlink(missing_ok=True)
                total -= size
