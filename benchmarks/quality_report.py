"""Tables, JSON and pictures of `quality.py`."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quality_metrics import (
    ALL,
    CALIBRATIONS,
    METRICS,
    SIZES,
    Results,
    data_set_metrics,
    iou_by_clicks,
    reliability,
)
from samkit.evaluation.paired import (
    MIN_GROUPS,
    Comparison,
    GroupSums,
    average,
    compare,
    draw_groups,
)
from samkit.evaluation.plots import COLORS, DPI

SEED = 0
MEAN = "mean of sets"
# Rows of the main table; report.md has all.
MAIN = (
    *(("miou", ALL), ("oracle_miou", ALL), ("noc85", ALL), ("noc90", ALL), ("noc95", ALL)),
    *(("noc90", size) for size in SIZES if size != ALL),
    *(("iou_after_3", ALL), ("iou_after_5", ALL), ("iou_after_10", ALL)),
    *((name, ALL) for name in ("box_miou", "ar_100", *CALIBRATIONS)),
)
SIZE_LABELS = {ALL: "", "small": ", under 1%", "medium": ", 1-10%", "large": ", over 10%"}
VERDICTS = {1: "better", -1: "worse", 0: "no difference"}
PANEL_INCHES = (2.7, 2.5)

Key = tuple[str, str]  # name of a metric, size of objects


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """Several models on the same data; the first one is the baseline.

    Attributes:
        identities: see `samkit.evaluation.model_identity`, by model.
        results: by model and data set.
        groups: by data set, the group of alike images that an image's key belongs to.
    """

    identities: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Mapping[str, Results]]
    groups: Mapping[str, Callable[[str], str]]

    @property
    def models(self) -> list[str]:
        """The compared models, without the baseline."""
        return list(self.results)[1:]

    @property
    def baseline(self) -> str:
        """The model that others are compared with."""
        return next(iter(self.results))

    @cached_property
    def metrics(self) -> dict[str, dict[str, dict[Key, GroupSums]]]:
        """By model, data set, and metric with size."""
        return {
            model: {
                name: data_set_metrics(results, self.groups[name])
                for name, results in by_set.items()
            }
            for model, by_set in self.results.items()
        }

    @cached_property
    def comparisons(self) -> dict[str, dict[str, dict[Key, Comparison]]]:
        """By model, data set or `MEAN`, and metric with size; without models, of the baseline."""
        return {model: self._compare(model) for model in self.models or [self.baseline]}

    def _compare(self, model: str) -> dict[str, dict[Key, Comparison]]:
        rng = np.random.default_rng(SEED)
        found: dict[str, dict[Key, Comparison]] = {}
        for name, baseline in self.metrics[self.baseline].items():
            found[name] = {}
            draws: dict[int, Any] = {}  # the same for all metrics
            for key, sums in baseline.items():
                groups = len(sums.sums)
                if groups not in draws:
                    draws[groups] = draw_groups(groups, rng)
                other = self.metrics[model][name][key]
                found[name][key] = compare(sums, other, draws[groups])
        means = {}
        for key in all_keys():
            defined = [own[key] for own in found.values() if key in own]
            # A set with hardly an object of a size would count as much as the others.
            enough = [one for one in defined if one.groups >= MIN_GROUPS]
            if defined:
                means[key] = average(enough or defined)
        return found | {MEAN: means}

    def title(self) -> str:
        """What was measured."""
        by_set = self.results[self.baseline]
        counts = [
            f"{name}: {len(results['noc'])} images, "
            f"{sum(record.result['masks'] for record in results['noc'])} clicked masks, "
            f"{sum(record.result['masks'] for record in results['boxes'])} boxes, "
            f"automatic masks of {len(results['automatic'])} images"
            for name, results in by_set.items()
        ]
        identity = self.identities[self.baseline]
        return f"{identity['backend']} {identity['precision']}. {'; '.join(counts)}."

    def main_tables(self) -> str:
        """A table for each model, with one column per data set."""
        parts = [self.title()]
        for model, by_set in self.comparisons.items():
            heading = f"{model} against {self.baseline}" if self.models else self.baseline
            head = ["metric", *by_set] + (["95% interval of the mean"] if self.models else [])
            rows = [head, ["---"] * len(head)]
            for key in MAIN:
                row = [label_of(key), *(self._cell(own.get(key), key) for own in by_set.values())]
                if self.models:
                    row.append(interval_text(by_set[MEAN].get(key), key[0]))
                rows.append(row)
            parts += [f"## {heading}", table(rows)]
            if self.models:
                parts.append(count_verdicts(by_set))
        return "\n\n".join(parts)

    def _cell(self, comparison: Comparison | None, key: Key) -> str:
        if comparison is None:
            return ""
        digits = METRICS[key[0]].digits
        value = f"{comparison.value:.{digits}f}"
        if not self.models:
            return value
        flag = "" if comparison.sign == 0 else f" **{verdict(comparison, key[0])}**"
        return f"{value} ({signed(comparison.difference, digits)}{flag})"

    def details(self) -> str:
        """All numbers with their intervals, a table for each model and data set."""
        parts = []
        for model in self.models:
            for name, by_key in self.comparisons[model].items():
                rows = [["metric", "baseline", "model", "difference", "95% interval", "verdict"]]
                rows += [["---"] * len(rows[0])]
                rows += [detail_row(key, by_key[key]) for key in all_keys() if key in by_key]
                parts += [f"### {model}, {name}", table(rows)]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        rows = [
            {"model": model, "set": name, "metric": key[0], "size": key[1]}
            | comparison_json(comparison, key[0], with_difference=bool(self.models))
            for model, by_set in self.comparisons.items()
            for name, by_key in by_set.items()
            for key, comparison in by_key.items()
        ]
        curves = {
            model: {
                name: {
                    "iou_by_clicks": iou_by_clicks(results),
                    "reliability": {k: b.tolist() for k, b in reliability(results).items()},
                }
                for name, results in by_set.items()
            }
            for model, by_set in self.results.items()
        }
        return {"title": self.title(), "models": self.identities, "rows": rows, "curves": curves}


def all_keys() -> list[Key]:
    """Metrics with sizes, in the order of tables."""
    return [(name, size) for name in METRICS for size in SIZES]


def label_of(key: Key) -> str:
    """The label of a metric for objects of a size."""
    return METRICS[key[0]].label + SIZE_LABELS[key[1]]


def verdict(comparison: Comparison, name: str) -> str:
    """Whether the model is better than the baseline."""
    return VERDICTS[-comparison.sign if METRICS[name].lower_is_better else comparison.sign]


def signed(value: float, digits: int) -> str:
    """A difference with its sign, which zero has none of."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def interval_text(comparison: Comparison | None, name: str) -> str:
    """The interval of a difference; empty if undefined."""
    if comparison is None or not all(map(math.isfinite, comparison.interval)):
        return ""
    return " to ".join(signed(end, METRICS[name].digits) for end in comparison.interval)


def detail_row(key: Key, comparison: Comparison) -> list[str]:
    """A row of a detailed table."""
    digits = METRICS[key[0]].digits
    return [
        label_of(key),
        f"{comparison.baseline:.{digits}f}",
        f"{comparison.value:.{digits}f}",
        signed(comparison.difference, digits),
        interval_text(comparison, key[0]),
        verdict(comparison, key[0]),
    ]


def comparison_json(comparison: Comparison, name: str, *, with_difference: bool) -> dict[str, Any]:
    """A comparison as JSON; undefined ends of an interval are null."""
    if not with_difference:
        return {"value": comparison.value}
    low, high = (end if math.isfinite(end) else None for end in comparison.interval)
    return {
        "baseline": comparison.baseline,
        "value": comparison.value,
        "difference": comparison.difference,
        "low": low,
        "high": high,
        "verdict": verdict(comparison, name),
    }


def count_verdicts(by_set: Mapping[str, Mapping[Key, Comparison]]) -> str:
    """How many comparisons of single sets found a difference."""
    found = [
        verdict(comparison, key[0])
        for name, by_key in by_set.items()
        if name != MEAN
        for key, comparison in by_key.items()
    ]
    return (
        f"Of {len(found)} comparisons on single sets, {found.count('better')} are better and"
        f" {found.count('worse')} worse; of equally good models, chance would flag up to"
        f" {0.05 * len(found):.0f}."
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the second row is the line under the head."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_report(report: QualityReport, folder: Path) -> None:
    """Write report.md, quality.json and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "iou_by_clicks.png": draw_iou_by_clicks(report),
        "reliability.png": draw_reliability(report),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=DPI)
    images = "\n".join(f"![{name}]({name})" for name in pictures)
    parts = [report.main_tables(), images, report.details()]
    (folder / "report.md").write_text("\n\n".join(part for part in parts if part) + "\n")
    (folder / "quality.json").write_text(json.dumps(report.to_json(), indent=1) + "\n")


def draw_iou_by_clicks(report: QualityReport) -> Figure:
    """Mean IoU by clicks, a panel for each data set."""
    figure, axes = panels(1, list(report.groups))
    for column, name in enumerate(report.groups):
        axis = axes[0][column]
        for color, (model, by_set) in zip(COLORS, report.results.items(), strict=False):
            ious = iou_by_clicks(by_set[name])
            axis.plot(range(1, len(ious) + 1), ious, ".-", color=color, label=model, lw=1)
        axis.set(xlabel="clicks", ylim=(0, 1), xticks=(1, 5, 10, 15, 20))
    axes[0][0].set_ylabel("mIoU")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_reliability(report: QualityReport) -> Figure:
    """Mean true IoU by predicted IoU, a row for each kind of answer; dots by number of masks."""
    figure, axes = panels(len(CALIBRATIONS), list(report.groups))
    for row, kind in enumerate(CALIBRATIONS):
        for column, name in enumerate(report.groups):
            axis = axes[row][column]
            axis.plot([0, 1], [0, 1], color="#bdc1c6", lw=1)
            for color, (model, by_set) in zip(COLORS, report.results.items(), strict=False):
                bins = reliability(by_set[name])[kind]
                bins = bins[bins[:, 0] > 0]
                counts, predicted, true = bins.T
                x, y = predicted / counts, true / counts
                axis.plot(x, y, color=color, lw=1, label=model)
                axis.scatter(x, y, s=60 * counts / counts.sum() + 3, color=color, alpha=0.7)
            axis.set(xlim=(0, 1), ylim=(0, 1))
        axes[row][0].set_ylabel(f"{METRICS[kind].label.split(', ', 1)[1]}\ntrue IoU")
    for axis in axes[-1]:
        axis.set_xlabel("predicted IoU")
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    return figure


def panels(rows: int, names: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a column for each data set."""
    width, height = PANEL_INCHES
    size = (width * len(names) + 0.5, height * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, len(names), squeeze=False, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    return figure, axes.tolist()
