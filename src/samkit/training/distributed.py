"""Processes of a distributed training: launched, synchronised and ended together."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from samkit.backends import computes_bfloat16
from samkit.errors import ConfigError, TrainingError
from samkit.extras import install_hint
from samkit.training.settings import RunRecipe
from samkit.training.sharding import sharded_strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def launch(run: RunRecipe) -> Fabric:
    """Start the processes of a run; under torchrun, join them.

    Raises:
        ConfigError: Lightning Fabric is not installed, or cannot run this recipe here.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        hint = install_hint("train")
        raise ConfigError(f"training needs Lightning Fabric: {hint}") from error
    strategies: dict[str, Callable[[], Any]] = {
        "auto": lambda: "auto",
        # Not every step uses every parameter: a simulated session may have points only.
        "ddp": lambda: DDPStrategy(find_unused_parameters=True),
        "fsdp": lambda: sharded_strategy(devices * machines),
    }
    devices, machines = world_layout(run)
    # Lightning's own choice for several processes is DDP too, but without the option above.
    strategy = "ddp" if run.strategy == "auto" and devices * machines > 1 else run.strategy
    try:
        fabric = Fabric(
            accelerator=run.accelerator,
            devices=devices,
            num_nodes=machines,
            strategy=strategies[strategy](),
            precision=cast("Any", precision_of(run)),
        )
        fabric.launch()
    except (RuntimeError, ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"this run cannot start here: {' '.join(str(error).split())}") from error
    atexit.register(destroy_process_group_at_exit)
    return fabric


def precision_of(run: RunRecipe) -> str:
    """The precision of a run; what "auto" is here.

    Processors without bfloat16 take a hundred times as long in it as in float32.
    """
    if run.precision != "auto":
        return run.precision
    on_gpu = run.accelerator != "cpu" and torch.cuda.is_available()
    is_fast = torch.cuda.is_bf16_supported() if on_gpu else computes_bfloat16()
    return "bf16-mixed" if is_fast else "32-true"


def destroy_process_group_at_exit() -> None:
    """Disconnect the processes while Python is still alive; later, it may abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def world_layout(run: RunRecipe) -> tuple[int, int]:
    """Number of processes per machine, and of machines; torchrun's, if it started us."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return run.devices, 1
    here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return here, everywhere // here


def count_ranks(fabric: Fabric, flag: bool) -> int:  # noqa: FBT001
    """Count the processes whose flag is set; all of them must call this."""
    if fabric.world_size == 1:
        return int(flag)
    count: Any = fabric.all_reduce(torch.tensor(float(flag)), reduce_op="sum")
    return int(count)


@contextmanager
def all_ranks_or_fail(fabric: Fabric) -> Iterator[None]:
    """End all processes if one of them fails here; the others would wait for it forever.

    All processes must enter this context; inside, none may wait for another.

    Raises:
        TrainingError: another process has failed; its own error says why.
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
    """Run work in the first process only, and broadcast its result.

    Raises:
        TrainingError: in the other processes, if the first one fails.
    """
    found: T | None = None
    with all_ranks_or_fail(fabric):
        if fabric.is_global_zero:
            found = work()
    return cast("T", fabric.broadcast(found))
