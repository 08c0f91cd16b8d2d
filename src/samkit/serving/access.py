"""Who may ask, and what is measured of each request."""

from __future__ import annotations

import base64
import time
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from samkit.http import is_own_origin
from samkit.serving.config import ServingConfig
from samkit.serving.keys import key_sha256
from samkit.serving.metrics import Metrics

BEARER = HTTPBearer(auto_error=False, description="an API key")


def check_access(connection: HTTPConnection) -> None:
    """Check a request's key, and that no page of another site sends it.

    Raises:
        HTTPException: 401 for a missing or unknown key, 403 for a foreign page.
    """
    if not is_own_origin(connection.headers):
        raise HTTPException(403, "pages of other sites may not use this server")
    config: ServingConfig = connection.app.state.config
    key = key_of(connection.headers.get("authorization", ""))
    # Looked up by its hash, which tells nothing of the time that a comparison takes.
    if config.keys and key_sha256(key) not in config.keys:
        raise HTTPException(
            401,
            "an API key is needed, as the header Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )


def key_of(authorization: str) -> str:
    """The key of a header: a bearer's token, or the password of basic authentication."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        _, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password


def may_ask(
    request: Request,
    _key: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> None:
    """`check_access`, which the OpenAPI document shows."""
    check_access(request)


class Measured:
    """Middleware that counts requests and takes their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def send_measured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._note(scope, status, time.perf_counter() - begun)
            await send(message)

        await self.app(scope, receive, send_measured)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern, not the path: names of images would each be a series of their own.
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
