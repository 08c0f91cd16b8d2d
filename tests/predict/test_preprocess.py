"""What the image encoder sees, against the steps written out with Pillow and NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.predict.preprocess import normalise, resize_image

SIDE = 128


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plain_pixels(image):
    """Longest side to 128, ImageNet's mean and deviation, zeros to the right and below."""
    height, width = image.shape[:2]
    longest = max(height, width)
    new_hw = [max(1, int(side * SIDE / longest + 0.5)) for side in (height, width)]
    resized = np.asarray(Image.fromarray(image).resize(new_hw[::-1], Image.Resampling.BILINEAR))
    mean = 255 * np.array([0.485, 0.456, 0.406])
    deviation = 255 * np.array([0.229, 0.224, 0.225])
    pixels = np.zeros((1, 3, SIDE, SIDE))
    normalised = (resized - mean) / deviation
    pixels[0, :, : new_hw[0], : new_hw[1]] = normalised.transpose(2, 0, 1)
    return pixels


def our_pixels(image):
    coords = CoordMap(original_hw=image.shape[:2], model_size=SIDE)
    return normalise(resize_image(image, coords), ImageSpec(size=SIDE))


@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 99))
def test_pixels_equal_the_steps_written_out(height, width, seed):
    image = random_image(height, width, seed)
    pixels = our_pixels(image)
    assert pixels.dtype == torch.float32
    np.testing.assert_allclose(pixels.numpy(), plain_pixels(image), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (128, 128), (128, 97), (64, 64)])
def test_sizes_at_the_edge_equal_the_steps_written_out(shape):
    image = random_image(*shape)
    np.testing.assert_allclose(our_pixels(image).numpy(), plain_pixels(image), atol=1e-5)


def test_image_of_the_model_size_is_not_resampled():
    image = random_image(100, SIDE)
    coords = CoordMap(original_hw=(100, SIDE), model_size=SIDE)
    np.testing.assert_array_equal(resize_image(image, coords), image)


def test_image_is_not_modified():
    image = random_image(50, 60)
    image.flags.writeable = False
    our_pixels(image)
