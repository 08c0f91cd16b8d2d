"""Base of backends that compile the network's graphs."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from samkit.backends.base import BackendInfo
from samkit.backends.forking import abandon, renew_in_children
from samkit.backends.graphs import GRAPHS, GraphSpec, Prepared, graph_spec, images_of_prompts
from samkit.models import Attended, ImageFeatures, MaskAnswer, PromptEmbeddings, PromptTensors, Sam

# Maps tensors to tensors, which its next call may overwrite.
Graph = Callable[..., list[Tensor]]


class CompiledBackend(ABC):
    """Runs a model's graphs on the CPU; each is compiled when first needed."""

    def __init__(self, model: Sam, info: BackendInfo) -> None:
        self.model = model
        self.info = info
        self._graphs: dict[str, Graph] = {}
        renew_in_children(self)

    def renew(self) -> None:
        """Compile the graphs again in a forked process."""
        abandon(self._graphs)
        self._graphs = {}

    def check_process(self) -> None:  # noqa: B027 - most backends work everywhere
        """Nothing to check: graphs work in forked processes once they are compiled there."""

    @abstractmethod
    def compile(self, name: str, spec: Callable[[], GraphSpec]) -> Graph:
        """Compile a graph; `spec` creates it unless it is cached."""

    def run(self, name: str, *inputs: Tensor) -> list[Tensor]:
        """Run one of `samkit.backends.graphs.GRAPHS`."""
        return self._graph(name)(*inputs)

    def compile_all(self) -> None:
        """Compile all graphs in advance, so that nobody waits for them later."""
        for name in GRAPHS:
            self._graph(name)

    def _graph(self, name: str) -> Graph:
        if name not in self._graphs:
            with torch.no_grad():
                self._graphs[name] = self.compile(name, lambda: graph_spec(self.model, name))
        return self._graphs[name]

    def encode(self, pixels: Tensor) -> ImageFeatures:
        return ImageFeatures(tuple(level.clone() for level in self.run("encoder", pixels)))

    def encode_levels(self, pixels: Tensor) -> ImageFeatures:
        """Compiled when first needed, beside the graph of `encode`."""
        return ImageFeatures(tuple(one.clone() for one in self.run("encoder_levels", pixels)))

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        return self.model.embed_prompts(prompts)

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> Prepared:
        """Prepare the inputs of the graph `attend`, or with mask prompts of `attend_each`."""
        features = features.to("cpu").float()  # embeddings may be saved in half precision
        finer, added = self.model.finer_tokens(features), self.model.dense_map(dense)
        if dense is not None:
            return Prepared((images_of_prompts(features.grid, added),), finer)
        shared = self.run("prepare", features.grid, added)
        return Prepared(tuple(tensor.clone() for tensor in shared), finer)

    def attend(self, sparse: Tensor, context: Prepared) -> Attended:
        graph = "attend" if context.is_shared else "attend_each"
        return Attended.of(self.run(graph, sparse, *context.image))

    def select(self, attended: Attended, *, multimask: bool) -> Attended:
        return self.model.select(attended, multimask=multimask)

    def upscale(self, attended: Attended, context: Prepared) -> MaskAnswer:
        logits = self.run("upscale", attended.image, attended.kernels, *context.finer)[0]
        return self.model.answer(attended, logits)
