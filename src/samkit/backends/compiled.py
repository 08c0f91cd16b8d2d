"""What backends have in common that compile the network's graphs."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from samkit.backends.base import BackendInfo
from samkit.backends.graphs import GRAPHS, GraphSpec, graph_spec
from samkit.models import Sam
from samkit.models.mask_decoder import Attended, ImageContext

# Takes and gives tensors; what it gives may be overwritten by its next call.
Graph = Callable[..., list[Tensor]]


class CompiledBackend(ABC):
    """Runs the graphs of a model on the CPU; each is compiled when it is first needed."""

    def __init__(self, model: Sam, info: BackendInfo) -> None:
        self.model = model
        self.info = info
        self._graphs: dict[str, Graph] = {}

    @abstractmethod
    def compile(self, name: str, spec: Callable[[], GraphSpec]) -> Graph:
        """Compile a graph; `spec` makes it, if it is not found in a cache."""

    def run(self, name: str, *inputs: Tensor) -> list[Tensor]:
        """Run one of `samkit.backends.graphs.GRAPHS`."""
        return self._graph(name)(*inputs)

    def prepare(self) -> None:
        """Compile all graphs now, so that nobody waits for them later."""
        for name in GRAPHS:
            self._graph(name)

    def _graph(self, name: str) -> Graph:
        if name not in self._graphs:
            with torch.no_grad():
                self._graphs[name] = self.compile(name, lambda: graph_spec(self.model, name))
        return self._graphs[name]

    def encode(self, pixels: Tensor) -> Tensor:
        return self.run("encoder", pixels)[0].clone()

    def remember(self, features: Tensor, dense: Tensor) -> ImageContext:
        return ImageContext(*(tensor.clone() for tensor in self.run("remember", features, dense)))

    def attend(self, sparse: Tensor, memory: ImageContext) -> Attended:
        return Attended(*self.run("attend", sparse, *memory))

    def attend_own(self, sparse: Tensor, image: Tensor) -> Attended:
        return Attended(*self.run("attend_own", sparse, image))

    def upscale(self, image: Tensor, kernels: Tensor) -> Tensor:
        return self.run("upscale", image, kernels)[0]
