"""Durability under load: kill -9 the server at random moments; no acknowledged action may be lost.

    python benchmarks/studio_kill.py [--kills 50] [--database postgresql]

Annotators save, correct, undo, redo, delete and submit without pause while the server is killed and
restarted. After each kill the database is opened and checked: each acknowledged action must be
stored exactly once, and none partially. Prints counts as JSON, and exits with 1 on any fault.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx2
from sqlalchemy import text

from samkit.dataengine import Store
from studio_annotator import Acknowledged, Annotator, faults
from studio_server import (
    Server,
    empty_database,
    make_images,
    make_store,
    postgres_url,
    serve_command,
)

SMALL_HW = (60, 80)
PAUSE_S = 0.01
MAX_LOAD_S = 2.0  # before a kill


def main() -> None:
    """Run the measurement, print it, and fail if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--annotators", type=int, default=8)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="samkit-images-") as images,
        empty_database(postgres_url(args.database)) as where,
    ):
        make_images(Path(images), args.images, SMALL_HW)
        result = measure(where, Path(images), args)
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["faults"] else 0)


def measure(where: str, images: Path, args: argparse.Namespace) -> dict[str, object]:
    """Kill the server repeatedly and check the store after each kill."""
    project_id, names = make_store(where, images, args.annotators)
    moments = random.Random(args.seed)
    acknowledged = Acknowledged()
    found: list[str] = []
    alive = 0
    for kill in range(args.kills):
        server = Server(serve_command(where), images / "server.log")
        people: list[Annotator] = []
        errors: list[str] = []

        def work(name: str, seed: int, url: str) -> None:
            # The server's death is no error; a refusal before it is.
            with suppress(httpx2.TransportError):
                try:
                    one = Annotator(url, name, project_id=project_id, seed=seed, prompts=False)
                    people.append(one)  # noqa: B023 - the thread ends within the turn
                    one.work(lambda: False)
                except RuntimeError as error:
                    errors.append(str(error))  # noqa: B023

        threads = [
            threading.Thread(target=work, args=(name, kill * 1000 + seed, server.url))
            for seed, name in enumerate(names)
        ]
        for thread in threads:
            thread.start()
        # Under load: once all have done something or failed.
        while sum(len(one.acknowledged) > 0 for one in people) + len(errors) < len(names):
            time.sleep(PAUSE_S)
        time.sleep(moments.uniform(0, MAX_LOAD_S))
        server.kill()
        for thread in threads:
            thread.join()
        for one in people:
            alive += len(one.acknowledged) > 0
            acknowledged.merge(one.acknowledged)
        found += errors
        with Store.open(where) as store:
            found += faults(store, acknowledged, exactly=False)
            if store.path is not None:
                with store.read() as session:
                    answer = session.execute(text("PRAGMA integrity_check")).scalar()
                found += [] if answer == "ok" else [f"the database is damaged: {answer}"]
        if found:
            break
    return {
        "kills": kill + 1,
        "sessions_cut_off": alive,
        "acknowledged": len(acknowledged),
        "faults": found[:20],
    }


if __name__ == "__main__":
    main()
