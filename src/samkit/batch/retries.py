"""Repetition of items that failed, or that another run works on, after all others are done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from samkit.batch.executor import Claim, Executor, Item, Outcome, Output, Result, Work

MAX_ATTEMPTS = 3
# Pause before items of another run are claimed again: they take seconds, and its leases minutes.
POSTPONED_S = 2.0


def run_with_retries(
    executor: Executor,
    work: Work[Item, Claim, Output, Result],
    items: Iterable[Item],
    *,
    on_start: Callable[[Item], None] | None = None,
) -> Iterator[Outcome[Item, Claim, Result]]:
    """Yield one outcome of each item: the result, or the error of the last of three attempts.

    Items that another run works on are claimed again until that run is done with them, or dead.

    Raises:
        SamkitError: an error that concerns more than one item.
    """
    failures: Counter[Item] = Counter()
    pending = list(items)
    while pending:
        again: list[Item] = []
        only_postponed = True
        for outcome in executor.run(work, pending, on_start=on_start):
            only_postponed &= outcome.is_postponed
            failures[outcome.item] += outcome.error is not None
            is_last = failures[outcome.item] >= MAX_ATTEMPTS
            if outcome.is_postponed or (outcome.error is not None and not is_last):
                again.append(outcome.item)
            else:
                yield outcome
        pending = again
        if pending and only_postponed:
            time.sleep(POSTPONED_S)
