"""Inference backends behind one interface: PyTorch, compiled PyTorch, OpenVINO, ONNX Runtime.

Names are loaded when first used: a `BackendChoice` needs no torch, which takes seconds to import.
"""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.backends.base import Backend, BackendInfo
    from samkit.backends.choice import BackendChoice
    from samkit.backends.choose import (
        BACKENDS,
        CPU_PRECISIONS,
        PRECISIONS,
        automatic_backend,
        choose_precision,
        computes_bfloat16,
        create_backend,
        is_installed,
        ready_backend,
    )
    from samkit.backends.compiled import CompiledBackend
    from samkit.backends.forking import enter_process, renew_in_children

__all__ = [
    "BACKENDS",
    "CPU_PRECISIONS",
    "PRECISIONS",
    "Backend",
    "BackendChoice",
    "BackendInfo",
    "CompiledBackend",
    "automatic_backend",
    "choose_precision",
    "computes_bfloat16",
    "create_backend",
    "enter_process",
    "is_installed",
    "ready_backend",
    "renew_in_children",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BACKENDS": "choose",
        "CPU_PRECISIONS": "choose",
        "PRECISIONS": "choose",
        "Backend": "base",
        "BackendChoice": "choice",
        "BackendInfo": "base",
        "CompiledBackend": "compiled",
        "automatic_backend": "choose",
        "choose_precision": "choose",
        "computes_bfloat16": "choose",
        "create_backend": "choose",
        "enter_process": "forking",
        "is_installed": "choose",
        "ready_backend": "choose",
        "renew_in_children": "forking",
    },
)
