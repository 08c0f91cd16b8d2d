"""Fetching from a hub on this machine: the parts of its protocol that huggingface_hub uses.

huggingface_hub reads its environment when it is imported, so each fetch is a process of its own.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from samkit.models import Sam
from samkit.weights.catalog import CATALOG
from samkit.weights.hub import fetch
from samkit.weights.load import load_model

REPO, FILE = "someone/tiny", "model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK_BYTES = 10 * 2**20  # what huggingface_hub writes at once
TIMEOUT_S = 120
FETCH = f"""
import json
from samkit.errors import DownloadError
from samkit.weights.catalog import CatalogEntry
from samkit.weights.hub import fetch

entry = CatalogEntry(
    name="tiny", summary="", parameters=0, size_bytes=0, licence="", hub_repo="{REPO}"
)
try:
    answer = {{"path": str(fetch(entry))}}
except DownloadError as error:
    answer = {{"error": str(error)}}
print(json.dumps(answer))
"""


@dataclass(kw_only=True)
class Hub:
    """What the server gives, and what it was asked for."""

    url: str = ""
    content: bytes
    checksum: str | None = None  # of the content, where not given
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    ranges: list[str | None] = field(default_factory=list)  # of the GET requests so far

    @property
    def etag(self) -> str:
        return self.checksum or hashlib.sha256(self.content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        if self.path != f"/{REPO}/resolve/main/{FILE}":
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range")  # bytes=123-
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        size = len(self.hub.content)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{self.hub.etag}"')
        self.send_header("X-Linked-Size", str(size))
        self.send_header("ETag", f'"{self.hub.etag}"')
        self.end_headers()
        if with_body:
            self.hub.ranges.append(wanted)
            end = self.hub.cuts.pop(0) if self.hub.cuts else size
            self.wfile.write(self.hub.content[start:end])
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def hub(tiny_sam: Sam) -> Iterator[Hub]:
    """A running hub that holds a tiny model."""
    hub = Hub(content=save(dict(tiny_sam.state_dict())))
    handler = type("HubHandler", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_url() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def run_fetch(url: str, home: Path, **settings: str) -> tuple[dict[str, str], str]:
    """Fetch in a new process; return its answer and its log."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.upper().startswith(("HF_", "HTTP", "ALL_", "NO_"))
    }
    own = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH],
        env={**kept, **own, "NO_PROXY": "127.0.0.1", **settings},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def fetched_path(url: str, home: Path) -> Path:
    answer, _ = run_fetch(url, home)
    assert "path" in answer, answer
    return Path(answer["path"])


def refusal_of(url: str, home: Path, **settings: str) -> str:
    answer, _ = run_fetch(url, home, **settings)
    assert "error" in answer, answer
    assert len(answer["error"].splitlines()) == 1
    return answer["error"]


def kept_files(home: Path) -> list[Path]:
    """Files of models in the cache, whole or partial, and links to them."""
    repo = home / "hub" / f"models--{REPO.replace('/', '--')}"
    folders = (repo / "blobs", repo / "snapshots")
    return [p for folder in folders for p in folder.rglob("*") if p.is_file() or p.is_symlink()]


def assert_names_the_ways_out(message: str) -> None:
    assert f"cannot fetch tiny from {REPO}" in message
    for way_out in ("samkit models fetch tiny", "checkpoint file's path", "embedded mobile_sam"):
        assert way_out in message


def test_a_fetched_model_loads(hub: Hub, tiny_sam: Sam, tmp_path: Path) -> None:
    path = fetched_path(hub.url, tmp_path)
    assert path.read_bytes() == hub.content
    assert tmp_path in path.parents
    loaded = load_model(path)
    assert loaded.name == "tiny"
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, tiny_sam.state_dict()[name])


def test_a_second_fetch_needs_no_network(hub: Hub, tmp_path: Path, dead_url: str) -> None:
    path = fetched_path(hub.url, tmp_path)
    assert fetched_path(dead_url, tmp_path) == path
    assert len(hub.ranges) == 1


def test_damaged_bytes_are_told_and_deleted(hub: Hub, tmp_path: Path) -> None:
    good = hub.content
    hub.checksum = hub.etag
    hub.content = good[:-1] + bytes([good[-1] ^ 1])
    message = refusal_of(hub.url, tmp_path)
    assert "tiny arrived damaged" in message
    assert f"expected {hub.checksum[:12]}" in message
    assert kept_files(tmp_path) == []

    hub.content = good
    assert fetched_path(hub.url, tmp_path).read_bytes() == good


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.content = torch.randint(256, (CHUNK_BYTES + 2**20,), dtype=torch.uint8).numpy().tobytes()
    hub.cuts = [CHUNK_BYTES + 2**19]
    assert fetched_path(hub.url, tmp_path).read_bytes() == hub.content
    assert hub.ranges == [None, f"bytes={CHUNK_BYTES}-"]


def test_a_checksum_of_another_kind_is_not_compared(hub: Hub, tmp_path: Path) -> None:
    hub.checksum = COMMIT  # small files have git's
    answer, log = run_fetch(hub.url, tmp_path)
    assert Path(answer["path"]).read_bytes() == hub.content
    assert "records no SHA-256" in log


def test_no_network_is_told_with_the_ways_out(dead_url: str, tmp_path: Path) -> None:
    message = refusal_of(dead_url, tmp_path)
    assert "refused" in message
    assert_names_the_ways_out(message)
    assert kept_files(tmp_path) == []


def test_offline_mode_is_told_with_the_ways_out(hub: Hub, tmp_path: Path) -> None:
    message = refusal_of(hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in message
    assert_names_the_ways_out(message)
    assert hub.ranges == []


def test_a_repository_that_is_gone_is_told_with_the_ways_out(hub: Hub, tmp_path: Path) -> None:
    message = refusal_of(f"{hub.url}/elsewhere", tmp_path)
    assert "404" in message
    assert_names_the_ways_out(message)


def test_the_embedded_model_is_not_fetched() -> None:
    entry = CATALOG["mobile_sam"]
    assert fetch(entry) == entry.embedded
