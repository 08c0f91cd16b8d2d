"""Images of Label Studio's tasks, fetched from it with its API key."""

from __future__ import annotations

import base64
import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from samkit.errors import ConfigError, ImageError
from samkit.serving.config import MEGABYTE
from samkit.serving.errors import ServerError
from samkit.serving.jobs import ImageFile

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S = 30.0
TOKEN_S = 240.0  # access tokens hold for five minutes
HASHES = 1024


class LabelStudioImages:
    """Fetches images by the URLs that tasks have; may be used by several threads.

    Files that Label Studio has itself (`/data/upload/...`, `/data/local-files/?d=...`), and those
    of a storage connected to it (`s3://...`), through it. Other servers are asked only for URLs
    that begin with one of `prefixes`, so that no task can make this machine fetch what is for it
    alone.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        prefixes: tuple[str, ...] = (),
        max_mb: int,
        http: httpx2.Client | None = None,
    ) -> None:
        """Create it; nothing is asked yet.

        Args:
            url: address of Label Studio, such as "http://localhost:8080".
            api_key: an access token of a user who sees the tasks: a personal one, or a legacy one.
            max_mb: maximum size of a file.

        Raises:
            ConfigError: an address is none.
        """
        for one in (url, *prefixes):
            if not one.startswith(("http://", "https://")):
                raise ConfigError(f"an address begins with http:// or https://; got {one!r}")
        import httpx2

        self.url, self.prefixes, self.max_bytes = url.rstrip("/"), prefixes, max_mb * MEGABYTE
        self._key = api_key
        self._http = http or httpx2.Client(timeout=TIMEOUT_S, follow_redirects=True)
        self._access: tuple[str, float] = ("", 0.0)  # token, and until when
        self._hashes: OrderedDict[str, str] = OrderedDict()

    def known(self, url: str) -> ImageFile | None:
        """An image that was fetched before, by its hash alone."""
        sha256 = self._hashes.get(url)
        return None if sha256 is None else ImageFile(sha256=sha256)

    def fetch(self, url: str, task_id: int | None) -> ImageFile:
        """Fetch an image.

        Raises:
            ImageError: it is elsewhere, missing, or too large.
            ServerError: Label Studio cannot be reached, or refuses the key.
        """
        import httpx2

        address, is_own = self._address(url, task_id)
        try:
            content = self._read(address, self._authorization() if is_own else {})
        except httpx2.HTTPError as error:
            raise ServerError(f"cannot fetch {url}: {error}") from error
        found = ImageFile(sha256=hashlib.sha256(content).hexdigest(), content=content)
        self._hashes[url] = found.sha256
        while len(self._hashes) > HASHES:
            self._hashes.popitem(last=False)
        return found

    def _address(self, url: str, task_id: int | None) -> tuple[str, bool]:
        """Where an image is, and whether Label Studio has it."""
        if url.startswith("/"):
            return self.url + url, True
        if url.startswith(f"{self.url}/"):
            return url, True
        if url.startswith(("http://", "https://")):
            if url.startswith(self.prefixes or ("\0",)):
                return url, False
            raise ImageError(
                f"{url} is not on {self.url}: add its beginning with --label-studio-images, or"
                " connect its storage to Label Studio"
            )
        coded = base64.urlsafe_b64encode(url.encode()).decode()
        return f"{self.url}/tasks/{task_id}/resolve/?fileuri={quote(coded)}", True

    def _read(self, address: str, headers: dict[str, str]) -> bytes:
        with self._http.stream("GET", address, headers=headers) as answer:
            if answer.status_code in (401, 403):
                raise ServerError(
                    f"Label Studio refuses the API key for {address}: use that of a user who sees"
                    " the task"
                )
            if answer.status_code != 200:
                raise ImageError(f"cannot fetch {address}: status {answer.status_code}")
            parts, size = [], 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > self.max_bytes:
                    raise ImageError(
                        f"{address} is larger than {self.max_bytes // MEGABYTE} MB: raise"
                        " --max-image-mb"
                    )
                parts.append(part)
        return b"".join(parts)

    def _authorization(self) -> dict[str, str]:
        """The header; a personal access token is exchanged for one that holds for minutes."""
        if self._key.count(".") != 2:
            return {"Authorization": f"Token {self._key}"}
        token, until = self._access
        if time.monotonic() >= until:
            answer = self._http.post(f"{self.url}/api/token/refresh", json={"refresh": self._key})
            if answer.status_code != 200:
                raise ServerError(
                    "Label Studio refuses the personal access token: make a new one, and start the"
                    " server with it"
                )
            found: dict[str, Any] = answer.json()
            token = found["access"]
            self._access = (token, time.monotonic() + TOKEN_S)
        return {"Authorization": f"Bearer {token}"}
