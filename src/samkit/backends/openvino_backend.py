"""OpenVINO backend, the fastest on a CPU. Graphs are converted once and cached on disk."""

import hashlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samkit.backends.base import BackendInfo
from samkit.backends.compiled import CompiledBackend, Graph
from samkit.backends.forking import STATE, abandon, call_in_children, check_not_lost
from samkit.backends.graphs import GRAPHS, GraphSpec
from samkit.backends.unreported import openvino
from samkit.errors import OutputError
from samkit.files import cache_folder, check_writable
from samkit.models import Sam
from samkit.weights import weights_sha256

logger = logging.getLogger(__name__)

HINTS = {"float32": "f32", "bfloat16": "bf16"}
KEY_DIGITS = 24


def cpu_config(precision: str, threads: int) -> dict[str, Any]:
    """OpenVINO's configuration of a graph on the CPU; 0 threads are its own choice."""
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        # Else processes of one thread each would all run on the same core.
        "ENABLE_CPU_PINNING": False,
        # Its fused subgraphs fail in bfloat16 where sizes are free (OpenVINO 2026.4).
        "SNIPPETS_MODE": "DISABLE",
    }
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    return config


class OpenVinoBackend(CompiledBackend):
    """Runs the network's graphs compiled by OpenVINO for this CPU.

    Conversion takes some seconds, once per model; afterwards graphs and their compiled form are
    read from the cache folder.
    """

    def __init__(self, model: Sam, info: BackendInfo) -> None:
        super().__init__(model, info)
        self.config = cpu_config(info.precision, info.threads)

    def check_process(self) -> None:
        """Raise a BackendError in a process that was forked after OpenVINO ran."""
        check_not_lost("openvino")

    def compile(self, name: str, spec: Callable[[], GraphSpec]) -> Graph:
        """Read a graph from the cache, or convert and cache it; then compile it."""
        path = self._path(name)
        if path.is_file():
            graph = shared_core().read_model(path)
        else:
            logger.info("converting %s for OpenVINO, once", name)
            graph = convert(spec())
            write_cache(graph, path)
        config = dict(self.config)
        if path.is_file():  # the cache is usable
            # OpenVINO's own cache key of a compiled graph ignores some of the configuration.
            compiled = "compiled-" + "-".join(str(value) for value in self.config.values())
            config["CACHE_DIR"] = str(path.parents[1] / compiled)
        request = shared_core().compile_model(graph, "CPU", config).create_infer_request()

        def run(*inputs: Tensor) -> list[Tensor]:
            arrays = [tensor.contiguous().numpy() for tensor in inputs]
            request.infer(arrays, share_inputs=True, share_outputs=True)
            return [torch.from_numpy(tensor.data) for tensor in request.output_tensors]

        return run

    def is_converted(self) -> bool:
        """Whether all graphs are cached, so that none has to be converted."""
        return all(self._path(name).is_file() for name in GRAPHS)

    def _path(self, name: str) -> Path:
        """Path of a cached graph, keyed by all that it is made of and the converter's versions."""
        model, config = self.model, self.model.config
        if name in ("encoder", "encoder_levels"):
            parts: list[object] = [config.encoder, weights_sha256(model.image_encoder)]
        else:  # positional encodings of the image are constants of the decoder's graphs
            frequencies = weights_sha256(model.prompt_encoder.pe_layer)
            weights = weights_sha256(model.mask_decoder)
            parts = [config.decoder, config.prompts.grid_size, frequencies, weights]
        facts = " ".join(map(str, [version("samkit"), openvino.__version__, *parts]))
        key = hashlib.sha256(facts.encode()).hexdigest()[:KEY_DIGITS]
        return cache_folder() / "openvino" / key / name / "graph.xml"


@cache
def shared_core() -> openvino.Core:
    """The process's only OpenVINO core, which is never released.

    Its CPU plugin gives the loading thread a signal stack, and frees that memory when it is
    unloaded: the next signal, such as Ctrl-C, would crash the process (2026.4).
    """
    return openvino.Core()


def lose_core() -> None:
    """In a forked process, leave the parent's core alone, and create no other.

    All cores of a process share one pool of threads, which is only in the parent.
    """
    if shared_core.cache_info().currsize:
        abandon(shared_core())
        STATE.lost.add("openvino")


call_in_children(lose_core)


def convert(spec: GraphSpec) -> openvino.Model:
    """Convert a graph to OpenVINO's format by tracing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of sizes that are indeed constant
        graph = openvino.convert_model(spec.module.eval(), example_input=spec.example)
    shapes = {}
    for port, example, free in zip(graph.inputs, spec.example, spec.free, strict=True):
        sizes = [-1 if axis in free else size for axis, size in enumerate(example.shape)]
        shapes[port] = openvino.PartialShape(sizes)
    graph.reshape(shapes)
    return graph


def write_cache(graph: openvino.Model, path: Path) -> None:
    """Save a graph in the cache, atomically; only warn if it cannot be written."""
    folder = path.parent
    try:
        check_writable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            openvino.save_model(graph, temporary / path.name, compress_to_fp16=False)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, OutputError) as error:
        if not path.is_file():  # otherwise another process was first
            logger.warning("the converted model is not cached: %s", error)
