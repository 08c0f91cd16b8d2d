"""Inference backends behind one interface: PyTorch, compiled PyTorch, OpenVINO, ONNX Runtime.

Names are loaded when first used: a `BackendChoice` needs no torch, which takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samkit.backends.base import Backend, BackendInfo
    from samkit.backends.choice import BackendChoice
    from samkit.backends.choose import (
        BACKENDS,
        PRECISIONS,
        automatic_backend,
        choose_precision,
        create_backend,
        ready_backend,
    )

_HOMES = {
    "BACKENDS": "choose",
    "PRECISIONS": "choose",
    "Backend": "base",
    "BackendChoice": "choice",
    "BackendInfo": "base",
    "automatic_backend": "choose",
    "choose_precision": "choose",
    "create_backend": "choose",
    "ready_backend": "choose",
}

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendChoice",
    "BackendInfo",
    "automatic_backend",
    "choose_precision",
    "create_backend",
    "ready_backend",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"samkit.backends.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'samkit.backends' has no attribute {name!r}")
