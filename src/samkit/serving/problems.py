"""Errors as RFC 9457 problems: `application/problem+json`, the detail on one line."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from samkit.errors import SamkitError, WorkerError
from samkit.http import describe_validation, one_line
from samkit.serving.errors import BusyError, NoTextModelError, TimedOutError, UnknownImageError
from samkit.serving.wire import TYPE_PREFIX, to_json

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1  # where the queue says nothing
# The first match applies.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownImageError, 404),
    (BusyError, 429),
    (NoTextModelError, 501),
    (WorkerError, 503),
    (TimedOutError, 504),
    (SamkitError, 422),
    (RequestValidationError, 422),
    (ValidationError, 422),
)
RETRIED = (429, 503)


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem that an error is for whoever asks."""
    name = type(error).__name__
    if isinstance(error, HTTPException):
        status, detail, name = error.status_code, str(error.detail), "RequestError"
    else:
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        detail = "something went wrong on the server"
        if isinstance(error, RequestValidationError | ValidationError):
            detail, name = describe_validation(error.errors()), "RequestError"
        elif status != 500:
            detail = str(error)
        else:
            name = "ServerError"
    return {
        "type": f"{TYPE_PREFIX}{name}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": one_line(detail),
    }


def problem_line(error: Exception) -> dict[str, Any]:
    """The problem as a line of a stream or a session, whose `type` says what a line is."""
    problem = problem_of(error)
    return problem | {"type": "problem", "error": problem["type"]}


def problem_response(error: Exception) -> Response:
    """The answer to an error."""
    problem = problem_of(error)
    headers = dict(getattr(error, "headers", None) or {})
    if problem["status"] in RETRIED:
        headers["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    if problem["status"] == 429:  # the body has not been read, and will not be
        headers["Connection"] = "close"
    return Response(to_json(problem), problem["status"], headers, MEDIA_TYPE)


def add_error_handlers(app: FastAPI) -> None:
    """Answer all errors of an app as problems."""

    async def answer(request: Request, error: Exception) -> Response:
        response = problem_response(error)
        if response.status_code == 500:
            logger.error("%s %s: %s", request.method, request.url.path, error)
        return response

    for kind in (HTTPException, RequestValidationError, ValidationError, SamkitError, Exception):
        app.add_exception_handler(kind, answer)
