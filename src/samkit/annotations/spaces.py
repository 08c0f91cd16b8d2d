"""Spaces: which image an annotation file's coordinates belong to, upright, turned or resized."""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from samkit.annotations.model import AnnotatedImage, AnnotatedMask, Fault
from samkit.arrays import BoolArray
from samkit.errors import DataError
from samkit.formats import MAX_PIXELS, SIDEWAYS, TO_UPRIGHT, UPRIGHT
from samkit.geometry import Rle, decode_rle, encode_rle, rle_area

MIN_SIDE = 16  # sizes below say too little about proportions


@dataclass(frozen=True, kw_only=True)
class DrawnImage:
    """An image's masks, drawn at its size.

    Attributes:
        masks: those that could be drawn.
        rles: their pixels.
        void: pixels that belong to nothing; None if there are none.
        faults: what the file's own faults are, and what could not be drawn.
        notes: what was understood in an unusual way.
    """

    masks: tuple[AnnotatedMask, ...]
    rles: tuple[Rle, ...]
    void: Rle | None
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Space:
    """The size that coordinates belong to, and how the image was turned after that."""

    size_hw: tuple[int, int]
    orientation: int = UPRIGHT
    note: str = ""


def draw_image(image: AnnotatedImage, size_hw: tuple[int, int], orientation: int) -> DrawnImage:
    """Draw an image's masks where they belong.

    Where a file states the size of the image as it is stored, before its EXIF orientation turns
    it, masks are turned with it; where it states a size of the same proportions, they are scaled.

    Args:
        image: its annotations.
        size_hw: the image's size, upright.
        orientation: its EXIF orientation; 1 for none.

    Raises:
        DataError: the file states another size, so that nobody knows where the masks belong.
    """
    space = _find_space(image, size_hw, orientation)
    sideways = space.orientation in SIDEWAYS
    target_hw = (size_hw[1], size_hw[0]) if sideways else size_hw
    masks, rles, faults = [], [], list(image.faults)
    for mask in image.masks:
        try:
            drawn = mask.shape.draw(space.size_hw, target_hw)
            reason = "" if rle_area(drawn.rle) else "it covers no pixel"
        except DataError as error:
            reason = str(error)
        if reason:
            text = f"{mask.where}: {reason}"
            faults.append(Fault(text=text, num_annotations=mask.num_annotations))
            continue
        lost = drawn.num_left_out
        if drawn.fault:
            faults.append(Fault(text=f"{mask.where}: {drawn.fault}", num_annotations=lost))
        masks.append(replace(mask, num_annotations=mask.num_annotations - lost))
        rles.append(_turn(drawn.rle, space.orientation))
    void = None
    if image.void is not None:
        void = _turn(resize_rle(image.void, target_hw), space.orientation)
    notes = (*image.notes, space.note) if space.note else image.notes
    return DrawnImage(
        masks=tuple(masks), rles=tuple(rles), void=void, faults=tuple(faults), notes=notes
    )


def resize_rle(rle: Rle, size_hw: tuple[int, int]) -> Rle:
    """Resize a mask by nearest neighbour."""
    return rle if tuple(rle["size"]) == size_hw else encode_rle(resize(decode_rle(rle), size_hw))


def resize(mask: BoolArray, size_hw: tuple[int, int]) -> BoolArray:
    """Resize a mask (H, W) by nearest neighbour."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size_hw, mask.shape, strict=True)
    )
    resized: BoolArray = mask[rows][:, columns]
    return resized


def _find_space(image: AnnotatedImage, size_hw: tuple[int, int], orientation: int) -> _Space:
    stated = image.size_hw
    if stated is None or stated == size_hw:
        return _Space(size_hw=size_hw)
    if math.prod(stated) > MAX_PIXELS:
        raise DataError(f"an image of {stated[1]} x {stated[0]} pixels is not possible")
    was = f"stated as {stated[1]} x {stated[0]}"
    stored_hw = (size_hw[1], size_hw[0])
    sideways = orientation in SIDEWAYS
    if sideways and stated == stored_hw:
        note = f"{was}, as it is stored: masks are turned by its EXIF orientation"
        return _Space(size_hw=stated, orientation=orientation, note=note)
    to = f"to {size_hw[1]} x {size_hw[0]}"
    if _same_proportions(stated, size_hw):
        return _Space(size_hw=stated, note=f"{was}: masks are scaled {to}")
    if sideways and _same_proportions(stated, stored_hw):
        note = f"{was}: masks are scaled {to} and turned by its EXIF orientation"
        return _Space(size_hw=stated, orientation=orientation, note=note)
    raise DataError(
        f"the image is {size_hw[1]} x {size_hw[0]} pixels, but"
        f" {stated[1]} x {stated[0]} in its annotations: they may belong to another one"
    )


def _same_proportions(one_hw: tuple[int, int], other_hw: tuple[int, int]) -> bool:
    """Whether one size is the other one resized, with sides rounded to whole pixels."""
    if min(*one_hw, *other_hw) < MIN_SIDE:
        return False
    (h, w), (full_h, full_w) = sorted((one_hw, other_hw))
    return h in _scaled(full_h, w, full_w) or w in _scaled(full_w, h, full_h)


def _scaled(side: int, new: int, old: int) -> tuple[int, int]:
    """A side scaled by new / old, as programs round it: to the nearest pixel, or down."""
    return round(side * new / old), side * new // old


def _turn(rle: Rle, orientation: int) -> Rle:
    if orientation == UPRIGHT:
        return rle
    return encode_rle(turn_upright(decode_rle(rle), orientation))


def turn_upright(mask: BoolArray, orientation: int) -> BoolArray:
    """Turn a mask (H, W) as an image of this EXIF orientation is turned."""
    turn = TO_UPRIGHT[orientation]
    return np.asarray(Image.fromarray(mask.view(np.uint8)).transpose(turn)).view(np.bool_)
