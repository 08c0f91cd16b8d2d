"""Windows of arrays, memory maps, TIFF and other image files."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.errors import ImageError
from samkit.formats import read_image
from samkit.proposals import sources
from samkit.proposals.sources import ArrayTiles, TiffTiles, TileSource, open_source

HEIGHT, WIDTH = 83, 121
WINDOWS = [(0, 0, 121, 83), (5, 7, 6, 8), (30, 10, 121, 40), (16, 16, 64, 48), (90, 60, 121, 83)]


def random_image(shape=(HEIGHT, WIDTH, 3), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)


def assert_reads(source, image):
    assert source.size_hw == image.shape[:2]
    for x0, y0, x1, y1 in WINDOWS:
        window = source.read((x0, y0, x1, y1))
        np.testing.assert_array_equal(window.squeeze(), image[y0:y1, x0:x1].squeeze())


def test_array_and_its_windows():
    image = random_image()
    source = open_source(image)
    assert isinstance(source, TileSource)
    assert_reads(source, image)


def test_mapped_array_file_is_not_read_as_a_whole(tmp_path):
    image = random_image()
    np.save(tmp_path / "a.npy", image)
    source = open_source(tmp_path / "a.npy")
    assert isinstance(source.array, np.memmap)
    assert_reads(source, image)


def test_image_file(tmp_path):
    image = random_image()
    Image.fromarray(image).save(tmp_path / "a.png")
    assert_reads(open_source(str(tmp_path / "a.png")), image)


def test_source_of_ones_own_is_used_as_it_is():
    class Own:
        size_hw = (3, 4)

        def read(self, box_xyxy):
            return np.zeros((1, 1, 3), np.uint8)

    own = Own()
    assert open_source(own) is own


@pytest.mark.parametrize(
    "layout",
    [
        {"tile": (16, 32)},
        {"tile": (16, 32), "compression": "zlib"},
        {"tile": (16, 16), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 10},
        {"rowsperstrip": 10, "compression": "zlib"},
        {"rowsperstrip": HEIGHT},
        {"bigtiff": True, "tile": (32, 32), "byteorder": ">"},
    ],
)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((HEIGHT, WIDTH, 3), np.uint8),
        ((HEIGHT, WIDTH, 3), np.uint16),
        ((HEIGHT, WIDTH), np.uint8),
        ((HEIGHT, WIDTH, 4), np.uint8),
    ],
)
def test_tiff_files_are_read_in_parts(tmp_path, layout, shape, dtype):
    image = random_image(shape, dtype)
    colours = "minisblack" if len(shape) == 2 else "rgb"
    extra = {"extrasamples": ["unassalpha"]} if shape[-1] == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=colours, **layout, **extra)
    assert_reads(TiffTiles(tmp_path / "a.tif"), image)


def test_only_the_parts_of_a_window_are_decoded(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", random_image(), tile=(16, 16), photometric="rgb")
    source = TiffTiles(tmp_path / "a.tif")
    decoded = []
    decode = source._decode_part
    monkeypatch.setattr(source, "_decode_part", lambda f, n: decoded.append(n) or decode(f, n))
    source.read((20, 20, 40, 30))
    assert decoded == [9, 10]  # 8 tiles in each row
    source.read((32, 0, 48, 16))
    assert decoded == [9, 10, 2]


def test_small_tiff_is_read_as_any_image_and_a_large_one_in_parts(tmp_path, monkeypatch):
    image = random_image()
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(16, 16), photometric="rgb")
    assert isinstance(open_source(tmp_path / "a.tif"), ArrayTiles)
    refuse_large_images(monkeypatch)
    assert_reads(open_source(tmp_path / "a.tif"), image)
    assert isinstance(open_source(tmp_path / "a.tif"), TiffTiles)


def refuse_large_images(monkeypatch):
    read_image = sources.read_image
    monkeypatch.setattr(
        sources, "read_image", lambda path, **options: read_image(path, max_pixels=100, **options)
    )


def test_large_file_of_another_kind_is_refused(tmp_path, monkeypatch, refusal):
    Image.fromarray(random_image()).save(tmp_path / "a.png")
    refuse_large_images(monkeypatch)
    with refusal(ImageError, "a.png is too large", "the limit is 100 pixels"):
        open_source(tmp_path / "a.png")


def test_tiff_in_parts_too_large_to_decode_is_refused(tmp_path, monkeypatch, refusal):
    tifffile.imwrite(
        tmp_path / "a.tif", random_image(), compression="zlib", rowsperstrip=83, photometric="rgb"
    )
    monkeypatch.setattr(sources, "MAX_PIXELS", 1000)
    with refusal(ImageError, "strips of 121 x 83", "the limit is 1,000", "store it in tiles"):
        TiffTiles(tmp_path / "a.tif")


@pytest.mark.parametrize(("photometric", "planar"), [("separated", "contig"), ("rgb", "separate")])
def test_other_kinds_of_tiff_are_refused(tmp_path, photometric, planar, refusal):
    shape = (HEIGHT, WIDTH, 4) if planar == "contig" else (3, HEIGHT, WIDTH)
    tifffile.imwrite(
        tmp_path / "a.tif", random_image(shape), photometric=photometric, planarconfig=planar
    )
    with refusal(ImageError, "interleaved gray or RGB", "got"):
        TiffTiles(tmp_path / "a.tif")


def test_damaged_files_are_refused(tmp_path, monkeypatch, refusal):
    (tmp_path / "a.npy").write_bytes(b"not an array")
    with refusal(ImageError, "a.npy is not an array that can be mapped"):
        open_source(tmp_path / "a.npy")
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with refusal(ImageError, "a.tif cannot be read"):
        open_source(tmp_path / "a.tif")
    (tmp_path / "a.png").write_bytes(b"not an image")
    with refusal(ImageError, "a.png is not an image"):
        open_source(tmp_path / "a.png")

    image = random_image()
    tifffile.imwrite(
        tmp_path / "b.tif", image, tile=(16, 16), compression="zlib", photometric="rgb"
    )
    content = bytearray((tmp_path / "b.tif").read_bytes())
    start = TiffTiles(tmp_path / "b.tif").page.dataoffsets[3]
    content[start : start + 200] = b"x" * 200
    (tmp_path / "b.tif").write_bytes(content)
    source = TiffTiles(tmp_path / "b.tif")
    source.read((0, 0, 16, 16))
    with refusal(ImageError, "b.tif cannot be read"):
        source.read((40, 0, 60, 16))


@pytest.mark.parametrize("source", [3, None, [1, 2]])
def test_what_is_not_a_source_is_refused(source, refusal):
    with refusal(ImageError, "a source is a path, an array or has size_hw and read()", "got"):
        open_source(source)


@pytest.mark.parametrize("shape", [(5,), (0, 4), (2, 3, 4, 5)])
def test_arrays_of_other_shapes_are_refused(shape, refusal):
    with refusal(ImageError, "(H, W) or (H, W, C)", str(shape)):
        open_source(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.png"])
def test_missing_files_are_refused(name, tmp_path, refusal):
    with refusal(ImageError, "no such file", name):
        open_source(tmp_path / name)


LAYOUTS = {
    "gray": ((), "minisblack", ()),
    "white is 0": ((), "miniswhite", ()),
    "RGB": ((3,), "rgb", ()),
    "infrared": ((4,), "rgb", ("unspecified",)),
    "unassociated": ((4,), "rgb", ("unassalpha",)),
    "associated": ((4,), "rgb", ("assocalpha",)),
    "five bands": ((5,), "minisblack", ("unspecified",) * 4),
    "infrared and transparency": ((5,), "rgb", ("unspecified", "unassalpha")),
    "two bands": ((2,), "minisblack", ("unspecified",)),
    "gray and transparency": ((2,), "minisblack", ("unassalpha",)),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_a_large_file_are_those_of_a_small_one(layout, dtype, tmp_path, monkeypatch):
    """One rule for bands, transparency and values, whichever way a file is read."""
    channels, photometric, extras = LAYOUTS[layout]
    rng = np.random.default_rng(0)
    values = (rng.random((HEIGHT, WIDTH, *channels)) * 200).astype(dtype)
    if dtype == np.float32:
        values /= 200
    elif layout == "associated":
        values[..., :3] = np.minimum(values[..., :3], values[..., 3:])  # as it must be
    options = {"photometric": photometric, "extrasamples": extras or None}
    if channels:
        options["planarconfig"] = "contig"
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(16, 16), **options)
    small = read_image(tmp_path / "a.tif")
    refuse_large_images(monkeypatch)
    large = open_source(tmp_path / "a.tif")
    assert large.size_hw == (HEIGHT, WIDTH)
    window = read_image(large.read((20, 30, 90, 70)))
    # Pillow divides premultiplied colours by rounding down.
    most = 2 if layout == "associated" else 0
    assert abs(window.astype(int) - small[30:70, 20:90]).max() <= most


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float64])
def test_all_windows_have_the_same_black_and_white(dtype, tmp_path):
    """A window's own values do not matter: dark windows stay dark."""
    ramp = np.arange(200 * 300, dtype=dtype).reshape(200, 300) / dtype(10)
    values = ramp.astype(dtype)
    np.save(tmp_path / "a.npy", values)
    source = open_source(tmp_path / "a.npy")
    whole = read_image(values)
    for x0, y0, x1, y1 in ((0, 0, 50, 50), (250, 150, 300, 200), (0, 0, 300, 200)):
        window = read_image(source.read((x0, y0, x1, y1)))
        np.testing.assert_array_equal(window, whole[y0:y1, x0:x1])
    assert read_image(source.read((0, 0, 300, 20))).max() < 40


def test_sampled_limits_of_a_large_image_are_close_to_those_of_all(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(1000, 100, (400, 600)).astype(np.uint16)
    exact = open_source(values).limits
    monkeypatch.setattr(sources, "SAMPLED_VALUES", 20_000)
    sampled = open_source(values).limits
    assert sampled != exact
    np.testing.assert_allclose(sampled, exact, atol=60)
    assert open_source(values).limits == sampled


def test_a_page_of_a_stack_is_read_in_parts(tmp_path, monkeypatch):
    pages = random_image((3, HEIGHT, WIDTH, 3))
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb", tile=(16, 16))
    refuse_large_images(monkeypatch)
    assert_reads(open_source(f"{tmp_path}/a.tif#page=2"), pages[1])
