"""Answers of a video: the masks of all objects in one frame.

Shape legend: O objects, H x W the frames' size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.geometry import Rle, decode_rle, rle_area, rle_box_xyxy
from samkit.video.interface import State


@dataclass(frozen=True, kw_only=True)
class ObjectResult:
    """What is stored of one object in one frame.

    Attributes:
        rle: the mask.
        score: predicted IoU, from 0 to 1.
        state: "present", "uncertain" or "absent".
        confirmed: whether the object was prompted in this frame.
    """

    rle: Rle
    score: float
    state: State
    confirmed: bool = False

    @property
    def area(self) -> int:
        """Number of pixels."""
        return rle_area(self.rle)

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Tight box, far edges exclusive; zeros if the mask is empty."""
        return rle_box_xyxy(self.rle)


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoAnswer:
    """The objects of one frame, in the order in which they were first prompted.

    Attributes:
        index: of the frame.
        object_ids: O names of objects.
        results: O results.
        size_hw: size of the frame.
    """

    index: int
    object_ids: tuple[int, ...]
    results: tuple[ObjectResult, ...]
    size_hw: tuple[int, int]

    @cached_property
    def masks(self) -> BoolArray:
        """Masks (O, H, W), computed on first access."""
        masks = np.zeros((len(self.results), *self.size_hw), bool)
        for mask, result in zip(masks, self.results, strict=True):
            mask[:] = decode_rle(result.rle)
        return masks

    @property
    def rles(self) -> tuple[Rle, ...]:
        """Masks as run-length encodings."""
        return tuple(result.rle for result in self.results)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Predicted IoU (O,) of each mask, from 0 to 1; 0 for absent objects."""
        return np.array([result.score for result in self.results], np.float32)

    @property
    def states(self) -> tuple[State, ...]:
        """State of each object: "present", "uncertain" or "absent"."""
        return tuple(result.state for result in self.results)

    @property
    def present(self) -> BoolArray:
        """Whether each object (O,) is in the frame, certainly or not."""
        return np.array([result.state != "absent" for result in self.results], bool)

    def of(self, object_id: int) -> ObjectResult:
        """The result of one object; a KeyError if it is not in this answer."""
        if object_id not in self.object_ids:
            raise KeyError(object_id)
        return self.results[self.object_ids.index(object_id)]

    def __repr__(self) -> str:
        objects = ", ".join(
            f"{name} {result.state} {result.score:.2f}"
            for name, result in zip(self.object_ids, self.results, strict=True)
        )
        return f"<VideoAnswer of frame {self.index}: {objects or 'no objects'}>"
