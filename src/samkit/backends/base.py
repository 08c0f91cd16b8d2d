"""The interface of all backends."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from samkit.models import ImageFeatures, MaskAnswer, PromptEmbeddings, PromptTensors


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """The backend, precision and device that run a network.

    Attributes:
        backend: "torch", "compile", "openvino" or "onnx".
        precision: "float32", "bfloat16" or "float16".
        device: torch device such as "cpu" or "cuda:0".
        threads: CPU threads; 0 leaves the number to the backend.
    """

    backend: str
    precision: str
    device: str
    threads: int


class Backend(Protocol):
    """Runs the calls of a `samkit.models.SamModel`.

    All tensors are float32 on `info.device`, whatever precision a backend computes in. Results may
    live in memory that the next call of the same method overwrites, so a backend serves one caller
    of `encode` and one of its other methods at a time. Contexts and attended prompts are in the
    backend's own form, and are only passed from one of its calls to the next.
    """

    info: BackendInfo

    def check_process(self) -> None:
        """Raise a BackendError in a forked process where the backend cannot work."""
        ...

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels (1, 3, S, S); the features are not overwritten later."""
        ...

    def encode_levels(self, pixels: Tensor) -> ImageFeatures:
        """Like `encode`, with the encoder's intermediate levels, if it has any, before the grid."""
        ...

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Encode P prompts."""
        ...

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> Any:
        """Prepare an image for prompts without masks, or for P mask prompts (P, C, G, G).

        A context prepared without `dense` is not overwritten later, and serves any number of
        prompts.
        """
        ...

    def attend(self, sparse: Tensor, context: Any) -> Any:
        """Run the decoder's transformer on prompt tokens (P, T, C); has `iou_pred` and `rows`."""
        ...

    def select(self, attended: Any, *, multimask: bool) -> Any:
        """Select the masks for ambiguous prompts, or the single one."""
        ...

    def upscale(self, attended: Any, context: Any) -> MaskAnswer:
        """Turn selected masks into logits."""
        ...
