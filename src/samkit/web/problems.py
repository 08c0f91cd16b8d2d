"""Conversion of errors to HTTP answers, always `{"detail": one line}`."""

from __future__ import annotations

import logging

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
    StoreFullError,
)
from samkit.http import describe_validation, one_line

logger = logging.getLogger(__name__)

# The first match applies.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (ConflictError, 409),
    (MissingError, 404),
    (RoleError, 403),
    (StoreFullError, 507),
    (DatabaseError, 503),
    (OutputError, 507),
    (SamkitError, 422),
    (RequestValidationError, 422),
)
# Problems of the server go to its log in detail, and to users as these lines.
HIDDEN = {
    503: "the database cannot be used now: try again later",
    507: "the server cannot write its files: contact its administrator",
}


def status_of(error: Exception) -> int:
    """HTTP status of the answer to an error."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def add_error_handlers(app: FastAPI) -> None:
    """Answer all errors of an app as one line."""
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
