"""Base of all routes: bounded bodies, the audit log, common parameters, documented errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import limit_role, note_action
from samkit.errors import DatabaseError
from samkit.http import client_address, limited
from samkit.web.problems import status_of
from samkit.web.schemas import MAX_INT32, MAX_INT64, Problem
from samkit.web.sign_in import SAFE_METHODS, find_sign_in
from samkit.web.state import state_of

logger = logging.getLogger(__name__)

MAX_JSON_BYTES = 4 * 2**20  # a mask and its events
MAX_STRANGERS_BYTES = 8 * 2**10  # a name and a password of a thousand characters

Answer: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]

Key = Annotated[int, Path(ge=1, le=MAX_INT64)]
TilePlace = Annotated[int, Path(ge=0, le=MAX_INT32)]
After = Annotated[int, Query(ge=0, le=MAX_INT64)]
Limit = Annotated[int, Query(ge=1, le=1000)]

MEANINGS = {
    400: "the request cannot be parsed",
    401: "not signed in",
    403: "not allowed, or the CSRF token is missing",
    404: "not found",
    408: "the body did not arrive in time",
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

    def get_route_handler(self) -> Answer:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if "authorization" not in request.headers:
                return await answer_and_note(request)
            current = await run_in_threadpool(find_sign_in, request, state_of(request))
            request.state.sign_in = current
            if current is None:
                return await answer_and_note(request)
            with limit_role(current.user.role):
                return await answer_and_note(request)

        async def answer_and_note(request: Request) -> Response:
            if request.method in self.unlogged:
                return await answer(request)
            status = 500
            try:
                response = await self._answer_change(answer, request)
                status = response.status_code
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                await run_in_threadpool(self._note, request, status)
            return response

        return handle

    async def _answer_change(self, answer: Answer, request: Request) -> Response:
        """Answer a request that may change something, after reading all of its body.

        Strangers can only sign in, so that no more of their bodies is read. Of signed-in people a
        few changes are made at once, and the others wait here: on a thread each, while the store is
        locked, they would leave none to those who only read.
        """
        if self.max_bytes is None:
            return await answer(request)
        studio = state_of(request)
        if not hasattr(request.state, "sign_in"):
            request.state.sign_in = await run_in_threadpool(find_sign_in, request, studio)
        current = request.state.sign_in
        max_bytes = self.max_bytes if current else MAX_STRANGERS_BYTES
        request = Request(request.scope, limited(request.receive, max_bytes))
        await request.body()
        if current is None:
            return await answer(request)
        async with studio.changes:
            return await answer(request)

    def _note(self, request: Request, status: int) -> None:
        """Log a request. Strangers, who could fill the log, are logged only when signing in."""
        state = request.state
        if not hasattr(state, "user_id") or getattr(state, "routine", False):
            return
        state_of(request).activity.note()
        entry = {
            "user_id": state.user_id,
            "action": self.name,
            "target": getattr(state, "target", request.url.path),
            "status": status,
            "address": client_address(request),
            "token_id": getattr(getattr(state, "sign_in", None), "token_id", None),
        }
        try:
            note_action(state_of(request).store, **entry)
        except DatabaseError as error:
            logger.warning("not in the audit log, since %s: %s", error, entry)


class FileRoute(AuditedRoute):
    """A route for uploads, whose size it bounds itself, or downloads; logs every request."""

    max_bytes = None
    unlogged = ()


def new_router(route_class: type[AuditedRoute] = AuditedRoute) -> APIRouter:
    """Create a router below /api."""
    return APIRouter(prefix="/api", route_class=route_class, responses=REFUSALS)


def new_file_router() -> APIRouter:
    """Create a router for uploads and downloads."""
    return new_router(FileRoute)
