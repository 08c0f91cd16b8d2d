"""Pyramids of tiles: the image's own pixels, halved level by level, for every kind of file."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.errors import ImageError, OutputError
from samkit.formats import TILE_SIDE, Pyramid, make_pyramid, read_image, vips_source

CLOSE = 6  # of 255: what JPEG of quality 90 changes in smooth pictures


@pytest.fixture(scope="module")
def smooth():
    """A colourful picture without fine detail, larger than four tiles."""
    y, x = np.mgrid[:700, :1100].astype(np.float32)
    bands = (x / 1100, y / 700, 0.5 + 0.5 * np.sin(x / 90) * np.cos(y / 70))
    return np.rint(255 * np.stack(bands, -1)).astype(np.uint8)


def made(path, folder, **options):
    with path.open("rb") as file:
        make_pyramid(file, path.name, folder / "made.tiles", **options)
    return Pyramid(folder / "made.tiles")


def whole(found, level=0):
    width, height = found.sizes_wh[level]
    return found.read(level, (0, 0, width, height))


def distance(one, other):
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_level_zero_has_the_images_pixels(suffix, smooth, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth).save(path)
    found = made(path, tmp_path)
    assert found.sizes_wh == [(1100, 700), (550, 350), (275, 175)]
    assert distance(whole(found), read_image(path)) < 2
    halved = smooth.reshape(350, 2, 550, 2, 3).mean(axis=(1, 3))
    assert distance(whole(found, 1), halved) < 2


def test_tiles_are_jpeg_files_of_their_places(smooth, tmp_path):
    Image.fromarray(smooth).save(tmp_path / "a.png")
    found = made(tmp_path / "a.png", tmp_path)
    with Image.open(io.BytesIO(found.tile(0, 2, 1))) as tile:
        assert (tile.format, tile.size) == ("JPEG", (1100 - 2 * TILE_SIDE, 700 - TILE_SIDE))
        assert distance(np.asarray(tile), smooth[TILE_SIDE:, 2 * TILE_SIDE :]) < CLOSE
    assert found.tile(0, 3, 0) is None
    assert found.tile(3, 0, 0) is None
    part = found.read(0, (500, 500, 530, 520))  # of four tiles
    assert distance(part, smooth[500:520, 500:530]) < CLOSE


def test_level_at_which_a_part_is_small_enough(smooth, tmp_path):
    Image.fromarray(smooth).save(tmp_path / "a.png")
    found = made(tmp_path / "a.png", tmp_path)
    assert [found.level_of(side) for side in (2000, 1100, 1099, 550, 500, 10)] == [0, 0, 1, 1, 2, 2]
    assert found.level_of(256, (300, 200)) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(orientation, smooth, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(smooth).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = made(tmp_path / "a.jpg", tmp_path)
    assert distance(whole(found), read_image(tmp_path / "a.jpg")) < 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_modes_are_seen_as_the_reader_sees_them(mode, smooth, tmp_path):
    image = Image.fromarray(smooth)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(smooth[..., 2]))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.convert(mode).save(path)
    found = made(path, tmp_path)
    assert distance(whole(found), read_image(path)) < (12 if mode in ("P", "1", "CMYK") else 2)


@pytest.mark.parametrize("value_range", ["auto", "full", "100,3000"])
@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bits_are_stretched_by_the_range(bands, value_range, smooth, tmp_path):
    values = (smooth[..., :bands].astype(np.uint16) * 13 + 40).squeeze()
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256))
    found = made(tmp_path / "a.tif", tmp_path, value_range=value_range)
    expected = read_image(tmp_path / "a.tif", value_range=value_range)
    assert distance(whole(found), expected) < 2


def test_floats_with_missing_values_are_black_there(smooth, tmp_path):
    values = smooth[..., 0].astype(np.float32) / 10
    values[:100] = -9999
    tags = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=tags)
    found = made(tmp_path / "a.tif", tmp_path)
    assert distance(whole(found), read_image(tmp_path / "a.tif")) < 2
    assert found.read(0, (0, 0, 1100, 90)).max() < CLOSE


@pytest.mark.parametrize("extrasamples", ["unassalpha", "assocalpha", "unspecified"])
def test_fourth_band_of_tiff_is_what_it_is_said_to_be(extrasamples, smooth, tmp_path):
    alpha = smooth[..., 2:]
    colours = smooth
    if extrasamples == "assocalpha":
        colours = (smooth.astype(float) * alpha / 255).astype(np.uint8)
    four = np.concatenate([colours, alpha], -1)
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=[extrasamples])
    found = made(tmp_path / "a.tif", tmp_path)
    assert distance(whole(found), read_image(tmp_path / "a.tif")) < 3


def test_pages_of_a_bigtiff_with_reduced_images(smooth, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as writer:
        for picture in (smooth, smooth[::-1]):
            writer.write(picture, tile=(256, 256), photometric="rgb")
            writer.write(picture[::2, ::2], photometric="rgb", subfiletype=1)
    found = made(tmp_path / "a.tif", tmp_path, page=2)
    assert found.sizes_wh[0] == (1100, 700)
    assert distance(whole(found), smooth[::-1]) < 2


def test_damaged_file_leaves_nothing_behind(smooth, tmp_path, refusal):
    Image.fromarray(smooth).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with refusal(ImageError, "a.jpg cannot be read"):
        made(tmp_path / "a.jpg", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "options"), [("a.jpg", {"progressive": True}), ("a.tif", {"rowsperstrip": 700})]
)
def test_what_must_be_decoded_at_once_has_a_limit(
    name, options, smooth, tmp_path, monkeypatch, refusal
):
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, smooth, photometric="rgb", **options)
    else:
        Image.fromarray(smooth).save(tmp_path / name, **options)
    assert distance(whole(made(tmp_path / name, tmp_path)), smooth) < 2
    monkeypatch.setattr(vips_source, "MAX_AT_ONCE_PIXELS", 1100 * 700 - 1)
    with refusal(ImageError, "too large: 1100 x 700 pixels that must be decoded at once"):
        made(tmp_path / name, tmp_path)


def test_other_kinds_are_refused(smooth, tmp_path, refusal):
    Image.fromarray(smooth).save(tmp_path / "a.bmp")
    with refusal(ImageError, "a.bmp is too large to be shown whole", "JPEG, PNG or TIFF"):
        made(tmp_path / "a.bmp", tmp_path)


def test_folder_that_cannot_be_written_and_no_pyramid(smooth, tmp_path, refusal):
    Image.fromarray(smooth).save(tmp_path / "a.png")
    with refusal(OutputError, "cannot write"):
        made(tmp_path / "a.png", tmp_path / "missing")
    with refusal(ImageError, "is no pyramid of tiles"):
        Pyramid(tmp_path / "a.png")
