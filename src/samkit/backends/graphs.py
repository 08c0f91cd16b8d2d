"""The network's graphs for backends that compile them, from tensors to tensors.

Constants of the model, such as projected positional encodings, are part of the graphs.
Shape legend: P prompts, T tokens, N image positions, C channels, H heads, D channels per head,
G side of the embedding grid, S side of the model space, M masks.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.models import (
    ImageContext,
    ImageFeatures,
    PosEncProjections,
    Sam,
    SharedProjections,
)

EXAMPLE_PROMPTS, EXAMPLE_TOKENS = 2, 3
OPSET = 17  # of ONNX; the first with LayerNormalization


class EncoderLevels(nn.Module):
    """Pixels (1, 3, S, S) to all levels of an encoder, finest first; see `encoder_levels`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return encoder_levels(self.encoder, pixels)


def encoder_levels(encoder: nn.Module, pixels: Tensor) -> tuple[Tensor, ...]:
    """The encoder's intermediate levels, finest first, if it has any, and its features."""
    levels = getattr(encoder, "levels", None)
    output = encoder(pixels) if levels is None else levels(pixels)
    return ImageFeatures.of(output).levels


class Prepared(NamedTuple):
    """A prepared image: inputs of the decoder's graphs.

    Attributes:
        image: the four tensors of a shared image, for `Attend`; or each prompt's own image, for
            `AttendEach`.
        finer: tokens of finer levels, for `Upscale`; none in models with one level.
    """

    image: tuple[Tensor, ...]
    finer: tuple[Tensor, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether one image serves all prompts."""
        return len(self.image) > 1


class DecoderGraph(nn.Module):
    """Base of the decoder's graphs: the decoder and the projected positional encodings."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.decoder = sam.mask_decoder
        pos_enc = sam.project_pos_enc()
        self.num_keys = len(pos_enc.keys)
        for index, tensor in enumerate([*pos_enc.keys, *pos_enc.queries]):
            self.register_buffer(f"pos_enc_{index}", tensor.detach().contiguous())

    @property
    def pos_enc(self) -> PosEncProjections:
        """The projected positional encodings."""
        tensors = list(self.buffers(recurse=False))
        return PosEncProjections(keys=tensors[: self.num_keys], queries=tensors[self.num_keys :])


class Prepare(DecoderGraph):
    """Features and dense map (1, C, G, G) to the four tensors of a shared `ImageContext`."""

    def forward(self, features: Tensor, dense: Tensor) -> tuple[Tensor, ...]:
        context = self.decoder.prepare(features, dense, self.pos_enc, is_shared=True)
        assert context.shared is not None
        return (context.image, *context.shared)


class Attend(DecoderGraph):
    """Prompt tokens (P, T, C) and a shared image's four tensors to the tensors of `Attended`."""

    def forward(
        self, sparse: Tensor, image: Tensor, keys: Tensor, values: Tensor, queries: Tensor
    ) -> tuple[Tensor, ...]:
        shared = SharedProjections(keys=keys, values=values, queries=queries)
        context = ImageContext(image=image, pos_enc=self.pos_enc, shared=shared)
        return self.decoder.attend(sparse, context).tensors


class AttendEach(DecoderGraph):
    """Prompt tokens (P, T, C) and each prompt's own image (P, N, C) to the same."""

    def forward(self, sparse: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        context = ImageContext(image=image, pos_enc=self.pos_enc)
        return self.decoder.attend(sparse, context).tensors


class Upscale(DecoderGraph):
    """Images (P, N, C), kernels (P, M, C / 8) and finer tokens to mask logits (P, M, 4 G, 4 G)."""

    def forward(self, image: Tensor, kernels: Tensor, *finer: Tensor) -> Tensor:
        return self.decoder.upscale(image, kernels, *finer)


def images_of_prompts(features: Tensor, dense: Tensor) -> Tensor:
    """Each prompt's own image (P, N, C): features (1, C, G, G) plus dense maps (P, C, G, G)."""
    return (features + dense).flatten(2).transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """A graph and what a backend needs to compile it.

    Attributes:
        module: the module to compile.
        example: inputs to trace it with.
        free: for each input, the axes of variable size, by name.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    free: tuple[Mapping[int, str], ...]


def example_features(model: Sam) -> ImageFeatures:
    """Features of an image, all zero."""
    return ImageFeatures(
        tuple(torch.zeros(1, channels, side, side) for channels, side in model.level_shapes)
    )


GRAPHS = ("encoder", "prepare", "attend", "attend_each", "upscale")


def graph_spec(model: Sam, name: str) -> GraphSpec:
    """Create one of the graphs of a model: those of `GRAPHS`, or "encoder_levels"."""
    prompts, tokens = {0: "prompts"}, {0: "prompts", 1: "tokens"}
    config = model.config.prompts
    dim, grid, side = config.dim, config.grid_size, config.image_size
    image = torch.zeros(EXAMPLE_PROMPTS, grid**2, dim)
    if name in ("encoder", "encoder_levels"):
        encoder: nn.Module = model.image_encoder
        module = encoder if name == "encoder" else EncoderLevels(encoder)
        return GraphSpec(module=module, example=(torch.zeros(1, 3, side, side),), free=({},))
    if name == "upscale":
        kernels = torch.zeros(EXAMPLE_PROMPTS, model.config.decoder.num_multimask, dim // 8)
        finer = model.finer_tokens(example_features(model))
        return GraphSpec(
            module=Upscale(model),
            example=(image, kernels, *finer),
            free=(prompts, {0: "prompts", 1: "masks"}, *({} for _ in finer)),
        )
    sparse = torch.zeros(EXAMPLE_PROMPTS, EXAMPLE_TOKENS, dim)
    if name == "attend_each":
        return GraphSpec(module=AttendEach(model), example=(sparse, image), free=(tokens, prompts))
    maps = (torch.zeros(1, dim, grid, grid), torch.zeros(1, dim, grid, grid))
    prepare = Prepare(model)
    if name == "prepare":
        return GraphSpec(module=prepare, example=maps, free=({}, {}))
    shared = prepare(*maps)
    return GraphSpec(
        module=Attend(model), example=(sparse, *shared), free=(tokens, *({} for _ in shared))
    )


def write_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str] | None = None,
) -> None:
    """Write a module as ONNX.

    Args:
        example: inputs to trace it with.
        inputs, outputs: names.
        axes: of inputs and outputs, those of variable size, by name.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of sizes that are indeed constant
        torch.onnx.export(
            module.eval(),
            example,
            path,
            input_names=list(inputs),
            output_names=None if outputs is None else list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def convert_onnx(source: Path, path: Path, *, halves: bool) -> None:
    """Write an ONNX file as OpenVINO's XML and BIN files.

    Args:
        path: of the XML file.
        halves: weights in float16.
    """
    from samkit.backends.unreported import openvino

    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=halves)
