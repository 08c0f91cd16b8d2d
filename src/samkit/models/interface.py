"""The interface of all models of the SAM family, whatever their networks are.

`SamModel` names the six calls. Predictor, training, compiled graphs, exports and the drop-in use
only these, so that another family is a second implementation of the same calls.

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
            ones, if an encoder has them, sharpen the masks.
    """

    levels: tuple[Tensor, ...]

    @classmethod
    def of(cls, output: Tensor | tuple[Tensor, ...]) -> ImageFeatures:
        """The output of an image encoder with one level, or with several."""
        return cls((output,) if isinstance(output, Tensor) else tuple(output))

    @property
    def grid(self) -> Tensor:
        """The level (B, C, G, G) that prompts attend to."""
        return self.levels[-1]

    def rows(self, index: Any) -> ImageFeatures:
        """Select images by a slice or an index tensor."""
        return ImageFeatures(tuple(level[index] for level in self.levels))

    def float(self) -> ImageFeatures:
        """In float32."""
        return ImageFeatures(tuple(level.float() for level in self.levels))

    def to(self, *args: Any, **kwargs: Any) -> ImageFeatures:
        """Move or convert all levels, like `Tensor.to`."""
        return ImageFeatures(tuple(level.to(*args, **kwargs) for level in self.levels))


class PromptTensors(NamedTuple):
    """P prompts in the model space; each may combine text, points, one box and one mask.

    Attributes:
        text_embeds: (P, D) CLIP embeddings of unit length.
        points_xy: (P, N, 2) in pixels of the model's input.
        labels: (P, N): 1 foreground, 0 background, -1 padding.
        boxes_xyxy: (P, 4) in pixels of the model's input.
        mask_logits: (P, 1, L, L), such as those of an earlier answer.
    """

    text_embeds: Tensor | None = None
    points_xy: Tensor | None = None
    labels: Tensor | None = None
    boxes_xyxy: Tensor | None = None
    mask_logits: Tensor | None = None

    @property
    def num_prompts(self) -> int:
        """Number of prompts P; 1 for a prompt without any part."""
        return next((len(part) for part in self if part is not None), 1)

    def rows(self, index: slice | Tensor) -> PromptTensors:
        """Select prompts by a slice or an index tensor."""
        return PromptTensors(*(None if part is None else part[index] for part in self))


class PromptEmbeddings(NamedTuple):
    """Output of a prompt encoder.

    Attributes:
        sparse: tokens (P, T, C) of text, points and boxes.
        dense: maps (P, C, G, G) of mask prompts; None if no prompt has a mask, so that one prepared
            image serves all prompts.
    """

    sparse: Tensor
    dense: Tensor | None


class MaskAnswer(NamedTuple):
    """Answer of a mask decoder.

    Attributes:
        logits: (P, M, L, L), unbounded; above 0 is inside.
        iou_pred: (P, M), predicted IoU of each mask with the true one.
    """

    logits: Tensor
    iou_pred: Tensor


class SamModel(Protocol):
    """The calls of a model; `samkit.models.Sam` is the first implementation."""

    @property
    def image_spec(self) -> ImageSpec:
        """Specification of the image encoder's input."""
        ...

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Encode normalised pixels (B, 3, S, S): the expensive step, once per image."""
        ...

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Encode P prompts."""
        ...

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> Any:
        """Prepare an image for `attend` and `upscale`, in the model's own form.

        Args:
            features: features of one image, or of one image per prompt.
            dense: maps of mask prompts; None for prompts without masks, which then share the
                result.
        """
        ...

    def attend(self, sparse: Tensor, context: Any) -> Any:
        """Run the transformer on prompt tokens (P, T, C) and the image.

        The result is in the model's own form, but has `iou_pred` (P, M) and `rows(index)`.
        """
        ...

    def select(self, attended: Any, *, multimask: bool) -> Any:
        """Select the candidates for ambiguous prompts, or the single one."""
        ...

    def upscale(self, attended: Any, context: Any) -> MaskAnswer:
        """Turn selected candidates into mask logits."""
        ...
