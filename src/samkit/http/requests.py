"""Requests: where they come from, and bodies of bounded size."""

import time
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive

from samkit.http.timeouts import within

BODY_S = 60.0  # for all of a body
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def is_own_origin(headers: Headers, *, required: bool = False) -> bool:
    """Whether a request comes from this server's own page, according to its Origin header."""
    origin = headers.get("origin")
    if origin is None:
        return not required
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == headers.get("host")


def answer_local_names_only(app: Starlette) -> None:
    """Refuse requests for other host names than this computer's own.

    Against DNS rebinding: other sites whose names resolve to this server.
    """
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL_HOSTS), www_redirect=False)


def client_address(connection: HTTPConnection) -> str:
    """IP address of the client; empty if unknown."""
    return connection.client.host if connection.client is not None else ""


def limited(receive: Receive, max_bytes: int, within_s: float = BODY_S) -> Receive:
    """Wrap `receive` to refuse a body as soon as it is too large, or takes too long."""
    left, is_complete = max_bytes, False
    deadline = time.monotonic() + within_s

    async def receive_some() -> Message:
        nonlocal left, is_complete
        if is_complete:  # whoever asks again waits for the end of the connection
            return await receive()
        try:
            message = await within(deadline - time.monotonic(), receive())
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not arrive within {within_s:g} s") from error
        is_complete = not message.get("more_body", False)
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"the request is too large: at most {max_bytes:,} bytes")
        return message

    return receive_some
