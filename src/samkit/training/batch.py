"""What one training step sees.

Shape legend: B images, M masks, S side of the model space, T side of the target space, C channels,
G side of the embedding grid, D dimensions of CLIP's space.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(kw_only=True, eq=False)  # not frozen: Lightning's mixed precision casts its fields
class Batch:
    """Images, and masks each of which is in one of them.

    The target space is the model space at a side of its own: 256 where a CPU trains, which is the
    logits' size, up to the full 1024.

    Attributes:
        pixels: (B, 3, S, S) float32, normalised and padded; None where `features` are kept.
        features: (B, C, G, G) float32 kept embeddings, in the place of pixels; else None.
        masks: (M, T, T) bool, none of them empty; masks of one image stand together.
        image_index: (M,) int64, which image each mask is in, ascending.
        keys: of the images.
        phrases: what each mask is called; empty where nothing is.
        text_embeds: (M, D) float32 of CLIP, of a crop of each mask; NaN where there is none.
    """

    pixels: Tensor | None
    features: Tensor | None
    masks: Tensor
    image_index: Tensor
    keys: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    text_embeds: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            pixels=None if self.pixels is None else moved(self.pixels),
            features=None if self.features is None else moved(self.features),
            text_embeds=None if self.text_embeds is None else moved(self.text_embeds),
            masks=moved(self.masks),
            image_index=moved(self.image_index),
        )
