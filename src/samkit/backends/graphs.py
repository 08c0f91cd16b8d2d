"""The network cut into graphs for backends that compile it: tensors in, tensors out.

Constants of the model, such as the position codes' projections, are kept in the graphs.
Shape legend: P prompts, T tokens, N image positions, C channels, H heads, D channels of a head,
G side of the embedding grid, S side of the model space, M masks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samkit.models import Sam
from samkit.models.mask_decoder import Attended, ImageContext, PosEncProjections

EXAMPLE_PROMPTS, EXAMPLE_TOKENS = 2, 3


class DecoderGraph(nn.Module):
    """Base of the decoder's graphs: the decoder and the projected position codes."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.decoder = sam.mask_decoder
        codes = self.decoder.project_pos_enc(sam.prompt_encoder.grid_positions())
        self.num_keys = len(codes.keys)
        for index, tensor in enumerate([*codes.keys, *codes.queries]):
            self.register_buffer(f"code_{index}", tensor.detach().contiguous())

    @property
    def codes(self) -> PosEncProjections:
        """The projected position codes."""
        tensors = list(self.buffers(recurse=False))
        return PosEncProjections(keys=tensors[: self.num_keys], queries=tensors[self.num_keys :])


class Remember(DecoderGraph):
    """Features (1, C, G, G) and dense map (1, C, G, G) to the four tensors of an `ImageContext`."""

    def forward(self, features: Tensor, dense: Tensor) -> ImageContext:
        return self.decoder.remember((features + dense).flatten(2), self.codes)


class Attend(DecoderGraph):
    """Prompt tokens (P, T, C) and an `ImageContext`'s tensors to IoU, kernels and images."""

    def forward(
        self, sparse: Tensor, image: Tensor, keys: Tensor, values: Tensor, queries: Tensor
    ) -> Attended:
        memory = ImageContext(image=image, keys=keys, values=values, queries=queries)
        return self.decoder.attend(sparse, memory, self.codes)


class AttendOwn(DecoderGraph):
    """Prompt tokens (P, T, C) and each prompt's own image (P, N, C) to IoU, kernels and images."""

    def forward(self, sparse: Tensor, image: Tensor) -> Attended:
        return self.decoder.attend(sparse, image, self.codes)


class Upscale(DecoderGraph):
    """Images (P, N, C) and kernels (P, M, C / 8) to mask logits (P, M, 4 G, 4 G)."""

    def forward(self, image: Tensor, kernels: Tensor) -> Tensor:
        return self.decoder.upscale(image, kernels)


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """A graph and what an backend must know to compile it.

    Attributes:
        module: what to compile.
        example: inputs to trace it with.
        free: for each input the axes whose size differs from call to call, by name.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    free: tuple[Mapping[int, str], ...]


GRAPHS = ("encoder", "remember", "attend", "attend_own", "upscale")


def graph_spec(model: Sam, name: str) -> GraphSpec:
    """One of the five graphs of a model."""
    prompts, tokens = {0: "prompts"}, {0: "prompts", 1: "tokens"}
    config = model.config.prompts
    dim, grid, side = config.dim, config.grid_size, config.image_size
    image = torch.zeros(EXAMPLE_PROMPTS, grid**2, dim)
    if name == "encoder":
        return GraphSpec(
            module=model.image_encoder, example=(torch.zeros(1, 3, side, side),), free=({},)
        )
    if name == "upscale":
        kernels = torch.zeros(EXAMPLE_PROMPTS, model.config.decoder.num_multimask, dim // 8)
        return GraphSpec(
            module=Upscale(model),
            example=(image, kernels),
            free=(prompts, {0: "prompts", 1: "masks"}),
        )
    sparse = torch.zeros(EXAMPLE_PROMPTS, EXAMPLE_TOKENS, dim)
    if name == "attend_own":
        return GraphSpec(module=AttendOwn(model), example=(sparse, image), free=(tokens, prompts))
    maps = (torch.zeros(1, dim, grid, grid), torch.zeros(1, dim, grid, grid))
    remember = Remember(model)
    if name == "remember":
        return GraphSpec(module=remember, example=maps, free=({}, {}))
    memory = remember(*maps)
    return GraphSpec(
        module=Attend(model), example=(sparse, *memory), free=(tokens, *({} for _ in memory))
    )
