"""Utilities under the original's names: `transforms`, `amg`, `onnx`."""
