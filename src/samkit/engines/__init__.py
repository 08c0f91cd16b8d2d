"""How a network runs: PyTorch, compiled PyTorch, OpenVINO or ONNX Runtime, behind one interface."""

from samkit.engines.base import Engine, EngineInfo
from samkit.engines.choose import ENGINES, PRECISIONS, create_engine

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineInfo", "create_engine"]
