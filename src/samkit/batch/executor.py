"""Interfaces of work over many items in three steps, and an executor that runs it.

`claim` and `commit` access the place of the results, such as a folder or a store, and run in the
process that owns it. `generate` is the slow step: it needs a claim and the models, and an executor
may run it anywhere. `InProcess` runs all three in this process, one item after another.
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


class Work(Protocol[Item_contra, Claim, Output, Result_co]):
    """The three steps of work on an item."""

    def claim(self, item: Item_contra) -> Claim | Finished[Result_co] | None:
        """Claim an item; None leaves it to somebody else."""

    def generate(self, claim: Claim) -> Output:
        """Compute an item's output, without writing anything."""

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
    """

    item: Item
    claim: Claim | None = None
    result: Result | None = None
    error: SamkitError | None = None


class Executor(Protocol):
    """Runs work over items."""

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

    def run(
        self,
        work: Work[Item, Claim, Output, Result],
        items: Iterable[Item],
        *,
        on_start: Callable[[Item], None] | None = None,
    ) -> Iterator[Outcome[Item, Claim, Result]]:
        """Yield the outcome of each item, in order; see `Executor.run`."""
        for item in items:
            claim: Claim | None = None
            try:
                claimed = work.claim(item)
                if claimed is None:
                    outcome: Outcome[Item, Claim, Result] = Outcome(item=item)
                elif isinstance(claimed, Finished):
                    outcome = Outcome(item=item, result=claimed.result)
                else:
                    claim = claimed
                    if on_start is not None:
                        on_start(item)
                    result = work.commit(claim, work.generate(claim))
                    outcome = Outcome(item=item, claim=claim, result=result)
            except SamkitError as error:
                if not work.is_fault(error):
                    raise
                outcome = Outcome(item=item, claim=claim, error=error)
            yield outcome
