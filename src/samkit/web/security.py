"""Protection of the server: security headers, origin checks, and rate limits."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page has no inline scripts or styles; masks and images are drawn from blobs. Its decoder is
# WebAssembly, which may be compiled, while strings may not be evaluated.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer", with which browsers hide the origin of forms that is checked here.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # With the opener policy it isolates the page, which WebAssembly needs for several threads.
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
API_PREFIX = "/api/"
IPV6 = 6


class SecurityHeaders:
    """Middleware that adds the headers to every response; the API's are not cached by default."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        default = "no-store" if scope["path"].startswith(API_PREFIX) else "no-cache"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", default)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def attempt_key(address: str) -> str:
    """The address that attempts are counted for: of IPv6 the network, of which a host has all."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == IPV6 else address


class Recent:
    """A set of the keys that were added last."""

    MAX_KEYS = 10_000

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: str) -> None:
        """Add a key, or note that it was used again."""
        with self._lock:
            self._keys[key] = None
            self._keys.move_to_end(key)
            if len(self._keys) > self.MAX_KEYS:
                self._keys.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._keys


class Gate:
    """Admits a few at once, lets a few more wait, and refuses the others.

    Waiting occupies one of the server's threads, which must not all be occupied by one thing.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._inside = threading.Semaphore(at_once)
        self._places = threading.Semaphore(at_once + waiting)

    def __enter__(self) -> None:
        if not self._places.acquire(blocking=False):
            raise HTTPException(503, "the server is busy with this: try again later")
        self._inside.acquire()

    def __exit__(self, *_: object) -> None:
        self._inside.release()
        self._places.release()


class Throttle:
    """Counts recent failures by key, such as an address.

    Attributes:
        max_failures: failures that a key may have within `window_s`.
    """

    MAX_KEYS = 10_000  # the keys that failed longest ago are dropped first

    def __init__(
        self, *, max_failures: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_failures = max_failures
        self._window_s = window_s
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, key: str) -> bool:
        """Count an attempt as failed before it is made; False if there were too many."""
        with self._lock:
            now = self._clock()
            times = self._failures.setdefault(key, deque())
            while times and times[0] <= now - self._window_s:
                times.popleft()
            if len(times) >= self.max_failures:
                return False
            times.append(now)
            self._failures.move_to_end(key)
            if len(self._failures) > self.MAX_KEYS:
                self._failures.popitem(last=False)
            return True

    def succeed(self, key: str) -> None:
        """Forget the failures of a key."""
        with self._lock:
            self._failures.pop(key, None)
