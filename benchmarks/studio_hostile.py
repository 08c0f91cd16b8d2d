"""One person's click while others do harm: a flood, idle connections, large bodies, a locked store.

    python benchmarks/studio_hostile.py [--lock-s 60]

Prints milliseconds from a click to its masks, and of reading an image: alone, and under each of

- flood: 1,280 prompts of 64 points (the most allowed) each, on 40 sockets of another annotator;
- idle: 400 connections of strangers that send nothing, at a limit of 256 descriptors;
- bodies: eight strangers who send 4 MB of JSON each, again and again, to routes that need a sign-in
  and to the sign-in itself;
- lock: another process holds the SQLite store for writing, and 40 saves wait.

Exits with 1 if the flood's p95 is more than 250 ms above that alone, if a request is refused that
should not be, or if a large body is accepted.
"""

import argparse
import json
import random
import resource
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from websockets.sync.client import ClientConnection

from studio_annotator import prompt_socket, wait_until_ready
from studio_server import PASSWORD, Server, empty_database, make_images, make_store, serve_command

CLICKS = 20
MOST_DELAY_MS = 250
SOCKETS, PROMPTS, POINTS = 40, 32, 64
IDLE, DESCRIPTORS = 400, 256
STRANGERS, BODY_BYTES = 8, 4 * 10**6
SAVES = 40
TIMEOUT_S = 120  # longer than the lock


class Person:
    """A signed-in annotator with a socket on an image."""

    def __init__(self, url: str, name: str, image_id: int) -> None:
        self.url, self.place = url, f"/api/images/{image_id}"
        self.http = httpx2.Client(base_url=url, timeout=TIMEOUT_S)
        self.http.post("/api/session", json={"name": name, "password": PASSWORD}).raise_for_status()
        session = self.http.get("/api/session").json()
        self.http.headers["X-CSRF-Token"] = session["csrf_token"]
        self.http.post(f"{self.place}/lease").raise_for_status()
        self.random = random.Random(name)

    @contextmanager
    def open(self) -> Iterator[ClientConnection]:
        """A socket whose image is embedded."""
        with prompt_socket(self.http, self.url, self.place) as opened:
            wait_until_ready(opened)
            yield opened

    def message(self, number: int, points: int) -> str:
        """A prompt with random points."""
        xy = [[self.random.randrange(600), self.random.randrange(400)] for _ in range(points)]
        prompt: dict[str, Any] = {"type": "prompt", "id": number, "points": xy}
        prompt |= {"labels": [1] * points, "box": None, "continue_from": None, "multimask": True}
        return json.dumps(prompt)

    def click_ms(self, opened: ClientConnection) -> float:
        """Milliseconds from a click to its masks."""
        number = self.random.randrange(2**31)
        begun = time.perf_counter()
        opened.send(self.message(number, 1))
        while (answer := json.loads(opened.recv(TIMEOUT_S))).get("id") != number:
            pass
        if answer["type"] != "masks":
            raise RuntimeError(f"no masks: {answer}")
        return (time.perf_counter() - begun) * 1000

    def read_ms(self) -> float:
        """Milliseconds to read the image's state."""
        begun = time.perf_counter()
        self.http.get(self.place).raise_for_status()
        return (time.perf_counter() - begun) * 1000


def main() -> None:
    """Run the measurement, print it, and fail if something did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lock-s", type=float, default=60, help="how long the store is locked")
    args = parser.parse_args()
    with ExitStack() as stack:
        images = stack.enter_context(tempfile.TemporaryDirectory(prefix="samkit-images-"))
        where = stack.enter_context(empty_database(None))
        make_images(Path(images), 2, (400, 600))
        _, names = make_store(where, Path(images), 2)
        log = Path(images, "server.log")
        server = stack.enter_context(Server(serve_command(where), log))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        one, other = Person(server.url, names[0], 1), Person(server.url, names[1], 2)
        opened = stack.enter_context(one.open())
        result = measure(one, other, opened, where, args.lock_s)
    print(json.dumps(result, indent=1))
    delay = result["flood"]["click_ms"]["p95"] - result["alone"]["click_ms"]["p95"]
    if delay > MOST_DELAY_MS or set(result["bodies"]["statuses"]) & {"200", "201"}:
        raise SystemExit(1)


def measure(
    one: Person, other: Person, opened: ClientConnection, where: str, lock_s: float
) -> dict[str, Any]:
    """Measure one person alone, and under each harm."""
    one.click_ms(opened)

    def times() -> dict[str, Any]:
        clicks, reads = [], []
        for _ in range(CLICKS):
            clicks.append(one.click_ms(opened))
            reads.append(one.read_ms())
            time.sleep(0.1)
        return {"click_ms": spread(clicks), "read_ms": spread(reads)}

    result: dict[str, Any] = {"alone": times()}
    with flood(other) as answered:
        result["flood"] = times()
        result["flood"]["answered_meanwhile"] = len(answered)
    with idle(one.url):
        result["idle"] = times()
    with strangers(one.url) as statuses:
        result["bodies"] = times()
    result["bodies"]["statuses"] = {str(one): statuses.count(one) for one in sorted(set(statuses))}
    result["lock"] = locked(one, where, lock_s)
    return result


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    p50, p95, most = np.percentile(values, (50, 95, 100))
    return {"p50": round(p50, 1), "p95": round(p95, 1), "max": round(most, 1)}


@contextmanager
def threads(run: Callable[[threading.Event], None], count: int) -> Iterator[None]:
    """Run a function in threads until the block has ended."""
    ended = threading.Event()
    running = [threading.Thread(target=run, args=(ended,)) for _ in range(count)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in running:
            thread.join()


@contextmanager
def flood(person: Person) -> Iterator[list[str]]:
    """Many large prompts on many sockets of one person; yields the answers that came."""
    answered: list[str] = []
    with ExitStack() as stack:
        sockets = [stack.enter_context(person.open()) for _ in range(SOCKETS)]
        for number in range(PROMPTS):
            for opened in sockets:
                opened.send(person.message(number, POINTS))

        def receive(ended: threading.Event) -> None:
            while not ended.is_set():
                for opened in sockets:
                    with suppress(TimeoutError):
                        answered.append(str(opened.recv(0.01))[:20])

        with threads(receive, 1):
            yield answered


@contextmanager
def idle(url: str) -> Iterator[None]:
    """Connections that say nothing."""
    host, port = url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        with suppress(OSError):  # the server takes no more
            for _ in range(IDLE):
                stack.enter_context(closing(socket.create_connection((host, int(port)), 5)))
        yield


@contextmanager
def strangers(url: str) -> Iterator[list[int]]:
    """Large bodies without a sign-in; yields the statuses of the answers, 0 for a closed line."""
    statuses: list[int] = []
    body = json.dumps({"name": "x" * BODY_BYTES}).encode()
    routes = ("/api/session", "/api/users", "/api/images/1/annotations", "/api/projects")

    def send(ended: threading.Event) -> None:
        with httpx2.Client(base_url=url, timeout=TIMEOUT_S) as http:
            number = 0
            while not ended.is_set():
                place, number = routes[number % len(routes)], number + 1
                try:
                    statuses.append(http.post(place, content=body).status_code)
                except httpx2.TransportError:
                    statuses.append(0)

    with threads(send, STRANGERS):
        yield statuses


def locked(person: Person, where: str, seconds: float) -> dict[str, Any]:
    """Read while the store is locked for writing, and saves wait."""
    saved: list[int] = []

    def save(_: threading.Event) -> None:
        saved.append(person.http.post(f"{person.place}/lease").status_code)

    with closing(sqlite3.connect(where, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + seconds
        reads = []
        with threads(save, SAVES):
            while time.monotonic() < until:
                reads.append(person.read_ms())
                time.sleep(0.1)
            during = len(saved)
            holder.execute("ROLLBACK")
    statuses = {str(one): saved.count(one) for one in sorted(set(saved))}
    return {"read_ms": spread(reads), "saved_during": during, "saves": statuses}


if __name__ == "__main__":
    main()
