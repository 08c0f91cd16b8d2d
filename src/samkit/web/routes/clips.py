"""Routes for exports and imports of videos' tracks."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from samkit.annotations import CLIP_FORMATS
from samkit.dataengine import (
    REVIEWS,
    ClipFormat,
    ClipImport,
    Review,
    export_clips,
    get_project,
    import_clips,
)
from samkit.errors import DataError
from samkit.web.routes.exchange import BODY, RECEIVED, ZIP, blocks, pack, without_folder
from samkit.web.routing import Key, new_file_router
from samkit.web.sign_in import Admin, Reviewer
from samkit.web.state import ServerState, TheState
from samkit.web.uploads import receive_file, unpack

router = new_file_router()

KINDS = {**RECEIVED, "text/plain": "gt.txt"}


@router.get(
    "/projects/{project_id}/videos/export",
    response_class=StreamingResponse,
    responses={200: {"content": {ZIP: {}}, "description": "a zip of the files"}},
)
def export(
    studio: TheState,
    _user: Reviewer,
    project_id: Key,
    format: ClipFormat,  # noqa: A002 - in URLs
    *,
    states: Annotated[tuple[Review, ...], Query(min_length=1)] = REVIEWS,
    copy_frames: bool = False,
) -> StreamingResponse:
    """Export the tracks of a project's videos as a zip."""
    project = get_project(studio.store, project_id)
    with studio.exchanging, tempfile.TemporaryDirectory(prefix="samkit-export-") as folder:
        export_clips(
            studio.store,
            project_id,
            folder,
            file_format=format,
            states=states,
            copy_frames=copy_frames,
        )
        packed = pack(Path(folder))
    name = quote(f"{project.name}-{format}.zip", safe="")
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "Content-Length": str(packed.seek(0, os.SEEK_END)),
    }
    return StreamingResponse(blocks(packed), media_type=ZIP, headers=headers)


@router.post(
    "/projects/{project_id}/videos/import",
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(KINDS, BODY)}},
)
async def import_tracks(
    request: Request,
    studio: TheState,
    admin: Admin,
    project_id: Key,
    format: Annotated[str | None, Query()] = None,  # noqa: A002 - its name in URLs
) -> ClipImport:
    """Import tracks for a project's videos; the body is a JSON, XML or text file, or a zip.

    The format is detected, or one of `samkit.annotations.CLIP_FORMATS`.
    """
    if format is not None and format not in CLIP_FORMATS:
        known = ", ".join(CLIP_FORMATS)
        raise HTTPException(422, f"no format {format!r:.40}: expected one of {known}")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise HTTPException(415, f"tracks must be sent as {', '.join(KINDS)}")
    await run_in_threadpool(get_project, studio.store, project_id)
    with tempfile.TemporaryDirectory(prefix="samkit-import-") as name:
        received = Path(name) / "received"
        await receive_file(request, received, max_bytes=studio.config.max_upload_bytes)
        return await run_in_threadpool(
            partial(
                _import,
                studio,
                project_id,
                received,
                name=KINDS[kind],
                file_format=format,
                user_id=admin.id,
            )
        )


def _import(
    studio: ServerState,
    project_id: int,
    received: Path,
    *,
    name: str,
    file_format: str | None,
    user_id: int,
) -> ClipImport:
    folder = received.parent / "files"
    folder.mkdir()
    with studio.exchanging:
        if name:
            received.rename(folder / name)
        else:
            unpack(received, folder, max_bytes=studio.config.max_unpacked_mb * 2**20)
        path = folder / name if name else folder
        try:
            report = import_clips(
                studio.store, project_id, path, user_id=user_id, file_format=file_format
            )
        except DataError as error:
            raise DataError(without_folder(folder, str(error))) from error
    return replace(report, faults=tuple(without_folder(folder, one) for one in report.faults))
