"""Label images: numbers are instances, and what only looks like it is refused."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samkit.errors import DataError
from samkit.formats import label_rles, read_labels, voc_instances, write_png, write_voc_png
from samkit.types import Masks

SIZE_HW = (120, 160)


def mask_of_discs(radius=30):
    mask = np.zeros(SIZE_HW, np.uint8)
    cv2.circle(mask, (60, 60), radius, 255, -1)
    cv2.rectangle(mask, (110, 20), (150, 90), 255, -1)
    return mask


# One object of an image, as programs spoil it: case 06.
SPOILED = {
    "smoothed": lambda mask: cv2.GaussianBlur(mask, (0, 0), 1),
    "blurred": lambda mask: cv2.GaussianBlur(mask, (0, 0), 4),
    "enlarged": lambda mask: cv2.resize(mask, (400, 300), interpolation=cv2.INTER_LINEAR),
    "reduced": lambda mask: cv2.resize(mask, (73, 55), interpolation=cv2.INTER_AREA),
    "cubic": lambda mask: cv2.resize(mask, (400, 300), interpolation=cv2.INTER_CUBIC),
    "16 bits": lambda mask: cv2.GaussianBlur(mask.astype(np.uint16) * 257, (0, 0), 1),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_soft_mask_is_no_label_image(kind, tmp_path, refusal):
    soft = SPOILED[kind](mask_of_discs())
    path = write_png(tmp_path / "a.png", soft)
    levels = len(np.unique(soft))
    with refusal(DataError, f"a.png has {levels} values", "two values", "binary"):
        read_labels(path)


@pytest.mark.parametrize("quality", [50, 75, 90, 95, 100])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_mask_spoiled_by_jpeg(quality, mode, tmp_path, refusal):
    mask = mask_of_discs()
    Image.fromarray(mask).convert(mode).save(tmp_path / "a.jpg", quality=quality)
    with refusal(DataError, "a.jpg has", "soft or JPEG-compressed edges"):
        read_labels(tmp_path / "a.jpg")
    read = read_labels(tmp_path / "a.jpg", binary=True)
    np.testing.assert_array_equal(read.labels, mask > 0)
    assert read.void is None


@pytest.mark.parametrize("kind", SPOILED)
def test_threshold_gives_back_the_mask(kind, tmp_path):
    path = write_png(tmp_path / "a.png", SPOILED[kind](mask_of_discs()))
    labels = read_labels(path, binary=True).labels
    assert np.unique(labels).tolist() == [0, 1]
    original = cv2.resize(labels.astype(np.uint8), SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST)
    wanted = mask_of_discs() > 0
    assert (original.astype(bool) & wanted).sum() / (original.astype(bool) | wanted).sum() > 0.93
    smaller = read_labels(path, binary=True, threshold=200).labels
    larger = read_labels(path, binary=True, threshold=50).labels
    assert smaller.sum() <= labels.sum() <= larger.sum()
    assert smaller.sum() < larger.sum()


@given(
    st.integers(3, 12),
    st.integers(1, 250),
    st.integers(1, 257),
    st.integers(0, 2**32 - 1),
)
def test_instances_are_never_taken_for_a_soft_mask(radius, count, step, seed):
    """Discs from 7 pixels on, of any numbers, beside and over each other."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SIZE_HW, np.uint16)
    for number in range(1, count + 1):
        x, y = rng.integers(radius, (SIZE_HW[1] - radius, SIZE_HW[0] - radius)).tolist()
        cv2.circle(labels, (x, y), radius, number * step, -1)
    with tempfile.TemporaryDirectory() as folder:
        path = write_png(Path(folder) / "a.png", labels)
        np.testing.assert_array_equal(read_labels(path, void=0).labels, labels)


def test_one_object_of_any_value(tmp_path):
    for value in (1, 100, 255):
        path = write_png(tmp_path / "a.png", mask_of_discs() // 255 * np.uint8(value))
        assert np.unique(read_labels(path).labels).tolist() == [0, value]
        binary = read_labels(path, binary=True).labels
        np.testing.assert_array_equal(binary, mask_of_discs() > 0)


def test_few_thin_instances_are_no_soft_mask(tmp_path):
    labels = np.zeros(SIZE_HW, np.uint8)
    for number in range(1, 6):
        labels[20 * number] = number  # lines of one pixel
    np.testing.assert_array_equal(read_labels(write_png(tmp_path / "a.png", labels)).labels, labels)


def test_numbers_that_look_soft_are_read_where_they_are_wanted(tmp_path):
    soft = SPOILED["smoothed"](mask_of_discs())
    path = write_png(tmp_path / "a.png", soft)
    np.testing.assert_array_equal(read_labels(path, binary=False).labels, soft)


# --- Void ---


def labels_with_void():
    labels = np.zeros(SIZE_HW, np.uint8)
    labels[10:50, 10:60], labels[60:100, 30:90] = 1, 2
    void = np.zeros(SIZE_HW, bool)
    void[5:10], void[100:104] = True, True
    labels[void] = 255
    return labels, void


def test_void_beside_small_numbers_is_asked_about(tmp_path, refusal):
    labels, void = labels_with_void()
    path = write_png(tmp_path / "a.png", labels)
    with refusal(DataError, "255 beside numbers up to 2", "void=255", "or 0 if it is an object"):
        read_labels(path)
    read = read_labels(path, void=255)
    np.testing.assert_array_equal(read.void, void)
    np.testing.assert_array_equal(read.labels, np.where(void, 0, labels))
    assert len(label_rles(read.labels)) == 2
    read = read_labels(path, void=0)
    assert read.void is None
    np.testing.assert_array_equal(read.labels, labels)


def test_void_of_sixteen_bits(tmp_path, refusal):
    labels, void = labels_with_void()
    wide = np.where(void, np.uint16(65535), labels.astype(np.uint16))
    path = write_png(tmp_path / "a.png", wide)
    with refusal(DataError, "65535 beside numbers up to 2", "void=65535"):
        read_labels(path)
    np.testing.assert_array_equal(read_labels(path, void=65535).void, void)


def test_void_of_vocs_palette_is_known(tmp_path):
    labels, void = labels_with_void()
    write_voc_png(tmp_path / "a.png", labels)
    read = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(read.void, void)
    np.testing.assert_array_equal(read.labels, np.where(void, 0, labels))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", void=0).labels, labels)


def test_another_palette_does_not_matter(tmp_path, refusal):
    labels, _ = labels_with_void()
    palette = [0, 0, 0, *range(1, 256), *range(256), *range(254)]
    write_png(tmp_path / "a.png", labels, palette=palette)
    with refusal(DataError, "255 beside numbers up to 2"):
        read_labels(tmp_path / "a.png")
    labels[labels == 255] = 3
    write_png(tmp_path / "b.png", labels, palette=palette)
    np.testing.assert_array_equal(read_labels(tmp_path / "b.png").labels, labels)


def test_void_is_taken_out_before_the_edges_are_judged(tmp_path):
    mask = mask_of_discs() // 255
    mask[cv2.dilate(mask, np.ones((3, 3))) != mask] = 255
    read = read_labels(write_png(tmp_path / "a.png", mask), void=255, binary=True)
    assert np.unique(read.labels).tolist() == [0, 1]
    assert (read.void == (mask == 255)).all()


@pytest.mark.parametrize("numbers", [(85, 170, 255), (128, 255), (100, 255), tuple(range(1, 256))])
def test_255_in_line_with_the_others_is_an_instance(numbers, tmp_path):
    labels = np.zeros((60, 40 * 8), np.uint8)
    for place, number in enumerate(numbers):
        y, x = divmod(place, 40)
        labels[8 * y : 8 * y + 6, 8 * x : 8 * x + 6] = number
    np.testing.assert_array_equal(read_labels(write_png(tmp_path / "a.png", labels)).labels, labels)


def test_exported_masks_come_back(tmp_path):
    arrays = np.zeros((3, *SIZE_HW), bool)
    arrays[0, 10:40, 10:40] = arrays[1, 30:80, 30:90] = arrays[2, 100:, 100:] = True
    masks = Masks.from_arrays(arrays, np.ones(3))
    write_voc_png(tmp_path / "a.png", voc_instances(masks))
    assert len(label_rles(read_labels(tmp_path / "a.png").labels)) == 3


# --- Kinds of files ---


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint16])
def test_tiff_of_whole_numbers(dtype, tmp_path):
    labels = np.zeros(SIZE_HW, dtype)
    labels[10:50, 10:60], labels[60:100, 30:90] = 1, 300
    Image.fromarray(labels).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").labels, labels)


def test_probabilities_of_a_mask(tmp_path, refusal):
    soft = cv2.GaussianBlur(mask_of_discs().astype(np.float32) / 255, (0, 0), 2)
    Image.fromarray(soft).save(tmp_path / "a.tif")
    with refusal(DataError, "a.tif has", "soft"):
        read_labels(tmp_path / "a.tif")
    read = read_labels(tmp_path / "a.tif", binary=True).labels
    np.testing.assert_array_equal(read, np.rint(soft * 255) >= 128)


def test_files_without_numbers_are_refused(tmp_path, refusal):
    write_png(tmp_path / "a.png", np.array([[[1, 2, 3]]], np.uint8))
    with refusal(DataError, "a.png must have one number at each pixel; its mode is RGB"):
        read_labels(tmp_path / "a.png")
    clear = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
    Image.fromarray(clear).save(tmp_path / "c.png")
    with refusal(DataError, "c.png must have one number at each pixel; its mode is RGBA"):
        read_labels(tmp_path / "c.png")
    with refusal(DataError, "no such file", "none.png"):
        read_labels(tmp_path / "none.png")
    (tmp_path / "b.png").write_bytes(b"x")
    with refusal(DataError, "b.png cannot be read"):
        read_labels(tmp_path / "b.png")
    Image.fromarray(np.array([[0.5, 2.5]], np.float32)).save(tmp_path / "d.tif")
    with refusal(DataError, "d.tif has floats from 0.5 to 2.5: labels are whole numbers"):
        read_labels(tmp_path / "d.tif")
    Image.fromarray(np.array([[0, -1]], np.int32)).save(tmp_path / "e.tif")
    with refusal(DataError, "e.tif has negative numbers"):
        read_labels(tmp_path / "e.tif")


# --- Palettes made from colours ---


def painted():
    """Two objects, the larger of which is more frequent than the background."""
    labels = np.zeros(SIZE_HW, np.uint8)
    labels[:, 40:], labels[10:50, 5:30] = 1, 2
    colours = np.array([[0, 0, 0], [255, 240, 0], [0, 0, 255]], np.uint8)
    return labels, Image.fromarray(colours[labels])


@pytest.mark.parametrize("way", ["quantize", "adaptive"])
def test_black_is_the_background_of_a_palette_in_any_order(way, tmp_path):
    labels, picture = painted()
    if way == "quantize":
        picture = picture.quantize(8)
    else:
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE)
    assert picture.getpalette()[:3] != [0, 0, 0]
    picture.save(tmp_path / "a.png")
    read = read_labels(tmp_path / "a.png", void=0).labels
    np.testing.assert_array_equal(read == 0, labels == 0)
    assert len(np.unique(read)) == 3
    for number in (1, 2):
        assert len(np.unique(read[labels == number])) == 1


@pytest.mark.parametrize(
    ("palette", "found"),
    [([9, 9, 9, 0, 0, 0, 0, 0, 0], "2"), ([9, 9, 9, 1, 0, 0, 2, 0, 0], "none")],
)
def test_palette_without_a_clear_background_is_refused(palette, found, tmp_path, refusal):
    labels, _ = painted()
    write_png(tmp_path / "a.png", labels, palette=palette)
    with refusal(DataError, "number 0 is not black but (9, 9, 9)", f"{found} of its other", "Save"):
        read_labels(tmp_path / "a.png")


# --- Numbers blended by interpolation ---


def numbered_discs(numbers):
    labels = np.zeros((240, 320), np.uint8)
    for place, number in enumerate(numbers):
        cv2.circle(labels, (40 + 60 * (place % 5), 50 + 70 * (place // 5)), 25, number, -1)
    return labels


@pytest.mark.parametrize("numbers", [(10, 20), (1, 20), (5, 50), (3,), tuple(range(1, 11))])
@pytest.mark.parametrize("factor", [0.5, 0.73, 1.3, 2])
@pytest.mark.parametrize("way", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_numbers_resized_by_interpolation_are_refused(numbers, factor, way, tmp_path, refusal):
    labels = numbered_discs(numbers)
    blended = cv2.resize(labels, None, fx=factor, fy=factor, interpolation=way)
    with refusal(DataError, "a.png has", "between those on either side", "nearest", "--binary"):
        read_labels(write_png(tmp_path / "a.png", blended))
    nearest = cv2.resize(labels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    read = read_labels(write_png(tmp_path / "a.png", nearest)).labels
    np.testing.assert_array_equal(read, nearest)


@given(st.integers(2, 150), st.integers(0, 2**32 - 1))
def test_cells_that_touch_are_never_taken_for_blended(count, seed):
    """Cells of random numbers that share all their borders, with a hole of background."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SIZE_HW)
    centers = rng.uniform(0, SIZE_HW, (count, 2))
    distances = np.hypot(y[..., None] - centers[:, 0], x[..., None] - centers[:, 1])
    labels = rng.choice(np.arange(1, 60000, dtype=np.uint16), count, replace=False)[
        distances.argmin(axis=-1)
    ]
    labels[np.hypot(y - 60, x - 80) < 30] = 0
    with tempfile.TemporaryDirectory() as folder:
        path = write_png(Path(folder) / "a.png", labels)
        np.testing.assert_array_equal(read_labels(path, void=0).labels, labels)


@pytest.mark.parametrize("numbers", [(0, 1, 2), (0, 128, 255)])
def test_ring_of_one_level_is_refused(numbers, tmp_path, refusal):
    labels = numbered_discs([2, 2])
    inner = cv2.erode(labels, np.ones((3, 3), np.uint8))
    ringed = np.array(numbers, np.uint8)[np.where(inner == labels, labels, 1)]
    with refusal(DataError, "between those on either side"):
        read_labels(write_png(tmp_path / "a.png", ringed))


# --- TIFF files that Pillow reads wrongly or not at all, and JPEG ---


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, np.uint32, np.int8, np.int16])
def test_tiff_of_any_type(dtype, tmp_path):
    labels = np.zeros(SIZE_HW, dtype)
    labels[10:50, 10:60], labels[60:100, 30:90] = 1, 100
    tifffile.imwrite(tmp_path / "a.tif", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").labels, labels)


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_tiff_of_large_numbers(dtype, tmp_path):
    labels = np.zeros(SIZE_HW, dtype)
    labels[10:50, 10:60], labels[60:100, 30:90] = 7, 2**31 + 5
    tifffile.imwrite(tmp_path / "a.tif", labels)
    np.testing.assert_array_equal(
        read_labels(tmp_path / "a.tif").labels, (labels > 0) + (labels > 7).astype(int)
    )


def test_tiff_of_impossible_numbers(tmp_path, refusal):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 2**63]], np.uint64))
    with refusal(DataError, "a.tif has numbers from 2^63 on"):
        read_labels(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.array([[np.nan, 1, np.inf]], np.float32))
    with refusal(DataError, "b.tif has 2 of 3 pixels that are NaN or infinite", "0 for the back"):
        read_labels(tmp_path / "b.tif")


def test_tiff_of_several_pages_is_refused(tmp_path, refusal):
    labels = np.zeros((5, *SIZE_HW), np.uint16)
    labels[:, 10:50, 10:60] = 1
    tifffile.imwrite(tmp_path / "a.tif", labels)
    with refusal(DataError, "5 pages; only label images of one page", "one file per page"):
        read_labels(tmp_path / "a.tif")


def test_jpeg_of_the_best_quality_is_one_mask_and_no_void(tmp_path, refusal):
    mask = np.zeros(SIZE_HW, np.uint8)
    mask[8:40, 8:40], mask[50:77, 64:99] = 255, 255
    Image.fromarray(mask).save(tmp_path / "a.jpg", quality=100)
    assert np.unique(np.asarray(Image.open(tmp_path / "a.jpg"))).tolist() == [0, 1, 255]
    with refusal(DataError, "a.jpg has 3 values", "JPEG", "--binary"):
        read_labels(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.jpg", binary=True).labels, mask > 0)


def test_colours_are_told_what_to_save_instead(tmp_path, refusal):
    painted()[1].save(tmp_path / "a.png")
    with refusal(DataError, "its mode is RGB. Save the numbers", "one file per mask", "--binary"):
        read_labels(tmp_path / "a.png")
