"""Several processes that go on together or stop together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from samkit.errors import TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def count_ranks(fabric: Fabric, flag: bool) -> int:  # noqa: FBT001
    """In how many processes it is so; all of them must ask."""
    if fabric.world_size == 1:
        return int(flag)
    told: Any = fabric.all_reduce(torch.tensor(float(flag)), reduce_op="sum")
    return int(told)


@contextmanager
def all_ranks_or_fail(fabric: Fabric) -> Iterator[None]:
    """What fails in one process ends all of them, which would else wait for it without end.

    All processes must come here; within, none may wait for another.

    Raises:
        TrainingError: another process has failed, and says itself why.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again once the others know
        failure = error
    failed = count_ranks(fabric, failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise TrainingError("stopped, since another process of this training has failed")


def rank0_broadcast(fabric: Fabric, work: Callable[[], T]) -> T:
    """What the first process finds alone, told to all of them.

    Raises:
        TrainingError: in the other processes, if it fails in the first one.
    """
    found: T | None = None
    with all_ranks_or_fail(fabric):
        if fabric.is_global_zero:
            found = work()
    return cast("T", fabric.broadcast(found))
