"""Pages of TIFF stacks and animations, and the bands of TIFF files."""

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samkit.errors import ImageError
from samkit.formats import (
    TiffBands,
    base_name,
    num_pages,
    page_file,
    page_name,
    read_image,
    read_image_size,
    split_page,
)


def random_pages(count=3, shape=(12, 16, 3), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 255, (count, *shape)).astype(dtype)


@pytest.fixture(params=["stack.tif", "stack16.tif", "a.gif", "a.webp", "a.png"])
def stack(request, tmp_path):
    """A file of three pages, and the pages as they are seen."""
    path = tmp_path / request.param
    if request.param == "stack16.tif":
        pages = random_pages(dtype=np.uint16) * np.uint16(257)
        tifffile.imwrite(path, pages, photometric="rgb")
        return path, pages // 257
    colours = np.array([[200, 10, 10], [10, 200, 10], [10, 10, 200]], np.uint8)
    pages = np.broadcast_to(colours[:, None, None], (3, 12, 16, 3))
    if request.param == "stack.tif":
        tifffile.imwrite(path, pages, photometric="rgb")
    else:
        first, *others = (Image.fromarray(np.ascontiguousarray(page)) for page in pages)
        lossless = {"lossless": True} if request.param == "a.webp" else {}
        first.save(path, save_all=True, append_images=others, duration=50, **lossless)
    return path, pages


def test_each_page_is_read(stack, notices):
    path, pages = stack
    assert num_pages(path) == 3
    for number, page in enumerate(pages, start=1):
        np.testing.assert_array_equal(read_image(path, page=number), page)
        named = page_name(str(path), number)
        np.testing.assert_array_equal(read_image(named, page=number), page)
        with path.open("rb") as file:
            assert read_image_size(file, "a", page=number) == (12, 16)
    np.testing.assert_array_equal(read_image(f"{path}#page=3"), pages[2])
    assert notices() == []


def test_first_page_is_taken_and_told(stack, notices):
    path, pages = stack
    np.testing.assert_array_equal(read_image(path), pages[0])
    (line,) = notices()
    assert line.startswith(f"{path}: 3 pages, of which the first is used (--pages all takes each")


@pytest.mark.parametrize("page", [4, 100])
def test_page_that_is_not_there(stack, page, refusal):
    with refusal(ImageError, f"has 3 pages: there is no page {page}"):
        read_image(stack[0], page=page)


def test_page_of_an_image_without_pages(tmp_path, refusal):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    assert num_pages(tmp_path / "a.png") == 1
    with refusal(ImageError, "has 1 page: there is no page 2"):
        read_image(tmp_path / "a.png", page=2)
    with refusal(ImageError, "no page 2: give the file's path"):
        read_image(np.zeros((4, 4), np.uint8), page=2)
    with refusal(ImageError, "no such file"):
        num_pages(tmp_path / "b.png")


def test_previews_in_a_jpeg_are_no_pages(tmp_path, notices):
    image = Image.fromarray(random_pages(1)[0])
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image])
    assert num_pages(tmp_path / "a.jpg") == 1
    read_image(tmp_path / "a.jpg")
    assert notices() == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thumbnails_pyramids_and_masks_are_no_pages(dtype, tmp_path):
    pages = random_pages(2, dtype=dtype)
    mask = np.zeros((12, 16), bool)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pages[0, ::4, ::4], photometric="rgb", subfiletype=1)  # a thumbnail first
        writer.write(pages[0], photometric="rgb")
        writer.write(pages[0, ::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(mask, photometric="minisblack", subfiletype=4)
        writer.write(pages[1], photometric="rgb")
        writer.write(mask[::2, ::2], photometric="minisblack", subfiletype=5)
    assert num_pages(tmp_path / "a.tif") == 2
    for number, page in enumerate(pages, start=1):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", page=number), read_image(page))


def test_file_of_thumbnails_alone_shows_them(tmp_path):
    page = random_pages(1)[0]
    tifffile.imwrite(tmp_path / "a.tif", page, photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), page)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compression_that_tifffile_does_not_know(dtype, tmp_path):
    """LZW is decoded by Pillow, or by OpenCV for 16-bit colours."""
    pages = random_pages(dtype=dtype)
    images = [np.ascontiguousarray(page[..., ::-1]) for page in pages]
    cv2.imwritemulti(str(tmp_path / "a.tif"), images)
    for number, page in enumerate(pages, start=1):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", page=number), read_image(page))


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_are_turned_upright(orientation, dtype, tmp_path):
    pages = random_pages(dtype=dtype)
    tags = [(274, 3, 1, orientation, False)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in pages:
            writer.write(page, photometric="rgb", extratags=tags, metadata=None)
    turns = {3: 2, 6: -1}[orientation]
    expected = np.rot90(read_image(pages[1]), turns)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", page=2), expected)
    with (tmp_path / "a.tif").open("rb") as file:
        assert read_image_size(file, "a", page=2) == expected.shape[:2]


# --- Names of pages ---


@given(st.text(min_size=1), st.integers(1, 9_999_999))
def test_name_of_a_page_is_split_into_file_and_page(path, page):
    if page == 1:
        assert page_name(path, page) == path
    else:
        assert split_page(page_name(path, page)) == (path, page)


@pytest.mark.parametrize("name", ["a.tif", "a.tif#page=0", "a.tif#page=", "#page=2", "a#page=x"])
def test_other_names_are_files(name):
    assert split_page(name) == (name, None)
    assert str(page_file(name)) == name


def test_names_derived_from_pages_differ():
    assert base_name("s/stack.tif") == "s/stack"
    assert base_name("s/stack.tif#page=2") == "s/stack_page2"


# --- Bands ---

RGB = np.array([200, 60, 40], np.uint8)


def save_bands(path, bands, **options):
    """Write bands (H, W, count) with what the file says of them."""
    tifffile.imwrite(path, bands, planarconfig="contig", **options)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_infrared_is_no_transparency(dtype, tmp_path, notices):
    """Case 09."""
    bands = np.full((8, 8, 4), 20, dtype)
    bands[..., :3] = RGB
    bands *= dtype(np.iinfo(dtype).max // 255)
    save_bands(tmp_path / "a.tif", bands, photometric="rgb", extrasamples=["unspecified"])
    assert (read_image(tmp_path / "a.tif", value_range="full") == RGB).all()
    (line,) = notices()
    assert "4 bands, of which the first three, as red, green and blue, are used" in line


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparency_lies_over_white(kind, dtype, tmp_path, notices):
    most = 1 if dtype == np.float32 else np.iinfo(dtype).max
    alpha = 0.2
    colours = RGB / 255 * (alpha if kind == "assocalpha" else 1)
    exact = np.broadcast_to(np.array([*colours, alpha]) * most, (8, 8, 4))
    bands = exact.astype(dtype) if most == 1 else np.rint(exact).astype(dtype)
    save_bands(tmp_path / "a.tif", bands, photometric="rgb", extrasamples=[kind])
    expected = 255 - (255 - RGB.astype(float)) * alpha
    assert abs(read_image(tmp_path / "a.tif", value_range="full") - expected).max() <= 2
    assert notices() == []


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize("count", [5, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_first_three_of_many_bands_are_colours(photometric, count, dtype, tmp_path, notices):
    bands = np.random.default_rng(0).integers(0, 255, (8, 9, count)).astype(dtype)
    main = 3 if photometric == "rgb" else 1
    extras = ["unspecified"] * (count - main)
    save_bands(tmp_path / "a.tif", bands, photometric=photometric, extrasamples=extras)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), read_image(bands[..., :3]))
    assert f"{count} bands, of which the first three" in notices()[0]


def test_first_of_two_bands_is_gray(tmp_path, notices):
    bands = np.random.default_rng(0).integers(0, 255, (8, 9, 2), np.uint8)
    save_bands(tmp_path / "a.tif", bands, photometric="minisblack", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), read_image(bands[..., 0]))
    assert "2 bands, of which the first, as gray, are used" in notices()[0]


def test_bands_that_lie_one_after_another(tmp_path):
    bands = np.random.default_rng(0).integers(0, 65535, (3, 8, 9)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="rgb", planarconfig="separate")
    expected = read_image(np.ascontiguousarray(bands.transpose(1, 2, 0)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)


def test_white_is_zero_in_sixteen_bits(tmp_path):
    values = np.array([[0, 65535, 257]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [255, 0, 254]


@given(
    st.sampled_from([0, 1, 2]),
    st.integers(0, 6),
    st.lists(st.sampled_from([0, 1, 2]), max_size=4),
)
def test_bands_are_used_once_and_transparency_is_no_colour(photometric, more, extras):
    count = (3 if photometric == 2 else 1) + len(extras) + more
    bands = TiffBands.of(photometric, count, extras)
    used = [*bands.colours, *([] if bands.alpha is None else [bands.alpha])]
    assert len(set(used)) == len(used)
    assert all(0 <= band < count for band in used)
    assert len(bands.colours) in (1, 3)
    if photometric == 2:
        assert bands.colours == (0, 1, 2)
    has_alpha = any(extras) or (not extras and (photometric, count) == (2, 4))
    assert (bands.alpha is not None) == has_alpha
