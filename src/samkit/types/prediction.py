"""Predictions: the answers to prompts.

Shape legend: P prompts, M candidates each, H x W the image's size, S the side of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, Logits, RgbImage
from samkit.geometry import (
    MASK_THRESHOLD,
    STABILITY_OFFSET,
    CoordMap,
    Rle,
    cut_patch,
    encode_rle,
    estimate_stability,
    fine_mask,
    logits_to_original,
    logits_to_rle,
    stability_score,
)
from samkit.types.masks import Masks


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskDetail:
    """A mask within a crop of the image, where its logits are finer than those of the image.

    Attributes:
        logits: (S, S) in the logits space of the crop.
        box_xyxy: the crop, in pixels of the image.
        coords: the crop's coordinate spaces.
    """

    logits: Logits
    box_xyxy: tuple[int, int, int, int]
    coords: CoordMap

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box_xyxy
        side = self.coords.logits_size
        if self.coords.original_hw != (y1 - y0, x1 - x0) or self.logits.shape != (side, side):
            raise ValueError(
                f"coords must be those of the crop {self.box_xyxy}, logits ({side}, {side});"
                f" got {self.coords.original_hw} and {self.logits.shape}"
            )

    def put_into(self, image_logits: Logits) -> None:
        """Replace the crop's part of logits (H, W) at the image's size, in place."""
        x0, y0, x1, y1 = self.box_xyxy
        image_logits[y0:y1, x0:x1] = logits_to_original(self.logits, self.coords)

    def put_fine_mask_into(self, mask: BoolArray, guide: RgbImage) -> None:
        """Replace the crop's part of a mask (H, W), in place, by one that follows the image."""
        x0, y0, x1, y1 = self.box_xyxy
        logits = logits_to_original(self.logits, self.coords)
        mask[y0:y1, x0:x1] = fine_mask(logits, self.coords, guide[y0:y1, x0:x1])


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskPrediction:
    """Candidate masks of one prompt, or of a batch with a leading prompt axis.

    Attributes:
        logits: (M, S, S) or (P, M, S, S), float32, unbounded; above 0 is inside.
        iou_pred: (M,) or (P, M), predicted IoU with the true mask.
        coords: the image's coordinate spaces.
        phrases: the P phrases of the prompts; None without text.
        phrase_scores: (P,) from 0 to 1; None without text.
        details: for each mask, prompt by prompt, the crop in which it is known more finely than
            by `logits`, or None; None without any. `masks` and all that is made of them contain
            it; `logits` are the whole mask, coarser, to be given back as a mask prompt.
        guide: the image (H, W, 3) whose edges the masks follow; None: masks are upsampled logits.
            `masks` and all that is made of them follow it, `logits` do not.
    """

    logits: Logits
    iou_pred: npt.NDArray[np.float32]
    coords: CoordMap
    phrases: tuple[str, ...] | None = None
    phrase_scores: npt.NDArray[np.float32] | None = None
    details: tuple[MaskDetail | None, ...] | None = None
    guide: RgbImage | None = None

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
        if self.details is not None and len(self.details) != self.iou_pred.size:
            raise ValueError(
                f"details must be one for each of {self.iou_pred.size} masks;"
                f" got {len(self.details)}"
            )
        expected = (*self.coords.original_hw, 3)
        if self.guide is not None and self.guide.shape != expected:
            raise ValueError(f"guide must be {expected}; got {self.guide.shape}")

    @cached_property
    def masks(self) -> BoolArray:
        """Masks (M, H, W) or (P, M, H, W) at the image's size, computed on first access."""
        masks = np.zeros((self.iou_pred.size, *self.coords.original_hw), bool)
        for number, mask in enumerate(masks):
            mask[:] = self._mask(number)
        return masks.reshape(*self.iou_pred.shape, *self.coords.original_hw)

    def image_logits(self, number: int) -> Logits:
        """The logits (H, W) of a mask at the image's size, with its detail.

        Args:
            number: of the mask, counted prompt by prompt.
        """
        image = self._upsampled(number)
        detail = self._detail(number)
        if detail is not None:
            detail.put_into(image)
        return image

    def stability(self, offset: float = STABILITY_OFFSET) -> npt.NDArray[np.float64]:
        """Estimate the stability (M,) or (P, M) of each mask, from 0 to 1.

        Stability is the IoU of the masks cut at `offset` above and below the logits' threshold.
        """
        estimates = [self._stability(number, offset) for number in range(self.iou_pred.size)]
        return np.array(estimates, np.float64).reshape(self.iou_pred.shape)

    def __repr__(self) -> str:
        shape, (height, width) = self.iou_pred.shape, self.coords.original_hw
        ious = np.array2string(self.iou_pred, precision=2, threshold=6, separator=", ")
        shown = " ".join(ious.split())
        return f"<MaskPrediction {shape} of {width} x {height} pixels, iou_pred {shown}>"

    def best(self) -> MaskPrediction:
        """Select the candidate with the highest predicted IoU of each prompt: M is 1."""
        return self._chosen(self.iou_pred.argmax(axis=-1, keepdims=True))

    def candidate(self, number: int) -> MaskPrediction:
        """Select the candidate of this number of each prompt: M is 1."""
        return self._chosen(np.full((*self.iou_pred.shape[:-1], 1), number))

    def prompt(self, number: int) -> MaskPrediction:
        """The answer to one prompt of a batch, without a prompt axis and phrases."""
        count = self.iou_pred.shape[1]
        own = slice(number * count, (number + 1) * count)
        return MaskPrediction(
            logits=self.logits[number],
            iou_pred=self.iou_pred[number],
            coords=self.coords,
            details=None if self.details is None else self.details[own],
            guide=self.guide,
        )

    def _chosen(self, index: npt.NDArray[np.int64]) -> MaskPrediction:
        """Select a candidate of each prompt by an index (1,) or (P, 1)."""
        details = self.details
        if details is not None:
            first = np.arange(index.size) * self.iou_pred.shape[-1]
            details = tuple(details[at] for at in (first + index.reshape(-1)).tolist())
        return replace(
            self,
            logits=np.take_along_axis(self.logits, index[..., None, None], axis=-3),
            iou_pred=np.take_along_axis(self.iou_pred, index, axis=-1),
            details=details,
        )

    def _upsampled(self, number: int) -> Logits:
        """The logits (H, W) of a mask at the image's size, without its detail."""
        side = self.coords.logits_size
        return logits_to_original(self.logits.reshape(-1, side, side)[number], self.coords)

    def _mask(self, number: int) -> BoolArray:
        """A mask (H, W) at the image's size."""
        if self.guide is None:
            return np.asarray(self.image_logits(number) > MASK_THRESHOLD)
        mask = fine_mask(self._upsampled(number), self.coords, self.guide)
        detail = self._detail(number)
        if detail is not None:
            detail.put_fine_mask_into(mask, self.guide)
        return mask

    def _detail(self, number: int) -> MaskDetail | None:
        return None if self.details is None else self.details[number]

    def _stability(self, number: int, offset: float) -> float:
        if self._detail(number) is not None:
            return stability_score(self.image_logits(number), offset)
        side = self.coords.logits_size
        logits = self.logits.reshape(-1, side, side)[number]
        return estimate_stability(cut_patch(logits, self.coords, offset)[0], offset)

    def rles(self) -> tuple[Rle, ...]:
        """All masks as RLEs, prompt by prompt."""
        # Without building the masks, which take gigabytes for an image of 24 megapixels.
        side = self.coords.logits_size
        return tuple(
            logits_to_rle(logits, self.coords)
            if self.guide is None and self._detail(number) is None
            else encode_rle(self._mask(number))
            for number, logits in enumerate(self.logits.reshape(-1, side, side))
        )

    def to_masks(self) -> Masks:
        """All masks in one list, prompt by prompt, scored by predicted IoU."""
        scores, size_hw = self.iou_pred.reshape(-1), self.coords.original_hw
        found = Masks.from_rles(self.rles(), scores, size_hw)
        if self.phrases is None or self.phrase_scores is None:
            return found
        candidates = self.iou_pred.shape[-1]
        phrases = tuple(phrase for phrase in self.phrases for _ in range(candidates))
        scores = np.repeat(self.phrase_scores, candidates)
        return replace(found, phrases=phrases, phrase_scores=np.asarray(scores, np.float32))
