"""Reading images of any kind into one form: uint8 RGB (H, W, 3), upright."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.arrays import RgbImage
from samkit.errors import ImageError
from samkit.formats.names import split_page
from samkit.formats.notices import notify
from samkit.formats.pages import open_pages
from samkit.formats.pixels import (
    MAX_PIXELS,
    SIDEWAYS,
    TO_UPRIGHT,
    UPRIGHT,
    PixelOptions,
    check_size,
    from_array,
    from_pil,
    is_tensor,
    tensor_values,
    too_large,
)
from samkit.formats.value_range import RangeLike, ValueRange

# Pillow warns of odd metadata, which is not used here, and of large images, for which there is a
# limit of our own. Not `catch_warnings` around each image: in threads, it takes away other filters.
for kind in (UserWarning, RuntimeWarning):
    warnings.filterwarnings("ignore", category=kind, module=r"PIL\.")

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[Any]"


def read_image(
    image: ImageLike,
    *,
    page: int | None = None,
    value_range: RangeLike = "auto",
    max_pixels: int = MAX_PIXELS,
) -> RgbImage:
    """Read an image.

    Args:
        image: a file's path, also of one of its pages as `stack.tif#page=2`; a PIL image; or an
            array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of whole numbers, floats or booleans;
            or a torch tensor, also with its channels first, (3, H, W).
            Files and PIL images are turned upright by their EXIF orientation. Colours of any mode
            are converted to RGB; transparent pixels are blended with white.
        page: page of a TIFF stack or animation, from 1; default: the first, which is told if
            there are more.
        value_range: which values become black and white, for images of more than 8 bits: "auto",
            "full", "LOW,HIGH" or (LOW, HIGH), or percentiles such as "1%,99%". See `ValueRange`.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ImageError: the image is missing, damaged, too large, or not an image.
        ConfigError: value_range is not valid.
    """
    options = PixelOptions(ValueRange.of(value_range), max_pixels)
    if is_tensor(image):
        image = tensor_values(image)
    if isinstance(image, (np.ndarray, Image.Image)) and page not in (None, 1):
        raise ImageError(f"an array or PIL image has no page {page}: give the file's path")
    if isinstance(image, np.ndarray):
        return from_array(image, "", options)
    if isinstance(image, Image.Image):
        with image_errors("the image", max_pixels):
            return from_pil(image, "the image", options)
    if not isinstance(image, (str, os.PathLike)):
        kind = type(image).__name__
        raise ImageError(f"an image is a path, a PIL image or an array; got {kind}")
    path, named = split_page(os.fsdecode(image))
    try:
        with image_errors(path, max_pixels), open(path, "rb") as file:
            return _read_page(file, path, page or named, options)
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ImageError(f"no such file: {path}") from error.__cause__
        raise


def read_image_file(
    file: IO[bytes],
    name: str,
    *,
    page: int | None = None,
    value_range: RangeLike = "auto",
    max_pixels: int = MAX_PIXELS,
) -> RgbImage:
    """Read an image from an open file; see `read_image`.

    Args:
        file: opened for reading bytes, with seek.
        name: names the file in errors.
        page: page of the file, from 1; default: the first, which is told if there are more.
        value_range: which values become black and white; see `ValueRange`.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ImageError: damaged, too large, or not an image.
    """
    with image_errors(name, max_pixels):
        options = PixelOptions(ValueRange.of(value_range), max_pixels)
        return _read_page(file, name, page, options)


def read_image_bytes(
    content: bytes, name: str, *, value_range: RangeLike = "auto", max_pixels: int = MAX_PIXELS
) -> RgbImage:
    """Read an image from the content of its file; see `read_image_file`."""
    return read_image_file(
        io.BytesIO(content), name, value_range=value_range, max_pixels=max_pixels
    )


def read_image_size(
    file: IO[bytes], name: str, *, page: int = 1, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """Height and width of an image, upright, from its file's header: pixels are not decoded.

    Args:
        file: opened for reading bytes.
        name: names the file in errors.
        page: page of the file, from 1.
        max_pixels: larger images are refused.

    Raises:
        ImageError: not an image, or too large.
    """
    size_hw, _ = read_size_and_orientation(file, name, page=page, max_pixels=max_pixels)
    return size_hw


def read_size_and_orientation(
    file: IO[bytes], name: str, *, page: int = 1, max_pixels: int = MAX_PIXELS
) -> tuple[tuple[int, int], int]:
    """Like `read_image_size`, with the EXIF orientation by which the image is turned upright."""
    with image_errors(name, max_pixels), open_pages(file, name) as pages:
        width, height, orientation = pages.size(page)
    check_size(name, width, height, max_pixels)
    size_hw = (width, height) if orientation in SIDEWAYS else (height, width)
    return size_hw, orientation if orientation in TO_UPRIGHT else UPRIGHT


def read_page_sizes(
    file: IO[bytes], name: str, *, max_pixels: int = MAX_PIXELS
) -> list[tuple[int, int]]:
    """Height and width of each page of an open file, upright; see `num_pages`.

    Raises:
        ImageError: not an image, or a page is too large.
    """
    with image_errors(name, max_pixels), open_pages(file, name) as pages:
        found = [pages.size(page) for page in range(1, pages.count + 1)]
    if not found:
        raise ImageError(f"{name} has no page that can be read")
    for width, height, _ in found:
        check_size(name, width, height, max_pixels)
    return [(w, h) if turn in SIDEWAYS else (h, w) for w, h, turn in found]


def num_pages(path: str | os.PathLike[str]) -> int:
    """Number of pages of a TIFF stack, or of pictures of an animation; 1 for other images.

    Thumbnails, pyramid levels and masks of other pages in a TIFF file are not counted.

    Raises:
        ImageError: the file is missing, damaged, or not an image.
    """
    name = os.fsdecode(path)
    try:
        with (
            image_errors(name, MAX_PIXELS),
            open(name, "rb") as file,
            open_pages(file, name) as pages,
        ):
            return pages.count
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ImageError(f"no such file: {name}") from error.__cause__
        raise


def _read_page(file: IO[bytes], name: str, page: int | None, options: PixelOptions) -> RgbImage:
    with open_pages(file, name) as pages:
        if page is None and pages.count > 1:
            notify(
                "used by their first page alone",
                name,
                f"{pages.count} pages, of which the first is used (--pages all takes each, in"
                " Python page=2 or the name FILE#page=2)",
            )
        return pages.read(page or 1, options)


@contextmanager
def image_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Turn whatever Pillow raises into an ImageError about `name`."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        # Pillow has its own limit, twice MAX_IMAGE_PIXELS, even if `max_pixels` is larger.
        limit = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        message = too_large(name, f"more than {limit:,} pixels", min(max_pixels, limit))
        raise ImageError(message) from error
    # Pillow's decoders raise almost anything on damaged files: OSError, SyntaxError, RuntimeError,
    # AttributeError, MemoryError, struct.error, ...
    except Exception as error:
        raise ImageError(f"{name} cannot be read: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """An error's message on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
