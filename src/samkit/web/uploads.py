"""Files that come from outside: bounded in bytes, and zips in all that they claim and hold."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import HTTPException, Request

MOST_FILES = 100_000  # of a zip
# Unpacked bytes for each packed one. Real masks reach 200; deflate's most is 1,032.
MOST_RATIO = 300
RATIO_FREE_BYTES = 2**20  # what so little unpacks to is no bomb
ENCRYPTED = 0x1
BLOCK_BYTES = 2**20


async def receive_file(request: Request, target: Path, *, max_bytes: int) -> None:
    """Write a request's body to a file.

    Raises:
        HTTPException: 413 as soon as it is too large.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise HTTPException(413, f"the file is too large: at most {max_bytes:,} bytes")
    received = 0
    with target.open("wb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes:
                raise HTTPException(413, f"the file is too large: at most {max_bytes:,} bytes")
            file.write(chunk)


def unpack(path: Path, folder: Path, *, max_bytes: int) -> None:
    """Unpack a zip that may have been made to do harm.

    Raises:
        HTTPException: 422 for what is no zip, or has paths out of the folder, links or secrets;
            413 for too many files or bytes, whatever the zip says of itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            check_members(members, packed_bytes=path.stat().st_size, max_bytes=max_bytes)
            left = max_bytes
            for member in members:
                target = folder / PurePosixPath(member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as out:
                    left -= _copy(source, out, max_bytes=left)
    except HTTPException:
        raise
    # zipfile raises many kinds of errors on damaged files; OSError: names that are files and
    # folders, or too long.
    except Exception as error:
        raise HTTPException(422, f"the zip cannot be unpacked: {error}") from error


def check_members(members: list[zipfile.ZipInfo], *, packed_bytes: int, max_bytes: int) -> None:
    """Check what a zip says of its files, before any is unpacked.

    Raises:
        HTTPException: see `unpack`.
    """
    if len(members) > MOST_FILES:
        raise HTTPException(413, f"the zip has {len(members):,} files: at most {MOST_FILES:,}")
    for one in members:
        path = PurePosixPath(one.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in one.filename or ":" in one.filename:
            raise HTTPException(422, f"the zip has a path out of itself: {one.filename!r:.100}")
        kind = stat.S_IFMT(one.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise HTTPException(422, f"the zip has more than plain files: {one.filename!r:.90}")
        if one.flag_bits & ENCRYPTED:
            raise HTTPException(422, "the zip is encrypted")
    total = sum(one.file_size for one in members)
    if total > max_bytes:
        raise HTTPException(413, f"the zip unpacks to {total:,} bytes: at most {max_bytes:,}")
    if total > max(RATIO_FREE_BYTES, MOST_RATIO * packed_bytes):
        raise HTTPException(413, "the zip unpacks to far more than it takes: it may be a bomb")


def _copy(source: IO[bytes], out: IO[bytes], *, max_bytes: int) -> int:
    """Copy a file, and give its length; one that is longer than it says is refused."""
    copied = 0
    while block := source.read(BLOCK_BYTES):
        copied += len(block)
        if copied > max_bytes:
            raise HTTPException(413, "the zip unpacks to more than it says")
        out.write(block)
    return copied
