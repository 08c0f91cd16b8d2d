"""Damaged image files are read, or refused with one line."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from samkit.errors import ImageError
from samkit.formats import read_image

# Damaged headers may claim large sizes, which are slow to fill.
MAX_PIXELS = 10_000


def encode(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def small_files():
    """Small files of many kinds, by name."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    rgb = Image.fromarray(pixels)
    palette, rgba = rgb.convert("P"), rgb.convert("RGBA")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"  # orientation and make
    files = {
        "png": encode(rgb, "PNG", exif=exif),
        "png-palette": encode(palette, "PNG", transparency=3),
        "png-16bit": encode(Image.fromarray(pixels[..., 0].astype(np.uint16) * 99), "PNG"),
        "apng": encode(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]),
        "jpeg": encode(rgb, "JPEG", exif=exif, dpi=(72, 72)),
        "jpeg-progressive": encode(rgb, "JPEG", progressive=True),
        "jpeg-cmyk": encode(rgb.convert("CMYK"), "JPEG"),
        "gif": encode(rgb, "GIF"),
        "gif-animated": encode(
            palette, "GIF", save_all=True, append_images=[rgb.convert("L")], transparency=1
        ),
        "tiff": encode(rgb, "TIFF", exif=exif),
        "tiff-lab": encode(Image.new("LAB", (5, 5)), "TIFF"),
        "tiff-float": encode(Image.fromarray(pixels[..., 0] / np.float32(255)), "TIFF"),
        "bmp": encode(rgb, "BMP"),
        "bmp-palette": encode(palette, "BMP"),
    }
    if features.check("webp"):
        files["webp"] = encode(rgba, "WEBP", exif=exif)
        files["webp-lossless"] = encode(rgb, "WEBP", lossless=True)
    if features.check("libtiff"):
        files["tiff-lzw"] = encode(rgb, "TIFF", compression="tiff_lzw")
        files["tiff-deflate"] = encode(rgb, "TIFF", compression="tiff_adobe_deflate")
        files["tiff-jpeg"] = encode(rgb, "TIFF", compression="jpeg")
    if features.check("avif"):
        files["avif"] = encode(rgb, "AVIF", exif=exif)
    return files


FILES = small_files()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "image"


def read_or_reason(path):
    """The image, or why it was refused; no other error is let through."""
    try:
        return read_image(path, max_pixels=MAX_PIXELS)
    except ImageError as error:
        return str(error)


def check_read_or_refused(path, data):
    path.write_bytes(data)
    result = read_or_reason(path)
    if isinstance(result, str):
        assert len(result.splitlines()) == 1
        assert str(path) in result or "float image" in result
    else:
        assert (result.dtype, result.ndim, result.shape[2]) == (np.uint8, 3, 3)
        assert result.size > 0


@pytest.mark.parametrize("name", FILES)
def test_undamaged_file_is_read(name, path):
    path.write_bytes(FILES[name])
    assert read_image(path).shape in {(6, 9, 3), (9, 6, 3), (5, 5, 3)}


@pytest.mark.parametrize("name", FILES)
def test_truncated_file(name, path):
    data = FILES[name]
    for length in range(0, len(data), max(1, len(data) // 40)):
        check_read_or_refused(path, data[:length])


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=100)
@given(data=st.data())
def test_changed_bytes(name, path, data):
    damaged = bytearray(FILES[name])
    places = st.one_of(  # headers are where it hurts
        st.integers(0, min(len(damaged), 100) - 1), st.integers(0, len(damaged) - 1)
    )
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)
    for place, value in data.draw(changes):
        damaged[place] = value
    check_read_or_refused(path, damaged)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=20)
@given(data=st.data())
def test_bytes_cut_out_or_put_in(name, path, data):
    whole = FILES[name]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 20)))
    check_read_or_refused(path, whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])


@given(st.binary(max_size=200))
def test_random_bytes(path, data):
    check_read_or_refused(path, data)
