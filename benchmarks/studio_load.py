"""Many annotators at once: latency of the page, and durability of their work.

    python benchmarks/studio_load.py [--annotators 20] [--seconds 300] [--megapixels 24] [--learner]

Each simulated annotator takes an image, looks at it, moves the pointer, clicks, saves, corrects,
undoes and submits, with a pause before each action. Prints the time from click to mask, the
server's memory, and any acknowledged actions that are missing from the store afterwards; exits with
1 on any error. With --learner, the server trains a model of another project in the meantime, round
after round; the fraction of the time in which it was at work is printed. PostgreSQL:
`tools/with_postgres.sh python benchmarks/studio_load.py ...`.
"""

import argparse
import json
import math
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from samkit.dataengine import Store
from studio_annotator import Acknowledged, Annotator, faults
from studio_learner import LearnerAtWork, add_finished_project
from studio_server import (
    Server,
    empty_database,
    make_images,
    make_store,
    postgres_url,
    serve_command,
)

MEMORY_EVERY_S = 5.0


def main() -> None:
    """Run the measurement, print it, and fail if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--think-s", type=float, default=2.0, help="mean pause before each action")
    parser.add_argument("--previews", type=int, default=3, help="previews before each click")
    parser.add_argument("--images", type=int, default=800, help="number of images in the project")
    parser.add_argument("--megapixels", type=float, default=1.0, help="size of each image")
    parser.add_argument("--learner", action="store_true", help="train a model in the meantime")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="samkit-images-") as images,
        empty_database(postgres_url(args.database)) as where,
    ):
        height = math.isqrt(int(args.megapixels * 1e6 * 2 / 3))
        make_images(Path(images), args.images, (height, height * 3 // 2))
        result = measure(where, Path(images), args)
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["errors"] or result["faults"] else 0)


def measure(where: str, images: Path, args: argparse.Namespace) -> dict[str, object]:
    """Start a server and measure with it."""
    project_id, names = make_store(where, images, args.annotators)
    log = images / "server.log"
    with tempfile.TemporaryDirectory(prefix="samkit-scenes-") as scenes:
        learning_id = add_finished_project(where, Path(scenes)) if args.learner else None
        with Server(serve_command(where), log) as server:
            learner = None if learning_id is None else LearnerAtWork(server.url, learning_id)
            return with_server(server, where, project_id, names, args, learner=learner)


def with_server(
    server: Server,
    where: str,
    project_id: int,
    names: list[str],
    args: argparse.Namespace,
    *,
    learner: LearnerAtWork | None,
) -> dict[str, object]:
    """Let the annotators work on a running server, then stop it and check the store."""
    deadline = time.monotonic() + args.seconds
    errors: list[str] = []
    people: list[Annotator] = []

    def work(name: str, seed: int) -> None:
        try:
            one = Annotator(
                server.url,
                name,
                project_id=project_id,
                seed=seed,
                previews=args.previews,
                think_s=args.think_s,
            )
            people.append(one)
            one.work(lambda: time.monotonic() > deadline)
        except Exception as error:  # noqa: BLE001 - counted, whatever it is
            errors.append(f"{name}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(name, seed)) for seed, name in enumerate(names)]
    for thread in threads:
        thread.start()
    memory_mb = []
    while time.monotonic() < deadline:
        memory_mb.append(round(server.resident_mb()))
        if learner is not None:
            learner.look()
        time.sleep(MEMORY_EVERY_S)
    for thread in threads:
        thread.join()
    exit_code = server.stop()
    acknowledged = Acknowledged()
    for one in people:
        acknowledged.merge(one.acknowledged)
    with Store.open(where) as store:
        # The learner's project has masks that nobody of these has made.
        found = faults(store, acknowledged, exactly=not errors and learner is None)
    clicks = [ms for one in people for ms in one.click_ms]
    p50, p95, p99 = np.percentile(clicks, [50, 95, 99]) if clicks else (np.nan,) * 3
    return {
        "annotators": args.annotators,
        "seconds": args.seconds,
        "clicks": len(clicks),
        "click_ms": {"p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1)},
        "learner": None if learner is None else learner.report(),
        "images": sum(one.num_images for one in people),
        "acknowledged": len(acknowledged),
        "errors": errors,
        "faults": found,
        "server_exit_code": exit_code,
        "server_log": server.errors()[-2000:],
        "memory_mb": memory_mb,
    }


if __name__ == "__main__":
    main()
