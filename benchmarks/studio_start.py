"""Start-up time of `samkit annotate` on a fresh folder, until a person can work.

    python benchmarks/studio_start.py [--images 1000] [--megapixels 12]

Prints the seconds from the command to the page, to the first image taken, to its picture, and to
the answer of the first click; then until all images are in the project. The cache of converted
models is empty, as on a fresh machine, unless --warm is given.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from websockets.sync.client import ClientConnection, connect

from studio_server import Server, make_images

PAUSE_S = 0.1
TIMEOUT_S = 300


def main() -> None:
    """Make a folder of images, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--warm", action="store_true", help="use the cache of an earlier start")
    args = parser.parse_args()
    height = math.isqrt(int(args.megapixels * 1e6 * 2 / 3))
    with tempfile.TemporaryDirectory(prefix="samkit-images-") as folder:
        make_images(Path(folder), args.images, (height, height * 3 // 2))
        print(json.dumps(measure(Path(folder), args.images, warm=args.warm), indent=1))


def measure(folder: Path, count: int, *, warm: bool) -> dict[str, float]:
    """Seconds from the start to each step; with an empty cache unless `warm`."""
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="samkit-cache-") as cache:
        started = time.monotonic()

        def note(step: str) -> None:
            seconds[step] = round(time.monotonic() - started, 2)

        command = ["annotate", str(folder), "--no-browser"]
        log, own_cache = Path(cache, "server.log"), None if warm else Path(cache)
        with Server(command, log, cache=own_cache) as server:
            base, _, token = server.url.partition("/?token=")
            with httpx2.Client(base_url=base, timeout=TIMEOUT_S) as http:
                begin(http, base, token, note)
                wait_for_images(http, count)
                note("all images added")
            server.stop()
    return seconds


def begin(http: httpx2.Client, base: str, token: str, note: Callable[[str], None]) -> None:
    """Open the page, take an image, and click on it."""
    http.get("/").raise_for_status()
    note("page")
    session = http.post("/api/session", json={"token": token}).raise_for_status().json()
    http.headers["X-CSRF-Token"] = session["csrf_token"]
    lease = None
    while lease is None:
        lease = http.post("/api/projects/1/next").raise_for_status().json()["lease"]
        time.sleep(0 if lease else PAUSE_S)
    note("image taken")
    place = f"/api/images/{lease['image']['id']}"
    http.get(f"{place}/content", params={"max_side": 2048}).raise_for_status()
    note("picture")
    cookies = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    with connect(
        base.replace("http", "ws", 1) + place + "/prompt",
        origin=base,  # type: ignore[arg-type]
        additional_headers={"Cookie": cookies},
        max_size=None,
    ) as socket:
        wait_for(socket, "ready")
        note("image encoded")
        prompt = {"type": "prompt", "id": 1, "points": [[100, 100]], "labels": [1], "box": None}
        socket.send(json.dumps(prompt | {"continue_from": None, "multimask": True}))
        wait_for(socket, "masks")
        note("first mask")


def wait_for(socket: ClientConnection, kind: str) -> None:
    """Read messages up to the first one of a kind."""
    while json.loads(socket.recv(TIMEOUT_S))["type"] != kind:
        pass


def wait_for_images(http: httpx2.Client, count: int) -> None:
    """Wait until the project has `count` images."""
    num_images = 0
    while num_images < count:
        answer = http.get("/api/projects/1/statistics").raise_for_status().json()
        num_images = sum(one["num_images"] for one in answer["images"].values())
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
