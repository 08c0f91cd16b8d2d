"""Prompts that select among the masks of everything in an image, without a model.

Source: FastSAM's rules (arXiv:2306.12156, section 3.3): found masks first, prompts afterwards.
Deviations: where nothing fits, nothing is selected; several boxes or phrases select a mask each.

Shape legend: M masks, N points, B boxes, H x W the image's size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.errors import PromptError
from samkit.formats import ImageLike, RangeLike, read_image
from samkit.geometry import decode_rle_patch
from samkit.types import Masks, Prompts

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.text import TextModel, TextPrompter

MIN_TEXT_AREA_PX = 100  # smaller masks are not compared with text, as in FastSAM


def select(
    masks: Masks,
    *,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    boxes: npt.ArrayLike | None = None,
    text: str | Sequence[str] | None = None,
    image: ImageLike | None = None,
    value_range: RangeLike = "auto",
    text_model: TextModel | str | os.PathLike[str] | None = None,
) -> Masks:
    """Answer a prompt with the masks of an image, such as those of an `AutoMasker`.

        masks = samkit.AutoMasker(predictor, proposer="learned").generate("image.jpg")
        samkit.select(masks, points=[[500, 375]])

    - Points: the masks are painted over each other, larger ones first: those that contain a
      foreground point are added, those that contain a background point are removed.
    - A box: the mask with the largest overlap with it, relative to their union.
    - Text: the mask whose box CLIP finds most like it, compared with the other masks' boxes.

    Args:
        points: (2,) or (N, 2), xy in pixels of the image.
        labels: (N,): 1 foreground, 0 background; default: all foreground.
        boxes: (4,) or (B, 4), x0 y0 x1 y1; each selects a mask.
        text: a phrase, or several, which select a mask each.
        image: the image, which text needs.
        value_range: which of its values become black and white; see `samkit.formats.read_image`.
        text_model: a CLIP, or its folder or name; default: CLIP ViT-B/32.

    Returns:
        for points one mask, the best of whose scores it has; for boxes and text one of the masks
        for each, scored by its overlap or its probability. Where no mask fits, there is none.

    Raises:
        PromptError: there is no prompt, or more than one kind of prompt; shapes or labels are
            wrong; a point is outside the image; or text comes without an image.
        ConfigError, WeightsError, DownloadError: the text model cannot be loaded.
    """
    given = [
        name
        for name, part in (("points", points), ("boxes", boxes), ("text", text))
        if part is not None
    ]
    if len(given) != 1:
        raise PromptError(f"give points, boxes or text; got {' and '.join(given) or 'none'}")
    if labels is not None and points is None:
        raise PromptError("labels are those of points; got no points")
    if points is not None:
        return _select_by_points(masks, points, labels)
    if boxes is not None:
        return _select_by_boxes(masks, boxes)
    assert text is not None
    if image is None:
        raise PromptError("text is compared with the image: give image=")
    pixels = read_image(image, value_range=value_range)
    return _select_by_text(masks, text, pixels, text_model)


def _select_by_points(masks: Masks, points: npt.ArrayLike, labels: npt.ArrayLike | None) -> Masks:
    prompts = Prompts.of(points=points, labels=labels)
    if prompts.batched:
        raise PromptError("points must be (2,) or (N, 2): one prompt at a time")
    assert prompts.points_xy is not None
    assert prompts.labels is not None
    height, width = masks.size_hw
    places = np.floor(prompts.points_xy[0]).astype(np.int64)  # pixel indices
    if ((places < 0) | (places >= (width, height))).any():
        raise PromptError(f"points must be in the image of {width} x {height} pixels")
    painted, used = np.zeros(masks.size_hw, bool), []
    for number in np.argsort(-masks.areas, kind="stable").tolist():
        x0, y0, x1, y1 = masks.boxes_xyxy[number].tolist()
        near = ((places >= (x0, y0)) & (places < (x1, y1))).all(axis=1)
        if not near.any():
            continue
        patch = decode_rle_patch(masks.rles[number], masks.boxes_xyxy[number])
        for (x, y), label in zip(
            places[near].tolist(), prompts.labels[0][near].tolist(), strict=True
        ):
            if patch[y - y0, x - x0]:
                painted[y0:y1, x0:x1][patch] = label == 1
                used += [number] if label == 1 else []
    if not painted.any():
        return masks.select(np.zeros(0, np.int64))
    return Masks.from_arrays(painted[None], [masks.scores[used].max()])


def _select_by_boxes(masks: Masks, boxes: npt.ArrayLike) -> Masks:
    prompts = Prompts.of(boxes=boxes)
    assert prompts.boxes_xyxy is not None
    chosen, overlaps = [], []
    for box in prompts.boxes_xyxy:
        ious = box_overlaps(masks, box)
        if len(ious) and ious.max() > 0:
            chosen.append(int(ious.argmax()))
            overlaps.append(ious.max())
    return masks.select(np.array(chosen, np.int64)).with_columns(
        scores=np.array(overlaps, np.float32)
    )


def box_overlaps(masks: Masks, box_xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Overlap (M,) of masks with a box, relative to their union."""
    height, width = masks.size_hw
    limits = np.array([width, height, width, height])
    x0, y0, x1, y1 = np.round(box_xyxy).clip(0, limits).astype(np.int64).tolist()
    area = max(0, x1 - x0) * max(0, y1 - y0)
    inside = np.zeros(len(masks))
    for number, (left, top, right, bottom) in enumerate(masks.boxes_xyxy.tolist()):
        if left < x1 and right > x0 and top < y1 and bottom > y0:
            patch = decode_rle_patch(masks.rles[number], masks.boxes_xyxy[number])
            inside[number] = _count(patch, (x0 - left, y0 - top, x1 - left, y1 - top))
    union = area + masks.areas - inside
    overlaps: npt.NDArray[np.float64] = inside / np.where(union > 0, union, 1)
    return overlaps


def _count(patch: BoolArray, window_xyxy: tuple[int, int, int, int]) -> int:
    """Number of pixels of a mask in a window, which may reach beyond it."""
    x0, y0, x1, y1 = (max(0, edge) for edge in window_xyxy)
    return int(np.count_nonzero(patch[y0:y1, x0:x1]))


def _select_by_text(
    masks: Masks,
    text: str | Sequence[str],
    image: npt.NDArray[np.uint8],
    text_model: TextModel | str | os.PathLike[str] | None,
) -> Masks:
    from samkit.text import check_texts, cut_crop

    phrases = [text] if isinstance(text, str) else list(text)
    check_texts(phrases)
    if image.shape[:2] != tuple(masks.size_hw):
        raise PromptError(f"image must be {masks.size_hw}, as the masks; got {image.shape[:2]}")
    prompter = _prompter(text_model)
    clip = prompter.clip
    large = np.flatnonzero(masks.areas > MIN_TEXT_AREA_PX)
    if not len(large):
        return masks.select(large)
    crops = (
        cut_crop(
            image,
            decode_rle_patch(masks.rles[number], masks.boxes_xyxy[number]),
            masks.boxes_xyxy[number],
            growth=1.0,
            alone=False,
            size=clip.pixels.size,
        )
        for number in large.tolist()
    )
    logits = clip.logit_scale * (clip.encode_images(crops) @ prompter.encode(phrases).T)
    shares = np.exp(logits - logits.max(axis=0))
    chances = shares / shares.sum(axis=0)  # over the masks
    chosen, scores = large[chances.argmax(axis=0)], chances.max(axis=0).astype(np.float32)
    return masks.select(chosen).with_columns(
        scores=scores, phrases=tuple(phrases), phrase_scores=scores
    )


def _prompter(text_model: TextModel | str | os.PathLike[str] | None) -> TextPrompter:
    """The CLIP to compare crops and phrases with.

    Raises:
        PromptError: it is a detector.
    """
    from samkit.text import DEFAULT_CLIP, TextPrompter, load_text_model

    model = text_model
    if model is None or isinstance(model, str | os.PathLike):
        model = load_text_model(model or DEFAULT_CLIP)
    if not isinstance(model, TextPrompter):
        raise PromptError("text selects masks by a CLIP; got a detector")
    return model
