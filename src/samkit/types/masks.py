"""Masks of one image in a compact form.

Shape legend: M masks, H x W the image's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.drawing import Layer, draw_labels, draw_layers, mask_color
from samkit.geometry import Rle, boxes_from_masks, decode_rle, encode_rle
from samkit.geometry.boxes import xyxy_to_xywh
from samkit.geometry.rle import decode_rle_patch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# What each mask of `Masks` has besides its code: the shape of one row.
MASK_COLUMNS: dict[str, tuple[int, ...]] = {
    "boxes_xyxy": (4,),
    "areas": (),
    "scores": (),
    "stability": (),
    "points_xy": (2,),
    "crops_xyxy": (4,),
    "phrase_scores": (),
}
OPTIONAL_COLUMNS = {"stability", "points_xy", "crops_xyxy", "phrase_scores"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Masks of one image in a compact form.

    Attributes:
        rles: M run-length codes.
        boxes_xyxy: (M, 4) tight boxes in pixels, far edges exclusive.
        areas: (M,) in pixels.
        scores: (M,) such as the predicted IoU.
        size_hw: the image's size.
        stability: (M,) how little each mask depends on the threshold; None if not measured.
        points_xy: (M, 2) the point that each mask answers; None if there is none.
        crops_xyxy: (M, 4) the part of the image that each mask was seen in; None for all of it.
        phrases: M, what each mask is, in words; "" where nothing fits; None if it was not asked.
        phrase_scores: (M,) from 0 to 1, how sure that is.
    """

    rles: tuple[Rle, ...]
    boxes_xyxy: IntArray
    areas: IntArray
    scores: npt.NDArray[np.float32]
    size_hw: tuple[int, int]
    stability: npt.NDArray[np.float32] | None = None
    points_xy: FloatArray | None = None
    crops_xyxy: IntArray | None = None
    phrases: tuple[str, ...] | None = None
    phrase_scores: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.rles)
        for name, row_shape in MASK_COLUMNS.items():
            column = getattr(self, name)
            if column is None and name in OPTIONAL_COLUMNS:
                continue
            if column.shape != (count, *row_shape):
                raise ValueError(f"{name} must be {(count, *row_shape)}; got {column.shape}")
        if self.phrases is not None and len(self.phrases) != count:
            raise ValueError(f"phrases must be {count}; got {len(self.phrases)}")

    @classmethod
    def from_arrays(cls, masks: BoolArray, scores: npt.ArrayLike) -> Masks:
        """Encode masks (M, H, W) with scores (M,)."""
        return cls(
            rles=tuple(encode_rle(mask) for mask in masks),
            boxes_xyxy=boxes_from_masks(masks),
            areas=masks.sum(axis=(1, 2), dtype=np.int64),
            scores=np.asarray(scores, np.float32),
            size_hw=(masks.shape[1], masks.shape[2]),
        )

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.rles)

    def select(self, index: npt.NDArray[Any]) -> Masks:
        """Some of the masks, by numbers or by booleans, in the given order."""
        numbers = np.arange(len(self))[index]
        columns: dict[str, Any] = {name: getattr(self, name) for name in MASK_COLUMNS}
        chosen: dict[str, Any] = {n: c if c is None else c[numbers] for n, c in columns.items()}
        if self.phrases is not None:
            chosen["phrases"] = tuple(self.phrases[i] for i in numbers)
        return replace(self, rles=tuple(self.rles[i] for i in numbers), **chosen)

    def to_arrays(self) -> BoolArray:
        """Masks (M, H, W)."""
        out = np.zeros((len(self), *self.size_hw), bool)
        for mask, rle in zip(out, self.rles, strict=True):
            mask[:] = decode_rle(rle)
        return out

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO's annotation fields of each mask: segmentation, area, bbox [x, y, w, h], score.

        Masks that have phrases have those besides: phrase, phrase_score.
        """
        boxes_xywh = xyxy_to_xywh(self.boxes_xyxy)
        found: list[dict[str, Any]] = [
            {"segmentation": rle, "area": int(area), "bbox": box.tolist(), "score": float(score)}
            for rle, area, box, score in zip(
                self.rles, self.areas, boxes_xywh, self.scores, strict=True
            )
        ]
        if self.phrases is not None and self.phrase_scores is not None:
            words = zip(self.phrases, self.phrase_scores.tolist(), strict=True)
            for fields, (phrase, score) in zip(found, words, strict=True):
                fields |= {"phrase": phrase, "phrase_score": score}
        return found

    def overlay(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The image (H, W, 3) with the masks drawn over it, smaller ones over larger ones.

        Masks that have phrases are labelled with them and their scores.
        """
        order = np.argsort(-self.areas, kind="stable")
        drawn = draw_layers(image, (self._layer(index) for index in order))
        if self.phrases is None:
            return drawn
        colors = [mask_color(index) for index in range(len(self))]
        return draw_labels(drawn, self.boxes_xyxy[:, :2], self.labels, colors)

    @property
    def labels(self) -> tuple[str, ...]:
        """What pictures say of each mask: phrase and score; "" where there is none."""
        phrases = ("",) * len(self) if self.phrases is None else self.phrases
        if self.phrase_scores is None:
            return phrases
        return tuple(
            f"{phrase} {score:.2f}" if phrase else ""
            for phrase, score in zip(phrases, self.phrase_scores.tolist(), strict=True)
        )

    def _layer(self, index: int) -> Layer:
        patch = decode_rle_patch(self.rles[index], self.boxes_xyxy[index])
        x, y = self.boxes_xyxy[index, :2].tolist()
        return Layer(color=mask_color(index), patch=patch, corner_xy=(x, y))
