"""Memory growth in a long session: 100 prompts on one image, then 50 images in a row.

    python benchmarks/memory_flat.py [--model NAME] [--backend NAME] [--precision NAME]

Prints the resident memory after warm-up and at the end of each series, and exits with 1 if it grew
by more than --bound-mb. Allocators and backends cache memory, so some growth is not a leak, but it
levels off: leaking one prompt's logits (0.8 MB) or one image's embedding (4 MB) would take 75 MB or
200 MB here.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import samkit

WARM_UP = 5
PROMPTS = 100
IMAGES = 50
BOUND_MB = 50.0
# Image sizes (H, W) used in turn, so that buffers of one size cannot hide a leak.
SIZES_HW = ((400, 600), (600, 400), (534, 800), (768, 1024), (321, 481))
STATUS = Path("/proc/self/status")


def resident_mb() -> float:
    """Resident memory of this process in MB; Linux only."""
    gc.collect()
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no VmRSS in {STATUS}")


def growth(step: Callable[[int], None], count: int, name: str) -> float:
    """Measure and print the growth in MB over `count` steps after warm-up."""
    for number in range(WARM_UP):
        step(number)
    before = resident_mb()
    start = time.perf_counter()
    for number in range(count):
        step(number)
    seconds = (time.perf_counter() - start) / count
    after = resident_mb()
    print(
        f"{count} {name}: {before:.0f} MB after warm-up, {after:.0f} MB at the end"
        f" ({after - before:+.1f} MB; {seconds:.3f} s each)"
    )
    return after - before


def prompt_series(predictor: "samkit.Predictor", count: int = PROMPTS) -> float:
    """Growth over varied prompts on one embedding: points, boxes, batches, masks."""
    random = np.random.default_rng(0)
    height, width = SIZES_HW[0]
    embedding = predictor.embed(random.integers(0, 256, (height, width, 3), np.uint8))

    def step(number: int) -> None:
        points = random.uniform((0, 0), (width, height), (1 + number % 4, 2))
        if number % 5 == 4:
            low = points.min(axis=0) / 2
            high = low + np.array([width, height]) / 2
            result = predictor.predict(embedding, boxes=np.concatenate([low, high]))
        elif number % 5 == 3:  # a batch of prompts of a point each
            labels = np.ones((len(points), 1))
            result = predictor.predict(embedding, points=points[:, None], labels=labels)
        else:
            result = predictor.predict(embedding, points=points, labels=np.ones(len(points)))
        _ = result.best().masks

    return growth(step, count, "prompts on one image")


def image_series(predictor: "samkit.Predictor", count: int = IMAGES) -> float:
    """Growth over images of several sizes, each embedded and clicked once."""
    random = np.random.default_rng(1)

    def step(number: int) -> None:
        size_hw = SIZES_HW[number % len(SIZES_HW)]
        embedding = predictor.embed(random.integers(0, 256, (*size_hw, 3), np.uint8))
        result = predictor.predict(embedding, points=[[20, 20]], labels=[1])
        _ = result.best().masks

    return growth(step, count, "images, one click each")


def main() -> None:
    """Run both series and compare with the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mobile_sam", help="name or checkpoint")
    parser.add_argument("--backend", help="as Predictor.load takes it")
    parser.add_argument("--precision", help="as Predictor.load takes it")
    parser.add_argument("--bound-mb", type=float, default=BOUND_MB, help="(default %(default)s)")
    args = parser.parse_args()

    import samkit

    asked = {"backend": args.backend, "precision": args.precision}
    chosen = {name: value for name, value in asked.items() if value is not None}
    predictor = samkit.Predictor.load(args.model, **chosen)
    print(f"{args.model}, {chosen or 'default backend'}")
    worst = max(prompt_series(predictor), image_series(predictor))
    print(f"largest growth {worst:.1f} MB, bound {args.bound_mb:.0f} MB")
    if worst > args.bound_mb:
        sys.exit(1)


if __name__ == "__main__":
    main()
