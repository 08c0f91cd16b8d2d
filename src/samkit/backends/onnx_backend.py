"""ONNX Runtime backend, in float32, for machines that OpenVINO does not support."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from samkit.backends.compiled import CompiledBackend, Graph
from samkit.backends.graphs import GraphSpec, write_onnx


class OnnxBackend(CompiledBackend):
    """Runs the network's graphs by ONNX Runtime; they are exported anew in each process."""

    def compile(self, name: str, spec: Callable[[], GraphSpec]) -> Graph:  # noqa: ARG002
        """Export a graph in memory and open it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.info.threads
        session = onnxruntime.InferenceSession(export(spec()), options)
        names = [port.name for port in session.get_inputs()]

        def run(*inputs: Tensor) -> list[Tensor]:
            arrays = (tensor.contiguous().numpy() for tensor in inputs)
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
            return [torch.from_numpy(output) for output in outputs]

        return run


def export(spec: GraphSpec) -> bytes:
    """Export a graph to ONNX."""
    names = [f"input_{index}" for index in range(len(spec.example))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        axes = dict(zip(names, spec.free, strict=True))
        write_onnx(spec.module, spec.example, path, inputs=names, axes=axes)
        return path.read_bytes()
