"""The values that pass between the rooms: prompts, embeddings, predictions, masks.

All are frozen and check themselves when made. Shape legend: P prompts, N points, M masks,
H x W the photo's size, S the side of the mask logits (256).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.drawing import Layer, draw_labels, draw_layers, mask_color
from samkit.errors import EmbeddingError, PromptError
from samkit.files import write_tensors
from samkit.geometry import CoordMap, Rle, boxes_from_masks, decode_rle, encode_rle
from samkit.geometry.boxes import xyxy_to_xywh
from samkit.geometry.resize import logits_to_original
from samkit.geometry.rle import decode_rle_patch

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Logits = npt.NDArray[np.float32]

MASK_THRESHOLD = 0.0  # logits above it are inside
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
EMBEDDING_FORMAT = "samkit-embedding-1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """P prompts on one photo, in pixels of the original; each may have text, points, a box, a mask.

    Attributes:
        text_codes: (P, D) vectors of CLIP, for models that take text, or None.
        points_xy: (P, N, 2), or None.
        labels: (P, N), 1 foreground and 0 background, or None.
        boxes_xyxy: (P, 4), or None.
        mask_logits: (P, 1, S, S) of an earlier answer, or None.
        batched: whether the prompts came as a batch, so that the answer has a prompt axis.
    """

    points_xy: FloatArray | None = None
    labels: IntArray | None = None
    boxes_xyxy: FloatArray | None = None
    mask_logits: Logits | None = None
    text_codes: npt.NDArray[np.float32] | None = None
    batched: bool = True

    def __post_init__(self) -> None:
        sizes = {
            name: len(value)
            for name, value in (
                ("points", self.points_xy),
                ("boxes", self.boxes_xyxy),
                ("mask_logits", self.mask_logits),
                ("texts", self.text_codes),
            )
            if value is not None
        }
        if not sizes:
            raise PromptError("a prompt needs text, points, a box or mask_logits; got none of them")
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{count} of {name}" for name, count in sizes.items())
            raise PromptError(f"prompts of one batch must agree in number; got {listed}")
        if 0 in sizes.values():
            raise PromptError("a batch needs at least one prompt; got 0")
        _check_points(self.points_xy, self.labels)
        if self.boxes_xyxy is not None:
            _check_boxes(self.boxes_xyxy)
        if self.mask_logits is not None and not np.isfinite(self.mask_logits).all():
            raise PromptError("mask_logits must be finite; got NaN or infinity")
        if self.text_codes is not None and not np.isfinite(self.text_codes).all():
            raise PromptError("text_codes must be finite; got NaN or infinity")

    @classmethod
    def of(
        cls,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        text_codes: npt.ArrayLike | None = None,
    ) -> Prompts:
        """Prompts from arrays or lists, of one prompt or of a batch.

        Args:
            points: (N, 2) or (P, N, 2).
            labels: (N,) or (P, N).
            boxes: (4,) or (P, 4).
            mask_logits: (S, S) or (1, S, S) for one prompt; (P, 1, S, S) for a batch.
            text_codes: (D,) or (P, D), of length 1.

        Raises:
            PromptError: shapes disagree, or a value is not a coordinate, label or box.
        """
        points_xy = _array(points, "points")
        boxes_xyxy = _array(boxes, "boxes")
        mask = _array(mask_logits, "mask_logits")
        text = _array(text_codes, "text_codes")
        if points_xy is not None and (points_xy.ndim not in (2, 3) or points_xy.shape[-1] != 2):
            raise PromptError(f"points must be (N, 2) or (P, N, 2); got {points_xy.shape}")
        if boxes_xyxy is not None and (boxes_xyxy.ndim not in (1, 2) or boxes_xyxy.shape[-1] != 4):
            raise PromptError(f"boxes must be (4,) or (P, 4); got {boxes_xyxy.shape}")
        if mask is not None and (mask.ndim not in (2, 3, 4) or mask.shape[-3:-2] not in ((), (1,))):
            raise PromptError(
                f"mask_logits must be (S, S), (1, S, S) or (P, 1, S, S); got {mask.shape}"
            )

        if text is not None and text.ndim not in (1, 2):
            raise PromptError(f"text_codes must be (D,) or (P, D); got {text.shape}")

        batched = {
            name: value.ndim == batched_ndim
            for name, value, batched_ndim in (
                ("text_codes", text, 2),
                ("points", points_xy, 3),
                ("boxes", boxes_xyxy, 2),
                ("mask_logits", mask, 4),
            )
            if value is not None
        }
        if len(set(batched.values())) > 1:
            listed = ", ".join(f"{name} {'has' if b else 'has not'}" for name, b in batched.items())
            raise PromptError(
                f"either all parts of prompts have a prompt axis, or none; got {listed}"
            )
        is_batch = any(batched.values())

        kinds = _array(labels, "labels")
        if kinds is not None and not np.isin(kinds, (0, 1)).all():
            bad = kinds[~np.isin(kinds, (0, 1))].flat[0]
            raise PromptError(f"labels must be 1 (foreground) or 0 (background); got {bad:g}")
        if not is_batch:
            points_xy = None if points_xy is None else points_xy[None]
            kinds = None if kinds is None else kinds[None]
            boxes_xyxy = None if boxes_xyxy is None else boxes_xyxy[None]
            text = None if text is None else text[None]
        if mask is not None and not is_batch:
            mask = mask.reshape(1, 1, *mask.shape[-2:])
        with np.errstate(over="ignore"):  # too large for float32: told as infinity
            mask_f32 = None if mask is None else mask.astype(np.float32)
        return cls(
            points_xy=points_xy,
            labels=None if kinds is None else kinds.astype(np.int64),
            boxes_xyxy=boxes_xyxy,
            mask_logits=mask_f32,
            text_codes=None if text is None else text.astype(np.float32),
            batched=is_batch,
        )

    def __len__(self) -> int:
        """Number of prompts."""
        first = next(
            value
            for value in (self.points_xy, self.boxes_xyxy, self.mask_logits, self.text_codes)
            if value is not None
        )
        return len(first)

    def check_fits(self, coords: CoordMap) -> None:
        """Check that points lie in the photo, boxes overlap it and masks have the logits' size.

        Raises:
            PromptError: the first that does not.
        """
        height, width = coords.original_hw
        size = f"the image of width {width} and height {height}"
        if self.points_xy is not None:
            outside = (self.points_xy < 0) | (self.points_xy >= (width, height))
            if outside.any():
                x, y = self.points_xy[outside.any(-1)][0]
                raise PromptError(f"point ({x:g}, {y:g}) lies outside of {size}")
        if self.boxes_xyxy is not None:
            low, high = self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:]
            outside = (low >= (width, height)) | (high <= 0)
            if outside.any():
                box = ", ".join(f"{v:g}" for v in self.boxes_xyxy[outside.any(-1)][0])
                raise PromptError(f"box ({box}) lies outside of {size}")
        if self.mask_logits is not None:
            expected = (coords.logits_size, coords.logits_size)
            if self.mask_logits.shape[-2:] != expected:
                raise PromptError(
                    f"mask_logits must be {expected}, the size of `MaskPrediction.logits`;"
                    f" got {self.mask_logits.shape[-2:]}"
                )


def _array(value: npt.ArrayLike | None, name: str) -> FloatArray | None:
    """A float array of anything that NumPy takes, or None."""
    if value is None:
        return None
    try:
        return np.asarray(value, np.float64)
    # RuntimeError: a tensor that requires gradients.
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        shown = " ".join(repr(value).split())
        message = f"{name} must be numbers in a regular array; got {shown:.60}"
        raise PromptError(message) from error


def _check_points(points_xy: FloatArray | None, labels: IntArray | None) -> None:
    if points_xy is None or labels is None:
        if points_xy is not None:
            raise PromptError("points need labels: 1 (foreground) or 0 (background) for each")
        if labels is not None:
            raise PromptError("labels need points; got labels alone")
        return
    if labels.shape != points_xy.shape[:-1]:
        raise PromptError(
            f"points and labels must agree in number; got points {points_xy.shape}"
            f" and labels {labels.shape}"
        )
    if points_xy.shape[1] == 0:
        raise PromptError("a prompt with points needs at least one; got 0")
    if not np.isfinite(points_xy).all():
        raise PromptError("points must be finite; got NaN or infinity")


def _check_boxes(boxes_xyxy: FloatArray) -> None:
    if not np.isfinite(boxes_xyxy).all():
        raise PromptError("boxes must be finite; got NaN or infinity")
    empty = (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(axis=1)
    if empty.any():
        box = ", ".join(f"{v:g}" for v in boxes_xyxy[empty][0])
        raise PromptError(f"a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1; got {box}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageEmbedding:
    """What the image encoder made of one photo: computed once, prompted many times.

    Attributes:
        features: tensor (1, C, G, G), on the device of the model that made it.
        coords: the frames of the photo.
        model_name: name of the model that made it.
        encoder_checksum: SHA-256 of the image encoder's weights; a decoder may be trained further
            without making kept embeddings stale.
    """

    features: torch.Tensor
    coords: CoordMap
    model_name: str
    encoder_checksum: str

    def __post_init__(self) -> None:
        if self.features.ndim != 4 or self.features.shape[0] != 1:
            raise EmbeddingError(f"features must be (1, C, G, G); got {tuple(self.features.shape)}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        height, width = self.coords.original_hw
        metadata = {
            "format": EMBEDDING_FORMAT,
            "model_name": self.model_name,
            "encoder_checksum": self.encoder_checksum,
            "original_hw": f"{height},{width}",
            "model_size": str(self.coords.model_size),
        }
        write_tensors(path, {"features": self.features}, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageEmbedding:
        """Read a file that `save` wrote.

        Raises:
            EmbeddingError: missing, damaged, or another kind of file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(os.fspath(path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != EMBEDDING_FORMAT:
                    raise EmbeddingError(f"{path} is not an embedding saved by samkit")
                height, width = (int(side) for side in metadata["original_hw"].split(","))
                return cls(
                    features=file.get_tensor("features"),
                    coords=CoordMap(
                        original_hw=(height, width), model_size=int(metadata["model_size"])
                    ),
                    model_name=metadata["model_name"],
                    encoder_checksum=metadata["encoder_checksum"],
                )
        except FileNotFoundError as error:
            raise EmbeddingError(f"no such file: {path}") from error
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise EmbeddingError(f"{path} is damaged or not an embedding: {error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskPrediction:
    """Candidate masks of one prompt, or of a batch with a leading prompt axis.

    Attributes:
        logits: (M, S, S) or (P, M, S, S), float32, unbounded; above 0 is inside.
        iou_pred: (M,) or (P, M), the IoU with the true mask that the model expects.
        coords: the frames of the photo.
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
        """Masks (M, H, W) or (P, M, H, W) at the photo's size, made when first asked for."""
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
        masks = self.masks.reshape(-1, *self.coords.original_hw)
        found = Masks.from_arrays(masks, self.iou_pred.reshape(-1))
        if self.phrases is None or self.phrase_scores is None:
            return found
        candidates = self.iou_pred.shape[-1]
        phrases = tuple(phrase for phrase in self.phrases for _ in range(candidates))
        scores = np.repeat(self.phrase_scores, candidates)
        return replace(found, phrases=phrases, phrase_scores=np.asarray(scores, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Masks of one photo in a compact form.

    Attributes:
        rles: M run-length codes.
        boxes_xyxy: (M, 4) tight boxes in pixels, far edges exclusive.
        areas: (M,) in pixels.
        scores: (M,) such as the predicted IoU.
        size_hw: the photo's size.
        stability: (M,) how little each mask depends on the threshold; None if not measured.
        points_xy: (M, 2) the point that each mask answers; None if there is none.
        crops_xyxy: (M, 4) the part of the photo that each mask was seen in; None for all of it.
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
        """COCO's annotation fields of each mask: segmentation, area, bbox [x, y, w, h], score."""
        boxes_xywh = xyxy_to_xywh(self.boxes_xyxy)
        return [
            {"segmentation": rle, "area": int(area), "bbox": box.tolist(), "score": float(score)}
            for rle, area, box, score in zip(
                self.rles, self.areas, boxes_xywh, self.scores, strict=True
            )
        ]

    def overlay(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The photo (H, W, 3) with the masks drawn over it, smaller ones over larger ones.

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
        scores = np.ones(len(self)) if self.phrase_scores is None else self.phrase_scores
        return tuple(
            f"{phrase} {score:.2f}" if phrase else ""
            for phrase, score in zip(self.phrases or (), scores.tolist(), strict=True)
        )

    def _layer(self, index: int) -> Layer:
        patch = decode_rle_patch(self.rles[index], self.boxes_xyxy[index])
        x, y = self.boxes_xyxy[index, :2].tolist()
        return Layer(color=mask_color(index), patch=patch, corner_xy=(x, y))
