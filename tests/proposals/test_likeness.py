"""How much masks look like an example, on features and colours that are known."""

import numpy as np
import pytest
import torch

from samkit import ImageEmbedding
from samkit.errors import PromptError
from samkit.geometry import CoordMap, encode_rle
from samkit.models import ImageFeatures
from samkit.proposals import similarity

HEIGHT, WIDTH, GRID = 32, 64, 8  # one position of the features is 8 x 8 pixels
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def box(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return encode_rle(mask)


@pytest.fixture
def embedding():
    """Left half: first feature; right half: second; both in the last column. Padding is noise."""
    grid = torch.full((1, 3, GRID, GRID), 50.0)
    grid[..., :4, :] = 1.0
    grid[0, 0, :4, :4] += 2
    grid[0, 1, :4, 4:] += 2
    grid[0, 0, :4, 7:] += 2
    return ImageEmbedding(
        features=ImageFeatures((grid,)),
        coords=CoordMap(original_hw=(HEIGHT, WIDTH), model_size=64),
        model_name="made",
        encoder_checksum="0",
    )


def test_masks_of_the_same_features_are_alike(embedding):
    left, other_left, right, last = (
        box(0, 0, 16, 16),
        box(9, 17, 25, 32),
        box(40, 0, 48, 16),
        box(56, 0, 64, 32),
    )
    nothing = box(0, 0, 0, 0)
    found = similarity(embedding, GREY, [left], [left, other_left, right, last, nothing])
    # Less their means, 1.25 and 1, the features are (.75, -1), (-1.25, 1) and in the end (.75, 1).
    cosines = [1, 1, -1.9375 / (1.25 * np.hypot(1.25, 1)), -0.4375 / 1.25**2]
    np.testing.assert_allclose(found, [*np.exp(np.array(cosines) - 1), 0], atol=1e-6)
    best_of_both = similarity(embedding, GREY, [left, right], [other_left, right])
    np.testing.assert_allclose(best_of_both, 1, atol=1e-6)


def test_parts_of_a_position_count_by_their_area(embedding):
    half = box(24, 0, 40, 8)  # as much of the left as of the right half
    [found] = similarity(embedding, GREY, [half], [box(28, 0, 36, 8)])
    assert found == pytest.approx(1, abs=1e-6)


def test_colours_count_by_their_overlap(embedding):
    image = GREY.copy()
    image[:, 8:16] = 255  # another lightness; greys have the same two other channels
    grey, half, white = box(0, 0, 8, 8), box(4, 0, 12, 8), box(8, 0, 16, 8)
    found = similarity(embedding, image, [grey], [grey, half, white])
    np.testing.assert_allclose(found, np.exp([0, -0.5 / 3, -1 / 3]), atol=1e-6)


def test_there_must_be_an_example_of_this_image(embedding, refusal):
    with refusal(PromptError, "at least one mask"):
        similarity(embedding, GREY, [], [])
    small = encode_rle(np.ones((4, 4), bool))
    with refusal(PromptError, "(4, 4)", "(32, 64)"):
        similarity(embedding, GREY, [small], [])
