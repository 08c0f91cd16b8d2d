"""Masks of turned and resized images come to where they belong, or nowhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from samkit.annotations import AnnotatedImage, AnnotatedMask, CocoSegmentation, draw_image
from samkit.annotations.spaces import turn_upright
from samkit.errors import DataError
from samkit.geometry import decode_rle, encode_rle

RECTANGLE = [[4, 4, 12, 4, 12, 10, 4, 10]]


def image(tmp_path, segmentation, size_hw):
    mask = AnnotatedMask(where="annotation 1", shape=CocoSegmentation(segmentation))
    return AnnotatedImage(name="a.png", file=tmp_path, size_hw=size_hw, masks=(mask,))


@pytest.mark.parametrize("orientation", range(1, 9))
@given(mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_masks_turn_as_images_do(orientation, mask):
    picture = Image.fromarray(mask.astype(np.uint8))
    exif = picture.getexif()
    exif[0x0112] = orientation
    turned = np.asarray(ImageOps.exif_transpose(picture)) > 0
    got = mask if orientation == 1 else turn_upright(mask, orientation)
    np.testing.assert_array_equal(got, turned)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_on_the_stored_image_are_turned(orientation, tmp_path):
    stored = np.zeros((40, 64), bool)
    stored[4:10, 4:12] = True
    for segmentation in (RECTANGLE, encode_rle(stored)):
        drawn = draw_image(image(tmp_path, segmentation, (40, 64)), (64, 40), orientation)
        expected = turn_upright(stored, orientation)
        np.testing.assert_array_equal(decode_rle(drawn.rles[0]), expected)
        assert drawn.notes == (
            "stated as 64 x 40, as it is stored: masks are turned by its EXIF orientation",
        )


@given(scale=st.integers(2, 5), height=st.integers(16, 60), width=st.integers(16, 60))
def test_masks_on_a_smaller_or_larger_image_are_scaled(scale, height, width, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    stated, size_hw = (height, width), (height * scale, width * scale)
    drawn = draw_image(image(base, RECTANGLE, stated), size_hw, 1)
    expected = np.zeros(size_hw, bool)
    expected[4 * scale : 10 * scale, 4 * scale : 12 * scale] = True
    np.testing.assert_array_equal(decode_rle(drawn.rles[0]), expected)
    assert "masks are scaled" in drawn.notes[0]
    # And back: the mask of the large image on the small one.
    back = draw_image(image(base, encode_rle(expected), size_hw), stated, 1)
    small = np.zeros(stated, bool)
    small[4:10, 4:12] = True
    np.testing.assert_array_equal(decode_rle(back.rles[0]), small)


@pytest.mark.parametrize(("stated", "orientation"), [((427, 640), 1), ((640, 427), 6)])
def test_sides_rounded_to_pixels_are_proportional(stated, orientation, tmp_path):
    drawn = draw_image(image(tmp_path, RECTANGLE, stated), (667, 1000), orientation)
    assert drawn.rles[0]["size"] == [667, 1000]
    assert "scaled" in drawn.notes[0]


@pytest.mark.parametrize(
    ("stated", "size_hw", "orientation"),
    [
        ((999, 999), (481, 321), 1),
        ((40, 64), (64, 40), 1),  # turned, but the image is not
        ((40, 64), (64, 40), 3),
        ((40, 61), (40, 60), 1),
        ((2, 3), (40, 60), 1),  # too small to tell
    ],
)
def test_other_sizes_are_refused(stated, size_hw, orientation, tmp_path, refusal):
    with refusal(DataError, f"but {stated[1]} x {stated[0]} in its annotations"):
        draw_image(image(tmp_path, RECTANGLE, stated), size_hw, orientation)


def test_a_mask_of_another_size_is_a_fault(tmp_path):
    other = encode_rle(np.ones((5, 5), bool))
    drawn = draw_image(image(tmp_path, other, None), (20, 30), 1)
    assert drawn.rles == ()
    assert drawn.faults[0].text.startswith("annotation 1: a mask must have the image's size")
