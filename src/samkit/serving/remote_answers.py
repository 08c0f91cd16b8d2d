"""A server's answers as values, and values as it takes them."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import samkit.errors
from samkit.arrays import BoolArray, Logits
from samkit.errors import ImageError, SamkitError
from samkit.files import reason
from samkit.formats import ImageLike, read_image
from samkit.serving import errors
from samkit.serving.errors import BusyError, ServerError
from samkit.serving.wire import TYPE_PREFIX, masks_from_fields, unpack_array
from samkit.types import Masks
from samkit.video import ObjectResult, VideoAnswer

RETRIED = (429, 503)


@dataclass(frozen=True, kw_only=True)
class EmbeddedImage:
    """An image that the server has embedded; may be given wherever an image may.

    Attributes:
        sha256: the hash of its file, which names it.
        size_hw: its size.
    """

    sha256: str
    size_hw: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptAnswer:
    """Candidate masks of one prompt, or of a batch with a leading prompt axis.

    Attributes:
        candidates: all masks, prompt by prompt, with the predicted IoU as scores.
        iou_pred: (M,) or (P, M), predicted IoU.
        logits: (M, L, L) or (P, M, L, L), for `mask_logits` of a further prompt; None unless they
            were asked for.
    """

    candidates: Masks
    iou_pred: npt.NDArray[np.float32]
    logits: Logits | None = None

    @cached_property
    def masks(self) -> BoolArray:
        """Masks (M, H, W) or (P, M, H, W), decoded on first access."""
        return self.candidates.to_arrays().reshape(*self.iou_pred.shape, *self.candidates.size_hw)

    @property
    def phrases(self) -> tuple[str, ...] | None:
        """The phrases of the masks; None without text."""
        return self.candidates.phrases

    def best(self) -> PromptAnswer:
        """Select the candidate with the highest predicted IoU of each prompt: M is 1."""
        index = self.iou_pred.argmax(axis=-1, keepdims=True)
        first = np.arange(index.size) * self.iou_pred.shape[-1]
        logits = self.logits
        if logits is not None:
            logits = np.take_along_axis(logits, index[..., None, None], axis=-3)
        return replace(
            self,
            candidates=self.candidates[first + index.reshape(-1)],
            iou_pred=np.take_along_axis(self.iou_pred, index, axis=-1),
            logits=logits,
        )


def image_bytes(image: ImageLike | bytes) -> bytes:
    """The content of an image's file; of pixels, a PNG, which loses nothing.

    Raises:
        ImageError: the image cannot be read.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise ImageError(f"cannot read {os.fspath(image)}: {reason(error)}") from error
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(read_image(image)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def error_from(problem: Mapping[str, Any], retry_after_s: int = 1) -> SamkitError:
    """The error that a problem of the server is: the same as of a local predictor."""
    name = str(problem.get("error", problem.get("type", ""))).removeprefix(TYPE_PREFIX)
    detail = str(problem.get("detail", "the server gives no reason"))
    if problem.get("status") in RETRIED:
        return BusyError(detail, retry_after_s)
    kind = getattr(errors, name, None) or getattr(samkit.errors, name, None)
    if isinstance(kind, type) and issubclass(kind, SamkitError):
        return kind(detail)
    return ServerError(f"{detail} (status {problem.get('status', 'unknown')})")


def plain(values: Any) -> Any:
    """Numbers as lists; arrays within lists, too, and prompts of different lengths."""
    if isinstance(values, np.ndarray | np.generic):
        return values.tolist()
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    return values


def size_of(answer: Mapping[str, Any]) -> tuple[int, int]:
    """The size of an answer's image."""
    height, width = answer["size_hw"]
    return int(height), int(width)


def without_type(line: dict[str, Any]) -> dict[str, Any]:
    """A line's fields, without what it is."""
    return {name: value for name, value in line.items() if name != "type"}


def prompt_answer(answer: Mapping[str, Any]) -> PromptAnswer:
    """Read the answer to prompts."""
    size_hw = size_of(answer)
    fields = [mask for prompt in answer["answers"] for mask in prompt["masks"]]
    candidates = masks_from_fields(fields, size_hw)
    count = len(fields) // max(1, len(answer["answers"]))
    shape = (len(answer["answers"]), count) if answer["batched"] else (count,)
    logits = answer.get("logits")
    return PromptAnswer(
        candidates=candidates,
        iou_pred=candidates.scores.reshape(shape),
        logits=None if logits is None else unpack_array(logits),
    )


def video_answer(line: Mapping[str, Any], size_hw: tuple[int, int]) -> VideoAnswer:
    """Read the line of a frame."""
    return VideoAnswer(
        index=line["index"],
        object_ids=tuple(one["object_id"] for one in line["objects"]),
        results=tuple(
            ObjectResult(
                rle=one["segmentation"],
                score=one["score"],
                state=one["state"],
                confirmed=one["confirmed"],
            )
            for one in line["objects"]
        ),
        size_hw=size_hw,
    )
