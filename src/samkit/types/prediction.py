"""Predictions: the answers to prompts.

Shape legend: P prompts, M candidates each, H x W the image's size, S the side of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, Logits
from samkit.geometry import (
    MASK_THRESHOLD,
    STABILITY_OFFSET,
    CoordMap,
    cut_patch,
    estimate_stability,
    logits_to_original,
    logits_to_rle,
    rle_area,
    rle_box_xyxy,
)
from samkit.types.masks import Masks


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskPrediction:
    """Candidate masks of one prompt, or of a batch with a leading prompt axis.

    Attributes:
        logits: (M, S, S) or (P, M, S, S), float32, unbounded; above 0 is inside.
        iou_pred: (M,) or (P, M), predicted IoU with the true mask.
        coords: the image's coordinate spaces.
        phrases: the P phrases of the prompts; None without text.
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
        """Masks (M, H, W) or (P, M, H, W) at the image's size, computed on first access."""
        flat = self.logits.reshape(-1, *self.logits.shape[-2:])
        masks = np.zeros((len(flat), *self.coords.original_hw), bool)
        for mask, one in zip(masks, flat, strict=True):
            mask[:] = logits_to_original(one, self.coords) > MASK_THRESHOLD
        return masks.reshape(*self.iou_pred.shape, *self.coords.original_hw)

    def stability(self, offset: float = STABILITY_OFFSET) -> npt.NDArray[np.float64]:
        """Estimate the stability (M,) or (P, M) of each mask, from 0 to 1.

        Stability is the IoU of the masks cut at `offset` above and below the logits' threshold.
        """
        flat = self.logits.reshape(-1, *self.logits.shape[-2:])
        patches = (cut_patch(logits, self.coords, offset)[0] for logits in flat)
        estimates = [estimate_stability(patch, offset) for patch in patches]
        return np.array(estimates, np.float64).reshape(self.iou_pred.shape)

    def __repr__(self) -> str:
        shape, (height, width) = self.iou_pred.shape, self.coords.original_hw
        ious = np.array2string(self.iou_pred, precision=2, threshold=6, separator=", ")
        shown = " ".join(ious.split())
        return f"<MaskPrediction {shape} of {width} x {height} pixels, iou_pred {shown}>"

    def best(self) -> MaskPrediction:
        """Select the candidate with the highest predicted IoU of each prompt: M is 1."""
        index = self.iou_pred.argmax(axis=-1, keepdims=True)
        return replace(
            self,
            logits=np.take_along_axis(self.logits, index[..., None, None], axis=-3),
            iou_pred=np.take_along_axis(self.iou_pred, index, axis=-1),
        )

    def to_masks(self) -> Masks:
        """All masks in one list, prompt by prompt, scored by predicted IoU."""
        # Without building the masks, which take gigabytes for an image of 24 megapixels.
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
