"""Routes for imports and exports."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Annotated, Literal, TypeAlias
from urllib.parse import quote

from fastapi import HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from samkit.annotations import FORMATS, ReadOptions
from samkit.dataengine import (
    FINISHED,
    ImportReport,
    Review,
    export_project,
    get_project,
    import_masks,
)
from samkit.errors import DataError
from samkit.web.routing import Key, new_file_router
from samkit.web.sign_in import Admin, Reviewer
from samkit.web.state import ServerState, TheState
from samkit.web.uploads import receive_file, unpack

router = new_file_router()

ExportFormat: TypeAlias = Literal[
    "coco",
    "cvat",
    "datumaro",
    "geojson",
    "labelme",
    "label-studio",
    "png",
    "roboflow",
    "sa1b",
    "voc",
    "yolo",
]
TEXTS = (".json", ".geojson", ".txt", ".xml", ".yaml")
BLOCK_BYTES = 2**18
NAMED = 3  # faults in a message
JSON, ZIP = "application/json", "application/zip"
# Files of masks by the type of the request's body.
RECEIVED = {
    JSON: "masks.json",
    "application/xml": "masks.xml",
    "text/xml": "masks.xml",
    ZIP: "",
    "application/x-zip-compressed": "",  # as Windows calls it
}
BODY = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/projects/{project_id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {ZIP: {}}, "description": "a zip of the files"}},
)
def export(
    studio: TheState,
    _user: Reviewer,
    project_id: Key,
    format: ExportFormat,  # noqa: A002 - in URLs
    val_fraction: Annotated[float, Query(ge=0, lt=1)] = 0.0,
    *,
    states: Annotated[tuple[Review, ...], Query(min_length=1)] = FINISHED,
    copy_images: bool = False,
) -> StreamingResponse:
    """Export a project's masks as a zip; images without masks only if somebody submitted them."""
    project = get_project(studio.store, project_id)
    with studio.exchanging, tempfile.TemporaryDirectory(prefix="samkit-export-") as folder:
        report = export_project(
            studio.store,
            project_id,
            folder,
            file_format=format,
            val_fraction=val_fraction,
            states=states,
            copy_images=copy_images,
        )
        if report.faults:  # a zip without them would look complete
            raise HTTPException(422, _refusal(report.faults))
        packed = pack(Path(folder))
    name = quote(f"{project.name}-{format}.zip", safe="")
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "Content-Length": str(packed.seek(0, os.SEEK_END)),
    }
    return StreamingResponse(blocks(packed), media_type=ZIP, headers=headers)


def _refusal(faults: Sequence[str]) -> str:
    """One line that names the first few faults of an export."""
    number, more = len(faults), len(faults) - NAMED
    return (
        f"{number:,} image{'' if number == 1 else 's'} cannot be exported:"
        f" {'; '.join(faults[:NAMED])}{f'; and {more:,} more' if more > 0 else ''}."
        " `samkit engine export` exports the others"
    )


@router.post(
    "/projects/{project_id}/import",
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(RECEIVED, BODY)}},
)
async def import_files(
    request: Request,
    studio: TheState,
    admin: Admin,
    project_id: Key,
    format: Annotated[str | None, Query()] = None,  # noqa: A002 - its name in URLs
    *,
    void: Annotated[int | None, Query(ge=0, le=65535)] = None,
    crowds: bool = True,
    boxes: bool = False,
    binary: bool = False,
) -> ImportReport:
    """Import masks for a project's images; the body is a JSON or XML file, or a zip of files.

    The format is detected, or one of `samkit.annotations.FORMATS`; the other parameters are those
    of `samkit.annotations.ReadOptions`.
    """
    if format is not None and format not in FORMATS:
        raise HTTPException(422, f"no format {format!r:.40}: expected one of {', '.join(FORMATS)}")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in RECEIVED:
        raise HTTPException(415, f"masks must be sent as {', '.join(RECEIVED)}")
    await run_in_threadpool(get_project, studio.store, project_id)
    with tempfile.TemporaryDirectory(prefix="samkit-import-") as name:
        received = Path(name) / "received"
        await receive_file(request, received, max_bytes=studio.config.max_upload_bytes)
        return await run_in_threadpool(
            _import,
            studio,
            project_id,
            received,
            name=RECEIVED[kind],
            file_format=format,
            options=ReadOptions(crowds=crowds, boxes=boxes, void=void, binary=binary or None),
            user_id=admin.id,
        )


def _import(
    studio: ServerState,
    project_id: int,
    received: Path,
    *,
    name: str,
    file_format: str | None,
    options: ReadOptions,
    user_id: int,
) -> ImportReport:
    folder = received.parent / "files"
    folder.mkdir()
    with studio.exchanging:
        if name:
            received.rename(folder / name)
        else:
            unpack(received, folder, max_bytes=studio.config.max_unpacked_mb * 2**20)
        path = folder / name if name else folder
        try:
            report = import_masks(
                studio.store,
                project_id,
                path,
                file_format=file_format,
                options=options,
                user_id=user_id,
            )
        except DataError as error:
            raise DataError(without_folder(folder, str(error))) from error
    return replace(report, faults=tuple(without_folder(folder, one) for one in report.faults))


def without_folder(folder: Path, text: str) -> str:
    """A message without the temporary folder, which says nothing to who sent the files."""
    return text.replace(f"{folder}/", "").replace(str(folder), "the zip")


def pack(folder: Path) -> IO[bytes]:
    """Zip a folder; images, which are compressed already, are stored.

    The file has no name: it is gone once it is closed, also if the client disconnects.
    """
    packed = tempfile.TemporaryFile()  # noqa: SIM115 - `blocks` closes it
    try:
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    method = zipfile.ZIP_DEFLATED if path.suffix in TEXTS else zipfile.ZIP_STORED
                    archive.write(path, path.relative_to(folder), method)
    except BaseException:
        packed.close()
        raise
    return packed


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Iterate over a file's content from its beginning, and close the file."""
    with file:
        file.seek(0)
        while block := file.read(BLOCK_BYTES):
            yield block
