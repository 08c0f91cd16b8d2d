"""Anything that may be an image becomes uint8 RGB (H, W, 3), upright."""

import struct
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from samkit.errors import ImageError
from samkit.formats import read_image, read_image_bytes

ORIENTATION = 0x0112  # of EXIF


def random_rgb(height=7, width=9, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def assert_image(result, expected):
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, expected)


def as_rgb(gray):
    return np.repeat(np.asarray(gray, np.uint8)[..., None], 3, axis=2)


# --- Arrays ---


def test_uint8_rgb_array_is_taken_as_it_is():
    rgb = random_rgb()
    assert_image(read_image(rgb), rgb)


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1)])
def test_gray_arrays_get_three_equal_channels(shape):
    gray = np.arange(63, dtype=np.uint8).reshape(shape)
    assert_image(read_image(gray), as_rgb(gray.reshape(7, 9)))


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_each_type_of_number_gives_the_same_image(gray):
    expected = as_rgb(gray)
    assert_image(read_image(gray), expected)
    sixteen = gray.astype(np.uint16) * 257
    assert_image(read_image(sixteen, value_range="full"), expected)
    assert_image(read_image(sixteen.astype(">u2"), value_range="full"), expected)
    assert_image(read_image(gray.astype(np.float32) / 255), expected)
    assert_image(read_image(gray.astype(np.float64) / 255), expected)


def test_uint16_is_rounded_to_the_nearest():
    values = np.array([[0, 128, 129, 257, 385, 386, 65406, 65407, 65535]], np.uint16)
    assert_image(read_image(values), as_rgb([[0, 0, 1, 1, 1, 2, 254, 255, 255]]))


def test_floats_are_rounded_to_the_nearest():
    values = np.array([[0, 0.4 / 255, 0.6 / 255, 0.5, 254.4 / 255, 254.6 / 255, 1]])
    assert_image(read_image(values), as_rgb([[0, 0, 1, 128, 254, 255, 255]]))


def test_booleans_are_black_and_white():
    assert_image(read_image(np.array([[False, True]])), as_rgb([[0, 255]]))


RGBA = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
# 51 / 255 is a fifth of the colour and four fifths of the white behind it.
RGBA_OVER_WHITE = np.array([[[10, 20, 30], [255, 255, 255], [204, 224, 244]]], np.uint8)


def test_transparent_array_lies_over_white():
    assert_image(read_image(RGBA), RGBA_OVER_WHITE)
    assert_image(read_image(RGBA.astype(np.uint16) * 257), RGBA_OVER_WHITE)
    assert_image(read_image(RGBA / 255), RGBA_OVER_WHITE)


@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(4))))
def test_transparent_array_is_composited_to_within_a_level(rgba):
    alpha = rgba[..., 3:] / 255
    exact = alpha * rgba[..., :3] + (1 - alpha) * 255
    assert abs(read_image(rgba) - exact).max() <= 1


def test_memory_layout_of_an_array_does_not_matter():
    rgb = random_rgb(8, 10)
    read_only = rgb.copy()
    read_only.flags.writeable = False
    assert_image(read_image(read_only), rgb)
    assert_image(read_image(np.asfortranarray(rgb)), rgb)
    assert_image(read_image(rgb[::-1, ::2]), rgb[::-1, ::2])
    assert_image(read_image(rgb[..., ::-1]), rgb[..., ::-1])
    assert_image(read_image(rgb[:, :, 1]), as_rgb(rgb[:, :, 1]))


def test_array_is_not_modified():
    before = RGBA.copy()
    read_image(RGBA)
    np.testing.assert_array_equal(RGBA, before)


# --- PIL images and files ---


def test_path_may_be_a_string_or_a_path(tmp_path):
    rgb = random_rgb()
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert_image(read_image(tmp_path / "a.png"), rgb)
    assert_image(read_image(str(tmp_path / "a.png")), rgb)


def test_bytes_of_a_file_give_the_same_image(tmp_path):
    rgb = random_rgb()
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert_image(read_image_bytes((tmp_path / "a.png").read_bytes(), "a.png"), rgb)


def test_pil_image_is_taken():
    rgb = random_rgb()
    assert_image(read_image(Image.fromarray(rgb)), rgb)


@pytest.fixture(params=["pil", "file"])
def read(request, tmp_path):
    """Read a PIL image, directly or by way of a file."""

    def read_either(image, name="a.png", **options):
        if request.param == "pil":
            return read_image(image)
        image.save(tmp_path / name, **options)
        return read_image(tmp_path / name)

    return read_either


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.gif"])
def test_lossless_formats_keep_every_pixel(name, read):
    rgb = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], [255, 255, 255]]], np.uint8)
    assert_image(read(Image.fromarray(rgb), name), rgb)


def test_gray_image(read):
    gray = np.arange(63, dtype=np.uint8).reshape(7, 9)
    assert_image(read(Image.fromarray(gray)), as_rgb(gray))


def test_one_bit_image(read):
    bits = np.array([[True, False, True], [False, False, True]])
    assert_image(read(Image.fromarray(bits)), as_rgb(bits * 255))


def test_transparent_image_lies_over_white(read):
    assert_image(read(Image.fromarray(RGBA)), RGBA_OVER_WHITE)


def test_gray_image_with_transparency_lies_over_white(read):
    image = Image.frombytes("LA", (3, 1), bytes([10, 255, 10, 0, 100, 51]))
    assert_image(read(image), as_rgb([[10, 255, 224]]))


def palette_image():
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([10, 20, 30, 40, 50, 60, 0, 100, 200])
    return image


def test_palette_image(read):
    assert_image(read(palette_image()), [[[10, 20, 30], [40, 50, 60], [0, 100, 200]]])


def test_palette_image_with_a_transparent_colour(read):
    image = palette_image()
    image.info["transparency"] = 1
    assert_image(read(image), [[[10, 20, 30], [255, 255, 255], [0, 100, 200]]])


def test_palette_image_with_an_opacity_for_each_colour(read):
    image = palette_image()
    image.info["transparency"] = bytes([255, 0, 51])
    assert_image(read(image), [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]])


def test_transparent_colour_of_an_rgb_png(tmp_path):
    image = Image.fromarray(np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8))
    image.save(tmp_path / "a.png", transparency=(10, 20, 30))
    assert_image(read_image(tmp_path / "a.png"), [[[255, 255, 255], [40, 50, 60]]])


def test_cmyk_jpeg(tmp_path):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))  # its ink takes all red light
    cyan.save(tmp_path / "a.jpg", quality=100)
    result = read_image(tmp_path / "a.jpg")
    assert result.shape == (16, 16, 3)
    assert abs(result.astype(int) - (0, 255, 255)).max() <= 3


def test_jpeg_is_decoded_as_pillow_does(tmp_path):
    Image.fromarray(random_rgb(24, 32)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert_image(read_image(tmp_path / "a.jpg"), np.asarray(image))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_files_use_their_full_range(name, read):
    values = np.array([[0, 128, 129], [257, 65407, 65535]], np.uint16)
    assert_image(read(Image.fromarray(values), name), as_rgb([[0, 0, 1], [1, 255, 255]]))


@pytest.mark.parametrize(
    ("name", "channels"), [("a.png", 3), ("a.png", 4), ("a.ppm", 3), ("a.jp2", 3)]
)
def test_colours_of_sixteen_bits_keep_all_bits(name, channels, tmp_path):
    rgb = np.random.default_rng(0).integers(0, 1000, (64, 80, channels)).astype(np.uint16)
    rgb[..., 3:] = 65535
    order = [2, 1, 0, 3][:channels]
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    cv2.imwrite(str(tmp_path / name), rgb[..., order], lossless if name == "a.jp2" else [])
    told = read_image(tmp_path / name, value_range=(0, 1000))
    expected = read_image(rgb, value_range=(0, 1000))
    assert abs(told.astype(int) - expected).max() <= (1 if name == "a.jp2" else 0)


def test_largest_value_that_a_ppm_states_is_white(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 2 1 4095\n" + bytes([15, 255] * 3 + [0, 0] * 3))
    assert_image(read_image(tmp_path / "a.ppm"), [[[255, 255, 255], [0, 0, 0]]])


def test_big_endian_sixteen_bit_image():
    image = Image.frombytes("I;16B", (2, 1), bytes([0x01, 0x01, 0xFF, 0xFF]))
    assert_image(read_image(image), as_rgb([[1, 255]]))


def test_float_tiff(tmp_path):
    values = np.array([[0, 0.5, 1]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert_image(read_image(tmp_path / "a.tif"), as_rgb([[0, 128, 255]]))


def test_one_pixel(read):
    assert_image(read(Image.new("RGB", (1, 1), (1, 2, 3))), [[[1, 2, 3]]])


def test_animation_shows_its_first_frame(tmp_path):
    red, blue = (Image.new("RGB", (4, 3), color) for color in ("red", "blue"))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue], duration=50)
    assert_image(read_image(tmp_path / "a.gif"), np.asarray(red))


# How a viewer must turn the stored pixels, by NumPy; stored is the inverse of it.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def with_orientation(orientation, upright):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))), exif


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_image_is_turned_upright(orientation, name, tmp_path):
    upright = random_rgb(3, 5)
    image, exif = with_orientation(orientation, upright)
    options = {"lossless": True} if name == "a.webp" else {}
    image.save(tmp_path / name, exif=exif, **options)
    assert_image(read_image(tmp_path / name), upright)
    with Image.open(tmp_path / name) as opened:
        assert_image(read_image(opened), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_jpeg_is_turned_upright(orientation, tmp_path):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :16] = 255  # a white corner tells all eight apart
    image, exif = with_orientation(orientation, upright)
    image.save(tmp_path / "a.jpg", exif=exif, quality=100)
    result = read_image(tmp_path / "a.jpg")
    assert abs(result.astype(int) - upright).max() <= 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_taken_for_upright(orientation, tmp_path):
    upright = random_rgb(3, 5)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(upright).save(tmp_path / "a.png", exif=exif)
    assert_image(read_image(tmp_path / "a.png"), upright)


@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0garbage", b"Exif\0\0II*\0"])
def test_damaged_exif_does_not_spoil_a_good_image(exif, tmp_path):
    rgb = random_rgb(3, 5)
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    assert_image(read_image(tmp_path / "a.png"), rgb)


def test_odd_tag_beside_the_orientation_does_not_spoil_a_good_image(tmp_path):
    # One entry says orientation 6; the other is an unsigned rational where a text is expected.
    tags = [(ORIENTATION, 3, 1, 6 << 16), (0x010F, 5, 1, 38)]
    entries = b"".join(struct.pack(">HHII", *tag) for tag in tags)
    tiff = (
        b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4) + struct.pack(">II", 7, 2)
    )
    upright = random_rgb(3, 5)
    image, _ = with_orientation(6, upright)
    image.save(tmp_path / "a.png", exif=b"Exif\0\0" + tiff)
    assert_image(read_image(tmp_path / "a.png"), upright)


def test_the_given_pil_image_is_not_modified():
    image, exif = with_orientation(6, random_rgb(3, 5))
    image.info["exif"] = exif.tobytes()
    before = image.copy()
    assert read_image(image).shape == (3, 5, 3)
    assert image == before


def test_warnings_filters_are_left_as_they_were(tmp_path):
    before = list(warnings.filters)
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    assert warnings.filters == before


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_tensors_are_read_with_channels_first_or_last(dtype):
    values = np.random.default_rng(0).integers(0, 2, (7, 5, 3), np.uint8) * 255
    tensor = torch.from_numpy(values).to(dtype)
    if dtype != torch.uint8:
        tensor = tensor / 255
    np.testing.assert_array_equal(read_image(tensor), values)
    np.testing.assert_array_equal(read_image(tensor.permute(2, 0, 1).requires_grad_(False)), values)


def test_a_batch_of_tensors_is_refused():
    with pytest.raises(ImageError, match=r"must be \(H, W\).* got \(1, 3, 8, 8\)"):
        read_image(torch.zeros(1, 3, 8, 8))
