"""Errors as answers: always `{"detail": one line}`."""

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

# The first that fits counts.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (ConflictError, 409),
    (MissingError, 404),
    (RoleError, 403),
    (DatabaseError, 503),
    (OutputError, 507),
    (SamkitError, 422),
    (RequestValidationError, 422),
)
# What happens on the server's side is told to its log, not to everybody.
HIDDEN = {
    503: "the database cannot be used now: try again later",
    507: "the server cannot write its files: tell whoever runs it",
}
MOST_CHARACTERS = 500


def status_of(error: Exception) -> int:
    """The status that an error is answered with."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def add_error_handlers(app: FastAPI) -> None:
    """Make answers of all errors."""
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
        detail = tell_validation(error.errors())
    else:
        detail = HIDDEN.get(status, "something went wrong on the server")
        if status not in HIDDEN and status != 500:
            detail = str(error)
    return JSONResponse({"detail": one_line(detail)}, status, headers)


def tell_validation(errors: Sequence[Any]) -> str:
    """One line of pydantic's errors, without what came."""
    told = []
    for one in errors:
        place = ".".join(str(part) for part in one["loc"] if part not in ("body", "query", "path"))
        told.append(f"{place}: {one['msg']}" if place else str(one["msg"]))
    return "; ".join(told)


def one_line(text: str) -> str:
    """A text without line breaks, and without halves of surrogate pairs, which no JSON takes."""
    line = " ".join(text.split())[:MOST_CHARACTERS]
    return line.encode(errors="replace").decode()
