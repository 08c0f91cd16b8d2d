"""Fair timing: subjects take turns, and ratios are computed within each turn."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

WARM_UP = 2

Subject = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A workload and the subjects that run it.

    Attributes:
        subjects: functions that do the work, by name; the first is the peer that the others are
            compared with.
        max_turns: limit on turns, for work that takes long.
        amounts: number of items processed per run, such as {"images": 2}, to report rates.
    """

    name: str
    subjects: dict[str, Subject]
    max_turns: int | None = None
    amounts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of one subject.

    Attributes:
        seconds: time of each turn.
        median_s: median of the times.
        times_faster: median over turns of the peer's time divided by this subject's.
    """

    seconds: tuple[float, ...]
    median_s: float
    times_faster: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """Timings of all subjects of a workload, the peer's first, and the amounts done per run."""

    work: str
    timings: dict[str, Timing]
    amounts: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON."""
        return asdict(self)


def measure(work: Workload, turns: int) -> Result:
    """Run all subjects once per turn in rotating order, so that a busy machine slows all alike."""
    turns = min(turns, work.max_turns or turns)
    names = list(work.subjects)
    for name in names:
        for _ in range(1 if work.max_turns else WARM_UP):
            work.subjects[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            work.subjects[name]()
            seconds[name].append(time.perf_counter() - start)
    peer = seconds[names[0]]
    return Result(
        work=work.name,
        amounts=work.amounts,
        timings={
            name: Timing(
                seconds=tuple(own),
                median_s=statistics.median(own),
                times_faster=statistics.median(a / b for a, b in zip(peer, own, strict=True)),
            )
            for name, own in seconds.items()
        },
    )
