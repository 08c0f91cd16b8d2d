"""Simulated prompts, as described in the paper."""

import numpy as np
import pytest
import torch

from samkit.errors import ConfigError
from samkit.evaluation import first_click, next_click
from samkit.training.sam.clicks import cells_to_model
from samkit.training.sam.prompts import (
    PromptRecipe,
    corrective_points,
    drawn_points,
    new_point_plan,
    noisy_boxes,
    tight_boxes,
    uniform_points,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def regions():
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[0, 3:7, 5:6] = True
    masks[1, 0, 0] = masks[1, 15, 15] = True
    masks[2] = torch.rand(16, 16, generator=generator(5)) > 0.5
    return masks


def test_points_lie_in_their_region_and_are_spread_evenly(regions):
    counts = torch.zeros(3, 16, 16)
    draws = 4000
    shared = generator()
    for _ in range(draws):
        for number, (x, y) in enumerate(uniform_points(regions, shared).tolist()):
            counts[number, y, x] += 1
    assert (counts[~regions] == 0).all()
    for count, region in zip(counts, regions, strict=True):
        share = count[region] / draws
        expected = 1 / region.sum()
        assert ((share - expected).abs() < 5 * (expected / draws).sqrt()).all()


def test_a_point_in_a_full_frame_may_be_anywhere():
    full = torch.ones(2000, 4, 4, dtype=torch.bool)
    points = uniform_points(full, generator())
    assert len({tuple(point) for point in points.tolist()}) == 16


def test_corrections_say_what_was_missed_and_what_was_wrong(regions):
    truth = regions[:2].repeat(200, 1, 1)
    predicted = truth.clone()
    predicted[:, 3:7, 5:6] = False  # missed in the first, right in the second
    predicted[1::2, 8:10, 8:10] = True  # wrong in the second
    points, labels = corrective_points(truth, predicted, generator())
    x, y = points.T
    assert labels[0::2].eq(1).all()
    assert labels[1::2].eq(0).all()
    assert ((x[0::2] == 5) & (y[0::2] >= 3) & (y[0::2] < 7)).all()
    assert ((x[1::2] >= 8) & (x[1::2] < 10) & (y[1::2] >= 8) & (y[1::2] < 10)).all()


def test_both_kinds_of_error_are_corrected_in_proportion():
    truth = torch.zeros(3000, 8, 8, dtype=torch.bool)
    truth[:, :3] = True  # 24 cells missed
    predicted = torch.zeros_like(truth)
    predicted[:, 7] = True  # 8 cells wrong
    _, labels = corrective_points(truth, predicted, generator())
    assert abs(labels.float().mean() - 24 / 32) < 0.03


def test_points_in_the_middle_are_those_of_the_robot_user(regions):
    shared = generator()
    expected = [first_click(region.numpy()) for region in regions]
    points = drawn_points(regions, shared, center_probability=1)
    assert points.tolist() == [[click.x, click.y] for click in expected]
    shifted = regions.roll(3, dims=-1)
    points, labels = corrective_points(regions, shifted, shared, center_probability=1)
    pairs = zip(regions.numpy(), shifted.numpy(), strict=True)
    clicks = [next_click(truth, predicted) for truth, predicted in pairs]
    assert points.tolist() == [[click.x, click.y] for click in clicks]
    assert labels.tolist() == [int(click.is_foreground) for click in clicks]


def test_some_points_are_in_the_middle():
    masks = torch.ones(2000, 9, 9, dtype=torch.bool)
    points = drawn_points(masks, generator(), center_probability=0.5)
    in_the_middle = (points == 4).all(1).float().mean()
    assert abs(in_the_middle - (0.5 + 0.5 / 81)) < 0.04


def test_a_perfect_mask_is_confirmed_from_within(regions):
    points, labels = corrective_points(regions, regions.clone(), generator())
    assert labels.eq(1).all()
    assert all(regions[i, y, x] for i, (x, y) in enumerate(points.tolist()))


def test_boxes_are_tight(regions):
    ys, xs = np.nonzero(regions[2].numpy())
    assert tight_boxes(regions).tolist() == [
        [5, 3, 6, 7],
        [0, 0, 16, 16],
        [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1],
    ]


def test_box_noise_is_a_tenth_of_the_side_and_at_most_20_pixels_of_1024():
    recipe = PromptRecipe()
    small = torch.tensor([[400.0, 400, 500, 440]]).repeat(20000, 1)
    off = noisy_boxes(small, 1024, recipe, generator()) - small
    # Clipped at two deviations in x, at five in y.
    assert abs(off[:, 1].std() - 4) < 0.1
    assert off[:, 0].abs().max() == 20
    assert abs((off[:, 0].abs() == 20).float().mean() - 0.0455) < 0.01
    large = torch.tensor([[100.0, 100, 900, 900]]).repeat(1000, 1)
    assert (noisy_boxes(large, 1024, recipe, generator()) - large).abs().max() == 20
    assert (noisy_boxes(large / 8, 128, recipe, generator()) - large / 8).abs().max() == 2.5


def test_noisy_boxes_stay_boxes_inside_the_frame():
    boxes = torch.tensor([[0.0, 0, 1024, 1024], [10, 10, 11, 11]]).repeat(500, 1)
    noisy = noisy_boxes(boxes, 1024, PromptRecipe(box_noise=3.0), generator())
    assert (noisy[:, :2] <= noisy[:, 2:]).all()
    assert noisy.min() >= 0
    assert noisy.max() <= 1024


def test_the_paper_asks_eleven_times_and_once_without_a_point_among_the_corrections():
    recipe = PromptRecipe()
    plans = [new_point_plan(recipe, generator(seed)) for seed in range(200)]
    places = set()
    for plan in plans:
        assert len(plan) == 10
        assert sum(plan) == 8
        assert plan[-1] is False
        places.add(plan.index(False))
    assert places == set(range(8))


@pytest.mark.parametrize(
    ("recipe", "plan"),
    [
        (PromptRecipe(corrections=0), [False]),
        (PromptRecipe(corrections=0, mask_only_last=False), []),
        (PromptRecipe(corrections=2, mask_only_between=False), [True, True, False]),
    ],
)
def test_a_shorter_session(recipe, plan):
    assert new_point_plan(recipe, generator()) == plan


def test_cell_centres_are_pixel_indices_of_the_model_frame():
    assert cells_to_model(torch.tensor([[0, 255]]), 256, 1024).tolist() == [[1.5, 1021.5]]
    assert cells_to_model(torch.tensor([[7, 9]]), 1024, 1024).tolist() == [[7.0, 9.0]]


def test_the_number_of_corrections_may_be_drawn():
    recipe = PromptRecipe(
        corrections=4, min_corrections=2, mask_only_between=False, mask_only_last=False
    )
    shared = generator()
    lengths = [len(new_point_plan(recipe, shared)) for _ in range(300)]
    assert set(lengths) == {2, 3, 4}
    assert all(70 < lengths.count(length) < 130 for length in set(lengths))
    with pytest.raises(ConfigError, match="min_corrections must be at least 0 and at most 4"):
        PromptRecipe(corrections=4, min_corrections=5)
