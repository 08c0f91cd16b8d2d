"""PyTorch itself, eager or compiled, on any device and in any precision."""

import copy
import os
import shutil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samkit.engines.base import EngineInfo
from samkit.engines.graphs import Attend, AttendOwn, Remember, Upscale
from samkit.errors import EngineError
from samkit.models import Sam
from samkit.models.mask_decoder import Attended
from samkit.models.tiny_vit import ConvNorm

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COMPILERS = ("g++", "clang++")


class TorchEngine:
    """Runs the modules of `samkit.models`; weights are converted once, batch norms folded.

    The images of an `Attended` stay in the engine's precision on the way to `upscale`.
    """

    def __init__(self, model: Sam, info: EngineInfo) -> None:
        self.info = info
        self.device, self.dtype = torch.device(info.device), DTYPES[info.precision]
        if info.threads:
            torch.set_num_threads(info.threads)
        if info.engine == "compile":
            check_compiler()
        own = model if self.dtype == torch.float32 else copy.deepcopy(model)
        own = own.to(device=self.device, dtype=self.dtype)
        self.encoder = self._ready(fold_batch_norms(own.image_encoder))
        self._remember = self._ready(Remember(own))
        self._attend = self._ready(Attend(own))
        self._attend_own = self._ready(AttendOwn(own))
        self._upscale = self._ready(Upscale(own))

    def _ready(self, module: nn.Module) -> Any:
        return torch.compile(module) if self.info.engine == "compile" else module

    def encode(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.encoder(self._own(pixels))
        return features.float().contiguous()

    def remember(self, features: Tensor, dense: Tensor) -> Any:
        return self._remember(self._own(features), self._own(dense))

    def attend(self, sparse: Tensor, memory: Any) -> Attended:
        return self._attended(self._attend(self._own(sparse), *memory))

    def attend_own(self, sparse: Tensor, image: Tensor) -> Attended:
        return self._attended(self._attend_own(self._own(sparse), self._own(image)))

    def upscale(self, image: Tensor, kernels: Tensor) -> Tensor:
        logits: Tensor = self._upscale(self._own(image), self._own(kernels))
        return logits.float()

    def _own(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype)

    @staticmethod
    def _attended(attended: Attended) -> Attended:
        return attended._replace(
            iou_pred=attended.iou_pred.float(), kernels=attended.kernels.float()
        )


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


def check_compiler() -> None:
    """Raise an EngineError where torch.compile would find no C++ compiler for the CPU."""
    compilers = (os.environ.get("CXX", ""), *COMPILERS)
    if not any(name and shutil.which(name) for name in compilers):
        raise EngineError(
            'engine "compile" needs a C++ compiler: install g++, or use engine "torch"'
        )
