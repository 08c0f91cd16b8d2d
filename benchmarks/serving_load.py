"""Throughput and latency of `samkit serve-model` at 1, 8 and 32 clients.

    python benchmarks/serving_load.py [--workers 1] [--seconds 15] [--clients 1 8 32] [-- OPTIONS]

Starts a server, with further OPTIONS of the command after `--`, and asks it by as many threads as
there are clients, each as soon as it has its answer: first to embed images that the server has not
seen, 1000 x 667 JPEGs, then one click each on 8 images that it has. Prints for each the requests
answered per second, the median and the 95th percentile of the time to an answer, how many were
refused with status 429 and tried again; the processor time that a request took in the process that
faces the network and in the workers, which does not depend on what else the machine does; and the
machine's load, which clients and server share. Exits with 1 if a request failed. Linux.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from samkit.serving import BusyError, Client

SIZE = (1000, 667)
IMAGES = 8
RUN = int.from_bytes(os.urandom(4), "little")
START_S = 900


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("options", nargs="*", help="of samkit serve-model")
    args = parser.parse_args()
    found, failed = [], 0
    with tempfile.TemporaryDirectory(prefix="samkit-serving-") as folder:
        command = [
            *(sys.executable, "-m", "samkit", "serve-model", "--port", "0"),
            *("--workers", str(args.workers), *args.options),
        ]
        with (
            (Path(folder) / "log").open("wb") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
        ):
            try:
                url = read_url(server)
                for kind, prepare in (("embed", embed_all), ("predict", predict_all)):
                    ask = prepare(url)
                    for clients in args.clients:
                        before = processor_s(server.pid)
                        row = measure(url, clients, args.seconds, ask)
                        for name, now in processor_s(server.pid).items():
                            spent = 1000 * (now - before[name]) / max(1, row["answered"])
                            row[f"{name}_cpu_ms"] = round(spent, 1)
                        failed += row["failed"]
                        found.append({"request": kind, "clients": clients, **row})
                        print(json.dumps(found[-1]), flush=True)
            finally:
                server.terminate()
    sys.exit(1 if failed else 0)


def read_url(server: "subprocess.Popen[str]") -> str:
    """Wait until the server prints its address."""
    timer = threading.Timer(START_S, server.kill)
    timer.start()
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    timer.cancel()
    if not url:
        sys.exit("the server has not started")
    return url


def processor_s(pid: int) -> dict[str, float]:
    """Seconds of a processor that the server and its workers have taken."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for task in Path(f"/proc/{pid}/task").iterdir():  # workers are started by threads
        children += (task / "children").read_text().split()
    return {"front": seconds_of(pid), "workers": sum(seconds_of(int(one)) for one in {*children})}


def seconds_of(pid: int) -> float:
    """Seconds of a processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def jpeg(number: int) -> bytes:
    """An image, another one for each number and in each run, so that none was embedded before."""
    pixels = np.asarray(Image.fromarray(skimage.data.coffee()).resize(SIZE)).copy()
    pixels[:16, :16] = np.random.default_rng((RUN, number + IMAGES)).integers(0, 256, (16, 16, 3))
    file = io.BytesIO()
    Image.fromarray(np.roll(pixels, number, axis=1)).save(file, "JPEG", quality=90)
    return file.getvalue()


def embed_all(_url: str) -> Callable[[Client, int], None]:
    """Embed an image that was not seen before."""
    lock, count = threading.Lock(), 0

    def ask(client: Client, _turn: int) -> None:
        nonlocal count
        with lock:
            count += 1
            number = count
        client.embed(jpeg(number))

    return ask


def predict_all(url: str) -> Callable[[Client, int], None]:
    """Click on images that were embedded before."""
    with Client(url) as client:
        images = [client.embed(jpeg(-number)) for number in range(1, IMAGES + 1)]

    def ask(client: Client, turn: int) -> None:
        x, y = 100 + turn * 37 % 800, 100 + turn * 53 % 467
        client.predict(images[turn % IMAGES], points=[[x, y]])

    return ask


def measure(
    url: str, clients: int, seconds: float, ask: Callable[[Client, int], None]
) -> dict[str, float]:
    """Ask by many clients at once for some time."""
    times: list[float] = []
    refused = failed = 0
    lock, end = threading.Lock(), time.perf_counter() + seconds

    def work(number: int) -> None:
        nonlocal refused, failed
        turn = number
        with Client(url, retries=0) as client:
            while time.perf_counter() < end:
                begun, turn = time.perf_counter(), turn + clients
                try:
                    ask(client, turn)
                except BusyError as error:
                    with lock:
                        refused += 1
                    time.sleep(error.retry_after_s)
                    continue
                except Exception as error:  # noqa: BLE001 - counted
                    print(error, file=sys.stderr)
                    with lock:
                        failed += 1
                    continue
                with lock:
                    times.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    median, p95 = np.percentile(times, [50, 95]) if times else (np.nan, np.nan)
    return {
        "per_s": round(len(times) / took, 2),
        "p50_ms": round(1000 * float(median)),
        "p95_ms": round(1000 * float(p95)),
        "answered": len(times),
        "refused": refused,
        "failed": failed,
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
