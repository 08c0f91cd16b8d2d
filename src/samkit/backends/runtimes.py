"""Runtimes of exported parts: arrays by the names of inputs to arrays by the names of outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from samkit.errors import WeightsError

Part = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def open_part(path: Path, *, runtime: str, threads: int = 0) -> Part:
    """Open a part of an exported folder; inputs that the part lacks are left out.

    Args:
        path: an ONNX file, or OpenVINO's XML file.
        runtime: "onnx" or "openvino", which reads both.

    Raises:
        WeightsError: the file is damaged.
    """
    return {"onnx": open_onnx, "openvino": open_openvino}[runtime](path, threads)


def open_onnx(path: Path, threads: int) -> Part:
    """Open an ONNX file by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an exception class for each status
        raise WeightsError(f"{path} is damaged: {first_line(error)}") from error
    takes = [port.name for port in session.get_inputs()]
    gives = [port.name for port in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: inputs[name] for name in takes}
        return dict(zip(gives, session.run(None, given), strict=True))

    return run


def open_openvino(path: Path, threads: int) -> Part:
    """Open an ONNX file, or OpenVINO's XML file, by OpenVINO."""
    from samkit.backends.openvino_backend import cpu_config, shared_core

    config = cpu_config("float32", threads)
    try:
        compiled = shared_core().compile_model(shared_core().read_model(path), "CPU", config)
    except RuntimeError as error:
        raise WeightsError(f"{path} is damaged: {first_line(error)}") from error
    request = compiled.create_infer_request()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # A port may have several names.
        request.infer([inputs[(port.names & inputs.keys()).pop()] for port in compiled.inputs])
        arrays = ((port.names, request.get_tensor(port).data.copy()) for port in compiled.outputs)
        return {name: array for names, array in arrays for name in names}

    return run


def first_line(error: Exception) -> str:
    """The first line of a library's message."""
    return str(error).strip().split("\n")[0]
