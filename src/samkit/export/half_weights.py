"""Weights of ONNX files in half precision, computed with in full."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Arrays of fewer values stay as they are: they take no space, and norms like their precision.
LEAST_HALVED = 1024


def halve_weights(path: Path) -> None:
    """Store the large weights of an ONNX file in half precision.

    They are converted back when the file is loaded. Weights beyond half precision's range stay.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    file = onnx.load(path)
    casts = []
    for tensor in file.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = f"{tensor.name}.half"
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
    for cast in reversed(casts):
        file.graph.node.insert(0, cast)
    onnx.save(file, path)
