"""Weights, gradients and optimiser state spread over processes: FSDP, as torch's `fully_shard`.

Parameters keep their names and stay apart from one another, so that learning rates by depth work as
ever. What is saved is whole: a checkpoint is the same file whether processes share the weights or
each have them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from samkit.errors import ConfigError
from samkit.models.layers import Blocks
from samkit.models.vit import Block

if TYPE_CHECKING:
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

M = TypeVar("M", bound=nn.Module)


def sharded_strategy(processes: int) -> ModelParallelStrategy:
    """Lightning's strategy of that name, for sharding over all processes.

    Its FSDP strategy is torch's older form, which runs on GPUs only.

    Raises:
        ConfigError: torch is too old.
    """
    try:
        from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError as error:
        raise ConfigError("run.strategy=fsdp needs torch 2.6 or newer; ddp does not") from error
    return ModelParallelStrategy(
        lambda module, mesh: shard(module, mesh["data_parallel"]),
        data_parallel_size=processes,
        tensor_parallel_size=1,
    )


def shard(module: M, mesh: DeviceMesh) -> M:
    """Spread a module over processes, in place: block by block, and all else as one piece.

    All processes must begin with the same weights. A block is put together where it runs, and taken
    apart again; the rest of the module stays together from its forward to its backward pass.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in transformer_blocks(module):
        fully_shard(block, mesh=mesh)
        if isinstance(block, Block):
            register_fsdp_forward_method(block, "forward_freely")
    fully_shard(module, mesh=mesh)
    return module


def transformer_blocks(module: nn.Module) -> list[nn.Module]:
    """Blocks of image encoders, and of what draws images in MAE."""
    parts = list(module.modules())
    of_encoders = [block for part in parts if isinstance(part, Blocks) for block in part]
    return of_encoders + [part for part in parts if isinstance(part, nn.TransformerEncoderLayer)]


def gather_full(state: Any, *, keep: bool = True) -> Any:
    """A state dict, or a tensor, with all that was spread put together, on the CPU.

    All processes must ask, for the same state; those that do not `keep` it get parts as they are.
    """
    if isinstance(state, Mapping):
        return {name: gather_full(value, keep=keep) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(gather_full(value, keep=keep) for value in state)
    if not is_sharded(state):
        return state
    together = state.full_tensor()
    return together.cpu() if keep else state


def load_full_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a module, spread or not, the state that `gather_full` made of its own."""
    own = module.state_dict()
    module.load_state_dict(
        {name: shard_like(tensor, own.get(name)) for name, tensor in state.items()}
    )


def load_full_optimiser_state(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load the state that `gather_full` made of an optimiser, sharded or not."""
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    if not any(map(is_sharded, parameters)):
        optimiser.load_state_dict({**state})
        return
    of_parameters = {
        number: {
            name: shard_like(value, parameters[number])
            if value.shape
            else value  # steps are numbers
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": of_parameters})


def shard_like(tensor: Tensor, own: Tensor | None) -> Tensor:
    """A whole tensor, spread as another one of its shape is."""
    if own is None or not is_sharded(own):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    spread: DTensor = own  # type: ignore[assignment]
    return distribute_tensor(tensor.to(own.device), spread.device_mesh, spread.placements)


def is_sharded(value: object) -> bool:
    """Whether each process holds a part of a tensor only."""
    return hasattr(value, "full_tensor")
