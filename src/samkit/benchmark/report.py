"""Benchmark results as Markdown and as a bar chart."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samkit.benchmark.turns import Result
from samkit.files import replacing

PLOTS_ACROSS = 3
PEER_COLOR, OUR_COLOR = "#9aa0a6", "#1a73e8"


def markdown_report(
    machine: dict[str, Any], results: Sequence[Result], memory_gb: dict[str, float]
) -> str:
    """Report with the machine and one table per workload."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    flags = ", ".join(machine["flags"])
    processor = f"{machine['cpu']}, {machine['cores']} cores ({flags})"
    where = f"{processor}; Python {machine['python']}; {versions}."
    parts = [where]
    if "matmul_gflops" in machine:
        rates = [f"{rate:.0f} in {name}" for name, rate in machine["matmul_gflops"].items()]
        parts.append(f"Matrix products, GFLOP/s: {', '.join(rates)}.")
    parts.append("Medians; ratios are taken within turns.")
    parts += [table(result) for result in results]
    if memory_gb:
        rows = ["| peak memory, automatic masks | GB |", "|---|---|"]
        rows += [f"| {name} | {peak:.2f} |" for name, peak in memory_gb.items()]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def table(result: Result) -> str:
    """Table with one row per subject: median time, speed-up, and rate for each amount."""
    rates = [f"{name} per second" for name in result.amounts]
    rows = [f"| {' | '.join([result.work, 'median', 'times faster', *rates])} |"]
    rows.append("|---" * (3 + len(rates)) + "|")
    for name, timing in result.timings.items():
        done = [f"{amount / timing.median_s:.2f}" for amount in result.amounts.values()]
        cells = [name, duration(timing.median_s), f"{timing.times_faster:.2f}", *done]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def duration(seconds: float) -> str:
    """Format a duration in seconds, or in milliseconds below one second."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


def write_plot(results: Sequence[Result], path: Path) -> None:
    """Draw each subject's speed-up over its peer as bars.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    columns = min(len(results), PLOTS_ACROSS)
    rows = math.ceil(len(results) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(results) :]:
        axis.remove()
    for axis, result in zip(axes, results, strict=False):
        timings = result.timings
        factors = [timing.times_faster for timing in timings.values()]
        colors = [PEER_COLOR] + [OUR_COLOR] * (len(timings) - 1)
        bars = axis.barh(list(timings), factors, color=colors)
        labels = [
            f"{timing.times_faster:.1f} x ({duration(timing.median_s)})"
            for timing in timings.values()
        ]
        axis.bar_label(bars, labels, padding=3, fontsize=7)
        axis.set_xlim(0, max(factors) * 1.6)
        axis.set_title(result.work, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("times faster than the first of each group", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
