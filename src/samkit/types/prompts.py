"""Prompts on one image: text, points, boxes and masks.

Shape legend: P prompts, N points of the longest prompt, L side of the mask logits (256), D
dimensions of CLIP's embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray, IntArray, Logits
from samkit.errors import PromptError
from samkit.geometry import CoordMap, mask_to_logits
from samkit.types.points import detached, read_array, read_points

# Number of axes of each part of a batch of prompts.
BATCHED_NDIM = {"text_embeds": 2, "points": 3, "boxes": 2, "mask_logits": 4}


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """P prompts in pixels of the original image; each may combine text, points, a box, a mask.

    P may be 0, such as for the boxes of a detector that found nothing.

    Attributes:
        text_embeds: (P, D) unit-length CLIP embeddings, for models that take text, or None.
        points_xy: (P, N, 2), or None.
        labels: (P, N), 1 foreground and 0 background, -1 after the last point of a prompt; or None.
        boxes_xyxy: (P, 4), or None.
        mask_logits: float32 (P, 1, L, L), those of an earlier answer; or bool, masks (P, 1, H, W)
            of the image's size or (P, 1, L, L); or None.
        batched: whether the prompts were given as a batch, so that the answer has a prompt axis.
    """

    points_xy: FloatArray | None = None
    labels: IntArray | None = None
    boxes_xyxy: FloatArray | None = None
    mask_logits: Logits | BoolArray | None = None
    text_embeds: npt.NDArray[np.float32] | None = None
    batched: bool = True

    def __post_init__(self) -> None:
        sizes = {
            name: len(value)
            for name, value in (
                ("points", self.points_xy),
                ("boxes", self.boxes_xyxy),
                ("mask_logits", self.mask_logits),
                ("texts", self.text_embeds),
            )
            if value is not None
        }
        if not sizes:
            raise PromptError("a prompt needs text, points, a box or mask_logits; got none of them")
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{count} of {name}" for name, count in sizes.items())
            raise PromptError(f"prompts of one batch must agree in number; got {listed}")
        self._check_points()
        if self.boxes_xyxy is not None:
            _check_boxes(self.boxes_xyxy)
        if self.mask_logits is not None and not np.isfinite(self.mask_logits).all():
            raise PromptError("mask_logits must be finite; got NaN or infinity")
        if self.text_embeds is not None and not np.isfinite(self.text_embeds).all():
            raise PromptError("text_embeds must be finite; got NaN or infinity")
        if self.text_embeds is not None and not self.text_embeds.any(axis=1).all():
            raise PromptError("text_embeds must have a direction; got zeros alone")

    @classmethod
    def of(
        cls,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        text_embeds: npt.ArrayLike | None = None,
    ) -> Prompts:
        """Make prompts from arrays or lists, for one prompt or a batch.

        Args:
            points: (2,) or (N, 2); (P, N, 2) for a batch, or a list of P arrays (N_i, 2).
            labels: (N,), (P, N) or a list of P arrays (N_i,): 1 foreground, 0 background, -1 for no
                point; default: all points are foreground.
            boxes: (4,) or (P, 4); none at all are a batch of 0.
            mask_logits: (L, L) or (1, L, L) for one prompt; (P, 1, L, L) for a batch: logits of an
                earlier answer, or booleans for a mask, also of the image's size (H, W).
            text_embeds: (D,) or (P, D) of any nonzero length.

        Raises:
            PromptError: shapes disagree, or a value is not a valid coordinate, label or box.
        """
        points_xy, kinds = read_points(points, labels)
        parts = {
            "text_embeds": _part("text_embeds", text_embeds, "(D,) or (P, D)", 1),
            "points": points_xy,
            "boxes": _part("boxes", boxes, "(4,) or (P, 4)", 1, last=4),
            "mask_logits": _mask_part(mask_logits),
        }
        given: dict[str, Any] = {name: part for name, part in parts.items() if part is not None}
        batched = {name: part.ndim == BATCHED_NDIM[name] for name, part in given.items()}
        if len(set(batched.values())) > 1:
            listed = ", ".join(f"{name} {'has' if b else 'has not'}" for name, b in batched.items())
            raise PromptError(
                f"either all parts of prompts have a prompt axis, or none; got {listed}"
            )
        is_batch = any(batched.values())
        if not is_batch:
            given = {name: part[None] for name, part in given.items()}
            kinds = None if kinds is None else kinds[None]
        mask, text = given.get("mask_logits"), given.get("text_embeds")
        if mask is not None and mask.dtype != np.bool_:
            with np.errstate(over="ignore"):  # too large for float32: reported as infinity
                mask = mask.astype(np.float32)
        return cls(
            points_xy=given.get("points"),
            labels=kinds,
            boxes_xyxy=given.get("boxes"),
            mask_logits=mask,
            text_embeds=None if text is None else _unit_length(text),
            batched=is_batch,
        )

    @property
    def num_points(self) -> IntArray:
        """Number of points of each prompt (P,)."""
        if self.labels is None:
            return np.zeros(len(self), np.int64)
        return np.asarray((self.labels >= 0).sum(axis=1), np.int64)

    @property
    def are_clicks(self) -> bool:
        """Whether each prompt is a single point, which may mean a part or the whole object."""
        is_alone = self.boxes_xyxy is None and self.mask_logits is None
        return is_alone and self.text_embeds is None and bool((self.num_points == 1).all())

    def rows(self, index: IntArray | list[int]) -> Prompts:
        """Select prompts of a batch by their numbers."""
        fields: dict[str, Any] = {
            name: part[index] for name, part in vars(self).items() if isinstance(part, np.ndarray)
        }
        return replace(self, **fields)

    def __len__(self) -> int:
        """Number of prompts."""
        first = next(
            value
            for value in (self.points_xy, self.boxes_xyxy, self.mask_logits, self.text_embeds)
            if value is not None
        )
        return len(first)

    def _check_points(self) -> None:
        if self.points_xy is None and self.labels is None:
            return
        if self.points_xy is None or self.labels is None:
            raise PromptError("points need labels: 1 (foreground) or 0 (background) for each")
        if not np.isfinite(self.points_xy).all():
            raise PromptError("points must be finite; got NaN or infinity")
        others = (self.boxes_xyxy, self.mask_logits, self.text_embeds)
        if all(other is None for other in others) and not self.num_points.all():
            raise PromptError("a prompt with points needs at least one; got 0")

    def check_fits(self, coords: CoordMap) -> None:
        """Check that points lie in the image, boxes overlap it and masks have the right size.

        Boxes within the first pixel are refused: they are fractions of the image.

        Raises:
            PromptError: one does not; the message names the first.
        """
        height, width = coords.original_hw
        size = f"the image of width {width} and height {height}"
        if self.points_xy is not None and self.labels is not None:
            outside = (self.points_xy < 0) | (self.points_xy >= (width, height))
            outside &= self.labels[..., None] >= 0
            if outside.any():
                x, y = self.points_xy[outside.any(-1)][0]
                raise PromptError(f"point ({x:g}, {y:g}) lies outside of {size}")
        if self.boxes_xyxy is not None:
            low, high = self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:]
            outside = (low >= (width, height)) | (high <= 0)
            if outside.any():
                box = ", ".join(f"{v:g}" for v in self.boxes_xyxy[outside.any(-1)][0])
                raise PromptError(f"box ({box}) lies outside of {size}")
            fractions = ((low >= 0) & (high <= 1)).all(axis=1)
            if fractions.any() and max(height, width) > 1:
                box = ", ".join(f"{v:g}" for v in self.boxes_xyxy[fractions][0])
                raise PromptError(
                    f"box ({box}) lies within the first pixel of {size}: coordinates are pixels,"
                    " not fractions of the image"
                )
        if self.mask_logits is not None:
            expected = (coords.logits_size, coords.logits_size)
            is_mask = self.mask_logits.dtype == np.bool_
            sizes = (expected, coords.original_hw) if is_mask else (expected,)
            if self.mask_logits.shape[-2:] not in sizes:
                what = "a mask" if is_mask else "mask_logits"
                either = f" or {coords.original_hw}, the size of the image" if is_mask else ""
                hint = "" if is_mask else ", or booleans of the image's size"
                raise PromptError(
                    f"{what} must be {expected}, the size of `MaskPrediction.logits`{either}{hint};"
                    f" got {self.mask_logits.shape[-2:]}"
                )

    def with_logits(self, coords: CoordMap) -> Prompts:
        """The same prompts, with masks of booleans as logits in the image's spaces."""
        masks = self.mask_logits
        if masks is None or masks.dtype != np.bool_:
            return self
        logits = np.stack([mask_to_logits(mask[0], coords) for mask in masks.astype(bool)])
        return replace(self, mask_logits=logits[:, None])


def _part(
    name: str, value: npt.ArrayLike | None, shapes: str, ndim: int, *, last: int | None = None
) -> FloatArray | None:
    """Validate a part of prompts: `ndim` axes, one more for a batch, and the last axis's size."""
    part = read_array(value, name)
    if part is None:
        return None
    if part.shape == (0,) and last is not None:  # an empty list
        return part.reshape(0, last)
    if part.ndim not in (ndim, ndim + 1) or last not in (None, part.shape[-1]):
        raise PromptError(f"{name} must be {shapes}; got {part.shape}")
    return part


def _mask_part(mask_logits: npt.ArrayLike | None) -> FloatArray | BoolArray | None:
    """Validate mask logits or masks of booleans, (1, L, L), or (P, 1, L, L) for a batch."""
    logits = read_array(mask_logits, "mask_logits")
    if logits is None:
        return None
    mask: FloatArray | BoolArray = logits
    given = np.asarray(detached(mask_logits))
    if given.dtype == np.bool_:
        mask = given
        if mask.ndim >= 2 and not mask.any(axis=(-2, -1)).all():
            raise PromptError("the mask has no pixel: leave it out, or mark the object in it")
    else:
        _check_logits(logits, given.dtype)
    if mask.ndim not in (2, 3, 4) or mask.shape[-3:-2] not in ((), (1,)):
        raise PromptError(
            f"mask_logits must be (L, L), (1, L, L) or (P, 1, L, L); got {mask.shape}"
        )
    return mask[None] if mask.ndim == 2 else mask


def _check_logits(values: FloatArray, dtype: np.dtype[Any]) -> None:
    """Refuse a mask of numbers, which are no logits: of a logit, 0 is undecided and 1 is weak.

    Raises:
        PromptError: the values are those of a mask (0 and 1, 0 and 255, -1 and 1), or
            probabilities.
    """
    if not values.size:
        return
    least, most = values.min(), values.max()
    is_mask = most in (1, 255) and bool(np.isin(values, (0, most)).all())
    is_mask |= least == -most and most <= 1 and most != 0 and bool((abs(values) == most).all())
    is_soft = not is_mask and 0 <= least < most <= 1
    if is_mask or is_soft or dtype.kind == "u":
        what, how = ("probabilities", "mask > 0.5") if is_soft else ("a mask", "mask > 0")
        raise PromptError(
            f"mask_logits are positive inside and negative outside; got {dtype} from"
            f" {least:g} to {most:g}, which looks like {what}: give it as booleans,"
            f" {how}, of the image's size or that of the logits"
        )


def _unit_length(vectors: FloatArray) -> npt.NDArray[np.float32]:
    """Normalise vectors (P, D) to unit length; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity, which is refused later
        scaled = vectors / np.where(lengths > 0, lengths, 1)
    return np.asarray(scaled, np.float32)


def _check_boxes(boxes_xyxy: FloatArray) -> None:
    if not np.isfinite(boxes_xyxy).all():
        raise PromptError("boxes must be finite; got NaN or infinity")
    empty = (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(axis=1)
    if empty.any():
        box = ", ".join(f"{v:g}" for v in boxes_xyxy[empty][0])
        raise PromptError(f"a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1; got {box}")
