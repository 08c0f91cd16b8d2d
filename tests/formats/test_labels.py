"""All masks in one picture of numbers."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from samkit.errors import FormatError
from samkit.formats import label_map, write_png
from samkit.types import Masks


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
