"""PNG files: images, masks, and label images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from samkit.errors import FormatError, OutputError
from samkit.formats import (
    label_layers,
    label_map,
    label_rles,
    read_image,
    read_labels,
    write_mask_png,
    write_png,
)
from samkit.geometry import decode_rle, encode_rle
from samkit.types import Masks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("masks")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@given(mask=st_numpy.arrays(bool, st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=9)))
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


def test_smaller_masks_lie_over_larger_ones(masks, arrays):
    labels = label_map(masks)
    assert labels.dtype == np.uint16
    assert (labels[arrays[0]] == 1).all()
    assert (labels[arrays[1] & ~arrays[0] & ~arrays[3]] == 2).all()
    assert labels[59, 89] == 5
    np.testing.assert_array_equal(labels == 0, ~arrays.any(axis=0))


def test_masks_that_do_not_overlap_come_back_from_the_file(masks, arrays, tmp_path):
    chosen = masks.select([0, 2, 3, 4])
    write_png(tmp_path / "a.png", label_map(chosen))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        labels = np.asarray(image)
    for number, mask in enumerate(chosen.to_arrays(), start=1):
        np.testing.assert_array_equal(labels == number, mask)


def test_numbers_above_255_and_the_last_one(tmp_path):
    count = 2**16 - 1
    plain = Masks.from_arrays(np.eye(1, 2, dtype=bool)[None], [1.0])
    many = plain.select(np.zeros(count, int))
    labels = label_map(many)
    assert labels.tolist() == [[count, 0]]
    write_png(tmp_path / "a.png", labels)
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image).tolist() == [[count, 0]]


def test_one_mask_more_is_refused(refusal):
    plain = Masks.from_arrays(np.ones((1, 1, 1), bool), [1.0])
    with refusal(FormatError, "at most 65535 masks; got 65536"):
        label_map(plain.select(np.zeros(2**16, int)))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_order_of_scores_does_not_matter(order, masks):
    labels = label_map(replace(masks.select(order), scores=np.array([1, 0], np.float32)))
    assert labels[35, 30] == order.index(0) + 1


def test_no_masks(no_masks):
    assert not label_map(no_masks).any()


@given(
    st_numpy.arrays(
        np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4)
    )
)
def test_rles_are_those_of_each_number(labels):
    numbers = np.unique(labels[labels > 0])
    rles = label_rles(labels)
    assert len(rles) == len(numbers)
    for rle, number in zip(rles, numbers, strict=True):
        np.testing.assert_array_equal(decode_rle(rle), labels == number)


def test_written_label_image_comes_back(masks, tmp_path):
    chosen = masks.select([0, 2, 3, 4])
    path = write_png(tmp_path / "a.png", label_map(chosen))
    assert label_rles(read_labels(path).labels) == chosen.rles


@given(st_numpy.arrays(bool, st.tuples(st.integers(0, 5), st.just(3), st.just(4))))
def test_no_mask_of_a_layer_is_cut_off(masks):
    rles = [encode_rle(mask) for mask in masks]
    layers, numbers = label_layers(rles, (3, 4))
    assert len(layers) <= max(1, len(masks))
    for mask, (layer, number) in zip(masks, numbers, strict=True):
        np.testing.assert_array_equal(layers[layer - 1] == number, mask)


def test_masks_without_overlap_share_a_layer(arrays):
    layers, numbers = label_layers([encode_rle(arrays[index]) for index in (0, 2, 3, 1)], (60, 90))
    assert numbers == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert len(layers) == 2
