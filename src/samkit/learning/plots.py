"""Pictures: what a mask costs, round by round; how sure a confidence may be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samkit.learning.confidence import Confidence
    from samkit.learning.simulate import Round


def plot_rounds(rounds: Sequence[Round], path: Path, *, title: str) -> None:
    """Draw clicks per mask by finished images, held out and annotated, as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    from samkit.files import replacing

    finished, total = [0], 0
    for one in rounds:
        total += one.images
        finished.append(total)
    frozen = rounds[0].held_out.frozen_clicks_per_mask
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(frozen, color="0.55", linestyle="--", label="held out, model that never learns")
    axes.plot(
        finished,
        [frozen, *(one.held_out.clicks_per_mask for one in rounds)],
        marker="o",
        label="held out, model that learns",
    )
    axes.step(
        finished,
        [*(one.clicks_per_mask for one in rounds), rounds[-1].clicks_per_mask],
        where="post",
        linestyle=":",
        label="masks that robots made",
    )
    axes.set(xlabel="finished images", ylabel="clicks per mask", title=title, ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def plot_reliability(confidence: Confidence, path: Path, *, title: str) -> None:
    """Draw how many masks were accepted by how sure the confidence was, as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    from samkit.files import replacing

    counts, means, fractions = zip(*confidence.bins, strict=True)
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.55", linestyle="--", label="as sure as it says")
    axes.scatter(means, fractions, s=[12 + count for count in counts], zorder=3)
    for count, x, y in zip(counts, means, fractions, strict=True):
        axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(8, -4), fontsize=8)
    if confidence.threshold is not None:
        axes.axvline(confidence.threshold, color="C1", label="threshold of prefilled masks")
    axes.set(
        xlabel="confidence",
        ylabel="fraction that people accepted",
        title=title,
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
