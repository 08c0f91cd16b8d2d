"""Automatic masks on one worker and on two, one thread each: process pool and Ray.

    python benchmarks/auto_workers.py [--images 24] [--executors pool ray]

Each executor gets its images after others that load the models. Prints the images per second of
`samkit auto`, results written, and how many times as many two workers do; also how long an image
took in its worker, in seconds of the processor, which other programs on the machine hardly change,
and by the clock, which they do.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samkit.backends import BackendChoice
from samkit.batch import (
    AutoWork,
    Executor,
    InputImage,
    MaskGenerator,
    ProcessPool,
    RayCluster,
    find_images,
    name_results,
)
from samkit.errors import SamkitError
from samkit.proposals import AutoMaskConfig
from studio_server import make_images

WORKERS = (1, 2)
FIRST_PER_WORKER = 2  # images that load the models


def main() -> None:
    """Run the measurement, and print a line of JSON for each kind of executor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--executors", nargs="+", choices=("pool", "ray"), default=("pool", "ray"))
    parser.add_argument("--points-per-side", type=int, default=8)
    parser.add_argument("--backend", default="auto")
    args = parser.parse_args()
    for name in args.executors:
        print(json.dumps({name: measure(name, args)}), flush=True)


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one kind of executor with one worker and with two."""
    by_workers = {}
    for workers in WORKERS:
        with tempfile.TemporaryDirectory(prefix="samkit-images-") as folder:
            first = FIRST_PER_WORKER * workers
            make_images(Path(folder), args.images + first, (400, 600))
            images, _ = find_images([folder], Path(folder, "out"))
            images = name_results(images, [".json"], [])
            with EXECUTORS[name](workers) as executor:
                work = TimedWork(auto_work(Path(folder, "out"), args))
                with work.auto.run.writing():
                    list(executor.run(work, images[:first]))
                    work.times.clear()
                    by_workers[workers] = rates(executor, work, images[first:])
    ratio = by_workers[2]["images_per_s"] / by_workers[1]["images_per_s"]
    return {"workers": by_workers, "two_against_one": round(ratio, 2)}


def rates(executor: Executor, work: "TimedWork", images: list[InputImage]) -> dict[str, float]:
    """Process images, and return how long they took."""
    started = time.monotonic()
    for outcome in executor.run(work, images):
        if outcome.error is not None:
            raise outcome.error
    seconds = time.monotonic() - started
    cpu_s, clock_s = (sum(column) / len(images) for column in zip(*work.times, strict=True))
    return {
        "images_per_s": round(len(images) / seconds, 3),
        "cpu_s_per_image": round(cpu_s, 2),
        "clock_s_per_image": round(clock_s, 2),
    }


def auto_work(output: Path, args: argparse.Namespace) -> AutoWork:
    """Make the work of `samkit auto --format sa1b --threads 1`."""
    generator = MaskGenerator(
        model="mobile_sam",
        backend=BackendChoice(backend=args.backend, threads=1),
        config=AutoMaskConfig(points_per_side=args.points_per_side),
    )
    return AutoWork(generator=generator, output=output, formats=frozenset({"sa1b"}))


@dataclass(frozen=True)
class Timed:
    """Calls a function; returns its result, and the seconds of a processor and of the clock."""

    function: Callable[[Any], Any]

    def __call__(self, claim: Any) -> tuple[Any, float, float]:
        cpu_s, clock_s = time.process_time(), time.monotonic()
        result = self.function(claim)
        return result, time.process_time() - cpu_s, time.monotonic() - clock_s


class TimedWork:
    """`AutoWork`, with the time that each image took in its worker.

    Attributes:
        times: seconds of a processor and of the clock, of each image.
    """

    def __init__(self, auto: AutoWork) -> None:
        self.auto = auto
        self.generate = Timed(auto.generate)
        self.times: list[tuple[float, float]] = []

    def claim(self, image: InputImage) -> Any:
        return self.auto.claim(image)

    def commit(self, claim: Any, timed: tuple[Any, float, float]) -> Any:
        output, cpu_s, clock_s = timed
        self.times.append((cpu_s, clock_s))
        return self.auto.commit(claim, output)

    def is_fault(self, error: SamkitError) -> bool:
        return self.auto.is_fault(error)


@contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """Start a pool of processes with one thread each."""
    with ProcessPool(workers, threads_per_worker=1) as executor:
        yield executor


@contextmanager
def ray_cluster(workers: int) -> Iterator[Executor]:
    """Start a Ray cluster of this machine alone, with one core for each worker."""
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with RayCluster("local", threads_per_worker=1) as executor:
            yield executor
    finally:
        ray.shutdown()


EXECUTORS = {"pool": pool, "ray": ray_cluster}


if __name__ == "__main__":
    main()
