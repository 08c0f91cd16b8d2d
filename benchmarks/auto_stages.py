"""Where the time of automatic masks goes: encoding, decoding, and what comes after.

    python benchmarks/auto_stages.py IMAGE [--threads 2] [--repeat 5]

prints a Markdown table: for the preset `instant`, a grid of 8 x 8 points and the default, the
median seconds of one image in each stage. They take turns, so that ratios are of the same minutes.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import samkit
from samkit.formats import read_image
from samkit.proposals import PRESETS, AutoMaskConfig, AutoMasker, proposers

PROCEDURES = {
    "`instant`": PRESETS["instant"],
    "8 x 8 points": AutoMaskConfig(points_per_side=8),
    "32 x 32 points, the default": AutoMaskConfig(),
}
STAGES = ("encode", "find boxes", "decode", "select candidates", "filter, upscale, RLE")


class Stopwatch:
    """Seconds spent in functions, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts."""

        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return run


def watch(predictor: samkit.Predictor) -> Stopwatch:
    """Count the time of the predictor's and the proposal head's work."""
    stopwatch = Stopwatch()
    for name, stage in {"embed": 0, "decode_points": 2, "decode_boxes": 2}.items():
        setattr(predictor, name, stopwatch.timed(STAGES[stage], getattr(predictor, name)))
    found = stopwatch.timed(STAGES[1], proposers.propose_boxes)
    proposers.propose_boxes = found  # type: ignore[assignment]
    return stopwatch


def one_run(masker: AutoMasker, image: Any, stopwatch: Stopwatch) -> tuple[dict[str, float], int]:
    """Seconds of each stage, and how many masks there are."""
    stopwatch.seconds.clear()
    start = time.perf_counter()
    proposals = masker.propose(image)
    proposed = time.perf_counter()
    masks = masker.filter(proposals)
    seconds = dict(stopwatch.seconds)
    seconds[STAGES[3]] = proposed - start - sum(seconds.values())
    seconds[STAGES[4]] = time.perf_counter() - proposed
    return seconds, len(masks)


def main() -> None:
    """Measure all procedures in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("image", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    image = read_image(options.image)
    predictor = samkit.Predictor.load(threads=options.threads)
    stopwatch = watch(predictor)
    maskers = {name: AutoMasker(predictor, config) for name, config in PROCEDURES.items()}
    for masker in maskers.values():  # graphs are made and memory is claimed
        masker.generate(image)
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    counts = {}
    for _ in range(options.repeat):
        for name, masker in maskers.items():
            seconds, counts[name] = one_run(masker, image, stopwatch)
            runs[name].append(seconds)
    height, width = image.shape[:2]
    print(f"{width} x {height}; {predictor.describe()['backend']}\n")
    print(f"| | {' | '.join(STAGES)} | in all | masks |")
    print("|---" * (len(STAGES) + 3) + "|")
    for name, measured in runs.items():
        cells = [statistics.median(one.get(stage, 0.0) for one in measured) for stage in STAGES]
        total = statistics.median(sum(one.values()) for one in measured)
        shown = " | ".join(f"{one:.3f}" for one in (*cells, total))
        print(f"| {name} | {shown} | {counts[name]} |")


if __name__ == "__main__":
    main()
