"""Running the server in one process until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from samkit.errors import ConfigError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

BACKLOG = 128  # connections waiting to be accepted; asyncio tries as many at once
HEADERS_S = 10.0  # for the headers of a request, from the first byte or the connection on
# Of the descriptors of this process, for connections: the store and the cache need some, too.
CONNECTIONS_SHARE = 0.5
DEFAULT_DESCRIPTORS = 1024  # where the system does not tell
REPORT_EVERY_S = 60.0
MAX_MESSAGE_BYTES = 2**20  # WebSocket messages; prompts take a few hundred bytes
GRACE_S = 5  # for requests in progress when the server is stopped


def run_server(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    loopback_only: str | None = None,
    grace_s: int = GRACE_S,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run an app until SIGINT or SIGTERM, then finish the requests in progress.

    Args:
        host: name or address to listen on.
        port: port to listen on; 0 for any free port.
        trusted_proxies: addresses or networks of reverse proxies whose X-Forwarded-For and
            X-Forwarded-Proto are trusted.
        loopback_only: why the server must not be open to other machines; None if it may.
        grace_s: time for the requests in progress when the server is stopped.
        max_message_bytes: maximum size of a WebSocket message.
        on_ready: called with the server's URL once it is ready.

    Raises:
        ConfigError: it cannot listen there, or must not.
    """
    listener = _listen(host, port)
    with listener:
        address, port = listener.getsockname()[:2]
        if loopback_only is not None and not ipaddress.ip_address(address).is_loopback:
            raise ConfigError(f"{loopback_only}; got {host}")
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Connection,
            ws="websockets-sansio",
            backlog=BACKLOG,
            ws_max_size=max_message_bytes,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            log_config=None,
            access_log=False,  # a URL may hold a token
            server_header=False,
            timeout_graceful_shutdown=grace_s,
        )
        shown = f"[{host}]" if ":" in host else host
        server = _Server(config, f"http://{shown}:{port}", on_ready)
        # After it has ended, uvicorn raises the signal that stopped it again.
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """A server that reports when it is ready."""

    def __init__(
        self, config: uvicorn.Config, url: str, on_ready: Callable[[str], None] | None
    ) -> None:
        super().__init__(config)
        self._url = url
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_LoopErrors())
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready(self._url)


class _Connection(H11Protocol):
    """A connection that is closed if it sends no request in time, or if there are too many."""

    _headers_timer: asyncio.TimerHandle | None = None
    _is_websocket = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            transport.abort()
        else:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:  # a request has begun
            self._stop_timer()
        elif self._headers_timer is None and (before is None or before.response_complete):
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_timer()
        self._is_websocket = True
        super().handle_websocket_upgrade(event)

    def _await_headers(self) -> None:
        if not self._is_websocket:
            self._headers_timer = self.loop.call_later(HEADERS_S, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


def max_connections() -> int:
    """Return how many connections this process holds at once, below its limit of descriptors."""
    if resource is None:
        return int(CONNECTIONS_SHARE * DEFAULT_DESCRIPTORS)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return int(CONNECTIONS_SHARE * (soft if soft > 0 else DEFAULT_DESCRIPTORS))


class _LoopErrors:
    """Handler of asyncio's errors, which reports missing descriptors once a minute.

    asyncio would log a traceback for each connection that it cannot accept, and tries again and
    again: hundreds of megabytes within minutes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reported_at = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in NO_RESOURCES:
            loop.default_exception_handler(context)
        elif self._clock() - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = self._clock()
            logger.error("connections cannot be accepted now: %s", error.strerror)


def _listen(host: str, port: int) -> socket.socket:
    """Open the listening socket, so that a port in use is noticed before anything else starts."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason}; give another --host or --port"
        ) from error
    # Connections inherit this. Otherwise the end of an answer waits 40 ms until its beginning is
    # acknowledged; asyncio sets it only for sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt
