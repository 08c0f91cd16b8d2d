"""Masks between keyframes, moved there from both sides by optical flow.

A tracker that sees each N-th frame costs a fraction of one that sees all. What lies between follows
the pixels: masks are moved from frame to frame, forwards from the keyframe before and backwards
from the one after, and the two are mixed by their distances.

Source: arXiv:1603.03590 for the flow (dense inverse search, by OpenCV).
Shape legend: O objects, H x W the frames' size, h x w that of reduced pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, RgbImage
from samkit.geometry import encode_rle
from samkit.video.answer import ObjectResult, VideoAnswer
from samkit.video.frames import FrameSource

FLOW_SIDE = 640  # longest side of the pictures between which flow is computed

Coverage = npt.NDArray[np.float32]  # from 0 to 1
Grey = npt.NDArray[np.uint8]


def fill_between(
    keyframes: Iterable[VideoAnswer], source: FrameSource, every: int
) -> Iterator[VideoAnswer]:
    """Yield the answers of all frames; those of keyframes are unchanged but for their index.

    Between two keyframes are the objects of the first one; after the last one they are moved on to
    the end of the video, N - 1 frames at most. An object that is absent from one of two keyframes
    goes or comes half way between them. At most N + 1 reduced frames are in memory.

    Args:
        keyframes: answers in order, whose indices count keyframes.
        source: all frames.
        every: N, the distance of keyframes.

    Raises:
        VideoError: a frame cannot be read.
    """
    before: VideoAnswer | None = None
    for answer in keyframes:
        keyframe = replace(answer, index=answer.index * every)
        if before is not None and keyframe.index == before.index + every:
            yield from _between(before, keyframe, source, every)
        yield keyframe
        before = keyframe
    if before is not None:
        yield from _between(before, None, source, every)


def fill_gap(before: VideoAnswer, after: VideoAnswer, source: FrameSource) -> Iterator[VideoAnswer]:
    """Yield the answers of the frames between two, whose indices are those of the frames.

    Memory grows with the gap: eight bytes for each pixel of each object in each frame.

    Raises:
        VideoError: a frame cannot be read.
    """
    yield from _between(before, after, source, after.index - before.index)


def move_box(
    before: tuple[int, int, int, int], after: tuple[int, int, int, int], share: float
) -> tuple[int, int, int, int]:
    """The box x0, y0, x1, y1 that has gone a share of the way from one to another."""
    x0, y0, x1, y1 = (
        round((1 - share) * one + share * other) for one, other in zip(before, after, strict=True)
    )
    return x0, y0, x1, y1


def _between(
    before: VideoAnswer, after: VideoAnswer | None, source: FrameSource, every: int
) -> Iterator[VideoAnswer]:
    """The answers between two keyframes, or from the last one to the end."""
    first = before.index
    inside = [index for index in range(first + 1, first + every) if source.has(index)]
    pictures = [_reduced(source.read(index)) for index in (first, *inside)]
    moved = _move(before.masks, pictures)
    moved_back = None
    if after is not None:
        pictures.append(_reduced(source.read(after.index)))
        moved_back = _move(_same_objects(before, after), pictures[:0:-1])[::-1]
    for row, index in enumerate(inside):
        share = (index - first) / every
        coverage = moved[row]
        if moved_back is not None:
            coverage = (1 - share) * coverage + share * moved_back[row]
        yield VideoAnswer(
            index=index,
            object_ids=before.object_ids,
            results=tuple(
                _result(mask, result, _of(after, name), share)
                for mask, result, name in zip(
                    coverage >= 0.5, before.results, before.object_ids, strict=True
                )
            ),
            size_hw=before.size_hw,
        )


def _reduced(image: RgbImage) -> Grey:
    """A picture (h, w) to compute flow on."""
    height, width = image.shape[:2]
    factor = min(1.0, FLOW_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _move(masks: BoolArray, pictures: Sequence[Grey]) -> list[Coverage]:
    """Move masks (O, H, W) of the first picture on to each of the others: (O, H, W) each."""
    height, width = masks.shape[1:]
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    coverage: Coverage = masks.astype(np.float32)
    moved = []
    for here, there in zip(pictures[1:], pictures, strict=False):
        flow = method.calc(here, there, None)  # type: ignore[call-overload]
        x, y = (
            cv2.resize(flow[..., axis], (width, height)) * (side / here.shape[1 - axis])
            for axis, side in enumerate((width, height))
        )
        where = columns + x, rows + y
        coverage = np.array(
            [
                cv2.remap(one, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for one in coverage
            ],
            np.float32,
        ).reshape(masks.shape)
        moved.append(coverage)
    return moved


def _same_objects(before: VideoAnswer, after: VideoAnswer) -> BoolArray:
    """The masks (O, H, W) in the second answer of the first one's objects."""
    masks = np.zeros_like(before.masks)
    for mask, name in zip(masks, before.object_ids, strict=True):
        if name in after.object_ids:
            mask[:] = after.masks[after.object_ids.index(name)]
    return masks


def _of(answer: VideoAnswer | None, name: int) -> ObjectResult | None:
    return None if answer is None or name not in answer.object_ids else answer.of(name)


def _result(
    mask: BoolArray, before: ObjectResult, after: ObjectResult | None, share: float
) -> ObjectResult:
    """An object between two keyframes: as sure as both, and certain only if both are."""
    ends = [before] if after is None else [before, after]
    if not mask.any():
        return ObjectResult(rle=encode_rle(mask), score=0.0, state="absent")
    there = [one for one in ends if one.state != "absent"]
    score = (
        there[0].score if len(there) == 1 else (1 - share) * ends[0].score + share * ends[-1].score
    )
    is_certain = all(one.state == "present" for one in ends)
    return ObjectResult(
        rle=encode_rle(mask), score=score, state="present" if is_certain else "uncertain"
    )
