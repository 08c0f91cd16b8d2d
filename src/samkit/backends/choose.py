"""Choice of backend, precision and device."""

from importlib.util import find_spec

import torch

from samkit.backends.base import Backend, BackendInfo
from samkit.backends.choice import BackendChoice
from samkit.backends.forking import SPAWN_HINT, STATE, check_not_lost, enter_process
from samkit.backends.torch_backend import TorchBackend
from samkit.errors import BackendError
from samkit.extras import install_hint
from samkit.models import Sam

# Packages that each backend needs, and the extra that installs them.
BACKENDS: dict[str, tuple[tuple[str, ...], str]] = {
    "torch": ((), ""),
    "compile": ((), ""),
    "openvino": (("openvino",), "openvino"),
    "onnx": (("onnx", "onnxruntime"), "onnx"),
}
PRECISIONS = ("float32", "bfloat16", "float16")
# Precisions of each backend on a CPU; torch on a GPU supports all.
CPU_PRECISIONS = {
    "torch": ("float32", "bfloat16"),
    "compile": ("float32", "bfloat16"),
    "openvino": ("float32", "bfloat16"),
    "onnx": ("float32",),
}


def create_backend(
    model: Sam,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    device: str | None = None,
) -> Backend:
    """Create a backend for a model.

    Args:
        model: float32, on the CPU.
        backend: "torch", "compile" (torch.compile), "openvino", "onnx", or "auto": torch on a GPU;
            on a CPU OpenVINO if it is installed, else torch.
        precision: "float32", "bfloat16", "float16" (GPU only), or "auto": bfloat16 where the
            processor supports it, else float32. docs/performance.md describes the effects.
        threads: CPU threads; default: the backend's choice.
        device: "cpu", "cuda", ...; default: a GPU if there is one.

    Raises:
        BackendError: the backend is not installed, or does not support the precision or device.
    """
    enter_process()
    chosen_device = choose_device(device, backend)
    on_cpu = chosen_device.type == "cpu"
    if backend == "auto":
        backend = automatic_backend(chosen_device)
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; known are auto, {', '.join(BACKENDS)}")
    check_installed(backend)
    check_not_lost(backend)
    if not on_cpu and backend in {"openvino", "onnx"}:
        raise BackendError(f'backend "{backend}" runs on the CPU; device is {chosen_device}')
    if threads is not None and threads < 1:
        raise BackendError(f"threads must be at least 1; got {threads}")
    info = BackendInfo(
        backend=backend,
        precision=choose_precision(precision, backend, chosen_device),
        device=str(chosen_device),
        threads=threads or 0,
    )
    if backend == "openvino":
        from samkit.backends.openvino_backend import OpenVinoBackend

        return OpenVinoBackend(model, info)
    if backend == "onnx":
        from samkit.backends.onnx_backend import OnnxBackend

        return OnnxBackend(model, info)
    return TorchBackend(model, info)


def automatic_backend(device: torch.device) -> str:
    """The fastest backend for a device among those that are installed and work in this process."""
    works = is_installed("openvino") and "openvino" not in STATE.lost
    return "openvino" if device.type == "cpu" and works else "torch"


def ready_backend(backend: Backend, model: Sam, choice: BackendChoice) -> Backend:
    """Return a backend that is ready to use: the given one, or PyTorch in its place.

    Converting a model for OpenVINO takes half a minute. If OpenVINO was chosen automatically,
    PyTorch runs the model until then; the caller may convert it in the background.

    Args:
        backend: backend that was created from `choice`.
        model: float32, on the CPU.
        choice: the user's choice.
    """
    if choice.backend != "auto" or backend.info.backend != "openvino":
        return backend
    from samkit.backends.openvino_backend import OpenVinoBackend

    assert isinstance(backend, OpenVinoBackend)
    if backend.is_converted():
        return backend
    return create_backend(
        model,
        backend="torch",
        precision=choice.precision,
        threads=choice.threads,
        device=backend.info.device,
    )


def is_installed(backend: str) -> bool:
    """Whether a backend's packages are installed."""
    return all(find_spec(package) is not None for package in BACKENDS[backend][0])


def check_installed(backend: str) -> None:
    """Raise a BackendError with the install command if a backend is not installed."""
    if not is_installed(backend):
        extra = BACKENDS[backend][1]
        raise BackendError(f"backend {backend!r} is not installed: {install_hint(extra)}")


def choose_precision(precision: str, backend: str, device: torch.device) -> str:
    """The requested precision, or the fastest one that keeps masks almost unchanged."""
    able = CPU_PRECISIONS[backend] if device.type == "cpu" else PRECISIONS
    if precision == "auto":
        fast = device.type == "cuda" or (device.type == "cpu" and computes_bfloat16())
        return "bfloat16" if fast and "bfloat16" in able else "float32"
    if precision not in PRECISIONS:
        raise BackendError(f"unknown precision {precision!r}; known are {', '.join(PRECISIONS)}")
    if precision not in able:
        raise BackendError(
            f"backend {backend!r} on {device} computes in {' or '.join(able)}; got {precision}"
        )
    return precision


def computes_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 (AVX-512 BF16 or AMX)."""
    capability = torch.backends.cpu.get_cpu_capability()
    if "AVX512" not in capability:
        return False
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())  # noqa: SLF001


REASON_LENGTH = 120  # torch may explain an unusable device over a whole page


def choose_device(device: str | None, backend: str = "auto") -> torch.device:
    """The requested device, or the best one available.

    Raises:
        BackendError: the device is not available.
    """
    if device is None:
        cuda = torch.cuda.is_available() and backend in {"auto", "torch", "compile"}
        if cuda and torch.cuda._is_in_bad_fork():  # noqa: SLF001
            raise BackendError(f"GPUs do not work in forked processes: {SPAWN_HINT}")
        return torch.device("cuda" if cuda else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()  # also refuses "meta", which holds no values
    except (RuntimeError, AssertionError, ImportError) as error:  # depends on torch's device
        reason = str(error).strip().split("\n")[0][:REASON_LENGTH]
        raise BackendError(f"device {device!r} cannot be used: {reason}") from error
    return chosen
