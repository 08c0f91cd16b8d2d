"""Description of the machine, and peak memory of a model on it."""

import multiprocessing
import os
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Processor features that decide which arithmetic is fast.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile")
PACKAGES = ("samkit", "torch", "openvino", "onnxruntime", "transformers")
MATMUL_SIDE, MATMUL_TURNS = 1024, 9
CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")


def describe_machine() -> dict[str, Any]:
    """Describe the processor, cores, package versions and load of this machine."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in pairs}
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def matmul_gflops() -> dict[str, float]:
    """Rate of torch's own matrix products in GFLOP/s, by precision: to compare machines by."""
    import torch

    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(MATMUL_SIDE, MATMUL_SIDE, dtype=dtype)
        seconds = []
        for _ in range(MATMUL_TURNS):
            started = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - started)
        name = str(dtype).removeprefix("torch.")
        rates[name] = 2 * MATMUL_SIDE**3 / statistics.median(seconds) / 1e9
    return rates


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def peak_memory_gb(backend: str, precision: str) -> float:
    """Peak memory in GB of a fresh process that generates all masks of one image with MobileSAM."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of_automatic_masks, (backend, precision))


def _peak_of_automatic_masks(backend: str, precision: str) -> float:
    import samkit
    from samkit.benchmark.works import benchmark_image

    predictor = samkit.Predictor.load(backend=backend, precision=precision)
    samkit.AutoMasker(predictor).generate(benchmark_image())
    return peak_of_this_process_gb()


def peak_of_this_process_gb() -> float:
    """Peak memory of this process in GB."""
    import resource

    if STATUS.exists():  # getrusage includes the parent's memory at the fork
        lines = STATUS.read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        return kilobytes * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)
