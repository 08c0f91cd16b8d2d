"""Label images, read as a data set."""

import numpy as np
import pytest
from PIL import Image

from samkit.datasets import open_data
from samkit.errors import DataError, ImageError
from samkit.geometry import decode_rle


@pytest.fixture
def folder(tmp_path):
    """Images 0 to 3, and masks of 8 and 16 bits, with a palette, and of 1 bit."""
    (tmp_path / "images" / "deep").mkdir(parents=True)
    (tmp_path / "masks" / "deep").mkdir(parents=True)
    labels = np.zeros((20, 30), np.uint8)
    labels[2:9, 3:12], labels[11:19, 14:29] = 3, 200
    palette = Image.fromarray(labels)
    colours = [value for index in range(1, 256) for value in (index, 255 - index, 7)]
    palette.putpalette([0, 0, 0, *colours])
    kinds = {
        "a": Image.fromarray(labels),
        "b": Image.fromarray(labels.astype(np.uint16) * 300),
        "c": palette,
        "deep/d": Image.fromarray(labels > 0),
    }
    for name, picture in kinds.items():
        Image.new("RGB", (30, 20), "gray").save(tmp_path / "images" / f"{name}.jpg")
        picture.save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def boxes():
    expected = np.zeros((2, 20, 30), bool)
    expected[0, 2:9, 3:12] = expected[1, 11:19, 14:29] = True
    return expected


def test_numbers_of_all_kinds_of_png_are_masks(folder):
    data = open_data(str(folder))
    assert [data.key(index) for index in range(4)] == ["a.jpg", "b.jpg", "c.jpg", "deep/d.jpg"]
    for name, mode in {"a": "L", "b": "I;16", "c": "P", "deep/d": "1"}.items():
        with Image.open(folder / "masks" / f"{name}.png") as opened:
            assert opened.mode == mode
    for index in range(3):
        np.testing.assert_array_equal([decode_rle(rle) for rle in data[index].rles], boxes())
    np.testing.assert_array_equal(decode_rle(data[3].rles[0]), boxes().any(axis=0))


def test_broken_files_leave_the_others(folder, refusal):
    Image.new("RGB", (30, 20), (1, 2, 3)).save(folder / "masks" / "a.png")
    (folder / "masks" / "b.png").unlink()
    Image.new("L", (31, 20)).save(folder / "masks" / "c.png")
    data = open_data(str(folder))
    assert len(data) == 3  # of b, there is no file
    with refusal(DataError, "a.png must have one number at each pixel; its mode is RGB"):
        data[0]
    with refusal(DataError, "c.jpg: the image is 30 x 20 pixels, but 31 x 20 in its annotations"):
        data[1]
    content = (folder / "masks" / "deep" / "d.png").read_bytes()
    (folder / "masks" / "deep" / "d.png").write_bytes(content[: len(content) // 2])
    with refusal(DataError, "d.png cannot be read"):
        data[2]


def test_broken_image_is_its_own_error(folder):
    (folder / "images" / "deep" / "d.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match="is empty"):
        open_data(str(folder))[3]


def test_images_without_annotations_are_counted(folder, caplog):
    (folder / "masks" / "b.png").unlink()
    open_data(str(folder))
    assert "1 of 4 images" in caplog.text


def test_image_without_masks_has_none(folder):
    Image.new("L", (30, 20)).save(folder / "masks" / "a.png")
    assert open_data(str(folder))[0].rles == ()


def test_folder_without_masks_is_refused(tmp_path, refusal):
    with refusal(DataError, "has no .png or .tif"):
        open_data(f"png:{tmp_path}")


def test_masks_of_other_suffixes_are_found(folder):
    (folder / "masks" / "a.png").rename(folder / "masks" / "a.PNG")
    with Image.open(folder / "masks" / "b.png") as opened:
        opened.save(folder / "masks" / "b.tif")
    (folder / "masks" / "b.png").unlink()
    (folder / "masks" / "c.png").rename(folder / "masks" / "c_mask.png")
    data = open_data(str(folder))
    assert [data.key(index) for index in range(4)] == ["a.jpg", "b.jpg", "c.jpg", "deep/d.jpg"]
    for index in range(3):
        np.testing.assert_array_equal([decode_rle(rle) for rle in data[index].rles], boxes())
