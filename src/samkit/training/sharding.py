"""Fully sharded training (FSDP): weights, gradients and optimiser state distributed over processes.

Built on torch's `fully_shard`. Parameters keep their names and stay separate, so that learning
rates by depth work unchanged. Checkpoints are gathered: the same file with and without sharding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from samkit.errors import ConfigError
from samkit.models import Block, Blocks

if TYPE_CHECKING:
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

M = TypeVar("M", bound=nn.Module)


def sharded_strategy(processes: int) -> ModelParallelStrategy:
    """Lightning's `ModelParallelStrategy`, sharding over all processes.

    Its own FSDP strategy uses torch's older implementation, which runs on GPUs only.

    Raises:
        ConfigError: torch is too old.
    """
    try:
        from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "run.strategy=fsdp needs torch 2.6 or newer: update torch, or set run.strategy=ddp"
        ) from error
    return ModelParallelStrategy(
        lambda module, mesh: shard(module, mesh["data_parallel"]),
        data_parallel_size=processes,
        tensor_parallel_size=1,
    )


def shard(module: M, mesh: DeviceMesh) -> M:
    """Shard a module over processes, in place: each block as a unit, and everything else as one.

    All processes must start with the same weights. A block is gathered while it runs; the rest of
    the module stays gathered from its forward to its backward pass.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in transformer_blocks(module):
        fully_shard(block, mesh=mesh)
        if isinstance(block, Block):
            register_fsdp_forward_method(block, "forward_tokens")
    fully_shard(module, mesh=mesh)
    return module


def transformer_blocks(module: nn.Module) -> list[nn.Module]:
    """Transformer blocks of image encoders and of MAE's decoder."""
    parts = list(module.modules())
    encoder_blocks = [block for part in parts if isinstance(part, Blocks) for block in part]
    return encoder_blocks + [part for part in parts if isinstance(part, nn.TransformerEncoderLayer)]


def gather_full(state: Any, *, keep: bool = True) -> Any:
    """Gather the sharded tensors of a state dict, or one tensor, on the CPU.

    All processes must call this with the same state; those without `keep` get their shards back.
    """
    if isinstance(state, Mapping):
        return {name: gather_full(value, keep=keep) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(gather_full(value, keep=keep) for value in state)
    if not is_sharded(state):
        return state
    gathered = state.full_tensor()
    return gathered.cpu() if keep else state


def load_full_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state from `gather_full` into a module, sharded or not."""
    own = module.state_dict()
    module.load_state_dict(
        {name: shard_like(tensor, own.get(name)) for name, tensor in state.items()}
    )


def load_full_optimiser_state(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state from `gather_full` into an optimiser, sharded or not."""
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    if not any(map(is_sharded, parameters)):
        optimiser.load_state_dict({**state})
        return
    states = {
        number: {
            name: shard_like(value, parameters[number])
            if value.shape
            else value  # steps are numbers
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": states})


def shard_like(tensor: Tensor, own: Tensor | None) -> Tensor:
    """Shard a full tensor as another one of its shape; if that is not sharded, return it."""
    if own is None or not is_sharded(own):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded: DTensor = own  # type: ignore[assignment]
    return distribute_tensor(tensor.to(own.device), sharded.device_mesh, sharded.placements)


def is_sharded(value: object) -> bool:
    """Whether a tensor is distributed over processes."""
    return hasattr(value, "full_tensor")
