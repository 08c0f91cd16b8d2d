"""What prompts are answered with.

Shape legend: P prompts, M candidates of each, H x W the image's size, S the side of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from samkit.geometry import CoordMap
from samkit.geometry.resize import logits_to_original
from samkit.geometry.rle import rle_area, rle_box_xyxy
from samkit.geometry.upsampled_rle import logits_to_rle
from samkit.types.masks import Masks

BoolArray = npt.NDArray[np.bool_]
Logits = npt.NDArray[np.float32]

MASK_THRESHOLD = 0.0  # logits above it are inside


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskPrediction:
    """Candidate masks of one prompt, or of a batch with a leading prompt axis.

    Attributes:
        logits: (M, S, S) or (P, M, S, S), float32, unbounded; above 0 is inside.
        iou_pred: (M,) or (P, M), the IoU with the true mask that the model expects.
        coords: the coordinate spaces of the image.
        phrases: P, what each prompt was asked or found by; None without text.
        phrase_scores: (P,) from 0 to 1; None without text.
    """

    logits: Logits
    iou_pred: npt.NDArray[np.float32]
    coords: CoordMap
    phrases: tuple[str, ...] | None = None
    phrase_scores: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape, side = self.iou_pred.shape, self.coords.logits_size
        for name in ("phrases", "phrase_scores"):
            value = getattr(self, name)
            if value is not None and (len(shape) != 2 or len(value) != shape[0]):
                raise ValueError(f"{name} must be one for each prompt; got {len(value)}")
        if len(shape) not in (1, 2) or self.logits.shape != (*shape, side, side):
            raise ValueError(
                f"iou_pred must be (M,) or (P, M), logits the same and ({side}, {side});"
                f" got {shape} and {self.logits.shape}"
            )

    @cached_property
    def masks(self) -> BoolArray:
        """Masks (M, H, W) or (P, M, H, W) at the image's size, made when first asked for."""
        flat = self.logits.reshape(-1, *self.logits.shape[-2:])
        masks = np.zeros((len(flat), *self.coords.original_hw), bool)
        for mask, one in zip(masks, flat, strict=True):
            mask[:] = logits_to_original(one, self.coords) > MASK_THRESHOLD
        return masks.reshape(*self.iou_pred.shape, *self.coords.original_hw)

    def best(self) -> MaskPrediction:
        """Only the candidate with the highest predicted IoU, for each prompt: M is 1."""
        index = self.iou_pred.argmax(axis=-1, keepdims=True)
        return replace(
            self,
            logits=np.take_along_axis(self.logits, index[..., None, None], axis=-3),
            iou_pred=np.take_along_axis(self.iou_pred, index, axis=-1),
        )

    def to_masks(self) -> Masks:
        """All masks as one list, prompts after one another, scored by predicted IoU."""
        # Without the masks themselves, of which an image of 24 megapixels may have gigabytes.
        flat = self.logits.reshape(-1, *self.logits.shape[-2:])
        rles = tuple(logits_to_rle(logits, self.coords) for logits in flat)
        found = Masks(
            rles=rles,
            boxes_xyxy=np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4),
            areas=np.array([rle_area(rle) for rle in rles], np.int64),
            scores=self.iou_pred.reshape(-1),
            size_hw=self.coords.original_hw,
        )
        if self.phrases is None or self.phrase_scores is None:
            return found
        candidates = self.iou_pred.shape[-1]
        phrases = tuple(phrase for phrase in self.phrases for _ in range(candidates))
        scores = np.repeat(self.phrase_scores, candidates)
        return replace(found, phrases=phrases, phrase_scores=np.asarray(scores, np.float32))
