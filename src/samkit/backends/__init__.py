"""Inference backends behind one interface: PyTorch, compiled PyTorch, OpenVINO, ONNX Runtime."""

from samkit.backends.base import Backend, BackendInfo
from samkit.backends.choose import BACKENDS, PRECISIONS, create_backend

__all__ = ["BACKENDS", "PRECISIONS", "Backend", "BackendInfo", "create_backend"]
