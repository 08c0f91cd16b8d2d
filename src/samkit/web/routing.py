"""Base of all routes: bounded bodies, the audit log, common parameters, documented errors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from samkit.dataengine import note_action
from samkit.web.problems import status_of
from samkit.web.schemas import MAX_INT64, Problem
from samkit.web.security import client_address
from samkit.web.sign_in import SAFE_METHODS
from samkit.web.state import state_of

MAX_JSON_BYTES = 4 * 2**20  # a mask and its events

Key = Annotated[int, Path(ge=1, le=MAX_INT64)]
After = Annotated[int, Query(ge=0, le=MAX_INT64)]
Limit = Annotated[int, Query(ge=1, le=1000)]

MEANINGS = {
    400: "the request cannot be parsed",
    401: "not signed in",
    403: "not allowed, or the CSRF token is missing",
    404: "not found",
    409: "changed or held by somebody else",
    413: "too large",
    415: "unsupported media type",
    422: "invalid value",
    429: "too many attempts",
    503: "the database is unavailable, or the server is busy",
    507: "the server's disk is full",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in MEANINGS.items()
}


class AuditedRoute(APIRoute):
    """A route that logs unsafe requests of signed-in users, and bounds the size of bodies."""

    max_bytes: ClassVar[int | None] = MAX_JSON_BYTES
    unlogged: ClassVar[tuple[str, ...]] = SAFE_METHODS

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if self.max_bytes is not None:
                request = Request(request.scope, limited(request.receive, self.max_bytes))
            if request.method in self.unlogged:
                return await answer(request)
            status = 500
            try:
                response = await answer(request)
                status = response.status_code
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                await run_in_threadpool(self._note, request, status)
            return response

        return handle

    def _note(self, request: Request, status: int) -> None:
        """Log a request. Strangers, who could fill the log, are logged only when signing in."""
        state = request.state
        if not hasattr(state, "user_id"):
            return
        note_action(
            state_of(request).store,
            user_id=state.user_id,
            action=self.name,
            target=getattr(state, "target", request.url.path),
            status=status,
            address=client_address(request),
        )


class FileRoute(AuditedRoute):
    """A route for uploads, whose size it bounds itself, or downloads; logs every request."""

    max_bytes = None
    unlogged = ()


def limited(receive: Receive, max_bytes: int) -> Receive:
    """Wrap `receive` to refuse a body as soon as it is too large."""
    left = max_bytes

    async def receive_some() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"the request is too large: at most {max_bytes:,} bytes")
        return message

    return receive_some


def new_router(route_class: type[AuditedRoute] = AuditedRoute) -> APIRouter:
    """Create a router below /api."""
    return APIRouter(prefix="/api", route_class=route_class, responses=REFUSALS)


def new_file_router() -> APIRouter:
    """Create a router for uploads and downloads."""
    return new_router(FileRoute)
