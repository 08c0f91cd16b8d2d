"""Copies of images that EXIF turns, read by programs that do not know EXIF."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from samkit.errors import ImageError
from samkit.formats import copy_upright, read_image

# Formats by suffix, and the largest difference of a value.
FORMATS = {".jpg": 12, ".png": 0, ".webp": 0, ".tif": 0}


def write(path, orientation, **options):
    """A smooth picture of 32 x 48, stored turned."""
    y, x = np.mgrid[:32, :48]
    pixels = np.stack([4 * x, 6 * y, 255 - 4 * x], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


def copy(source, target):
    with source.open("rb") as file:
        return copy_upright(file, target, source.name)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", FORMATS)
def test_pixels_of_the_copy_need_no_exif(suffix, orientation, tmp_path):
    options = {"lossless": True} if suffix == ".webp" else {}
    source = write(tmp_path / f"a{suffix}", orientation, **options)
    assert copy(source, tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as opened:
        assert opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
        raw = np.asarray(opened.convert("RGB"))
    expected = read_image(source)
    assert raw.shape == expected.shape == ((48, 32, 3) if orientation > 4 else (32, 48, 3))
    assert np.abs(raw.astype(int) - expected).max() <= FORMATS[suffix]
    np.testing.assert_array_equal(read_image(tmp_path / f"b{suffix}"), raw)


@pytest.mark.parametrize("orientation", [None, 1])
def test_upright_files_are_copied_byte_by_byte(orientation, tmp_path):
    source = write(tmp_path / "a.jpg", orientation)
    assert not copy(source, tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_keeps_its_quality(subsampling, tmp_path):
    source = write(tmp_path / "a.jpg", 3, quality=70, subsampling=subsampling)
    copy(source, tmp_path / "b.jpg")
    with Image.open(source) as one, Image.open(tmp_path / "b.jpg") as other:
        assert one.quantization == other.quantization


def test_what_is_no_image_is_refused(tmp_path, refusal):
    with refusal(ImageError, "a.jpg"):
        copy_upright(io.BytesIO(b"text"), tmp_path / "b.jpg", "a.jpg")
    assert list(tmp_path.iterdir()) == []
