"""Uploaded files: limited in size, with zips checked for what they declare and contain."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import HTTPException, Request

from samkit.http import within

MAX_FILES = 100_000  # in a zip
# Unpacked bytes per packed byte. Real masks reach 200; deflate's maximum is 1,032.
MAX_RATIO = 300
RATIO_FREE_BYTES = 2**20  # zips that unpack to less are not bombs
ENCRYPTED = 0x1
BLOCK_BYTES = 2**20
PAUSE_S = 60.0  # between two parts of an upload


async def receive_file(request: Request, target: Path, *, max_bytes: int) -> None:
    """Write a request's body to a file.

    Raises:
        HTTPException: 413 as soon as the body is too large, 408 if its sender pauses for too long.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise HTTPException(413, f"the file is too large: at most {max_bytes:,} bytes")
    received = 0
    with target.open("wb") as file:
        chunks = request.stream()
        while True:
            try:
                chunk = await within(PAUSE_S, anext(chunks))
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise HTTPException(408, f"nothing was sent for {PAUSE_S:g} s") from error
            received += len(chunk)
            if received > max_bytes:
                raise HTTPException(413, f"the file is too large: at most {max_bytes:,} bytes")
            file.write(chunk)


def unpack(path: Path, folder: Path, *, max_bytes: int) -> None:
    """Unpack a zip that may be malicious.

    Raises:
        HTTPException: 422 for files that are not zips, or contain paths outside the folder, links
            or encrypted files; 413 for too many files or bytes, whatever the zip declares.
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
    # zipfile raises many kinds of errors on damaged files; OSError comes from names that are both
    # files and folders, or too long.
    except Exception as error:
        raise HTTPException(422, f"the zip cannot be unpacked: {error}") from error


def check_members(members: list[zipfile.ZipInfo], *, packed_bytes: int, max_bytes: int) -> None:
    """Check a zip's table of contents before unpacking anything.

    Raises:
        HTTPException: see `unpack`.
    """
    if len(members) > MAX_FILES:
        raise HTTPException(413, f"the zip has {len(members):,} files: at most {MAX_FILES:,}")
    for one in members:
        path = PurePosixPath(one.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in one.filename or ":" in one.filename:
            raise HTTPException(422, f"the zip has a path outside of itself: {one.filename!r:.100}")
        kind = stat.S_IFMT(one.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise HTTPException(422, f"the zip has more than plain files: {one.filename!r:.90}")
        if one.flag_bits & ENCRYPTED:
            raise HTTPException(422, "the zip is encrypted")
    total = sum(one.file_size for one in members)
    if total > max_bytes:
        raise HTTPException(413, f"the zip unpacks to {total:,} bytes: at most {max_bytes:,}")
    if total > max(RATIO_FREE_BYTES, MAX_RATIO * packed_bytes):
        raise HTTPException(413, "the zip unpacks to far more than its size: it may be a bomb")


def _copy(source: IO[bytes], out: IO[bytes], *, max_bytes: int) -> int:
    """Copy a file and return its length; refuse one that is longer than declared."""
    copied = 0
    while block := source.read(BLOCK_BYTES):
        copied += len(block)
        if copied > max_bytes:
            raise HTTPException(413, "the zip unpacks to more than it declares")
        out.write(block)
    return copied
