"""Masks of one image as run-length encodings, with their scores.

Shape legend: M masks, H x W the image's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray, IntArray
from samkit.drawing import Layer, draw_labels, draw_layers, mask_color
from samkit.geometry import (
    Rle,
    boxes_from_masks,
    decode_rle,
    decode_rle_patch,
    encode_rle,
    rle_area,
    rle_box_xyxy,
    xyxy_to_xywh,
)


@dataclass(frozen=True)
class Column:
    """Specification of an array of `Masks` with one row per mask."""

    row_shape: tuple[int, ...]
    dtype: type
    is_optional: bool = False


COLUMNS = {
    "boxes_xyxy": Column((4,), np.int64),
    "areas": Column((), np.int64),
    "scores": Column((), np.float32),
    "stability": Column((), np.float32, is_optional=True),
    "points_xy": Column((2,), np.float64, is_optional=True),
    "crops_xyxy": Column((4,), np.int64, is_optional=True),
    "phrase_scores": Column((), np.float32, is_optional=True),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Masks of one image in compact form.

    Attributes:
        rles: M run-length encodings.
        boxes_xyxy: (M, 4) tight boxes in pixels, far edges exclusive.
        areas: (M,) in pixels.
        scores: (M,) scores such as the predicted IoU.
        size_hw: size of the image.
        stability: (M,) IoU of each mask at a higher and a lower threshold; None if not measured.
        points_xy: (M, 2) the point that each mask answers; None without points.
        crops_xyxy: (M, 4) the crop of the image that each mask was found in; None for all of it.
        phrases: the M masks in words, "" if nothing fits; None if they were not named.
        phrase_scores: (M,) confidence of the phrases, from 0 to 1.
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
        for name, column in COLUMNS.items():
            array, expected = self._column(name), (count, *column.row_shape)
            if array is None and column.is_optional:
                continue
            shape = None if array is None else array.shape
            if shape != expected:
                raise ValueError(f"{name} must be {expected}; got {shape}")
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

    @classmethod
    def from_rles(
        cls, rles: Sequence[Rle], scores: npt.ArrayLike, size_hw: tuple[int, int], **columns: Any
    ) -> Masks:
        """Make masks of RLEs, with their tight boxes and areas.

        Args:
            columns: further ones, such as `stability`.
        """
        return cls(
            rles=tuple(rles),
            boxes_xyxy=np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4),
            areas=np.array([rle_area(rle) for rle in rles], np.int64),
            scores=np.asarray(scores, np.float32),
            size_hw=size_hw,
            **columns,
        )

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.rles)

    def __iter__(self) -> Iterator[BoolArray]:
        """Iterate over the masks (H, W), decoding each when it is needed."""
        return (decode_rle(rle) for rle in self.rles)

    def __getitem__(self, index: int | np.integer[Any] | slice | npt.NDArray[Any]) -> Masks:
        """Select masks by an index, a slice, indices or a boolean mask."""
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"there are {len(self)} masks; got index {index}")
            index = np.array([index])
        return self.select(index)

    def select(self, index: slice | npt.NDArray[Any]) -> Masks:
        """Select masks by indices in the given order, a slice or a boolean mask."""
        numbers = np.arange(len(self))[index]
        columns = {name: column[numbers] for name, column in self._columns().items()}
        phrases = self.phrases
        return self.with_columns(
            rles=tuple(self.rles[i] for i in numbers),
            phrases=None if phrases is None else tuple(phrases[i] for i in numbers),
            **columns,
        )

    def with_columns(self, **columns: Any) -> Masks:
        """Return the same masks with some columns replaced or added, such as phrases and scores."""
        return replace(self, **columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Masks]) -> Masks:
        """Concatenate one or more sets of masks of one image.

        A column that some sets lack is filled: with the full image as crop, "" as phrase, else with
        NaN.
        """
        first = parts[0]
        if any(part.size_hw != first.size_hw for part in parts):
            sizes = ", ".join(str(part.size_hw) for part in parts)
            raise ValueError(f"all masks must be of one image; got sizes {sizes}")
        columns: dict[str, Any] = {}
        for name in COLUMNS:
            own = [part._column(name) for part in parts]  # noqa: SLF001
            if any(column is not None for column in own):
                filled = [
                    part._missing(name) if column is None else column  # noqa: SLF001
                    for part, column in zip(parts, own, strict=True)
                ]
                columns[name] = np.concatenate(filled)
        if any(part.phrases is not None for part in parts):
            columns["phrases"] = tuple(
                phrase
                for part in parts
                for phrase in (("",) * len(part) if part.phrases is None else part.phrases)
            )
        rles = tuple(rle for part in parts for rle in part.rles)
        return cls(rles=rles, size_hw=first.size_hw, **columns)

    def _column(self, name: str) -> npt.NDArray[Any] | None:
        column: npt.NDArray[Any] | None = vars(self)[name]
        return column

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns that are present."""
        columns = {name: self._column(name) for name in COLUMNS}
        return {name: column for name, column in columns.items() if column is not None}

    def _missing(self, name: str) -> npt.NDArray[Any]:
        """Fill values of a missing column."""
        if name == "crops_xyxy":
            return np.tile(np.array([0, 0, *self.size_hw[::-1]], np.int64), (len(self), 1))
        column = COLUMNS[name]
        return np.full((len(self), *column.row_shape), np.nan, column.dtype)

    def __repr__(self) -> str:
        height, width = self.size_hw
        named = "" if self.phrases is None else f", {len(set(self.phrases) - {''})} phrases"
        return f"<Masks: {len(self)} of an image of {width} x {height} pixels{named}>"

    def to_arrays(self) -> BoolArray:
        """Decode all masks (M, H, W)."""
        out = np.zeros((len(self), *self.size_hw), bool)
        for mask, rle in zip(out, self.rles, strict=True):
            mask[:] = decode_rle(rle)
        return out

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO annotation fields of each mask: segmentation, area, bbox [x, y, w, h], score.

        Named masks also have phrase and phrase_score.
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
        """Draw the masks over the image (H, W, 3), smaller ones over larger ones.

        Named masks are labelled with their phrases and scores.
        """
        order = np.argsort(-self.areas, kind="stable")
        drawn = draw_layers(image, (self._layer(index) for index in order))
        if self.phrases is None:
            return drawn
        colors = [mask_color(index) for index in range(len(self))]
        return draw_labels(drawn, self.boxes_xyxy[:, :2], self.labels, colors)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label of each mask, phrase and score; "" without a phrase."""
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
