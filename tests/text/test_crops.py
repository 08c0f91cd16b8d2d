"""Square crops around masks."""

import numpy as np
import pytest

from samkit.text.crops import cut_crop, draw_crop, mask_patch, square_around

IMAGE = np.random.default_rng(0).integers(1, 256, (30, 40, 3), np.uint8)


def box_mask(x0, y0, x1, y1):
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[y0:y1, x0:x1] = True
    return mask


def crop(mask, **settings):
    patch, box = mask_patch(mask)
    return cut_crop(IMAGE, patch, box, **{"growth": 1.0, "alone": False, **settings})


def test_the_square_has_the_longer_side_and_the_same_centre():
    assert square_around(np.array([10, 20, 30, 26]), 1.0) == (10, 13, 20)
    x, y, side = square_around(np.array([10, 20, 30, 26]), 1.5)
    assert (side, x + side / 2, y + side / 2) == (30, 20, 23)
    assert square_around(np.array([5, 5, 6, 6]), 0.1)[2] == 1


def test_a_square_box_is_cut_as_it_is():
    cut = crop(box_mask(3, 4, 13, 14), size=10)
    np.testing.assert_array_equal(cut, IMAGE[4:14, 3:13])


def test_a_crop_has_what_is_around_the_mask_or_black():
    mask = box_mask(10, 10, 20, 20)
    mask[10:15, 10:15] = False
    mask[10, 10] = True  # the box stays
    around = crop(mask, growth=2.0, size=20)
    np.testing.assert_array_equal(around, IMAGE[5:25, 5:25])
    alone = crop(mask, growth=2.0, alone=True, size=20)
    np.testing.assert_array_equal(alone, np.where(mask[..., None], IMAGE, 0)[5:25, 5:25])


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_outside_of_the_image_is_black(alone):
    cut = crop(box_mask(30, 0, 40, 10), growth=2.0, alone=alone, size=20)
    assert not cut[:5].any()
    assert not cut[:, 15:].any()
    np.testing.assert_array_equal(cut[5:15, 5:15], IMAGE[0:10, 30:40])


def test_crops_are_resized():
    cut = crop(box_mask(0, 0, 20, 20), size=7)
    assert cut.shape == (7, 7, 3)
    assert abs(cut.mean() - IMAGE[:20, :20].mean()) < 8


def test_a_patch_is_the_mask_in_its_box():
    mask = box_mask(3, 4, 9, 6)
    patch, box = mask_patch(mask)
    assert box.tolist() == [3, 4, 9, 6]
    assert patch.shape == (2, 6)
    assert patch.all()


def test_crops_of_training_are_drawn_between_once_and_twice_the_box():
    mask = box_mask(15, 10, 25, 20)
    kinds = set()
    for seed in range(40):
        drawn = draw_crop(np.random.default_rng(seed), IMAGE, mask, 10)
        rng = np.random.default_rng(seed)
        growth, alone = rng.uniform(1, 2), rng.uniform() < 0.5
        np.testing.assert_array_equal(drawn, crop(mask, growth=growth, alone=alone, size=10))
        kinds.add(bool(alone))
    assert kinds == {True, False}
