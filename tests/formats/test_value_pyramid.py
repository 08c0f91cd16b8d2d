"""Values of large images in tiles: those of the file, seen by any range as the reader sees them."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.errors import ImageError
from samkit.formats import (
    TILE_SIDE,
    ValuePyramid,
    is_deep,
    make_pyramid,
    make_value_pyramid,
    read_image,
    read_values,
)

HEIGHT, WIDTH = 700, 1100
CLOSE = 6  # of 255: what JPEG of quality 90 changes in smooth pictures


@pytest.fixture(scope="module")
def smooth():
    """Values from 0 to 1 without fine detail (H, W, 3), larger than four tiles."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.stack((x / WIDTH, y / HEIGHT, 0.5 + 0.5 * np.sin(x / 90) * np.cos(y / 70)), -1)


def made(path, **options):
    target = path.with_suffix(".values")
    with path.open("rb") as file:
        make_value_pyramid(file, path.name, target, **options)
    return ValuePyramid(target)


def all_values(found):
    width, height = found.sizes_wh[0]
    return found.block((0, 0, width, height), lambda x, y: found.values(0, x, y))


def seen(found, value_range, level=0):
    width, height = found.sizes_wh[level]
    return found.seen(found.limits(value_range)).read(level, (0, 0, width, height))


@pytest.mark.parametrize(
    ("dtype", "bands"),
    [("uint16", 1), ("uint16", 3), ("int16", 3), ("int8", 1), ("uint32", 3), ("float32", 3)],
)
def test_values_are_those_of_the_file(dtype, bands, smooth, tmp_path, refusal):
    scale = 100 if dtype == "int8" else 3000
    values = (smooth[..., :bands] * scale - (20 if dtype[0] == "i" else 0)).astype(dtype)
    kind = {"photometric": "rgb" if bands == 3 else "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", values.squeeze(), tile=(256, 256), **kind)
    found = made(tmp_path / "a.tif")
    assert found.sizes_wh == [(1100, 700), (550, 350), (275, 175)]
    assert (found.dtype, found.num_channels, found.nodata) == (dtype, bands, None)
    assert (found.lowest, found.highest) == (values.min(), values.max())
    assert np.array_equal(all_values(found), values)
    part = found.block((500, 500, 530, 520), lambda x, y: found.values(0, x, y))  # of four tiles
    assert np.array_equal(part, values[500:520, 500:530])
    edge = found.block((1090, 690, 1154, 754), lambda x, y: found.values(0, x, y))
    assert np.array_equal(edge, values[690:, 1090:])
    assert found.block((1100, 0, 1101, 1), lambda x, y: found.values(0, x, y)).size == 0
    halved = values.astype(float).reshape(350, 2, 550, 2, bands).mean(axis=(1, 3))
    level = found.values(1, 0, 0)
    assert np.abs(level - halved[:TILE_SIDE, :TILE_SIDE]).max() <= 1
    assert [found.has(0, x, 1) for x in range(4)] == [True, True, True, False]
    with refusal(ImageError, "there is no tile 3, 0 at level 0"):
        found.values(0, 3, 0)


@pytest.mark.parametrize(
    ("suffix", "value_range"),
    [("tif", "auto"), ("tif", "100,2000"), ("png", "full"), ("png", "5%,60%")],
)
def test_ranges_are_seen_as_the_reader_sees_them(suffix, value_range, smooth, tmp_path):
    values = (smooth[..., 2] * 3000).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        Image.fromarray(values).save(path)
    else:
        tifffile.imwrite(path, values)
    found = made(path)
    expected = read_image(path, value_range=value_range)
    assert np.abs(seen(found, value_range).astype(int) - expected).max() <= 1
    tile = found.shown_tile(found.values(0, 1, 0), found.limits(value_range))
    with Image.open(io.BytesIO(tile)) as opened:
        assert (opened.format, opened.mode, opened.size) == ("JPEG", "L", (TILE_SIDE, TILE_SIDE))
        part = expected[:TILE_SIDE, TILE_SIDE : 2 * TILE_SIDE, 0].astype(int)
        assert np.abs(np.asarray(opened) - part).mean() < 2


def test_limits_are_those_of_the_pyramid_of_pixels(smooth, tmp_path, monkeypatch):
    from samkit.formats import vips_source

    monkeypatch.setattr(vips_source, "SAMPLES_SIDE", 100)  # so that few pixels are looked at
    values = (smooth[..., 2] ** 3 * 3000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values)
    found = made(tmp_path / "a.tif")
    with (tmp_path / "a.tif").open("rb") as file:
        make_pyramid(file, "a.tif", tmp_path / "a.tiles", value_range="2%,90%")
    from samkit.formats import Pyramid

    pixels = Pyramid(tmp_path / "a.tiles").read(0, (0, 0, WIDTH, HEIGHT)).astype(int)
    assert np.abs(pixels - seen(found, "2%,90%")).mean() < 1
    assert (found.lowest, found.highest) == (values.min(), values.max())  # of all pixels


@pytest.mark.parametrize("missing", [-9999.0, 3e38])
def test_missing_values_are_black_at_each_level(missing, smooth, tmp_path):
    values = smooth[..., 0] * 10 + 5
    values[:100, :301] = missing
    tags = [(42113, "s", 0, f"{missing:g}", True)]
    tifffile.imwrite(tmp_path / "a.tif", values.astype(np.float32), extratags=tags)
    found = made(tmp_path / "a.tif")
    assert found.nodata == pytest.approx(missing)
    assert 5 <= found.lowest < found.highest <= 15
    for level, factor in ((0, 1), (1, 2), (2, 4)):
        pixels = seen(found, "0,15", level)
        assert pixels[: 100 // factor, : 300 // factor].max() == 0
        rest = pixels[100 // factor + 1 :]
        assert rest.min() >= 80  # no value lies between a missing one and others


def test_nan_is_black_and_in_no_limit(smooth, tmp_path):
    values = smooth[..., 0] + 1
    values[10:20, 10:20] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    found = made(tmp_path / "a.tif")
    assert 1 <= found.lowest < found.highest <= 2
    assert seen(found, "0,2")[10:20, 10:20].max() == 0


def test_transparency_is_over_white_and_no_value(smooth, tmp_path):
    colours = (smooth * 60000).astype(np.uint16)
    alpha = (smooth[..., 2:] * 65535).astype(np.uint16)
    four = np.concatenate([colours, alpha], -1)
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=["unassalpha"])
    found = made(tmp_path / "a.tif")
    assert found.num_channels == 3
    assert np.array_equal(all_values(found), colours)
    expected = read_image(tmp_path / "a.tif", value_range="0,30000")
    assert np.abs(seen(found, "0,30000").astype(int) - expected).max() <= 2


def test_turned_images_and_pages(smooth, tmp_path):
    values = (smooth[..., 2] * 3000).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values)
        writer.write(values[::-1], extratags=[(274, "H", 1, 6, True)])
    found = made(tmp_path / "a.tif", page=2)
    with (tmp_path / "a.tif").open("rb") as file:
        expected = read_values(file, "a.tif", page=2)
    assert found.sizes_wh[0] == (HEIGHT, WIDTH)
    assert np.array_equal(all_values(found), expected)


def test_what_is_deep_is_known_by_the_header(smooth, tmp_path):
    plain = np.rint(smooth * 255).astype(np.uint8)
    Image.fromarray(plain).save(tmp_path / "a.png")
    Image.fromarray(plain[..., 0].astype(np.uint16)).save(tmp_path / "b.png")
    for name, expected in (("a.png", False), ("b.png", True)):
        with (tmp_path / name).open("rb") as file:
            assert is_deep(file, name) is expected


def test_damaged_files_and_other_files_of_tiles(smooth, tmp_path, refusal):
    tifffile.imwrite(tmp_path / "a.tif", (smooth[..., 0] * 3000).astype(np.uint16))
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(content[: len(content) // 2])
    with refusal(ImageError, "b.tif cannot be read"):
        made(tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".tif"] == []
    with (tmp_path / "a.tif").open("rb") as file:
        make_pyramid(file, "a.tif", tmp_path / "a.tiles")
    with refusal(ImageError, "is no pyramid of values"):
        ValuePyramid(tmp_path / "a.tiles")
