"""Inference backends: PyTorch, compiled PyTorch, OpenVINO, ONNX Runtime, exported folders.

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
    from samkit.backends.exported import (
        DECODER,
        ENCODER,
        EXPORT_FORMAT,
        FEATURES,
        METADATA,
        SUFFIXES,
        VIDEO_PARTS,
        ExportedBackend,
        ExportedFolder,
        as_points,
        decoder_inputs,
        is_exported,
    )
    from samkit.backends.forking import enter_process, renew_in_children
    from samkit.backends.graphs import DecoderGraph, convert_onnx, write_onnx
    from samkit.backends.runtimes import Part

__all__ = [
    "BACKENDS",
    "CPU_PRECISIONS",
    "DECODER",
    "ENCODER",
    "EXPORT_FORMAT",
    "FEATURES",
    "METADATA",
    "PRECISIONS",
    "SUFFIXES",
    "VIDEO_PARTS",
    "Backend",
    "BackendChoice",
    "BackendInfo",
    "CompiledBackend",
    "DecoderGraph",
    "ExportedBackend",
    "ExportedFolder",
    "Part",
    "as_points",
    "automatic_backend",
    "choose_precision",
    "computes_bfloat16",
    "convert_onnx",
    "create_backend",
    "decoder_inputs",
    "enter_process",
    "is_exported",
    "is_installed",
    "ready_backend",
    "renew_in_children",
    "write_onnx",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BACKENDS": "choose",
        "CPU_PRECISIONS": "choose",
        "DECODER": "exported",
        "ENCODER": "exported",
        "EXPORT_FORMAT": "exported",
        "FEATURES": "exported",
        "METADATA": "exported",
        "PRECISIONS": "choose",
        "SUFFIXES": "exported",
        "VIDEO_PARTS": "exported",
        "Backend": "base",
        "BackendChoice": "choice",
        "BackendInfo": "base",
        "CompiledBackend": "compiled",
        "DecoderGraph": "graphs",
        "ExportedBackend": "exported",
        "ExportedFolder": "exported",
        "Part": "runtimes",
        "as_points": "exported",
        "automatic_backend": "choose",
        "choose_precision": "choose",
        "computes_bfloat16": "choose",
        "convert_onnx": "graphs",
        "create_backend": "choose",
        "decoder_inputs": "exported",
        "enter_process": "forking",
        "is_exported": "exported",
        "is_installed": "choose",
        "ready_backend": "choose",
        "renew_in_children": "forking",
        "write_onnx": "graphs",
    },
)
