"""Prompts that people gave for masks, in the model space and as tensors."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from samkit.training.data.placement import Placement, place_box, place_points
from samkit.training.task import GivenTensors
from samkit.types import GivenPrompts

NONE = -1  # label of no point


def place_given(given: GivenPrompts, placement: Placement) -> GivenPrompts:
    """Transform prompts to the model space; what is cut off is left out."""
    xy = np.array([click[:2] for click in given.clicks], np.float32).reshape(-1, 2)
    placed = zip(place_points(xy, placement).tolist(), given.clicks, strict=True)
    return GivenPrompts(
        clicks=tuple((x, y, label) for (x, y), (*_, label) in placed if math.isfinite(x)),
        box_xyxy=None if given.box_xyxy is None else place_box(given.box_xyxy, placement),
    )


def stack_given(given: Sequence[GivenPrompts]) -> GivenTensors:
    """Prompts of M masks as tensors, as long as the longest needs it."""
    longest = max(len(one.corrections) for one in given)
    points = torch.full((len(given), longest, 2), torch.nan)
    labels = torch.full((len(given), longest), NONE)
    for row, one in enumerate(given):
        for column, (x, y, label) in enumerate(one.corrections):
            points[row, column] = torch.tensor([x, y])
            labels[row, column] = label
    unknown = float("nan")
    return GivenTensors(
        boxes_xyxy=torch.tensor([one.box_xyxy or (unknown,) * 4 for one in given]),
        first_xy=torch.tensor([one.first_xy or (unknown,) * 2 for one in given]),
        points_xy=points,
        labels=labels,
    )
