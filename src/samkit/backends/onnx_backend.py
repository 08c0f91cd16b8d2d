"""ONNX Runtime backend, in float32, for machines that OpenVINO does not support."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from samkit.backends.compiled import CompiledBackend, Graph
from samkit.backends.graphs import GraphSpec

OPSET = 17  # the first with LayerNormalization


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
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of sizes that are indeed constant
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            spec.module.eval(),
            spec.example,
            path,
            input_names=names,
            dynamic_axes=dict(zip(names, spec.free, strict=True)),
            opset_version=OPSET,
            dynamo=False,
        )
        return path.read_bytes()
