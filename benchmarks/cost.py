"""Time and peak memory of one image and one click, by image size.

    python benchmarks/cost.py [MODEL]

prints a Markdown table. Each size runs in its own process, to measure its peak memory.
"""

import multiprocessing
import resource
import statistics
import sys
import time

import numpy as np

SIZES_HW = ((400, 600), (1200, 1800), (4000, 6000))
REPEATS = 5


def measure(model: str, size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Median seconds to embed, to decode one click and to make its mask; peak memory in GB."""
    import samkit

    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    predictor = samkit.Predictor.load(model)
    times: list[list[float]] = [[], [], []]
    for _ in range(REPEATS):
        marks = [time.perf_counter()]
        embedding = predictor.embed(image)
        marks.append(time.perf_counter())
        result = predictor.predict(embedding, points=[[20, 20]], labels=[1])
        marks.append(time.perf_counter())
        _ = result.best().masks
        marks.append(time.perf_counter())
        for series, seconds in zip(times, np.diff(marks), strict=True):
            series.append(float(seconds))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    embed, decode, mask = (statistics.median(series) for series in times)
    return embed, decode, mask, peak_gb


def main() -> None:
    """Measure all sizes and print the table."""
    model = sys.argv[1] if len(sys.argv) > 1 else "mobile_sam"
    print(f"| image ({model}) | embed | one click, 3 candidates | best mask | peak memory |")
    print("|---|---|---|---|---|")
    for height, width in SIZES_HW:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            embed, decode, mask, peak_gb = pool.apply(measure, (model, (height, width)))
        row = f"| {width} x {height} | {embed:.2f} s | {decode * 1e3:.0f} ms | {mask * 1e3:.0f} ms"
        print(f"{row} | {peak_gb:.2f} GB |")


if __name__ == "__main__":
    main()
