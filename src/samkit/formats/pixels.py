"""Pixels of any kind, as arrays, tensors and PIL images, converted to uint8 RGB."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from samkit.arrays import RgbImage
from samkit.errors import ImageError
from samkit.formats.value_range import ValueRange, is_missing, to_uint8

# 11,585 pixels square: 402 MB at 3 bytes a pixel. Larger images belong in tiles.
MAX_PIXELS = 2**27
# Background of transparent pixels, as in most viewers.
PAGE_COLOR = (255, 255, 255)
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
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# Formats of 16 bits whose pixels Pillow gives in 32.
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")


@dataclass(frozen=True)
class PixelOptions:
    """How to read an image: see `read_image`."""

    value_range: ValueRange
    max_pixels: int
    nodata: float | None = None  # the value of missing pixels, of files that state it


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Check the size of an image that is not yet decoded.

    Raises:
        ImageError: no pixels, or too many.
    """
    if width == 0 or height == 0:
        raise ImageError(f"an image needs at least one pixel; {name} has {width} x {height}")
    if width * height > max_pixels:
        raise ImageError(too_large(name, f"{width} x {height} pixels", max_pixels))


def too_large(name: str, size: str, max_pixels: int) -> str:
    """Message about an image that is too large, with the way out."""
    return (
        f"{name} is too large: {size}; the limit is {max_pixels:,} pixels"
        " (make it smaller, or cut it into tiles)"
    )


def from_pil(image: Image.Image, name: str, options: PixelOptions) -> RgbImage:
    """Convert a PIL image of any mode to uint8 RGB (H, W, 3), upright.

    Args:
        image: the image; it is not modified.
        name: names it in errors and notices.
        options: see `read_image`.
    """
    check_size(name, *image.size, options.max_pixels)
    image.load()
    kind = image.format
    image = turn_upright(image, exif_orientation(image))
    values = _deep_values(image, kind)
    if values is not None:
        return from_array(values, name, options)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        page = Image.new("RGBA", rgba.size, PAGE_COLOR)
        image = Image.alpha_composite(page, rgba)
    return np.asarray(image.convert("RGB"))


def values_from_pil(image: Image.Image) -> npt.NDArray[Any]:
    """Values of a PIL image of any mode, upright: (H, W), or RGB (H, W, 3)."""
    image.load()
    kind = image.format
    image = turn_upright(image, exif_orientation(image))
    values = _deep_values(image, kind)
    if values is not None:
        return values
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _deep_values(image: Image.Image, kind: str | None) -> npt.NDArray[Any] | None:
    """Values of more than 8 bits (H, W); None of other modes."""
    if image.mode == "I" and kind in SIXTEEN_BIT_FORMATS:
        return np.asarray(image).astype(np.uint16)
    return np.asarray(image) if image.mode in (*SIXTEEN_BIT_MODES, "I", "F") else None


def turn_values(values: npt.NDArray[Any], orientation: object) -> npt.NDArray[Any]:
    """Turn values (H, W, ...) by an EXIF orientation, as `turn_upright` turns images."""
    turns: dict[object, npt.NDArray[Any]] = {
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(values),
    }
    return turns.get(orientation, values)


def turn_upright(image: Image.Image, orientation: object) -> Image.Image:
    """Turn an image by its EXIF orientation.

    Pillow's own `exif_transpose` also rewrites the other tags, and so fails on good images with an
    odd tag that does not matter here.
    """
    turn = TO_UPRIGHT.get(orientation)  # type: ignore[call-overload]
    return image if turn is None else image.transpose(turn)


def exif_orientation(image: Image.Image) -> Any:
    """The EXIF orientation; upright if there is none."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001 - damaged EXIF may raise anything, and tells nothing
        return UPRIGHT


def is_tensor(image: object) -> bool:
    """Whether an object is a torch tensor; torch, which takes seconds to import, is not asked."""
    return type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach")


def tensor_values(tensor: Any) -> npt.NDArray[Any]:
    """A tensor's values, with channels last; torch has them first, where both would do."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.dtype.itemsize < 4:
        tensor = tensor.float()  # NumPy has no bfloat16
    array: npt.NDArray[Any] = tensor.numpy()
    if array.ndim == 3 and array.shape[0] in CHANNELS:
        return array.transpose(1, 2, 0)
    return array


def from_array(array: npt.NDArray[Any], name: str, options: PixelOptions) -> RgbImage:
    """Convert an array of values to uint8 RGB (H, W, 3).

    Args:
        array: (H, W), (H, W, 1), (H, W, 3), or RGBA (H, W, 4).
        name: names it in errors and notices; "" for an array of the caller's.
        options: see `read_image`.

    Raises:
        ImageError: no array of an image, or too large.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in CHANNELS):
        raise ImageError(
            "an image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4);"
            f" got {array.shape}{_shape_hint(array.shape)}"
        )
    height, width = array.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"an image needs at least one pixel; got {array.shape}")
    check_size(name or "the array", width, height, options.max_pixels)
    colours = array if array.ndim == 3 else array[..., None]
    alpha = None
    if colours.shape[2] == 4:
        colours, alpha = colours[..., :3], colours[..., 3:]
    limits = options.value_range.limits(colours, name, options.nodata)
    pixels = to_uint8(colours, limits)
    if limits is not None and options.nodata is not None:
        pixels[is_missing(colours, options.nodata)] = 0
    if alpha is not None:
        opaque = to_uint8(
            alpha, ValueRange("full").limits(alpha, f"transparency of {name or 'the array'}")
        )
        rgba = Image.fromarray(np.concatenate([pixels, opaque], axis=2))
        page = Image.new("RGBA", rgba.size, PAGE_COLOR)
        return np.asarray(Image.alpha_composite(page, rgba).convert("RGB"))
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


def _shape_hint(shape: tuple[int, ...]) -> str:
    """What makes an image of an array of another shape, where it can be told."""
    if len(shape) == 4 and shape[0] == 1:
        return " (drop the first axis: array[0])"
    if len(shape) == 3 and shape[0] in CHANNELS and shape[0] < min(shape[1:]):
        return " (channels come last: array.transpose(1, 2, 0))"
    return " (choose one or three channels: array[..., [0, 1, 2]])" if len(shape) == 3 else ""
