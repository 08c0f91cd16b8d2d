"""LabelMe's polygons, compared with the masks by drawing them."""

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.formats import labelme_document
from samkit.formats.labelme_writing import draw_polygon, mask_rings
from samkit.types import Masks


@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14)))
def test_polygons_draw_the_mask(mask):
    drawn = np.zeros(mask.shape, bool)
    for ring in mask_rings(mask):
        assert len(ring) >= 3
        drawn |= draw_polygon(ring, mask.shape)
    np.testing.assert_array_equal(drawn, mask)


def test_a_mask_with_a_hole_is_one_polygon():
    mask = np.ones((9, 9), bool)
    mask[3:6, 3:6] = False
    assert len(list(mask_rings(mask))) == 1


def test_parts_are_in_one_group_and_single_ones_in_none():
    two = np.zeros((1, 5, 9), bool)
    two[0, 1:3, 1:3] = two[0, 1:3, 5:8] = True
    both = np.concatenate([two, np.ones((1, 5, 9), bool)])
    document = labelme_document(
        Masks.from_arrays(both, [1, 1]), image_path="a", labels=["x", "y"], extras={}
    )
    assert [(one["label"], one["group_id"]) for one in document["shapes"]] == [
        ("x", 1),
        ("x", 1),
        ("y", None),
    ]
