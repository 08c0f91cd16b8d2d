"""Plots of a quality audit, by matplotlib (extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samkit.files import replacing
from samkit.learning.audit import (
    FATES,
    GOOD_IOU,
    HIGH_IOU,
    IOU_EDGES,
    MASK_COUNTS,
    AuditFigures,
    Estimate,
    centre_map,
    common_edges,
    concavities,
    sizes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
AUTOMATIC, CORRECTED = "#1a73e8", "#d93025"
FATE_COLORS = {"unchanged": "#a8c7fa", "edited": "#1a73e8", "redrawn": "#f29900"}
QUIET = "#5f6368"


def write_audit_plots(figures: AuditFigures, folder: Path) -> list[Path]:
    """Draw the figures of an audit that has corrected masks, into an existing folder.

    Returns:
        paths of `iou.png`, `masks.png` and `centres.png`, the first one if there are pairs.

    Raises:
        ImportError: matplotlib is not installed.
        OutputError: a plot cannot be written.
    """
    from matplotlib.figure import Figure

    written = []
    for name, (draw, size_inches, is_there) in PLOTS.items():
        if not is_there(figures):
            continue
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure, figures)
        path = folder / f"{name}.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)
        written.append(path)
    return written


def _ious(figure: Figure, figures: AuditFigures) -> None:
    """Draw shares of pairs by IoU, and by what was done to the mask."""
    axis = _plain(figure.subplots())
    total = len(figures.pairs)
    below = np.zeros(len(IOU_EDGES) - 1)
    for fate in FATES:
        ious = [pair.iou for pair in figures.pairs if pair.fate == fate]
        heights = 100 * np.histogram(ious, IOU_EDGES)[0] / total
        if heights.any():
            axis.bar(
                IOU_EDGES[:-1],
                heights,
                np.diff(IOU_EDGES),
                bottom=below,
                align="edge",
                color=FATE_COLORS[fate],
                edgecolor="white",
                linewidth=0.5,
                label=f"{fate} ({len(ious):,})",
            )
        below += heights
    for thresh in (GOOD_IOU, HIGH_IOU):
        axis.axvline(thresh, color=QUIET, linewidth=1, linestyle="--")
    shares = "\n".join(
        f"over {thresh:.2f}: {_percent(figures.estimates[name])}"
        for thresh, name in ((HIGH_IOU, "iou_over_0.90"), (GOOD_IOU, "iou_over_0.75"))
    )
    axis.text(0.03, 0.97, shares, transform=axis.transAxes, va="top", fontsize=9)
    axis.set(xlabel="IoU of automatic and corrected mask", ylabel="pairs (%)", xlim=(0, 1))
    axis.legend(fontsize=8, frameon=False, loc="center left")


def _masks(figure: Figure, figures: AuditFigures) -> None:
    """Draw masks per image, sizes and concavities, before and after."""
    sides = (("automatic", figures.automatic), ("corrected", figures.corrected))
    axes = [_plain(axis) for axis in figure.subplots(1, 3)]
    counts = {
        name: np.array([count(image) for image in figures.images], float)
        for name, count in MASK_COUNTS.items()
    }
    values = (
        (counts, "masks per image", "images (%)", 20),
        ({name: sizes(side) for name, side in sides}, "√(mask / image)", "masks (%)", 0.1),
        ({name: concavities(side) for name, side in sides}, "concavity", "masks (%)", 0.1),
    )
    for axis, (one, words, unit, step) in zip(axes, values, strict=True):
        edges = common_edges(one.values(), step=step)
        for name, color in (("automatic", AUTOMATIC), ("corrected", CORRECTED)):
            heights = 100 * np.histogram(one[name], edges)[0] / max(len(one[name]), 1)
            axis.stairs(heights, edges, color=color, fill=True, alpha=0.15)
            axis.stairs(heights, edges, color=color, linewidth=1.5, label=name)
            if len(one[name]):
                axis.axvline(one[name].mean(), color=color, linewidth=1, linestyle="--")
        axis.set(xlabel=words, ylabel=unit, xlim=(0, edges[-1]))
    axes[0].legend(fontsize=8, frameon=False, title="dashed: means", title_fontsize=8)


def _centres(figure: Figure, figures: AuditFigures) -> None:
    """Draw where the centres of masks are, before and after."""
    maps = {
        "automatic": (100 * centre_map(figures.automatic), len(figures.automatic)),
        "corrected": (100 * centre_map(figures.corrected), len(figures.corrected)),
    }
    highest = max(float(one.max()) for one, _ in maps.values())
    axes = figure.subplots(1, 2)
    for axis, (name, (shares, count)) in zip(axes, maps.items(), strict=True):
        shown = axis.imshow(shares, cmap="magma", vmin=0, vmax=highest, extent=(0, 1, 1, 0))
        axis.set_title(f"{name} ({count:,})", fontsize=9)
        axis.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axis.tick_params(labelsize=8)
    bar = figure.colorbar(shown, ax=axes, shrink=0.85)
    bar.set_label("centres of masks (%)", fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _plain(axis: Axes) -> Axes:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.xaxis.label.set_fontsize(9)
    axis.yaxis.label.set_fontsize(9)
    return axis


def _percent(one: Estimate) -> str:
    value = "" if one.value is None else f"{100 * one.value:.1f}%"
    if one.interval is None:
        return value
    return f"{value} ({100 * one.interval[0]:.1f} to {100 * one.interval[1]:.1f})"


def _has_pairs(figures: AuditFigures) -> bool:
    return bool(figures.pairs)


def _has_masks(figures: AuditFigures) -> bool:
    return bool(figures.automatic or figures.corrected)


PLOTS: Mapping[
    str,
    tuple[
        Callable[[Figure, AuditFigures], None],
        tuple[float, float],
        Callable[[AuditFigures], bool],
    ],
] = {
    "iou": (_ious, (5.0, 3.4), _has_pairs),
    "masks": (_masks, (10.0, 2.9), _has_masks),
    "centres": (_centres, (7.0, 3.2), _has_masks),
}
