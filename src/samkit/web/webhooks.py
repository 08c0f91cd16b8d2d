"""Sending events to webhooks: signed, to the address that was checked, without redirects.

Signatures are those of the specification "Standard Webhooks": HMAC-SHA256 of id, time and body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import socket
import ssl
import threading
from contextlib import closing, suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

import samkit
from samkit.dataengine import Due, Store, finish_delivery, take_delivery
from samkit.errors import DatabaseError, SamkitError

logger = logging.getLogger(__name__)

AT_ONCE = 100  # deliveries of one check
CONNECT_S = 5.0
ANSWER_S = 15.0  # in all, from the connection to the answer's headers
OK = range(200, 300)
REDIRECTS = range(300, 400)
HTTPS, HTTPS_PORT, HTTP_PORT = "https", 443, 80


class WebhookError(SamkitError):
    """An event could not be delivered."""


class WebhookSender:
    """Sends what is due, one after another; of a receiver that fails no more until its next try."""

    def __init__(self, store: Store, *, private: bool) -> None:
        """Prepare.

        Args:
            private: also send to addresses of private networks and this computer, and without TLS.
        """
        self._store, self._private = store, private
        self._stopped = False

    def check(self) -> None:
        """Send what is due now."""
        with suppress(DatabaseError):  # tried again in a moment
            for _ in range(AT_ONCE):
                due = None if self._stopped else take_delivery(self._store)
                if due is None:
                    return
                try:
                    send(due, now_s=int(self._store.clock().timestamp()), private=self._private)
                except (WebhookError, OSError, http.client.HTTPException) as error:
                    reason = str(error) or type(error).__name__
                    logger.info("webhook %s: %s", due.delivery.webhook_id, reason)
                    finish_delivery(self._store, due.delivery.id, error=reason)
                else:
                    finish_delivery(self._store, due.delivery.id)

    def stop(self) -> None:
        """Send no more; what is left is sent after the next start."""
        self._stopped = True


def sign(secret: str, message_id: str, time_s: int, body: bytes) -> str:
    """Return the header webhook-signature.

    Args:
        secret: as it was given to the receiver, with its prefix.
    """
    key = base64.b64decode(secret.partition("_")[2])
    signed = f"{message_id}.{time_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def send(due: Due, *, now_s: int, private: bool) -> None:
    """Send a delivery.

    Raises:
        WebhookError: the address may not be reached, or the answer is not 2xx.
        OSError: there is no connection.
        http.client.HTTPException: the answer is not HTTP.
    """
    parts = urlsplit(due.url)
    host, is_tls = str(parts.hostname), parts.scheme == HTTPS
    if not is_tls and not private:
        raise WebhookError("only https is sent to: start the server with --private-webhooks")
    port = parts.port or (HTTPS_PORT if is_tls else HTTP_PORT)
    body, message_id = due.delivery.body.encode(), f"msg_{due.delivery.id}"
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"samkit/{samkit.__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign(due.secret, message_id, now_s, body),
    }
    # Connected to the very address that was checked: a name may mean another one a moment later.
    connected = socket.create_connection(
        (_address_of(host, port, private=private), port), timeout=CONNECT_S
    )
    connected.settimeout(ANSWER_S)
    if is_tls:
        context = ssl.create_default_context()
        connected = context.wrap_socket(
            connected, server_hostname=host, do_handshake_on_connect=False
        )
    with closing(connected), _deadline(connected):
        if isinstance(connected, ssl.SSLSocket):
            connected.do_handshake()
        connection = http.client.HTTPConnection(host, port)
        connection.sock = connected
        with closing(connection):
            target = parts.path or "/"
            connection.request(
                "POST", f"{target}?{parts.query}" if parts.query else target, body, headers
            )
            status = connection.getresponse().status
    if status in REDIRECTS:
        raise WebhookError(f"answered {status}: redirects are not followed")
    if status not in OK:
        raise WebhookError(f"answered {status}")


class _deadline:  # noqa: N801 - used like a function
    """Ends a connection after a time, however slowly its other end sends."""

    def __init__(self, connected: socket.socket) -> None:
        self._timer = threading.Timer(ANSWER_S, self._end, (connected,))
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @staticmethod
    def _end(connected: socket.socket) -> None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


def _address_of(host: str, port: int, *, private: bool) -> str:
    """Resolve a host's name.

    Raises:
        WebhookError: one of its addresses is not public, and may not be reached.
        OSError: there is no such host.
    """
    found = [one[4][0] for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    addresses = [str(one) for one in found]
    for one in addresses:
        if not private and not ip_address(one.partition("%")[0]).is_global:
            raise WebhookError(
                f"{host} is in a private network: start the server with --private-webhooks"
            )
    return addresses[0]
