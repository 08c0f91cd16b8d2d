"""Prompts of images, from options, array files, or a JSON file with one entry per image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.errors import DataError, PromptError
from samkit.files import read_json

if TYPE_CHECKING:
    from samkit.types import Prompts

PROMPT_KEYS = {"text", "points", "labels", "box", "mask"}
KNOWN = ", ".join(sorted(PROMPT_KEYS))


@dataclass(frozen=True, kw_only=True)
class ImagePrompt:
    """The prompt of one image: points, boxes or a mask; text; or text corrected by points.

    Attributes:
        prompts: points, boxes or a mask; None for text alone.
        text: phrases; empty without text.
    """

    prompts: Prompts | None
    text: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.text:
            return
        from samkit.text import check_texts

        check_texts(self.text)
        if self.prompts is not None and (len(self.text) > 1 or self.prompts.batched):
            raise PromptError(
                "a click, a box or a mask goes with one text: run each of several texts by itself"
            )

    def parts(self) -> dict[str, Any]:
        """Return points, box and mask as arguments of `Predictor.predict`."""
        names = {"points": "points_xy", "labels": "labels", "boxes": "boxes_xyxy"}
        parts: dict[str, Any] = {}
        for name, attribute in (names | {"mask_logits": "mask_logits"}).items():
            value = None if self.prompts is None else getattr(self.prompts, attribute)
            parts[name] = None if value is None else value[0]
        return parts


def prompts_from_options(
    points: Sequence[tuple[float, ...]],
    backgrounds: Sequence[tuple[float, ...]],
    boxes: Sequence[tuple[float, ...]],
    mask: Path | None,
) -> Prompts:
    """Make one prompt of all options; several boxes alone are a batch of prompts."""
    from samkit.types import Prompts

    together = [*points, *backgrounds]
    if len(boxes) > 1 and (together or mask):
        raise PromptError(
            "several boxes mean several objects, and cannot be combined with points or a mask"
        )
    return Prompts.of(
        points=together or None,
        labels=[1] * len(points) + [0] * len(backgrounds) if together else None,
        boxes=None if not boxes else boxes[0] if len(boxes) == 1 else boxes,
        mask_logits=None if mask is None else read_mask_logits(mask),
    )


def read_mask_logits(path: Path) -> npt.NDArray[np.float32]:
    """Read mask logits (S, S) or (1, S, S) from a `.npy` file.

    Raises:
        PromptError: missing, or not an array of numbers.
    """
    try:
        logits = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise PromptError(f"no such file: {path}") from error
    except (OSError, ValueError, EOFError) as error:
        raise PromptError(f"{path} is not a .npy file of mask logits") from error
    if not isinstance(logits, np.ndarray) or not np.issubdtype(logits.dtype, np.number):
        raise PromptError(f"{path} does not hold one array of numbers")
    return logits


def read_prompts_file(path: Path) -> dict[str, Any]:
    """Read a JSON file of prompts by image; the prompts themselves are not yet checked.

    Raises:
        PromptError: missing, not JSON, or not an object.
    """
    try:
        by_image = read_json(path)
    except DataError as error:
        raise PromptError(str(error)) from error
    if not isinstance(by_image, dict) or not by_image:
        raise PromptError(f'{path} must be an object such as {{"image.jpg": {{"points": ...}}}}')
    return by_image


def prompt_from_entry(entry: object, path: Path) -> ImagePrompt:
    """Parse the prompt of one image in a file of prompts; an empty list of boxes is valid.

    Raises:
        PromptError: it is not a prompt.
    """
    from samkit.types import Prompts

    if not isinstance(entry, dict):
        raise PromptError(f"its prompt must be an object of {KNOWN}; got {_shown(entry)}")
    if not set(entry) <= PROMPT_KEYS:
        unknown = ", ".join(sorted(set(entry) - PROMPT_KEYS))
        raise PromptError(f"its prompt must be an object of {KNOWN}; got {unknown}")
    text, mask = entry.get("text", ()), entry.get("mask")
    texts = (text,) if isinstance(text, str) else text
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        raise PromptError(f"text must be a phrase or a list of phrases; got {_shown(text)}")
    if mask is not None and not isinstance(mask, str):
        raise PromptError(f"mask must be the name of a .npy file; got {_shown(mask)}")
    if texts and set(entry) == {"text"}:
        return ImagePrompt(prompts=None, text=tuple(texts))
    prompts = Prompts.of(
        points=entry.get("points"),
        labels=entry.get("labels"),
        boxes=entry.get("box"),
        mask_logits=None if mask is None else read_mask_logits(path.parent / mask),
    )
    return ImagePrompt(prompts=prompts, text=tuple(texts))


def _shown(value: object) -> str:
    """A value in a message, shortened."""
    return f"{json.dumps(value):.60}"
