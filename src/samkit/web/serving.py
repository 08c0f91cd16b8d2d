"""Running the server in one process until it is stopped."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from samkit.errors import ConfigError

BACKLOG = 2048  # connections waiting to be accepted
MAX_MESSAGE_BYTES = 2**20  # WebSocket messages; prompts take a few hundred bytes
GRACE_S = 5  # for requests in progress when the server is stopped


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run an app until SIGINT or SIGTERM, then finish the requests in progress.

    Args:
        app: an app from `create_app`.
        host: name or address to listen on.
        port: port to listen on; 0 for any free port.
        trusted_proxies: addresses or networks of reverse proxies whose X-Forwarded-For and
            X-Forwarded-Proto are trusted.
        on_ready: called with the server's URL once it is ready.

    Raises:
        ConfigError: it cannot listen there, or a server for one person would be open to others.
    """
    listener = _listen(host, port)
    with listener:
        address, port = listener.getsockname()[:2]
        if app.state.studio.config.is_local and not ipaddress.ip_address(address).is_loopback:
            raise ConfigError(f"a server for one person listens on 127.0.0.1 only; got {host}")
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            log_config=None,
            access_log=False,  # a URL may hold a token
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
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
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready(self._url)


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
