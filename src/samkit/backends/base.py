"""What every backend offers."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from samkit.models.mask_decoder import Attended

# An backend's own form of an image that many prompts share; only the backend looks inside.
Memory = Any


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """What runs.

    Attributes:
        backend: "torch", "compile", "openvino" or "onnx".
        precision: "float32", "bfloat16" or "float16".
        device: as torch names it, such as "cpu" or "cuda:0".
        threads: on a CPU; 0 leaves the number to the backend.
    """

    backend: str
    precision: str
    device: str
    threads: int


class Backend(Protocol):
    """Runs one model's image encoder and mask decoder.

    All tensors are float32 on `info.device`, whatever an backend computes in. Results may live in
    memory that the next call of the same method overwrites, so an engine serves one caller of
    `encode` and one of its other methods at a time. Shape legend: P prompts, T tokens, N image
    positions, C channels, G side of the embedding grid, S side of the model space, M masks.
    """

    info: BackendInfo

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised, padded pixels (1, 3, S, S) to features (1, C, G, G), a tensor of its own."""
        ...

    def remember(self, features: Tensor, dense: Tensor) -> Memory:
        """Prepare an image for many prompts: features and dense map (1, C, G, G)."""
        ...

    def attend(self, sparse: Tensor, memory: Memory) -> Attended:
        """Run the decoder's transformer on prompt tokens (P, T, C) and a remembered image."""
        ...

    def attend_own(self, sparse: Tensor, image: Tensor) -> Attended:
        """The same where each prompt has its own image (P, N, C), as with mask prompts."""
        ...

    def upscale(self, image: Tensor, kernels: Tensor) -> Tensor:
        """Attended images (P, N, C) and kernels (P, M, C / 8) to mask logits (P, M, 4 G, 4 G)."""
        ...
