"""How a network runs: PyTorch, compiled PyTorch, OpenVINO or ONNX Runtime, behind one interface."""

from samkit.backends.base import Backend, BackendInfo
from samkit.backends.choose import BACKENDS, PRECISIONS, create_backend

__all__ = ["BACKENDS", "PRECISIONS", "Backend", "BackendInfo", "create_backend"]
