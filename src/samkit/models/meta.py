"""Building of networks without values, which are given to them from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class _Uninitialised(TorchFunctionMode):
    """Leaves tensors as they are where modules would initialise or draw them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.randn:
            return torch.empty(*args, **given)
        if getattr(func, "__module__", None) == nn.init.__name__:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


@contextmanager
def without_values() -> Iterator[None]:
    """Build modules on the device "meta": names and shapes alone.

    Random values would have no effect there, and yet PyTorch would import its compiler and SymPy to
    draw them, which takes two seconds of each process that loads a model.
    """
    with torch.device("meta"), _Uninitialised():
        yield
