"""What every model of the SAM family takes and gives, whatever its networks are.

`SamModel` names the six calls. Predictor, training, graphs for compilers, exports and the drop-in
use only these, so that another family is a second implementation behind the same calls.

Shape legend: B images, P prompts, N points, T tokens, C channels, G side of the coarsest grid,
L side of the mask logits, M masks, S side of the input, D dimensions of CLIP's space.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor

from samkit.image_spec import ImageSpec


class ImageFeatures(NamedTuple):
    """Output of an image encoder for B images.

    Attributes:
        levels: feature maps (B, C_i, G_i, G_i), finest first. Prompts attend to the last one; finer
            ones, where an encoder has them, sharpen the masks.
    """

    levels: tuple[Tensor, ...]

    @property
    def grid(self) -> Tensor:
        """The level (B, C, G, G) that prompts attend to."""
        return self.levels[-1]

    def rows(self, index: Any) -> ImageFeatures:
        """Some of the images, by a slice or an index tensor."""
        return ImageFeatures(tuple(level[index] for level in self.levels))

    def to(self, *args: Any, **kwargs: Any) -> ImageFeatures:
        """Moved or converted, as `Tensor.to` does it."""
        return ImageFeatures(tuple(level.to(*args, **kwargs) for level in self.levels))


class PromptTensors(NamedTuple):
    """P prompts in the model space; each may combine text, points, one box and one mask.

    Attributes:
        text_embeds: (P, D) vectors of CLIP, of length 1.
        points_xy: (P, N, 2) pixels of the model's input.
        labels: (P, N): 1 foreground, 0 background, -1 padding.
        boxes_xyxy: (P, 4) pixels of the model's input.
        mask_logits: (P, 1, L, L), such as an earlier answer.
    """

    text_embeds: Tensor | None = None
    points_xy: Tensor | None = None
    labels: Tensor | None = None
    boxes_xyxy: Tensor | None = None
    mask_logits: Tensor | None = None

    @property
    def num_prompts(self) -> int:
        """P; 1 for a prompt without any part."""
        return next((len(part) for part in self if part is not None), 1)

    def rows(self, index: slice) -> PromptTensors:
        """Some of the prompts."""
        return PromptTensors(*(None if part is None else part[index] for part in self))


class PromptEmbeddings(NamedTuple):
    """Output of a prompt encoder.

    Attributes:
        sparse: tokens (P, T, C) of text, points and boxes.
        dense: maps (P, C, G, G) of mask prompts; None where no prompt has a mask, so that one
            prepared image serves all prompts.
    """

    sparse: Tensor
    dense: Tensor | None


class MaskAnswer(NamedTuple):
    """Answer of a mask decoder.

    Attributes:
        logits: (P, M, L, L), unbounded; above 0 is inside.
        iou_pred: (P, M), the expected IoU of each mask with the true one.
    """

    logits: Tensor
    iou_pred: Tensor


class SamModel(Protocol):
    """The calls of a model; `samkit.models.Sam` is the first implementation."""

    @property
    def image_spec(self) -> ImageSpec:
        """What the image encoder expects."""
        ...

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels (B, 3, S, S): the expensive step, once for each image."""
        ...

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Encode P prompts."""
        ...

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> Any:
        """Bring an image into the form that `attend` and `upscale` take: the model's own.

        Args:
            features: of one image, or of one for each prompt.
            dense: of mask prompts; None for prompts without, which then share the result.
        """
        ...

    def attend(self, sparse: Tensor, context: Any) -> Any:
        """Let prompt tokens (P, T, C) and the image attend to each other.

        The result is the model's own, but has `iou_pred` (P, M) and `rows(index)`.
        """
        ...

    def select(self, attended: Any, *, multimask: bool) -> Any:
        """Choose the candidates: those for ambiguous prompts, or the single one."""
        ...

    def upscale(self, attended: Any, context: Any) -> MaskAnswer:
        """Turn selected candidates into mask logits."""
        ...
