"""Files that are not images, are damaged or too large raise an ImageError of one line."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samkit.errors import ImageError
from samkit.formats import MAX_PIXELS, read_image, read_image_bytes


def random_rgb(height=7, width=9, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_missing_file(tmp_path, refusal):
    with refusal(ImageError, f"no such file: {tmp_path / 'a.png'}"):
        read_image(tmp_path / "a.png")


def test_folder(tmp_path, refusal):
    with refusal(ImageError, str(tmp_path), "Is a directory"):
        read_image(tmp_path)


def test_text_with_the_name_of_a_image(tmp_path, refusal):
    (tmp_path / "a.jpg").write_text("not an image")
    with refusal(ImageError, f"{tmp_path / 'a.jpg'} is not an image that can be read"):
        read_image(tmp_path / "a.jpg")


def test_empty_file(tmp_path, refusal):
    (tmp_path / "a.jpg").write_bytes(b"")
    with refusal(ImageError, f"{tmp_path / 'a.jpg'} is empty (0 bytes)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_truncated_file(name, tmp_path, refusal):
    path = tmp_path / name
    Image.fromarray(random_rgb(60, 80)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refusal(ImageError, f"{path} cannot be read", "truncated"):
        read_image(path)


def test_truncated_file_that_was_opened_by_the_caller(tmp_path, refusal):
    path = tmp_path / "a.png"
    Image.fromarray(random_rgb(60, 80)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with Image.open(path) as image, refusal(ImageError, "the image cannot be read", "truncated"):
        read_image(image)


def test_closed_image(refusal):
    image = Image.new("RGB", (2, 2))
    image.close()
    with refusal(ImageError, "the image cannot be read", "closed"):
        read_image(image)


def png_that_claims(width, height):
    """The beginning of a PNG file, enough for its size to be known."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data)
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((60_000, 60_000), "60000 x 60000 pixels"),  # Pillow refuses it
        ((12_000, 12_000), "12000 x 12000 pixels"),  # Pillow warns of it
        ((11_586, 11_586), "11586 x 11586 pixels"),
    ],
)
def test_decompression_bomb(size, told, tmp_path, refusal):
    (tmp_path / "a.png").write_bytes(png_that_claims(*size))
    with refusal(ImageError, f"{tmp_path / 'a.png'} is too large: {told}", "134,217,728 pixels"):
        read_image(tmp_path / "a.png")


def test_size_between_pillows_warning_and_the_limit_is_no_matter_of_size(tmp_path, refusal):
    width, height = 10_000, 10_000
    assert Image.MAX_IMAGE_PIXELS < width * height < MAX_PIXELS
    (tmp_path / "a.png").write_bytes(png_that_claims(width, height))
    # Read, as its size is allowed, and found to have no such pixels.
    with refusal(ImageError, "cannot be read", "truncated"):
        read_image(tmp_path / "a.png")


def test_own_limit_of_pixels(tmp_path, refusal):
    rgb = random_rgb(7, 9)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    told = ("too large: 9 x 7 pixels", "the limit is 62 pixels")
    for image in (rgb, Image.fromarray(rgb), tmp_path / "a.png"):
        assert read_image(image, max_pixels=63).shape == (7, 9, 3)
        with refusal(ImageError, *told):
            read_image(image, max_pixels=62)


def test_array_over_the_limit(refusal):
    huge = np.broadcast_to(np.uint8(0), (2**14, 2**14, 3))  # takes no memory
    with refusal(ImageError, "the array is too large: 16384 x 16384 pixels", "134,217,728"):
        read_image(huge)


@pytest.mark.parametrize(
    ("values", "told"), [([[-0.1, 0.5]], "got -0.1 to 0.5"), ([[0.0, 255.0]], "got 0 to 255")]
)
def test_floats_outside_of_the_full_range(values, told, refusal):
    with refusal(ImageError, "floats of the full range lie in [0, 1]", told, "LOW,HIGH"):
        read_image(np.array(values), value_range="full")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_without_a_finite_value(value, refusal):
    with refusal(ImageError, "the array has no value that is a number"):
        read_image(np.full((2, 2), value))


@pytest.mark.parametrize("dtype", [np.complex64, object, "U1"])
def test_other_types_of_numbers(dtype, refusal):
    with refusal(ImageError, "whole numbers, floats or booleans", str(np.dtype(dtype))):
        read_image(np.zeros((2, 2), dtype))


@pytest.mark.parametrize("shape", [(), (5,), (5, 5, 2), (5, 5, 5), (1, 5, 5, 3), (3, 5, 7)])
def test_other_shapes_of_arrays(shape, refusal):
    with refusal(ImageError, "must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)", str(shape)):
        read_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0, 3), (0, 0, 4)])
def test_array_without_pixels(shape, refusal):
    with refusal(ImageError, "an image needs at least one pixel", str(shape)):
        read_image(np.zeros(shape, np.uint8))


def test_pil_image_without_pixels(refusal):
    with refusal(ImageError, "an image needs at least one pixel", "0 x 5"):
        read_image(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("thing", [None, 5, b"a.png", [[0, 1]], Path])
def test_what_is_no_image(thing, refusal):
    with refusal(ImageError, "path, a PIL image or an array", type(thing).__name__):
        read_image(thing)


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "YCbCr", "LAB", "HSV", "I", "I;16B", "F"])
def test_any_mode_is_a_image_or_refused(mode):
    try:
        result = read_image(Image.new(mode, (4, 3)))
    except ImageError:
        return
    assert result.shape == (3, 4, 3)


def test_refusals_of_bytes_name_the_file(tmp_path, refusal):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    with refusal(ImageError, "b.png is too large: 70 x 50 pixels; the limit is 3,499 pixels"):
        read_image_bytes(content, "b.png", max_pixels=3499)
    with refusal(ImageError, "b.png cannot be read"):
        read_image_bytes(content[: len(content) // 2], "b.png")
    with refusal(ImageError, "b.png is empty (0 bytes)"):
        read_image_bytes(b"", "b.png")
    with refusal(ImageError, "b.png is not an image that can be read"):
        read_image_bytes(b"text", "b.png")


@pytest.mark.parametrize("channels", [2, 5])
def test_arrays_of_other_numbers_of_channels_name_the_way_out(channels, refusal):
    with refusal(ImageError, f"got (4, 4, {channels})", "array[..., [0, 1, 2]]"):
        read_image(np.zeros((4, 4, channels), np.uint8))


@pytest.mark.parametrize(
    ("shape", "way_out"),
    [
        ((3, 5, 7), "channels come last: array.transpose(1, 2, 0)"),
        ((1, 5, 7), "channels come last: array.transpose(1, 2, 0)"),
        ((1, 5, 7, 3), "drop the first axis: array[0]"),
    ],
)
def test_arrays_of_models_name_the_way_out(shape, way_out, refusal):
    with refusal(ImageError, str(shape), way_out):
        read_image(np.zeros(shape, np.uint8))
