"""Plots of a report's curves, by matplotlib (extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samkit.evaluation.boundaries import f_measure
from samkit.evaluation.protocol import Curve
from samkit.evaluation.report import Report
from samkit.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES, DPI = (5.0, 3.6), 150
COLORS = ("#1a73e8", "#d93025", "#188038", "#f29900", "#9334e6", "#12858d", "#5f6368")
EQUAL_F = (0.5, 0.6, 0.7, 0.8, 0.9)  # lines of equal F behind precision and recall


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Draw one plot per kind of curve in a report, into an existing folder.

    Returns:
        paths of the plots, such as `iou_by_clicks.png`.

    Raises:
        ImportError: matplotlib is not installed.
        OutputError: a plot cannot be written.
    """
    from matplotlib.figure import Figure

    written = []
    for name, draw in PLOTS.items():
        curves = _curves(report, name)
        if not curves:
            continue
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axis = figure.subplots()
        draw(axis, curves)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=8, frameon=False)
        path = folder / f"{name}.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)
        written.append(path)
    return written


def _curves(report: Report, name: str) -> dict[str, Curve]:
    """The curves of one name, by model label."""
    return {
        label: own.summary.curves[name]
        for label, model in report.models.items()
        for own in model.protocols.values()
        if name in own.summary.curves
    }


def _iou_by_clicks(axis: Axes, curves: Mapping[str, Curve]) -> None:
    for number, (label, curve) in enumerate(curves.items()):
        axis.plot(curve.x, curve.y, marker="o", markersize=3, color=_color(number), label=label)
    axis.set(xlabel="clicks", ylabel="mIoU over masks", ylim=(0, 1))
    _count_on(axis)
    axis.grid(alpha=0.3)


def _noc_histogram(axis: Axes, curves: Mapping[str, Curve]) -> None:
    width = 0.8 / len(curves)
    for number, (label, curve) in enumerate(curves.items()):
        x = np.array(curve.x) - 0.4 + (number + 0.5) * width
        axis.bar(x, curve.y, width, color=_color(number), label=label)
    axis.set(xlabel="clicks needed; the last bar includes masks that never reach the target")
    axis.set(ylabel="fraction of masks")
    _count_on(axis)


def _recall_by_iou(axis: Axes, curves: Mapping[str, Curve]) -> None:
    for number, (label, curve) in enumerate(curves.items()):
        axis.plot(curve.x, curve.y, marker="o", markersize=3, color=_color(number), label=label)
    axis.set(xlabel="IoU threshold", ylabel="recall at 1000 masks", ylim=(0, 1))
    axis.grid(alpha=0.3)


def _precision_by_recall(axis: Axes, curves: Mapping[str, Curve]) -> None:
    grid = np.linspace(0.01, 1, 200)
    f = f_measure(grid[:, None], grid[None])
    lines = axis.contour(grid, grid, f, levels=EQUAL_F, colors="#bdc1c6", linewidths=0.7)
    axis.clabel(lines, fontsize=7, fmt="F %.1f")
    for number, (label, curve) in enumerate(curves.items()):
        recall, precision = np.array(curve.x), np.array(curve.y)
        best = int(f_measure(precision, recall).argmax())
        axis.plot(recall, precision, color=_color(number), label=label)
        axis.plot(recall[best], precision[best], marker="o", markersize=5, color=_color(number))
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))


def _count_on(axis: Axes) -> None:
    """Put integer ticks on an axis that counts."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


PLOTS: Mapping[str, Callable[[Axes, Mapping[str, Curve]], None]] = {
    "iou_by_clicks": _iou_by_clicks,
    "noc85_histogram": _noc_histogram,
    "noc90_histogram": _noc_histogram,
    "recall_by_iou": _recall_by_iou,
    "edge_precision_by_recall": _precision_by_recall,
}
