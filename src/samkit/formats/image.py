"""Reading images of any kind into one form: uint8 RGB (H, W, 3), upright."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from samkit.arrays import RgbImage
from samkit.errors import ImageError

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[Any]"

# 11,585 pixels square: 402 MB at 3 bytes a pixel. Larger images belong in tiles.
MAX_PIXELS = 2**27
# Background of transparent pixels, as in most viewers.
PAGE_COLOR = (255, 255, 255)
UINT16_PER_UINT8 = 257  # 65535 / 255
UPRIGHT = 1  # EXIF orientation of an image that is not turned
# What turns an image of each other EXIF orientation upright.
TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
CHANNELS = (1, 3, 4)  # grey, RGB, RGB with transparency
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(image: ImageLike, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Read an image.

    Args:
        image: a file's path; a PIL image; or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of
            uint8, of uint16 (full range: 65535 is white), of floats in [0, 1], or of booleans; or a
            torch tensor, also with its channels first, (3, H, W).
            Files and PIL images are turned upright by their EXIF orientation. Colours of any mode
            are converted to RGB; transparent pixels are blended with white.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ImageError: the image is missing, damaged, too large, or not an image.
    """
    if is_tensor(image):
        image = _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image, max_pixels)
    if isinstance(image, Image.Image):
        with image_errors("the image", max_pixels):
            return _from_pil(image, max_pixels, "the image")
    if not isinstance(image, (str, os.PathLike)):
        kind = type(image).__name__
        raise ImageError(f"an image is a path, a PIL image or an array; got {kind}")
    path = os.fsdecode(image)
    with image_errors(path, max_pixels):
        try:
            with Image.open(path) as opened:
                return _from_pil(opened, max_pixels, path)
        except FileNotFoundError as error:
            raise ImageError(f"no such file: {path}") from error
        except UnidentifiedImageError as error:
            if Path(path).stat().st_size == 0:
                raise ImageError(f"{path} is empty (0 bytes)") from error
            raise ImageError(f"{path} is not an image that can be read") from error


def read_image_bytes(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Read an image from the content of its file; see `read_image`.

    Args:
        content: the file's bytes.
        name: names the file in errors.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ImageError: damaged, too large, or not an image.
    """
    with image_errors(name, max_pixels):
        try:
            with Image.open(io.BytesIO(content)) as opened:
                return _from_pil(opened, max_pixels, name)
        except UnidentifiedImageError as error:
            raise ImageError(f"{name} is not an image that can be read") from error


def read_image_size(file: IO[bytes], name: str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of an image, upright, from its file's header: pixels are not decoded.

    Args:
        file: opened for reading bytes.
        name: names the file in errors.
        max_pixels: larger images are refused.

    Raises:
        ImageError: not an image, or too large.
    """
    size_hw, _ = read_image_frame(file, name, max_pixels=max_pixels)
    return size_hw


def read_image_frame(
    file: IO[bytes], name: str, *, max_pixels: int = MAX_PIXELS
) -> tuple[tuple[int, int], int]:
    """Like `read_image_size`, with the EXIF orientation by which the image is turned upright."""
    with image_errors(name, max_pixels):
        try:
            with Image.open(file) as opened:
                width, height = opened.size
                orientation = exif_orientation(opened)
        except UnidentifiedImageError as error:
            raise ImageError(f"{name} is not an image that can be read") from error
    _check_size(name, width, height, max_pixels)
    size_hw = (width, height) if orientation in SIDEWAYS else (height, width)
    return size_hw, orientation if orientation in TO_UPRIGHT else UPRIGHT


@contextmanager
def image_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Turn whatever Pillow raises into an ImageError about `name`, and silence its warnings."""
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd metadata, which is not used here, and about large images (a
            # RuntimeWarning), for which we have our own limit.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        # Pillow has its own limit, twice MAX_IMAGE_PIXELS, even if `max_pixels` is larger.
        limit = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        message = _too_large(name, f"more than {limit:,} pixels", min(max_pixels, limit))
        raise ImageError(message) from error
    # Pillow's decoders raise almost anything on damaged files: OSError, SyntaxError, RuntimeError,
    # AttributeError, MemoryError, struct.error, ...
    except Exception as error:
        raise ImageError(f"{name} cannot be read: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """An error's message on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise ImageError(f"an image needs at least one pixel; {name} has {width} x {height}")
    if width * height > max_pixels:
        raise ImageError(_too_large(name, f"{width} x {height} pixels", max_pixels))


def _too_large(name: str, size: str, max_pixels: int) -> str:
    return (
        f"{name} is too large: {size}; the limit is {max_pixels:,} pixels"
        " (make it smaller, or cut it into tiles)"
    )


def _from_pil(image: Image.Image, max_pixels: int, name: str) -> RgbImage:
    _check_size(name, *image.size, max_pixels)
    image.load()
    image = turn_upright(image)
    if image.mode in SIXTEEN_BIT_MODES:
        return _from_array(np.clip(np.asarray(image), 0, 65535).astype(np.uint16), max_pixels)
    if image.mode == "F":
        return _from_array(np.asarray(image), max_pixels)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        page = Image.new("RGBA", rgba.size, PAGE_COLOR)
        image = Image.alpha_composite(page, rgba)
    return np.asarray(image.convert("RGB"))


def turn_upright(image: Image.Image) -> Image.Image:
    """Turn an image by its EXIF orientation.

    Pillow's own `exif_transpose` also rewrites the other tags, and so fails on good images with an
    odd tag that does not matter here.
    """
    turn = TO_UPRIGHT.get(exif_orientation(image))
    return image if turn is None else image.transpose(turn)


def exif_orientation(image: Image.Image) -> Any:
    """The EXIF orientation; 1 if there is none."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF may raise anything, and tells nothing
        return 1


def is_tensor(image: object) -> bool:
    """Whether an object is a torch tensor; torch, which takes seconds to import, is not asked."""
    return type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach")


def _from_tensor(tensor: Any) -> npt.NDArray[Any]:
    """A tensor's values, with channels last; torch has them first, where both would do."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    array: npt.NDArray[Any] = tensor.numpy()
    if array.ndim == 3 and array.shape[0] in CHANNELS:
        return array.transpose(1, 2, 0)
    return array


def _from_array(array: npt.NDArray[Any], max_pixels: int) -> RgbImage:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in CHANNELS):
        raise ImageError(
            f"an image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); got {array.shape}"
        )
    height, width = array.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"an image needs at least one pixel; got {array.shape}")
    if height * width > max_pixels:
        raise ImageError(_too_large("the array", f"{width} x {height} pixels", max_pixels))
    pixels = _to_uint8(array)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 4:
        return _from_pil(Image.fromarray(pixels), max_pixels, "the array")
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


def _to_uint8(array: npt.NDArray[Any]) -> RgbImage:
    """Convert values of any accepted type to 0..255, rounded."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.uint16):  # of either byte order
        rounded = (array.astype(np.uint32) + UINT16_PER_UINT8 // 2) // UINT16_PER_UINT8
        return rounded.astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(np.min(array)), float(np.max(array))
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise ImageError(
                f"a float image must lie in [0, 1]; got {low:g} to {high:g} (scale it first)"
            )
        return np.asarray((array * 255).round(), np.uint8)
    raise ImageError(f"an image array must be uint8, uint16, float or bool; got {array.dtype}")
