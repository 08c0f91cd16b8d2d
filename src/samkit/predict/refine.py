"""Answers to clicks, refined without training: `refine="fast"` and `refine="best"`.

Only single answers are refined; three candidates for an ambiguous prompt stay as they are. What
each step gains and costs, and what was tried and left out, is in docs/quality.md.

fast:
- Correction at clicks: the logits are moved at the clicks that they contradict, smoothly, and left
  at the others; see `correct_at_clicks`.

best, for prompts that are clear:
1. Second pass: the answer's tight box and logits are prompts beside the same clicks. Feeding the
   answer back without new clicks is that of arXiv:2303.05620 (CFR), the box that of
   arXiv:2305.03048 (PerSAM).
2. The correction of fast.
3. A crop around an object that is small in the image is embedded on its own and prompted like the
   image; a mean of both answers, corrected again, is the mask within the crop, as
   `MaskPrediction.details`.

Shape legend: P prompts, N points, S side of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray, IntArray, Logits
from samkit.errors import ConfigError
from samkit.geometry import CoordMap, crop_of_logits, put_crop_logits
from samkit.types import ImageEmbedding, MaskDetail, MaskPrediction, Prompts

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.arrays import RgbImage
    from samkit.predict.crops import CropCache
    from samkit.predict.decoder import PromptDecoder

Refine = Literal["none", "fast", "best"]
REFINE_LEVELS: tuple[Refine, ...] = get_args(Refine)

# Tokens of a prompt, a box counting for two, from which on its object is clear: earlier, an answer
# is too often of another object, and to look closer at it makes it worse.
CLEAR_TOKENS = 3

# Correction at clicks, a Gaussian process.
CORRECTION_RADIUS = 0.15  # std of its covariance, in square roots of the area
MARGIN = 4.0  # logit of a contradicted click after its correction
NOISE = 0.01  # of the variance: two clicks side by side may disagree

FINE_SHARE = 0.8  # of the crop's logits in their mean with the image's


def check_refine(refine: str) -> None:
    """Check a level of refinement.

    Raises:
        ConfigError: there is no such level.
    """
    if refine not in REFINE_LEVELS:
        raise ConfigError(f"refine must be none, fast or best; got {refine!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Refiner:
    """Answers prompts with one mask each, and refines it.

    Attributes:
        decoder: decodes all passes.
        crops: embeds crops, for `best`.
    """

    decoder: PromptDecoder
    crops: CropCache

    def answer(
        self, embedding: ImageEmbedding, prompts: Prompts, *, pixels: RgbImage | None
    ) -> MaskPrediction:
        """Answer prompts that fit the embedding's image.

        Args:
            pixels: the image, for `best`; None for `fast`.
        """
        batch = replace(prompts, batched=True)
        answer = self.decoder.decode(embedding, batch, multimask=False)
        if pixels is not None:
            answer = self._again(embedding, batch, answer)
        rows = range(len(batch))
        answer = _with_logits(
            answer,
            rows,
            [_corrected(answer.logits[row, 0], batch, row, embedding.coords) for row in rows],
        )
        if pixels is not None:
            answer = self._zoom(embedding, batch, answer, pixels)
        return answer if prompts.batched else answer.prompt(0)

    def _again(
        self, embedding: ImageEmbedding, prompts: Prompts, answer: MaskPrediction
    ) -> MaskPrediction:
        """Answer clear prompts once more, with what was found."""
        boxes = mask_boxes(answer.logits[:, 0], embedding.coords)
        is_found = np.isfinite(boxes).all(axis=1)
        rows = np.flatnonzero(is_found & _are_clear(prompts))
        if not len(rows):
            return answer
        again = replace(
            prompts.rows(rows),
            boxes_xyxy=boxes[rows] if prompts.boxes_xyxy is None else prompts.boxes_xyxy[rows],
            mask_logits=answer.logits[rows],
        )
        second = self.decoder.decode(embedding, again, multimask=False)
        iou_pred = answer.iou_pred.copy()
        iou_pred[rows] = second.iou_pred
        return replace(_with_logits(answer, rows, second.logits[:, 0]), iou_pred=iou_pred)

    def _zoom(
        self, embedding: ImageEmbedding, prompts: Prompts, answer: MaskPrediction, pixels: RgbImage
    ) -> MaskPrediction:
        """Add details to masks of objects that are small in the image."""
        boxes = mask_boxes(answer.logits[:, 0], embedding.coords)
        details: list[MaskDetail | None] = [None] * len(prompts)
        for row in np.flatnonzero(_are_clear(prompts)).tolist():
            if np.isfinite(boxes[row]).all():
                details[row] = self._detail(
                    embedding, prompts.rows([row]), answer.logits[row, 0], boxes[row], pixels
                )
        found = [row for row, detail in enumerate(details) if detail is not None]
        if not found:
            return answer
        logits = [
            put_crop_logits(
                answer.logits[row, 0], embedding.coords, one.logits, one.box_xyxy, one.coords
            )
            for row, one in enumerate(details)
            if one is not None
        ]
        return replace(_with_logits(answer, found, logits), details=tuple(details))

    def _detail(
        self,
        embedding: ImageEmbedding,
        prompt: Prompts,
        logits: Logits,
        mask_box: FloatArray,
        pixels: RgbImage,
    ) -> MaskDetail | None:
        """Answer one prompt in a crop around its mask; None for an object that is large.

        Args:
            logits: (S, S) of its answer in the whole image.
            mask_box: (4,) of this answer.
        """
        from samkit.predict.crops import choose_crop

        box = _joined(mask_box, prompt)
        crop_box = choose_crop(box, embedding.coords.original_hw)
        if crop_box is None:
            return None
        crop = self.crops.embed(embedding, pixels, crop_box)
        coarse = crop_of_logits(logits, embedding.coords, crop_box, crop.coords)
        own = _in_crop(prompt, box, coarse, crop_box)
        fine = self.decoder.decode(crop, own, multimask=False).logits[0, 0]
        mean = FINE_SHARE * fine + (1 - FINE_SHARE) * coarse
        return MaskDetail(
            logits=_corrected(mean, own, 0, crop.coords), box_xyxy=crop_box, coords=crop.coords
        )


def correct_at_clicks(
    logits: Logits, points_xy: FloatArray, labels: IntArray, coords: CoordMap
) -> Logits:
    """Move logits at the clicks that they contradict, and leave them at those that they honour.

    The correction is the mean of a Gaussian process that is known at the clicks: 0 where the click
    is honoured, and what the logit lacks of `MARGIN` where it is not. It reaches a share of the
    object's size around each click.

    Args:
        logits: (S, S) of a mask.
        points_xy: (N, 2) in pixels of the image.
        labels: (N,) 1 foreground, 0 background.
        coords: the image's coordinate spaces.

    Returns:
        logits (S, S), the same if no click is contradicted.
    """
    # Clicks are at the centres of pixels.
    xy = coords.points_to_model(points_xy + 0.5) / coords.logits_stride - 0.5
    cells = np.arange(len(logits))
    # What bilinear interpolation reads at the clicks, (N, S) along each axis.
    read_x, read_y = (
        np.maximum(0, 1 - np.abs(cells - places.clip(0, cells[-1])[:, None])) for places in xy.T
    )
    at = ((read_y @ logits) * read_x).sum(axis=1)
    sign = np.where(labels == 1, 1.0, -1.0)
    lacking = np.where(sign * at > 0, 0.0, sign * MARGIN - at)
    if not lacking.any():
        return logits
    radius = max(1.0, CORRECTION_RADIUS * float(np.sqrt(np.count_nonzero(logits > 0))))
    near_x, near_y = (
        np.exp(-((cells - places[:, None]) ** 2) / (2 * radius**2)) for places in xy.T
    )
    covariance = (read_x @ near_x.T) * (read_y @ near_y.T)
    weights = np.linalg.solve(covariance + NOISE * np.eye(len(xy)), lacking)
    return np.asarray(logits + (near_y.T * weights) @ near_x, np.float32)


def mask_boxes(logits: Logits, coords: CoordMap) -> FloatArray:
    """Boxes (P, 4) around masks of logits (P, S, S), in pixels of the image; NaN if empty."""
    height, width = coords.original_hw
    used_h, used_w = -(-np.array(coords.resized_hw) // coords.logits_stride)
    per_cell = np.tile(coords.logits_stride / coords.scale_xy, 2)
    boxes = np.full((len(logits), 4), np.nan)
    for box, one in zip(boxes, logits, strict=True):
        x, y, w, h = cv2.boundingRect(np.asarray(one[:used_h, :used_w] > 0).view(np.uint8))
        if w:
            box[:] = np.array([x, y, x + w, y + h]) * per_cell
    return boxes.clip(0, [width, height, width, height])


def _are_clear(prompts: Prompts) -> BoolArray:
    """Whether each prompt (P,) has enough tokens to be of one object."""
    num_tokens = prompts.num_points + (0 if prompts.boxes_xyxy is None else 2)
    return np.asarray(num_tokens >= CLEAR_TOKENS)


def _corrected(logits: Logits, prompts: Prompts, row: int, coords: CoordMap) -> Logits:
    """Logits of a prompt's answer, corrected at its clicks."""
    if prompts.points_xy is None or prompts.labels is None:
        return logits
    is_click = prompts.labels[row] >= 0
    points, labels = prompts.points_xy[row][is_click], prompts.labels[row][is_click]
    return correct_at_clicks(logits, points, labels, coords) if len(points) else logits


def _with_logits(
    answer: MaskPrediction, rows: npt.ArrayLike, logits: npt.ArrayLike
) -> MaskPrediction:
    """A copy of an answer of one mask for each prompt, with other logits (R, S, S) in R rows."""
    changed = answer.logits.copy()
    changed[np.asarray(rows, np.int64), 0] = np.asarray(logits).reshape(-1, *changed.shape[2:])
    return replace(answer, logits=changed)


def _joined(box: FloatArray, prompt: Prompts) -> FloatArray:
    """The smallest box (4,) around a mask's box and the foreground clicks of its prompt."""
    if prompt.points_xy is None or prompt.labels is None:
        return box
    clicks = prompt.points_xy[0][prompt.labels[0] == 1]
    corners = np.concatenate([box.reshape(2, 2), clicks, clicks + 1])
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _in_crop(
    prompt: Prompts, box: FloatArray, logits: Logits, crop_box: tuple[int, int, int, int]
) -> Prompts:
    """A prompt in a crop: the clicks inside, the object's box, and its logits (S, S) there."""
    corner = np.array(crop_box[:2], np.float64)
    points_xy = labels = None
    if prompt.points_xy is not None and prompt.labels is not None:
        inside = (prompt.points_xy[0] >= corner) & (prompt.points_xy[0] < crop_box[2:])
        is_inside = inside.all(axis=1) & (prompt.labels[0] >= 0)
        if is_inside.any():
            points_xy = prompt.points_xy[:, is_inside] - corner
            labels = prompt.labels[:, is_inside]
    return Prompts(
        points_xy=points_xy,
        labels=labels,
        boxes_xyxy=(box - np.tile(corner, 2))[None],
        mask_logits=logits[None, None],
        text_embeds=prompt.text_embeds,
    )
