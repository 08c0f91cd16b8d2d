"""Which engine runs: what the machine has, what is installed, what was measured."""

from importlib.util import find_spec

import torch

from samkit.engines.base import Engine, EngineInfo
from samkit.engines.torch_engine import TorchEngine
from samkit.errors import EngineError
from samkit.models import Sam

# Packages that each engine needs, and the extra that installs them.
ENGINES: dict[str, tuple[tuple[str, ...], str]] = {
    "torch": ((), ""),
    "compile": ((), ""),
    "openvino": (("openvino",), "openvino"),
    "onnx": (("onnx", "onnxruntime"), "onnx"),
}
PRECISIONS = ("float32", "bfloat16", "float16")
# What each engine can compute in; torch on a GPU can do everything.
CPU_PRECISIONS = {
    "torch": ("float32", "bfloat16"),
    "compile": ("float32", "bfloat16"),
    "openvino": ("float32", "bfloat16"),
    "onnx": ("float32",),
}


def create_engine(
    model: Sam,
    *,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    device: str | None = None,
) -> Engine:
    """Make an engine for a model.

    Args:
        model: float32, on the CPU.
        engine: "torch", "compile" (torch.compile), "openvino", "onnx", or "auto": torch on a GPU;
            on a CPU OpenVINO where it is installed, else torch.
        precision: "float32", "bfloat16", "float16" (GPU only), or "auto": bfloat16 where the
            processor computes in it, else float32. docs/performance.md says what it changes.
        threads: on a CPU; by default the engine's own choice.
        device: "cpu", "cuda", ...; by default a GPU where there is one.

    Raises:
        EngineError: not installed, not here, or not able to do this precision or device.
    """
    chosen_device = choose_device(device, engine)
    on_cpu = chosen_device.type == "cpu"
    if engine == "auto":
        engine = "openvino" if on_cpu and is_installed("openvino") else "torch"
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}; known are auto, {', '.join(ENGINES)}")
    check_installed(engine)
    if not on_cpu and engine in {"openvino", "onnx"}:
        raise EngineError(f'engine "{engine}" runs on the CPU; device is {chosen_device}')
    if threads is not None and threads < 1:
        raise EngineError(f"threads must be at least 1; got {threads}")
    info = EngineInfo(
        engine=engine,
        precision=choose_precision(precision, engine, chosen_device),
        device=str(chosen_device),
        threads=threads or 0,
    )
    if engine == "openvino":
        from samkit.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, info)
    if engine == "onnx":
        from samkit.engines.onnx_engine import OnnxEngine

        return OnnxEngine(model, info)
    return TorchEngine(model, info)


def is_installed(engine: str) -> bool:
    """Whether the packages of an engine are there."""
    return all(find_spec(package) is not None for package in ENGINES[engine][0])


def check_installed(engine: str) -> None:
    """Raise an EngineError with the line that installs an engine, if it is not there."""
    if not is_installed(engine):
        extra = ENGINES[engine][1]
        raise EngineError(f"engine {engine!r} is not installed: pip install 'samkit[{extra}]'")


def choose_precision(precision: str, engine: str, device: torch.device) -> str:
    """The asked-for precision, or the fastest that keeps masks as they are."""
    able = CPU_PRECISIONS[engine] if device.type == "cpu" else PRECISIONS
    if precision == "auto":
        fast = device.type == "cuda" or (device.type == "cpu" and computes_bfloat16())
        return "bfloat16" if fast and "bfloat16" in able else "float32"
    if precision not in PRECISIONS:
        raise EngineError(f"unknown precision {precision!r}; known are {', '.join(PRECISIONS)}")
    if precision not in able:
        raise EngineError(
            f"engine {engine!r} on {device} computes in {' or '.join(able)}; got {precision}"
        )
    return precision


def computes_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 (AVX-512 BF16 or AMX)."""
    capability = torch.backends.cpu.get_cpu_capability()
    if "AVX512" not in capability:
        return False
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())  # noqa: SLF001


REASON_LENGTH = 120  # of what torch says of a device; some of it is a page


def choose_device(device: str | None, engine: str = "auto") -> torch.device:
    """The asked-for device, or the best there is.

    Raises:
        EngineError: it is not there.
    """
    if device is None:
        cuda = torch.cuda.is_available() and engine in {"auto", "torch", "compile"}
        return torch.device("cuda" if cuda else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()  # also refuses "meta", which holds no numbers
    except (RuntimeError, AssertionError, ImportError) as error:  # as torch's back ends please
        reason = str(error).strip().split("\n")[0][:REASON_LENGTH]
        raise EngineError(f"device {device!r} cannot be used: {reason}") from error
    return chosen
