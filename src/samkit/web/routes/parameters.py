"""Parts of requests that many routes share."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from samkit.web.audited import AuditedRoute, FileRoute
from samkit.web.schemas import MOST_INT64, Problem

Key = Annotated[int, Path(ge=1, le=MOST_INT64)]
After = Annotated[int, Query(ge=0, le=MOST_INT64)]
Limit = Annotated[int, Query(ge=1, le=1000)]

TOLD = {
    400: "the request cannot be read",
    401: "not signed in",
    403: "not allowed, or without the CSRF token",
    404: "there is none",
    409: "changed or held by somebody else meanwhile",
    413: "too large",
    415: "of another type",
    422: "does not make sense",
    429: "too many tries",
    503: "the database cannot be used now",
    507: "the server's disk is full",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in TOLD.items()
}


def new_router(route_class: type[AuditedRoute] = AuditedRoute) -> APIRouter:
    """A router below /api."""
    return APIRouter(prefix="/api", route_class=route_class, responses=REFUSALS)


def new_file_router() -> APIRouter:
    """A router whose routes move files in and out."""
    return new_router(FileRoute)
