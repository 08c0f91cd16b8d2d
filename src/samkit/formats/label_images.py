"""Reading label images and masks: PNG, TIFF and JPEG files of one number at each pixel.

A number is an instance, 0 is background. Files that look like this but mean something else are
refused: a mask with soft or JPEG-compressed edges would be dozens of instances of a few pixels,
numbers resized by interpolation would get rings of other numbers, and VOC's 255, which stands for
nothing, would be an object.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.arrays import BoolArray
from samkit.errors import DataError, ImageError
from samkit.formats.tiff import (
    decode_page,
    is_tiff,
    open_tiff,
    picture_pages,
    suits_pillow,
    tiff_bands,
)

Numbers = npt.NDArray[np.int64]

BACKGROUND = 0
# Pillow's modes of one number per pixel: 1, 8, 16 and 32 bits, and palettes, whose colours do not
# matter.
LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")
JPEGS = ("JPEG", "MPO")
GRAY_MODES = ("LA", "RGB", "RGBA", "RGBX")  # gray if their colours are equal
# Colours 1 and 255 of VOC's palette, in which 255 is no object.
VOC_COLOURS = {1: (128, 0, 0), 255: (224, 224, 192)}
# The largest number of 8 and of 16 bits, with which void is written.
VOID_NUMBERS = (255, 65535)
# A number far above all others is void: its distance to the next is more than twice the largest
# among the others. 85, 170, 255 are three instances in shades of gray.
VOID_GAP = 2
# Soft edges: at least this many levels between black and white; at least this white; and less than
# this share of their pixels equal to the right and the lower neighbour. It is under 0.1 for masks
# that were smoothed, resized or compressed, 0.2 for discs of 3 pixels, 0.8 for discs of 10.
SOFT_LEVELS, SOFT_WHITE, SOFT_EVEN = 2, 64, 0.15
# Interpolated numbers: this share of the edges has a pixel whose number is between those on its two
# sides, and there are so many of these pixels. The share is 0.37 to 1 for numbers that were resized
# by interpolation, at most 0.2 for hundreds of discs over each other, 0.02 for nuclei.
BLENDED_EDGES, BLENDED_PX = 0.35, 16
HALF = 128  # of 255
BLACK = (0, 0, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelImage:
    """A label image.

    Attributes:
        labels: int32 (H, W); 0 is background and void, every other number an instance. Numbers
            that do not fit are counted anew from 1.
        void: bool (H, W), pixels that are neither object nor background; None if the file has none.
    """

    labels: npt.NDArray[np.int32]
    void: BoolArray | None = None


def read_labels(
    path: str | os.PathLike[str],
    *,
    void: int | None = None,
    binary: bool | None = None,
    threshold: int = HALF,
) -> LabelImage:
    """Read a label image, or a mask, from an image file.

    Args:
        path: a PNG, TIFF, JPEG, ... of one number at each pixel, or of equal colours.
        void: the number of pixels that are neither object nor background; 0 if there is none.
            Default: 255 in a PNG with VOC's palette; otherwise a 255 far above all other numbers
            is refused, since it may be either.
        binary: read one mask (True), or numbers of instances (False) whatever they look like.
            Default: numbers, but a mask with soft edges is refused.
        threshold: with `binary`, values from this on, of 255, are inside. In a file of two values
            the larger one is.

    Raises:
        DataError: missing, damaged, a colour image, several pages, or its numbers may mean several
            things.
    """
    numbers, colours, is_jpeg = _read_numbers(path)
    if numbers.min() < 0:
        raise DataError(f"{path} has negative numbers: labels count from 0, the background")
    number = void
    if number is None and _has_voc_palette(colours):
        number = VOID_NUMBERS[0]
    is_void = None
    if number:
        is_void = numbers == number
        numbers = np.where(is_void, BACKGROUND, numbers)
    if binary:
        numbers = _is_inside(numbers, threshold).astype(np.int64)
    else:
        if binary is None and colours is None:
            _check_sharp(path, numbers, is_jpeg=is_jpeg)
            _check_blended(path, numbers)
        if number is None:
            _check_void(path, numbers)
    found = is_void if is_void is not None and is_void.any() else None
    if numbers.max() > np.iinfo(np.int32).max:
        numbers = np.searchsorted(np.union1d(numbers, [BACKGROUND]), numbers)
    return LabelImage(labels=numbers.astype(np.int32), void=found)


def _read_numbers(path: str | os.PathLike[str]) -> tuple[Numbers, list[int] | None, bool]:
    """Numbers (H, W) of a file, its palette as R, G, B, R, ..., and whether it is a JPEG."""
    try:
        pixels = _read_tiff(path)
        if pixels is not None:
            return _integers(path, pixels), None, False
        with Image.open(path) as opened:
            mode, is_jpeg = opened.mode, opened.format in JPEGS
            pixels = np.asarray(opened)
            colours = opened.getpalette() if mode == "P" else None
    except DataError:
        raise
    except ImageError as error:
        raise DataError(str(error)) from error
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except Exception as error:  # Pillow raises almost anything on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read: {reason}") from error
    if mode in GRAY_MODES and _is_gray(pixels):
        return pixels[..., 0].astype(np.int64), None, is_jpeg
    if mode != "F" and mode not in LABEL_MODES:
        raise DataError(
            f"{path} must have one number at each pixel; its mode is {mode}. Save the numbers"
            " of the instances instead of colours, or one file per mask, to read with --binary"
        )
    numbers = _integers(path, pixels)
    if colours:
        numbers = _from_background(path, numbers, colours)
    return numbers, colours, is_jpeg


def _read_tiff(path: str | os.PathLike[str]) -> npt.NDArray[Any] | None:
    """Pixels (H, W) of a TIFF file whose numbers Pillow cannot read or would wrap; or None.

    Raises:
        DataError: it has several pages.
        ImageError: it is damaged.
    """
    with open(path, "rb") as file:
        if not is_tiff(file):
            return None
        with open_tiff(file, path) as tiff:
            pages = picture_pages(tiff)
            if len(pages) > 1:
                raise DataError(
                    f"{path} has {len(pages)} pages; only label images of one page are read: save"
                    " one file per page"
                )
            bands = tiff_bands(pages[0])
            if bands is None or bands.count > 1 or suits_pillow(pages[0], bands):
                return None
            pixels: npt.NDArray[Any] = decode_page(
                pages[0], pages[0].index, file, bands, str(path)
            )[..., 0]
            return pixels


def _from_background(path: object, numbers: Numbers, colours: list[int]) -> Numbers:
    """Make black the background of a palette that a program made from colours, in any order.

    Raises:
        DataError: number 0 has another colour, and not exactly one number in use is black.
    """
    table = [tuple(colours[start : start + 3]) for start in range(0, len(colours), 3)]
    if table[BACKGROUND] == BLACK:
        return numbers
    used = np.unique(numbers).tolist()
    black = [number for number in used if number < len(table) and table[number] == BLACK]
    if len(black) != 1:
        raise DataError(
            f"{path} has a palette whose number 0 is not black but {table[BACKGROUND]}, and"
            f" {len(black) or 'none'} of its other numbers are black: which is the background is"
            " unclear. Save the numbers without a palette, 0 for the background"
        )
    swapped: Numbers = np.where(numbers == BACKGROUND, black[0], numbers)
    return np.where(numbers == black[0], BACKGROUND, swapped)


def _is_gray(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether all colours are equal, and nothing is transparent."""
    channels = pixels.shape[2]
    colours = pixels[..., : 3 if channels > 2 else 1]
    is_opaque = channels == 3 or bool((pixels[..., -1] == 255).all())
    return is_opaque and bool((colours == colours[..., :1]).all())


def _integers(path: object, pixels: npt.NDArray[Any]) -> Numbers:
    """Pixels as numbers: whole ones, or floats of 0..1 as 0..255."""
    if pixels.dtype.kind != "f":
        if int(pixels.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{path} has numbers from 2^63 on: count the instances from 1")
        return pixels.astype(np.int64)
    if unclear := int(np.count_nonzero(~np.isfinite(pixels))):
        raise DataError(
            f"{path} has {unclear} of {pixels.size} pixels that are NaN or infinite: save it with"
            " whole numbers, 0 for the background"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if (pixels == np.floor(pixels)).all():
        return pixels.astype(np.int64)
    if low >= 0 and high <= 1:
        numbers: Numbers = np.rint(pixels * 255).astype(np.int64)
        return numbers
    raise DataError(f"{path} has floats from {low:g} to {high:g}: labels are whole numbers")


def _has_voc_palette(colours: list[int] | None) -> bool:
    if colours is None or len(colours) < 3 * 256:
        return False
    return all(
        tuple(colours[3 * number : 3 * number + 3]) == colour
        for number, colour in VOC_COLOURS.items()
    )


def _is_inside(numbers: Numbers, threshold: int) -> BoolArray:
    levels = np.unique(numbers)
    if len(levels) == 1:
        return np.asarray(numbers > BACKGROUND)
    if len(levels) == 2:
        return np.asarray(numbers == levels[1])
    largest = next((most for most in VOID_NUMBERS if levels[-1] <= most), int(levels[-1]))
    inside: BoolArray = numbers * VOID_NUMBERS[0] >= threshold * largest
    return inside


def _check_sharp(path: object, numbers: Numbers, *, is_jpeg: bool) -> None:
    """Refuse a mask with soft edges, or any picture whose numbers are no instances.

    Raises:
        DataError: most pixels of its levels between the extremes differ from their neighbours, or
            it is a JPEG, which changes numbers, of more than two.
    """
    levels = np.unique(numbers)
    if len(levels) <= 2 or not (is_jpeg or _is_soft(numbers, levels)):
        return
    raise DataError(
        f"{path} has {len(levels)} values, most of a few scattered pixels: soft or JPEG-compressed"
        " edges, no numbers of instances. Save it with two values, as PNG without smoothing, or"
        " read it as one mask: --binary on import, png:FOLDER,binary=yes in training"
    )


def _is_soft(numbers: Numbers, levels: Numbers) -> bool:
    if len(levels) < SOFT_LEVELS + 2 or levels[-1] < SOFT_WHITE:
        return False
    between = (numbers > levels[0]) & (numbers < levels[-1])
    corner = numbers[:-1, :-1]
    is_even = (corner == numbers[1:, :-1]) & (corner == numbers[:-1, 1:])
    even = np.count_nonzero(is_even & between[:-1, :-1])
    return bool(even < SOFT_EVEN * np.count_nonzero(between))


def _check_blended(path: object, numbers: Numbers) -> None:
    """Refuse numbers that were blended by interpolation: between 10 and 20 would be 12 and 17.

    Raises:
        DataError: many edges go through a pixel whose number is between those on its two sides.
    """
    blended = np.zeros(numbers.shape, bool)
    for one, inner in ((numbers, blended), (numbers.T, blended.T)):
        before, here, after = one[:-2], one[1:-1], one[2:]
        rises = (before < here) & (here < after)
        inner[1:-1] |= rises | ((before > here) & (here > after))
    edges = edges_blended = 0
    for one, inner in ((numbers, blended), (numbers.T, blended.T)):
        is_edge = one[1:] != one[:-1]
        edges += int(np.count_nonzero(is_edge))
        edges_blended += int(np.count_nonzero(is_edge & (inner[1:] | inner[:-1])))
    count = np.count_nonzero(blended)
    if count < BLENDED_PX or edges_blended < BLENDED_EDGES * edges:
        return
    raise DataError(
        f"{path} has {count} pixels on its edges with numbers between those on either side, as from"
        " resizing or smoothing: no numbers of instances. Resize it by nearest neighbour, or read"
        " it as one mask: --binary on import, png:FOLDER,binary=yes in training"
    )


def _check_void(path: object, numbers: Numbers) -> None:
    """Refuse numbers of which the largest may be void.

    Raises:
        DataError: 255, or 65535, far above all other numbers.
    """
    levels = np.union1d(numbers, [BACKGROUND])
    if levels[-1] not in VOID_NUMBERS or len(levels) < 3:
        return
    gaps = np.diff(levels)
    if gaps[-1] <= VOID_GAP * gaps[:-1].max():
        return
    raise DataError(
        f"{path} has {levels[-1]} beside numbers up to {levels[-2]}, which may be void, as in VOC,"
        f" or an object: say --void {levels[-1]} on import and png:FOLDER,void={levels[-1]} in"
        " training, or 0 if it is an object"
    )
