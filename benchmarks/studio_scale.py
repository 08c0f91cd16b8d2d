"""Latency of lists, searches and statistics through REST with 100,000 images in a project.

    python benchmarks/studio_scale.py [--images 100000] [--database postgresql]

Fills a store with image rows (without files) and three masks on each; prints p50 and p95 in
milliseconds of each request, over --turns.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import numpy as np
from sqlalchemy import insert, select, text

from samkit.dataengine import Store, add_class
from samkit.dataengine.schema import AnnotationRow, ImageRow, UserRow
from studio_server import (
    PASSWORD,
    Server,
    empty_database,
    make_images,
    make_store,
    postgres_url,
    serve_command,
)

MASKS = 3  # on average, of each image that is not waiting for annotation
RARE = 1e-4  # share of masks of a rare class
ROWS_AT_ONCE = 5000
PAUSE_S = 0.2
REVIEWS = ("none", "submitted", "returned", "accepted")


def main() -> None:
    """Fill a store, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="samkit-images-") as images,
        empty_database(postgres_url(args.database)) as where,
    ):
        make_images(Path(images), 1)
        project_id, _ = make_store(where, Path(images), 20)
        with Store.open(where) as store:
            fill(store, project_id, args.images)
        with Server(serve_command(where), Path(images, "server.log")) as server:
            print(json.dumps(measure(server.url, project_id, args), indent=1))


def fill(store: Store, project_id: int, count: int) -> None:
    """Insert image rows in all states, with masks by 20 people over 30 days."""
    random_ = random.Random(0)
    now = store.clock()
    common = {
        "project_id": project_id,
        "num_bytes": 1,
        "modified_ns": 0,
        "height": 800,
        "width": 1200,
        "comment": "",
        "num_annotators": 1,
        "version": 1,
        "stage": "assisted-manual",
    }
    with store.read() as session:
        people = session.scalars(select(UserRow.id)).all()
    # The first one is rare, the second one on most images.
    rare, *usual = (
        add_class(store, project_id, name, color="#ff0000").id
        for name in ("rare", "usual", "other")
    )
    for start in range(0, count, ROWS_AT_ONCE):
        numbers = range(start, min(start + ROWS_AT_ONCE, count))
        rows = []
        for number in numbers:
            review = random_.choices(REVIEWS, (40, 10, 2, 48))[0]
            rows.append(
                common
                | {
                    "path": f"rows/{number:06}.jpg",
                    "sha256": f"{number:064x}",
                    "review": review,
                    "open": review in ("none", "returned"),
                    "num_masks": 0 if review == "none" else random_.randint(1, 2 * MASKS - 1),
                }
            )
        with store.write() as session:
            session.execute(insert(ImageRow), rows)
            query = select(ImageRow.id, ImageRow.num_masks).order_by(ImageRow.id.desc())
            found = session.execute(query.limit(len(rows))).all()
            masks = [
                {
                    "project_id": project_id,
                    "image_id": image_id,
                    "user_id": random_.choice(people),
                    "class_id": rare if random_.random() < RARE else random_.choice(usual),
                    "counts": "x",
                    "area_px": 1,
                    "x0": 0,
                    "y0": 0,
                    "x1": 1,
                    "y1": 1,
                    "stage": "assisted-manual",
                    "version": 1,
                    "deleted": False,
                    "num_clicks": 2,
                    "duration_ms": random_.randrange(2000, 20000),
                    "created_at": now.replace(day=random_.randint(1, 28)),
                }
                for image_id, num_masks in found
                for _ in range(num_masks)
            ]
            session.execute(insert(AnnotationRow), masks)
    if store.url.startswith("postgresql"):
        # What its autovacuum does within a minute, without which plans are guesses.
        with store.write() as session:
            session.execute(text("ANALYZE"))


def measure(url: str, project_id: int, args: argparse.Namespace) -> dict[str, object]:
    """Latency of requests, measured by the client."""
    place = f"/api/projects/{project_id}"
    places = random.Random(1)
    requests = {
        "list, 100 images": lambda: (
            f"{place}/images?limit=100&after={places.randrange(args.images)}"
        ),
        "filter by review": lambda: (
            f"{place}/images?limit=100&review={places.choice(REVIEWS)}"
            f"&after={places.randrange(args.images // 2)}"
        ),
        "filter by stage": lambda: f"{place}/images?limit=100&stage=assisted-manual",
        "filter that finds nothing": lambda: f"{place}/images?limit=100&stage=imported",
        **searches(place, args.images),
        "counts by state": lambda: f"{place}/statistics?days=false",
        "statistics": lambda: f"{place}/statistics",
        "upcoming": lambda: f"{place}/upcoming",
    }
    result: dict[str, object] = {"images": args.images, "database": args.database}
    with httpx2.Client(base_url=url, timeout=60) as http:
        body = {"name": "admin", "password": PASSWORD}
        session = http.post("/api/session", json=body).raise_for_status().json()
        http.headers["X-CSRF-Token"] = session["csrf_token"]
        while http.get("/api/status").raise_for_status().json()["model"] is None:
            time.sleep(PAUSE_S)  # loading it takes both cores
        for name, make in requests.items():
            times_ms = []
            for _ in range(args.turns):
                started = time.perf_counter()
                http.get(make()).raise_for_status()
                times_ms.append((time.perf_counter() - started) * 1000)
            p50, p95 = np.percentile(times_ms, [50, 95])
            result[name] = {"p50_ms": round(p50, 1), "p95_ms": round(p95, 1)}
    return result


def searches(place: str, num_images: int) -> dict[str, Callable[[], str]]:
    """Searches of the gallery: the first page, or one in the middle, and how many are found."""
    random_ = random.Random(2)

    def page(**given: str | int | Callable[[], str]) -> Callable[[], str]:
        def address() -> str:
            values = {name: one() if callable(one) else one for name, one in given.items()}
            return f"{place}/images?{urlencode({'limit': 200, **values})}"

        return address

    def number() -> str:
        return f"{random_.randrange(num_images):06}"

    def digit() -> str:
        return number()[-1]

    half = {"after": num_images // 2}
    by_number = {"order": "masks", "descending": "true"}
    return {
        "search: one name": page(name=number),
        "search: a name that many have": page(name=digit),
        "search: a name that none has": page(name="nothing"),
        "search: usual class": page(class_id=2),
        "search: rare class": page(class_id=1),
        "search: one person of 20": page(user_id=3),
        "search: more than 4 masks": page(min_masks=5),
        "search: class, person, number, state, name": page(
            class_id=2, user_id=3, min_masks=2, review="accepted", name="7"
        ),
        "order: name, backwards, from the middle": page(order="name", descending="true", **half),
        "order: number of masks": page(**by_number),
        "order: number of masks, from the middle": page(**by_number, **half),
        "order: number of masks, usual class": page(class_id=2, **by_number),
        "order: name, rare class": page(class_id=1, order="name"),
        "count: a name": lambda: f"{place}/images/count?name={number()[-2:]}",
        "count: usual class": lambda: f"{place}/images/count?class_id=2",
        "count: one person": lambda: f"{place}/images/count?user_id=3",
        "count: more than 4 masks": lambda: f"{place}/images/count?min_masks=5",
        "skip half": page(skip=num_images // 2),
    }


if __name__ == "__main__":
    main()
