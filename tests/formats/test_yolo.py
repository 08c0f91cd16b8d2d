"""YOLO's segmentation labels, compared with the masks by drawing them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.formats import yolo_dataset_yaml, yolo_labels, yolo_path
from samkit.types import Masks


def read_lines(text, size_hw):
    """Class and points in pixels of each line."""
    height, width = size_hw
    for line in text.splitlines():
        number, *values = line.split(" ")
        points = np.array(values, float).reshape(-1, 2)
        assert ((points >= 0) & (points <= 1)).all()
        yield number, points * (width, height)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_masks_come_back(masks, outlines, arrays):
    lines = list(read_lines(yolo_labels(masks), masks.size_hw))
    drawn = [outlines(points, masks.size_hw) for _, points in lines]
    assert [number for number, _ in lines] == ["0"] * 5
    for index in (0, 1, 4):  # of one part, without holes
        np.testing.assert_array_equal(drawn[index], arrays[index])
    # A joining line more or less.
    assert iou(drawn[2], arrays[2]) > 0.95
    assert iou(drawn[3], arrays[3]) > 0.95


@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_every_mask_is_one_line_of_three_points_or_more(mask):
    masks = Masks.from_arrays(mask[None], [1.0])
    lines = list(read_lines(yolo_labels(masks), mask.shape))
    assert len(lines) == int(mask.any())
    for _, points in lines:
        assert len(points) >= 3


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 5000), (20_000, 7), (100_000, 1)])
def test_digits_are_enough_for_long_images(size_hw):
    mask = np.zeros(size_hw, bool)
    mask[-1, -1] = True
    ((_, points),) = read_lines(yolo_labels(Masks.from_arrays(mask[None], [1.0])), size_hw)
    expected = [[size_hw[1] - 1, size_hw[0] - 1]] * 3
    # Ultralytics truncates, others round, both in single precision.
    single = (points / size_hw[::-1]).astype(np.float32) * np.array(size_hw[::-1], np.float32)
    assert single.astype(int).tolist() == np.round(single).tolist() == expected


def test_no_masks(no_masks):
    assert yolo_labels(no_masks) == ""


def test_names_are_written_as_they_are_and_no_folder_is_named():
    text = yolo_dataset_yaml(['кот 😀 "x"', "b: c"], train="train", val="val")
    assert text == (
        'train: images/train\nval: images/val\nnames:\n  0: "кот 😀 \\"x\\""\n  1: "b: c"\n'
    )


def test_a_data_set_without_classes_names_one():
    """Readers refuse one that has none."""
    text = yolo_dataset_yaml([], train="all", val="all")
    assert text == 'train: images/all\nval: images/all\nnames:\n  0: "object"\n'


def test_no_subfolder_is_called_images():
    assert yolo_path("images/deep/images") == "images_/deep/images"
    assert yolo_path("a.png") == "a.png"
