"""`ResizeLongestSide` of arrays and of tensors."""

import numpy as np
import pytest
import skimage.data
import torch

from samkit.compat.segment_anything.utils.transforms import ResizeLongestSide

SIZES = [(300, 451), (451, 300), (64, 64), (1, 900), (2000, 3000)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 451), (681, 1024)),
        ((451, 300), (1024, 681)),
        ((64, 64), (1024, 1024)),
        ((2000, 3000), (683, 1024)),
        ((1, 900), (1, 1024)),
    ],
)
def test_the_longest_side_becomes_the_target_length(size, expected):
    assert ResizeLongestSide.get_preprocess_shape(*size, 1024) == expected


@pytest.mark.parametrize("size", SIZES)
def test_coordinates_of_arrays_and_tensors_agree(size):
    resize = ResizeLongestSide(1024)
    points = np.random.default_rng(0).uniform(0, size[::-1], (2, 5, 2))
    boxes = points[:, :2].reshape(2, 4)
    height, width = resize.get_preprocess_shape(*size, 1024)
    scaled = resize.apply_coords(points, size)
    np.testing.assert_allclose(scaled, points * (width / size[1], height / size[0]))
    np.testing.assert_allclose(
        resize.apply_coords_torch(torch.as_tensor(points), size), scaled, rtol=1e-6
    )
    np.testing.assert_allclose(resize.apply_boxes(boxes, size), scaled[:, :2].reshape(2, 4))
    in_torch = resize.apply_boxes_torch(torch.as_tensor(boxes), size)
    assert in_torch.dtype == torch.float32
    np.testing.assert_allclose(in_torch, resize.apply_boxes(boxes, size), rtol=1e-6)


def test_inputs_are_left_alone():
    resize, points, boxes = ResizeLongestSide(64), np.ones((3, 2)), torch.ones(2, 4)
    resize.apply_coords(points, (10, 20))
    resize.apply_boxes_torch(boxes, (10, 20))
    assert (points == 1).all()
    assert (boxes == 1).all()


@pytest.mark.parametrize("side", [96, 512])
def test_images_of_arrays_and_tensors_agree(side):
    photo = skimage.data.chelsea()
    resize = ResizeLongestSide(side)
    array = resize.apply_image(photo)
    assert array.dtype == np.uint8
    assert array.shape == (*resize.get_preprocess_shape(300, 451, side), 3)
    pixels = torch.as_tensor(photo).permute(2, 0, 1)[None]
    tensor = resize.apply_image_torch(pixels)
    assert torch.equal(tensor, resize.apply_image_torch(pixels.float()))
    assert np.abs(tensor[0].permute(1, 2, 0).numpy() - array).max() <= 1


def test_an_image_of_the_right_size_stays():
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    np.testing.assert_array_equal(ResizeLongestSide(64).apply_image(image), image)
