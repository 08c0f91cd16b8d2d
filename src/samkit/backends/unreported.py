"""OpenVINO without its reports: it tells Google Analytics of imports and conversions, unasked.

Each report also takes a fork of the process. Without its package for them, OpenVINO sends none.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # as if not installed

import openvino  # noqa: E402 - after that

__all__ = ["openvino"]
