"""Values of images as their files have them."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.errors import ImageError
from samkit.formats import read_values
from samkit.formats.pixels import TO_UPRIGHT, turn_upright, turn_values

DEEP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
RGB = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)


def saved(save):
    file = io.BytesIO()
    save(file)
    return file


@pytest.mark.parametrize(
    ("save", "expected"),
    [
        (lambda file: tifffile.imwrite(file, DEEP), DEEP[..., None]),
        (lambda file: tifffile.imwrite(file, DEEP.astype("f4") / 7), (DEEP.astype("f4") / 7)),
        (lambda file: tifffile.imwrite(file, DEEP.astype("i2") - 5000), DEEP.astype("i2") - 5000),
        (
            lambda file: tifffile.imwrite(file, np.stack([DEEP] * 3, -1), photometric="rgb"),
            np.stack([DEEP] * 3, -1),
        ),
        (lambda file: Image.fromarray(DEEP).save(file, "PNG"), DEEP),
        (lambda file: Image.fromarray(RGB).save(file, "PNG"), RGB),
        (lambda file: Image.fromarray(RGB[..., 0]).save(file, "PNG"), RGB[..., 0]),
        (lambda file: Image.fromarray(RGB).convert("RGBA").save(file, "PNG"), RGB),
    ],
)
def test_values_are_those_of_the_file(save, expected):
    values = read_values(saved(save), "a.tif")
    assert values.dtype == expected.dtype
    shaped = expected if expected.ndim == 3 else expected[..., None]
    assert np.array_equal(values, shaped)


def test_pages_have_their_own():
    pages = np.stack([DEEP, DEEP + 1])
    file = saved(lambda file: tifffile.imwrite(file, pages, photometric="minisblack"))
    assert np.array_equal(read_values(file, "a.tif", page=2)[..., 0], DEEP + 1)


def test_values_are_upright():
    file = io.BytesIO()
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(file, "PNG", exif=exif)
    assert np.array_equal(read_values(file, "a.png"), np.rot90(RGB, -1))


@pytest.mark.parametrize("orientation", [1, *TO_UPRIGHT, 99])
def test_values_are_turned_as_images_are(orientation):
    turned = np.asarray(turn_upright(Image.fromarray(RGB), orientation))
    assert np.array_equal(turn_values(RGB, orientation), turned)


def test_no_image_and_too_large_ones_are_refused(refusal):
    with refusal(ImageError, "a.tif is not an image"):
        read_values(io.BytesIO(b"x" * 99), "a.tif")
    file = saved(lambda file: tifffile.imwrite(file, DEEP))
    with refusal(ImageError, "a.tif is too large"):
        read_values(file, "a.tif", max_pixels=11)
