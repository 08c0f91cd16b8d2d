"""Masks and pictures as PNG files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from samkit.errors import OutputError
from samkit.formats import read_image, write_mask_png, write_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("masks")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_mask_comes_back(mask, folder):
    path = write_mask_png(folder / "mask.png", mask)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), mask * 255)
    assert names(folder) == ["mask.png"]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1)])
def test_picture_comes_back(shape, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = write_png(str(tmp_path / "a.png"), picture)
    assert path == tmp_path / "a.png"
    expected = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(path), expected)
    assert names(tmp_path) == ["a.png"]


def test_name_need_not_end_in_png(tmp_path):
    path = write_png(tmp_path / "picture", np.zeros((2, 2), np.uint8))
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_older_file_is_replaced(tmp_path):
    write_mask_png(tmp_path / "a.png", np.zeros((50, 50), bool))
    write_mask_png(tmp_path / "a.png", np.ones((1, 2), bool))
    assert (read_image(tmp_path / "a.png") == 255).all()
    assert names(tmp_path) == ["a.png"]


def test_missing_folder(tmp_path, refusal):
    with refusal(OutputError, "cannot write", str(tmp_path / "missing" / "a.png")):
        write_mask_png(tmp_path / "missing" / "a.png", np.zeros((2, 2), bool))
    assert names(tmp_path) == []


def test_folder_that_takes_no_files(tmp_path, refusal):
    (tmp_path / "file").write_bytes(b"old")
    with refusal(OutputError, "cannot write"):
        write_mask_png(tmp_path / "file" / "a.png", np.zeros((2, 2), bool))
    (tmp_path / "folder").mkdir()
    with refusal(OutputError, "cannot write"):
        write_mask_png(tmp_path / "folder", np.zeros((2, 2), bool))
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_array_that_is_no_picture_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        write_png(tmp_path / "a.png", np.zeros((2, 2, 7), np.complex64))
    assert names(tmp_path) == []
