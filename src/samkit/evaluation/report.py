"""Report over several models: a table, JSON, and the data of plots."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from samkit.evaluation.protocol import EvaluationProtocol, Summary
from samkit.evaluation.runner import ModelResult, SkippedImage

IMAGES = "_images"  # suffix of means of the images' means
# Names of metrics in tables. A metric with the suffix IMAGES shares the row of the one without.
LABELS: Mapping[str, str] = {
    "miou": "1-click mIoU, top-ranked",
    "oracle_miou": "1-click mIoU, oracle of three",
    "text_miou": "text-to-mask mIoU",
    "text_corrected_miou": "mIoU of text and one click",
    "text_pairs_right": "fraction of one-word pairs told apart",
    "noc85": "NoC@85",
    "noc90": "NoC@90",
    "reached85": "fraction of masks that reach IoU 0.85",
    "reached90": "fraction of masks that reach IoU 0.90",
    **{f"iou_after_{n}": f"mIoU after {n} click{'s' if n > 1 else ''}" for n in range(1, 101)},
    "ar_10": "AR@10",
    "ar_100": "AR@100",
    "ar_1000": "AR@1000",
    "ar_1000_small": "AR@1000, small",
    "ar_1000_medium": "AR@1000, medium",
    "ar_1000_large": "AR@1000, large",
    "box_ap": "AP from boxes",
    "box_ap50": "AP50 from boxes",
    "box_ap75": "AP75 from boxes",
    "box_ap_small": "AP from boxes, small",
    "box_ap_medium": "AP from boxes, medium",
    "box_ap_large": "AP from boxes, large",
    "box_miou": "mIoU from boxes",
    "edge_ods": "edges, ODS",
    "edge_ois": "edges, OIS",
    "edge_ap": "edges, AP",
    "edge_r50": "edges, R50",
    "edge_human_f": "edges, F between humans",
}


@dataclass(frozen=True, kw_only=True)
class ProtocolReport:
    """Results of one protocol for one model.

    Attributes:
        images: number of images.
        masks: number of true masks measured.
        seconds_per_image: median, without the embedding.
        differences: how the settings differ from the published protocol.
    """

    settings: Mapping[str, Any]
    images: int
    masks: int
    seconds_per_image: float
    summary: Summary
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """All results of one model.

    Attributes:
        identity: see `runner.model_identity`.
        embed_seconds: median time to embed an image.
        protocols: results by protocol name.
        skipped: images that could not be measured.
    """

    identity: Mapping[str, Any]
    embed_seconds: float
    protocols: Mapping[str, ProtocolReport]
    skipped: tuple[SkippedImage, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Several models compared on the same images.

    Attributes:
        data: the data set, as the user named it.
        models: results by model label.
    """

    data: str
    models: Mapping[str, ModelReport]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; all but the seconds is reproducible."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The report as a Markdown table with one column per model."""
        parts = [self._title(), self._table(), *self._notes()]
        return "\n\n".join(parts) + "\n"

    def _title(self) -> str:
        runs = [
            f"{label} ({model.identity['backend']} {model.identity['precision']})"
            for label, model in self.models.items()
        ]
        first = next(iter(self.models.values()))
        counts = [
            f"{name}: {_count(own.images, 'image')}, {_count(own.masks, 'mask')}"
            for name, own in first.protocols.items()
        ]
        return f"{self.data}; {', '.join(runs)}. {'; '.join(counts)}."

    def _table(self) -> str:
        head = ["measure", *self.models]
        rows = [head, ["---"] * len(head)]
        names: dict[str, None] = {}
        for model in self.models.values():
            for own in model.protocols.values():
                names |= dict.fromkeys(own.summary.metrics)
        rows += [
            [LABELS.get(name, name), *map(self._cells(name), self.models)]
            for name in names
            if not name.endswith(IMAGES)
        ]
        rows.append(
            ["seconds to embed an image"]
            + [f"{model.embed_seconds:.2f}" for model in self.models.values()]
        )
        for protocol in next(iter(self.models.values())).protocols:
            seconds = [m.protocols[protocol].seconds_per_image for m in self.models.values()]
            rows.append([f"seconds per image, {protocol}", *(f"{one:.2f}" for one in seconds)])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _cells(self, name: str) -> Any:
        digits = 2 if name.startswith("noc") else 3

        def cell(label: str) -> str:
            metrics = self._metrics(label)
            if name not in metrics:
                return ""
            text = f"{metrics[name]:.{digits}f}"
            other = metrics.get(name + IMAGES)
            return text if other is None else f"{text} ({other:.{digits}f})"

        return cell

    def _metrics(self, label: str) -> dict[str, float]:
        protocols = self.models[label].protocols.values()
        return {name: value for own in protocols for name, value in own.summary.metrics.items()}

    def _notes(self) -> list[str]:
        notes = ["Seconds are medians."]
        if any(name.endswith(IMAGES) for label in self.models for name in self._metrics(label)):
            notes.insert(0, "Means over masks; in brackets the mean of images' means.")
        protocols = next(iter(self.models.values())).protocols
        lines = [
            f"- {name}: {', '.join(own.differences)}"
            for name, own in protocols.items()
            if own.differences
        ]
        if lines:
            lines.insert(0, "Differences from the published protocols:\n")
        return [" ".join(notes), *(["\n".join(lines)] if lines else [])]


def report_model(
    result: ModelResult, protocols: Sequence[EvaluationProtocol], identity: Mapping[str, Any]
) -> ModelReport:
    """Build the report of one model from its records."""
    reports = {}
    embed_seconds = []
    for protocol in protocols:
        records = result.records[protocol.name]
        reports[protocol.name] = ProtocolReport(
            settings=protocol.settings(),
            differences=protocol.differences(),
            images=len(records),
            masks=sum(int(record.result["masks"]) for record in records),
            seconds_per_image=_median([record.seconds for record in records]),
            summary=protocol.summarise([record.result for record in records]),
        )
        embed_seconds += [record.embed_seconds for record in records]
    return ModelReport(
        identity=identity,
        embed_seconds=_median(embed_seconds),
        protocols=reports,
        skipped=result.skipped,
    )


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values)) if values else 0.0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
