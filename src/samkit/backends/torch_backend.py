"""PyTorch backend, eager or compiled, on any device and in any precision."""

import copy
import os
import shutil
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samkit.backends.base import BackendInfo
from samkit.backends.forking import SPAWN_HINT, renew_in_children
from samkit.backends.graphs import (
    Attend,
    AttendEach,
    EncoderLevels,
    Prepare,
    Prepared,
    Upscale,
    images_of_prompts,
)
from samkit.errors import BackendError
from samkit.models import (
    Attended,
    ConvNorm,
    ImageFeatures,
    MaskAnswer,
    MaskDecoder,
    PromptEmbeddings,
    PromptTensors,
    Sam,
    TokenMixer,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COMPILERS = ("g++", "clang++")


class TorchBackend:
    """Runs the modules of `samkit.models`; weights are converted once, batch norms folded.

    In lower precisions, the parts that matter most and cost least stay in float32: the encoder's
    neck and the decoder's tokens. Images stay in the backend's precision from `prepare` to
    `upscale`.
    """

    def __init__(self, model: Sam, info: BackendInfo) -> None:
        self.info = info
        self.device, self.dtype = torch.device(info.device), DTYPES[info.precision]
        if info.threads:
            torch.set_num_threads(info.threads)
        if info.backend == "compile":
            check_compiler()
        own = model if self.dtype == torch.float32 else copy.deepcopy(model)
        encoder = fold_batch_norms(own.to(self.device).image_encoder)
        # The prompt encoder stays in float32: prompts are few, and positions need the precision.
        self.model = model
        graphs = [Prepare(own), Attend(own), AttendEach(own), Upscale(own)]
        if self.dtype != torch.float32:
            lower_precision(encoder, own.mask_decoder, graphs, self.dtype)
        self.encoder = self._ready(encoder)
        self._levels = self._ready(EncoderLevels(encoder))
        self._prepare, self._attend, self._attend_each, self._upscale = map(self._ready, graphs)
        self._is_lost = False
        renew_in_children(self)

    def renew(self) -> None:
        """Give up in a forked process what cannot be used there: GPUs and compiled code.

        torch.compile writes the number of threads into its code; PyTorch itself obeys a new one.
        """
        self._is_lost = self.device.type != "cpu" or self.info.backend == "compile"

    def check_process(self) -> None:
        """Raise a BackendError in a forked process where the backend cannot work."""
        if self._is_lost:
            raise BackendError(
                f'backend "{self.info.backend}" on {self.device} does not work in forked'
                f" processes: {SPAWN_HINT}"
            )

    def _ready(self, module: nn.Module) -> Any:
        return torch.compile(module) if self.info.backend == "compile" else module

    def encode(self, pixels: Tensor) -> ImageFeatures:
        features = ImageFeatures.of(self.encoder(self._own(pixels)))
        return ImageFeatures(tuple(level.contiguous() for level in features.float().levels))

    def encode_levels(self, pixels: Tensor) -> ImageFeatures:
        levels: tuple[Tensor, ...] = self._levels(self._own(pixels))
        return ImageFeatures(tuple(level.float().contiguous() for level in levels))

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        return self.model.embed_prompts(prompts)

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> Prepared:
        """Prepare the inputs of the graph `Attend`, or with mask prompts of `AttendEach`."""
        features = features.to(self.device)
        finer = tuple(self._own(tokens) for tokens in self.model.finer_tokens(features))
        if dense is not None:
            added = self.model.dense_map(dense.to(self.device))
            return Prepared((self._own(images_of_prompts(features.grid, added)),), finer)
        added = self.model.dense_map()
        return Prepared(self._prepare(self._own(features.grid), self._own(added)), finer)

    def attend(self, sparse: Tensor, context: Prepared) -> Attended:
        graph = self._attend if context.is_shared else self._attend_each
        return Attended.of(graph(sparse.to(self.device), *context.image))

    def select(self, attended: Attended, *, multimask: bool) -> Attended:
        return self.model.select(attended, multimask=multimask)

    def upscale(self, attended: Attended, context: Prepared) -> MaskAnswer:
        image, kernels = self._own(attended.image), self._own(attended.kernels)
        logits: Tensor = self._upscale(image, kernels, *context.finer)
        return self.model.answer(attended, logits.float())

    def _own(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype)


def fold_batch_norms(encoder: nn.Module) -> nn.Module:
    """Fold an encoder's batch norms into its convolutions, and RepViT's branches into one.

    Returns the encoder itself if it has none, else a copy.
    """
    if not any(isinstance(module, ConvNorm) for module in encoder.modules()):
        return encoder
    folded = copy.deepcopy(encoder)
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            module.c = fuse_conv_bn_eval(module.c, module.bn)
            module.bn = nn.Identity()  # type: ignore[assignment]
    for module in folded.modules():
        if isinstance(module, TokenMixer):
            module.merge()
    ready: nn.Module = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ready


def lower_precision(
    encoder: nn.Module, decoder: MaskDecoder, graphs: Sequence[nn.Module], dtype: torch.dtype
) -> None:
    """Convert an encoder except its neck, and the image side of a decoder and its graphs."""
    neck: nn.Module = encoder.neck  # type: ignore[assignment]
    encoder.to(dtype)
    neck.float()
    decoder.output_upscaling.to(dtype)
    for block in decoder.transformer.blocks:
        block.norm4.to(dtype)
    for graph in graphs:
        for pos_enc in graph.buffers(recurse=False):
            pos_enc.data = pos_enc.data.to(dtype)


def check_compiler() -> None:
    """Raise a BackendError if torch.compile would find no C++ compiler for the CPU."""
    compilers = (os.environ.get("CXX", ""), *COMPILERS)
    if not any(name and shutil.which(name) for name in compilers):
        raise BackendError(
            'backend "compile" needs a C++ compiler: install g++, or use backend "torch"'
        )
