"""The protocol `vos`: objects of the first frame, followed through sequences in DAVIS layout."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samkit.arrays import BoolArray
from samkit.datasets import VosSequence
from samkit.evaluation.records import CHECKSUM_LENGTH, Record, Records
from samkit.evaluation.runner import model_identity
from samkit.evaluation.vos import (
    FirstPrompt,
    follow,
    prompt_objects,
    score_sequence,
)
from samkit.video import open_frames

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.video import VideoPredictor

MIB = 2**20
# Of the process so far, in these units: bytes on macOS, else kilobytes.
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, kw_only=True)
class VosResult:
    """Results of one model.

    Attributes:
        identity: the model.
        sequences: for each sequence: name, frames, objects, j, f, ms_per_frame, peak_mib.
    """

    identity: Mapping[str, Any]
    sequences: tuple[Mapping[str, Any], ...]

    def mean(self, name: str) -> float:
        """Mean of a value over the sequences."""
        return float(np.mean([one[name] for one in self.sequences]))

    @property
    def j_and_f(self) -> float:
        """J&F, the mean of J and F."""
        return (self.mean("j") + self.mean("f")) / 2


def evaluate_vos(
    predictor: VideoPredictor,
    sequences: Sequence[VosSequence],
    *,
    first: FirstPrompt = "mask",
    path: Path | None = None,
    on_frame: Callable[[str, int], None] | None = None,
    on_sequence: Callable[[str, bool], None] | None = None,
) -> VosResult:
    """Measure one model on sequences.

    Args:
        predictor: the model.
        sequences: what to measure on.
        first: how objects are shown in the first frame.
        path: file of results, from which a stopped run resumes; None: none is written.
        on_frame: called with a sequence's name and the number of frames that are done.
        on_sequence: called with a sequence's name, and whether it was measured now.

    Raises:
        DataError: a mask is missing or cannot be read.
        VideoError: a frame cannot be read.
        PromptError: nothing is found at a first click or box.
        ConfigError: the file holds results with other settings.
    """
    identity = model_identity(predictor.predictor)
    header = {"protocol": "vos", "first": first, "model": identity, **predictor.describe()}
    if path is None:
        return VosResult(
            identity=identity,
            sequences=tuple(_measure(predictor, one, first, on_frame).result for one in sequences),
        )
    results = []
    with Records.writing(path, header) as records:
        for sequence in sequences:
            checksum = _checksum(sequence)
            record = records.find(sequence.name, checksum)
            is_new = record is None
            if record is None:
                record = _measure(predictor, sequence, first, on_frame, checksum)
                records.add(record)
            results.append(record.result)
            if on_sequence is not None:
                on_sequence(sequence.name, is_new)
    return VosResult(identity=identity, sequences=tuple(results))


def _measure(
    predictor: VideoPredictor,
    sequence: VosSequence,
    first: FirstPrompt,
    on_frame: Callable[[str, int], None] | None,
    checksum: str = "",
) -> Record:
    """Measure one sequence."""
    start = time.perf_counter()
    with predictor.open_source(open_frames(list(sequence.images))) as video:
        prompt_objects(video, sequence.truth(0), first)
        timed = _Timed(follow(video, len(sequence.images)), start, sequence.name, on_frame)
        scores = score_sequence(sequence, timed)
    result = {
        "name": sequence.name,
        "frames": len(sequence.images),
        "objects": len(scores),
        "j": float(np.mean([one.j for one in scores.values()])),
        "f": float(np.mean([one.f for one in scores.values()])),
        "ms_per_frame": 1000 * timed.seconds / len(sequence.images),
        "peak_mib": peak_mib(),
    }
    return Record(
        key=sequence.name,
        checksum=checksum,
        result=result,
        seconds=timed.seconds,
        embed_seconds=0.0,
    )


def peak_mib() -> float | None:
    """Most memory that this process has used so far; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / MIB


class _Timed:
    """Answers, with the time that they take: measuring them does not count."""

    def __init__(
        self,
        answers: Iterator[tuple[int, Mapping[int, BoolArray]]],
        start_s: float,
        name: str,
        on_frame: Callable[[str, int], None] | None,
    ) -> None:
        self._answers, self._name, self._on_frame = answers, name, on_frame
        self.seconds = time.perf_counter() - start_s

    def __iter__(self) -> Iterator[tuple[int, Mapping[int, BoolArray]]]:
        """Iterate over the answers."""
        return self

    def __next__(self) -> tuple[int, Mapping[int, BoolArray]]:
        """The next answer."""
        start = time.perf_counter()
        answer = next(self._answers)
        self.seconds += time.perf_counter() - start
        if self._on_frame is not None:
            self._on_frame(self._name, answer[0] + 1)
        return answer


def _checksum(sequence: VosSequence) -> str:
    """Checksum of the names and sizes of a sequence's files."""
    files = [*sequence.images, *(path for path in sequence.masks if path is not None)]
    facts = "\n".join(f"{path.name} {path.stat().st_size}" for path in files)
    return hashlib.sha256(facts.encode()).hexdigest()[:CHECKSUM_LENGTH]


def vos_markdown(results: Mapping[str, VosResult], first: FirstPrompt) -> str:
    """A table of models, and one of sequences."""
    some = next(iter(results.values()))
    count = len(some.sequences)
    note = (
        f"{count} sequence{'' if count == 1 else 's'}. The first and the last frame do not count;"
        " memory is that of the process so far."
    )
    lines = [
        f"# Video object segmentation, first frame by {first}",
        "",
        note,
        "",
        "| model | J&F | J | F | ms per frame | peak memory |",
        "|---|---|---|---|---|---|",
        *(
            f"| {label} | {one.j_and_f:.3f} | {one.mean('j'):.3f} | {one.mean('f'):.3f} |"
            f" {one.mean('ms_per_frame'):.0f} |"
            f" {max(each['peak_mib'] or 0 for each in one.sequences):.0f} MiB |"
            for label, one in results.items()
        ),
        "",
        f"| J&F of sequence | {' | '.join(results)} |",
        f"|---|{'---|' * len(results)}",
    ]
    for number, sequence in enumerate(some.sequences):
        cells = [
            f"{(one.sequences[number]['j'] + one.sequences[number]['f']) / 2:.3f}"
            for one in results.values()
        ]
        lines.append(f"| {sequence['name']} | {' | '.join(cells)} |")
    lines += [
        "",
        "The first and the last frame do not count. Memory is that of the process so far.",
    ]
    return "\n".join(lines)


def vos_json(results: Mapping[str, VosResult], first: FirstPrompt) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "protocol": "vos",
        "first": first,
        "models": {
            label: {
                "identity": dict(one.identity),
                "j_and_f": one.j_and_f,
                "j": one.mean("j"),
                "f": one.mean("f"),
                "ms_per_frame": one.mean("ms_per_frame"),
                "sequences": [dict(each) for each in one.sequences],
            }
            for label, one in results.items()
        },
    }
