"""PyTorch itself, eager or compiled, on any device and in any precision."""

import copy
import os
import shutil
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samkit.backends.base import BackendInfo
from samkit.backends.graphs import Attend, AttendOwn, Remember, Upscale
from samkit.errors import BackendError
from samkit.models import Sam
from samkit.models.mask_decoder import Attended, MaskDecoder
from samkit.models.tiny_vit import ConvNorm

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COMPILERS = ("g++", "clang++")


class TorchBackend:
    """Runs the modules of `samkit.models`; weights are converted once, batch norms folded.

    Of lower precisions, what decides most and costs least is left in float32: the encoder's neck
    and the decoder's tokens. Images stay in the backend's precision from `remember` to `upscale`.
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
        graphs = [Remember(own), Attend(own), AttendOwn(own), Upscale(own)]
        if self.dtype != torch.float32:
            lower_precision(encoder, own.mask_decoder, graphs, self.dtype)
        self.encoder = self._ready(encoder)
        self._remember, self._attend, self._attend_own, self._upscale = map(self._ready, graphs)

    def _ready(self, module: nn.Module) -> Any:
        return torch.compile(module) if self.info.backend == "compile" else module

    def encode(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.encoder(self._own(pixels))
        return features.float().contiguous()

    def remember(self, features: Tensor, dense: Tensor) -> Any:
        return self._remember(self._own(features), self._own(dense))

    def attend(self, sparse: Tensor, memory: Any) -> Attended:
        attended: Attended = self._attend(sparse.to(self.device), *memory)
        return attended

    def attend_own(self, sparse: Tensor, image: Tensor) -> Attended:
        attended: Attended = self._attend_own(sparse.to(self.device), self._own(image))
        return attended

    def upscale(self, image: Tensor, kernels: Tensor) -> Tensor:
        logits: Tensor = self._upscale(self._own(image), self._own(kernels))
        return logits.float()

    def _own(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype)


def fold_batch_norms(encoder: nn.Module) -> nn.Module:
    """An encoder without batch norms, their scales and shifts taken into the convolutions.

    Returns the encoder itself where it has none, else a copy.
    """
    if not any(isinstance(module, ConvNorm) for module in encoder.modules()):
        return encoder
    folded = copy.deepcopy(encoder)
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            module.c = fuse_conv_bn_eval(module.c, module.bn)
            module.bn = nn.Identity()  # type: ignore[assignment]
    ready: nn.Module = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ready


def lower_precision(
    encoder: nn.Module, decoder: MaskDecoder, graphs: Sequence[nn.Module], dtype: torch.dtype
) -> None:
    """Convert an encoder but for its neck, and of a decoder and its graphs the image's side."""
    neck: nn.Module = encoder.neck  # type: ignore[assignment]
    encoder.to(dtype)
    neck.float()
    decoder.output_upscaling.to(dtype)
    for block in decoder.transformer.blocks:
        block.norm4.to(dtype)
    for graph in graphs:
        for codes in graph.buffers(recurse=False):
            codes.data = codes.data.to(dtype)


def check_compiler() -> None:
    """Raise an BackendError where torch.compile would find no C++ compiler for the CPU."""
    compilers = (os.environ.get("CXX", ""), *COMPILERS)
    if not any(name and shutil.which(name) for name in compilers):
        raise BackendError(
            'backend "compile" needs a C++ compiler: install g++, or use backend "torch"'
        )
