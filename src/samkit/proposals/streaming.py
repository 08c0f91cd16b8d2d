"""Masks of everything in an image that is embedded already, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.errors import WeightsError
from samkit.geometry import box_iou
from samkit.proposals.candidates import CropProposals
from samkit.proposals.config import PRESETS, AutoMaskConfig
from samkit.proposals.filter import filter_crop, merge_crops
from samkit.proposals.grid import coarse_to_fine, grid_points
from samkit.proposals.proposers import PROMPTS_AT_ONCE, Crop, Proposer, create_proposer
from samkit.types import ImageEmbedding, Masks

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

POINTS_PER_SIDE = 16


def stream_masks(predictor: Predictor, embedding: ImageEmbedding) -> Iterator[Masks]:
    """Yield the masks of an image, those of each step sorted by score; none duplicates another one.

    A proposal head of the predictor's image encoder finds all likely ones in one step. Where there
    is none, a grid of points is asked, coarse to fine.
    """
    size_hw = embedding.coords.original_hw
    crop = Crop(layer=0, box_xyxy=(0, 0, size_hw[1], size_hw[0]))
    boxes = np.zeros((0, 4), np.int64)
    for proposer, config in _steps(predictor):
        candidates = proposer.candidates(embedding, crop, config, lambda _: None)
        found = CropProposals(
            crop_xyxy=crop.box_xyxy, coords=embedding.coords, candidates=candidates
        )
        masks = merge_crops([filter_crop(found, size_hw, config)], size_hw, config)
        new = [
            index
            for index, box in enumerate(masks.boxes_xyxy)
            if not len(boxes) or box_iou(box[None], boxes).max() <= config.box_nms_thresh
        ]
        if new:
            chosen = masks[np.array(new, np.int64)]
            boxes = np.concatenate([boxes, chosen.boxes_xyxy])
            yield chosen


def quick_config(predictor: Predictor) -> AutoMaskConfig:
    """The preset `instant`; a coarse grid for an image encoder without a proposal head."""
    config = PRESETS["instant"].for_model(predictor.iou_thresh)
    try:
        create_proposer(predictor, config)
    except WeightsError:
        return AutoMaskConfig(points_per_side=POINTS_PER_SIDE).for_model(predictor.iou_thresh)
    return config


def _steps(predictor: Predictor) -> Iterator[tuple[Proposer, AutoMaskConfig]]:
    config = quick_config(predictor)
    if config.proposer == "learned":
        yield create_proposer(predictor, config), config
        return
    for points in _batches():
        yield create_proposer(predictor, config, [points]), config


def _batches() -> Sequence[npt.NDArray[np.float64]]:
    points = grid_points(POINTS_PER_SIDE)[coarse_to_fine(POINTS_PER_SIDE)]
    return [points[at : at + PROMPTS_AT_ONCE] for at in range(0, len(points), PROMPTS_AT_ONCE)]
