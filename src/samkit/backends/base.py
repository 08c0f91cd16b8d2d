"""The protocol of every backend."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from samkit.models import ImageFeatures, MaskAnswer, PromptEmbeddings, PromptTensors


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """What runs the network.

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
    """Runs the calls of one `samkit.models.SamModel`.

    All tensors are float32 on `info.device`, whatever a backend computes in. Results may live in
    memory that the next call of the same method overwrites, so a backend serves one caller of
    `encode` and one of its other methods at a time. Contexts and attended prompts are the
    backend's own: they go from one of its calls to the next.
    """

    info: BackendInfo

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels (1, 3, S, S); the features are memory of their own."""
        ...

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Encode P prompts."""
        ...

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> Any:
        """Prepare an image for prompts without masks, or for P mask prompts (P, C, G, G).

        What is prepared without `dense` is memory of its own, and serves any number of prompts.
        """
        ...

    def attend(self, sparse: Tensor, context: Any) -> Any:
        """Run the decoder's transformer on prompt tokens (P, T, C); has `iou_pred`, `rows`."""
        ...

    def select(self, attended: Any, *, multimask: bool) -> Any:
        """Choose the masks for ambiguous prompts, or the single one."""
        ...

    def upscale(self, attended: Any, context: Any) -> MaskAnswer:
        """Turn selected masks into logits."""
        ...
