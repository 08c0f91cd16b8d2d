"""Bodies of requests: JSON, an image alone, or both as a form; none is read beyond its limit."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from samkit.http import limited
from samkit.serving.config import MEGABYTE
from samkit.serving.jobs import ImageFile

SettingsT = TypeVar("SettingsT", bound=BaseModel)

MAX_JSON_BYTES = 16 * MEGABYTE  # logits of one mask take a third of a megabyte
SETTINGS = "request"  # the form's field of JSON
IMAGE_S, VIDEO_S = 60.0, 600.0  # for all of a body with one
COPIED_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request's body, with the file that came with it."""

    settings: Any
    file: UploadFile | None = None
    content: bytes | None = None

    async def read(self) -> bytes | None:
        """The content of the file; None without one."""
        return self.content if self.file is None else await self.file.read()


@asynccontextmanager
async def read_body(
    request: Request,
    settings: type[SettingsT],
    *,
    field: str,
    max_mb: int,
    within_s: float = IMAGE_S,
) -> AsyncIterator[Body]:
    """Read a body with settings of a kind, and maybe a file.

    Args:
        field: the file's name in a form.
        max_mb: maximum size of the file.
        within_s: time for all of the body.

    Raises:
        HTTPException: it is too large, comes too slowly, or is broken.
        ValidationError: the settings are not valid.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json"
    max_bytes = MAX_JSON_BYTES if is_json else max_mb * MEGABYTE
    if kind == "multipart/form-data":
        max_bytes += MAX_JSON_BYTES
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise HTTPException(413, f"the request is too large: at most {max_bytes:,} bytes")
    request = Request(request.scope, limited(request.receive, max_bytes, within_s))
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=1, max_part_size=MAX_JSON_BYTES) as form:
            unknown = sorted({*form} - {field, SETTINGS})
            file, text = form.get(field), form.get(SETTINGS)
            if unknown or isinstance(file, str) or isinstance(text, UploadFile):
                raise HTTPException(
                    422, f"a form has a file {field!r} and JSON as {SETTINGS!r}; got {unknown}"
                )
            if file is not None and (file.size or 0) > max_mb * MEGABYTE:
                raise HTTPException(413, f"the {field} is too large: at most {max_mb} MB")
            yield Body(settings=await parsed(settings, text or "{}"), file=file)
        return
    content = await request.body()
    if is_json:
        yield Body(settings=await parsed(settings, content))
    elif content:
        yield Body(settings=await parsed(settings, "{}"), content=content)
    else:
        yield Body(settings=await parsed(settings, "{}"))


async def parsed(settings: type[SettingsT], text: str | bytes) -> SettingsT:
    """Parse settings, off the loop, since they may have megabytes."""
    return await run_in_threadpool(settings.model_validate_json, text)


async def image_of(body: Body, sha256: str | None) -> ImageFile:
    """The image of a request: the file, or the hash of an earlier one.

    Raises:
        HTTPException: there is neither, or both.
    """
    content = await body.read()
    if (content is None) == (sha256 is None):
        given = "neither" if content is None else "both"
        raise HTTPException(422, f"send an image, or the hash of an earlier one; got {given}")
    if content is None:
        assert sha256 is not None
        return ImageFile(sha256=sha256)
    if not content:
        raise HTTPException(422, "the image is empty")
    found = await run_in_threadpool(hashlib.sha256, content)
    return ImageFile(sha256=found.hexdigest(), content=content)


@asynccontextmanager
async def stored(body: Body) -> AsyncIterator[Path]:
    """The file of a request on the disk, until it was answered.

    Raises:
        HTTPException: there is none, or it is no video.
    """
    with tempfile.NamedTemporaryFile(prefix="samkit-", suffix=".video") as target:
        if body.file is not None:
            await run_in_threadpool(copy, body.file.file, target)
        elif body.content:
            await run_in_threadpool(target.write, body.content)
        else:
            raise HTTPException(422, "send a video, as the form's file 'video'")
        target.flush()
        with Path(target.name).open("rb") as written:
            if not is_video(written.read(64)):
                raise HTTPException(415, "a video is an MP4, MOV, MKV, WebM, AVI, OGG or TS file")
        yield Path(target.name)


def copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy a file."""
    while block := source.read(COPIED_BYTES):
        target.write(block)


def is_video(start: bytes) -> bool:
    """Whether a file begins as a video; a playlist, which could name other files, does not."""
    return (
        start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or start.startswith((b"\x1aE\xdf\xa3", b"OggS", b"G"))
        or (start.startswith(b"RIFF") and start[8:12] == b"AVI ")
    )
