"""What one training step sees.

Shape legend: B photos, M masks, S side of the model frame, T side of the truth's frame, C channels,
G side of the embedding grid, D dimensions of CLIP's space.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(kw_only=True, eq=False)  # not frozen: Lightning's mixed precision casts its fields
class Batch:
    """Photos, and masks each of which is in one of them.

    The truth's frame is the model frame at a side of its own: 256 where a CPU trains, which is the
    logits' size, up to the full 1024.

    Attributes:
        pixels: (B, 3, S, S) float32, normalised and padded; None where `features` are kept.
        features: (B, C, G, G) float32 kept embeddings, in the place of pixels; else None.
        masks: (M, T, T) bool, none of them empty; masks of one photo stand together.
        image_index: (M,) int64, which photo each mask is in, ascending.
        keys: of the photos.
        phrases: what each mask is called; empty where nothing is.
        text_codes: (M, D) float32 of CLIP, of a crop of each mask; NaN where there is none.
    """

    pixels: Tensor | None
    features: Tensor | None
    masks: Tensor
    image_index: Tensor
    keys: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    text_codes: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            pixels=None if self.pixels is None else moved(self.pixels),
            features=None if self.features is None else moved(self.features),
            text_codes=None if self.text_codes is None else moved(self.text_codes),
            masks=moved(self.masks),
            image_index=moved(self.image_index),
        )
