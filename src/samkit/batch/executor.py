"""Interfaces of work over many items in three steps, and the executor that runs it in this process.

`claim` and `commit` access the place of the results, such as a folder or a store, and run in the
process that owns it. `generate` is the slow step: it needs a claim and the models, and an executor
may run it anywhere. `InProcess` runs all three in this process, one item after another;
`ProcessPool` and `RayCluster` run `generate` elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from samkit.errors import SamkitError

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Claim = TypeVar("Claim")
Output = TypeVar("Output")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True)
class Finished(Generic[Result_co]):
    """The result of an item that is done already."""

    result: Result_co


@dataclass(frozen=True)
class Postponed:
    """Another run works on an item; if that run dies, the item can be claimed later."""


class Work(Protocol[Item_contra, Claim, Output, Result_co]):
    """The three steps of work on an item."""

    def claim(self, item: Item_contra) -> Claim | Finished[Result_co] | Postponed | None:
        """Claim an item; None leaves it to somebody else."""

    @property
    def generate(self) -> Callable[[Claim], Output]:
        """Computes an item's output from its claim, without writing anything.

        For executors that run it in other processes, it must be picklable, and so must claims and
        outputs. A method will do if its object is picklable.
        """

    def commit(self, claim: Claim, output: Output) -> Result_co:
        """Store an item's output, completely or not at all."""

    def is_fault(self, error: SamkitError) -> bool:
        """Whether an error concerns one item only, so that work can continue with the others."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Item, Claim, Result]):
    """The result or the error of one item.

    Attributes:
        claim: the claim; None if there was none.
        result: None for an item that failed or was left to somebody else.
        error: the error that the item failed with; None if it did not.
        is_postponed: whether another run works on the item.
    """

    item: Item
    claim: Claim | None = None
    result: Result | None = None
    error: SamkitError | None = None
    is_postponed: bool = False


class Executor(Protocol):
    """Runs work over items, as often as wanted; leaving its context ends what it has started."""

    def __enter__(self) -> Executor: ...  # noqa: PYI034 - Python 3.10 has no Self

    def __exit__(self, *exception: object) -> None: ...

    def run(
        self,
        work: Work[Item, Claim, Output, Result],
        items: Iterable[Item],
        *,
        on_start: Callable[[Item], None] | None = None,
    ) -> Iterator[Outcome[Item, Claim, Result]]:
        """Yield the outcome of each item when it is known.

        Args:
            on_start: called with each item before `generate`.

        Raises:
            SamkitError: an error that concerns more than one item.
        """


class InProcess:
    """Runs work in this process, one item after another."""

    def __enter__(self) -> InProcess:  # noqa: PYI034 - there are no subclasses
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def run(
        self,
        work: Work[Item, Claim, Output, Result],
        items: Iterable[Item],
        *,
        on_start: Callable[[Item], None] | None = None,
    ) -> Iterator[Outcome[Item, Claim, Result]]:
        """Yield the outcome of each item, in order; see `Executor.run`."""
        for item in items:
            outcome = claim_item(work, item)
            if outcome.claim is not None:
                if on_start is not None:
                    on_start(item)
                outcome = self._finish(work, item, outcome.claim)
            yield outcome

    def _finish(
        self, work: Work[Item, Claim, Output, Result], item: Item, claim: Claim
    ) -> Outcome[Item, Claim, Result]:
        try:
            output = work.generate(claim)
        except SamkitError as error:
            return failed(work, item, claim, error)
        return commit_item(work, item, claim, output)


def claim_item(work: Work[Item, Claim, Output, Result], item: Item) -> Outcome[Item, Claim, Result]:
    """Claim an item; the outcome has a claim if the item must be generated, and is final if not."""
    try:
        claimed = work.claim(item)
    except SamkitError as error:
        return failed(work, item, None, error)
    if claimed is None:
        return Outcome(item=item)
    if isinstance(claimed, Postponed):
        return Outcome(item=item, is_postponed=True)
    if isinstance(claimed, Finished):
        return Outcome(item=item, result=claimed.result)
    return Outcome(item=item, claim=claimed)


def commit_item(
    work: Work[Item, Claim, Output, Result], item: Item, claim: Claim, output: Output
) -> Outcome[Item, Claim, Result]:
    """Store an item's output; return its final outcome."""
    try:
        return Outcome(item=item, claim=claim, result=work.commit(claim, output))
    except SamkitError as error:
        return failed(work, item, claim, error)


def failed(
    work: Work[Item, Claim, Output, Result], item: Item, claim: Claim | None, error: SamkitError
) -> Outcome[Item, Claim, Result]:
    """Make the outcome of an item that failed; raise an error that concerns more than one item."""
    if not work.is_fault(error):
        raise error
    return Outcome(item=item, claim=claim, error=error)
