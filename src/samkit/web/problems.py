"""Error responses: always `{"detail": one line}`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from samkit.errors import (
    ConflictError,
    DatabaseError,
    MissingError,
    OutputError,
    RoleError,
    SamkitError,
)

logger = logging.getLogger(__name__)

# The first match counts.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (ConflictError, 409),
    (MissingError, 404),
    (RoleError, 403),
    (DatabaseError, 503),
    (OutputError, 507),
    (SamkitError, 422),
    (RequestValidationError, 422),
)
# Details of faults on the server's side go to its log only.
HIDDEN = {
    503: "the database is unavailable: try again later",
    507: "the server cannot write its files: tell its administrator",
}
MAX_CHARACTERS = 500


def status_of(error: Exception) -> int:
    """Return the HTTP status for an error."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error as JSON."""
    for kind in (HTTPException, RequestValidationError, SamkitError, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    status = status_of(error)
    headers = getattr(error, "headers", None)
    if status in HIDDEN or status == 500:
        logger.error("%s %s: %s", request.method, request.url.path, error)
    if isinstance(error, HTTPException):
        detail = str(error.detail)
    elif isinstance(error, RequestValidationError):
        detail = describe_validation(error.errors())
    else:
        detail = HIDDEN.get(status, "something went wrong on the server")
        if status not in HIDDEN and status != 500:
            detail = str(error)
    return JSONResponse({"detail": one_line(detail)}, status, headers)


def describe_validation(errors: Sequence[Any]) -> str:
    """Summarise pydantic's errors on one line, without the rejected input."""
    lines = []
    for one in errors:
        place = ".".join(str(part) for part in one["loc"] if part not in ("body", "query", "path"))
        lines.append(f"{place}: {one['msg']}" if place else str(one["msg"]))
    return "; ".join(lines)


def one_line(text: str) -> str:
    """Remove line breaks, and lone surrogates, which JSON cannot hold."""
    line = " ".join(text.split())[:MAX_CHARACTERS]
    return line.encode(errors="replace").decode()
