"""The judge: costs of masks, intervals over images, and what is promoted."""

import numpy as np
import pytest

from samkit.dataengine import Learning
from samkit.learning.judge import Costs, cost, judge_costs, paired_interval

LEARNING = Learning(max_clicks=8, paint_clicks=5)


def costs(clicks, iou_1=None, num_masks=None):
    """Costs of images with ten masks each."""
    masks = num_masks or [10] * len(clicks)
    ious = [0.8] * len(clicks) if iou_1 is None else iou_1
    return Costs(
        num_masks=tuple(masks),
        clicks=tuple(mean * count for mean, count in zip(clicks, masks, strict=True)),
        clicks90=tuple(mean * count for mean, count in zip(clicks, masks, strict=True)),
        iou_1=tuple(mean * count for mean, count in zip(ious, masks, strict=True)),
    )


@pytest.mark.parametrize(
    ("ious", "expected"),
    [
        ([0.9], 1),
        ([0.5, 0.85], 2),
        ([0.5, 0.86, 0.4], 2),
        ([0.5] * 8, 13),
        ([0.5] * 7 + [0.9], 8),
        # An error-free answer that void pixels hide cannot be clicked further: it is painted.
        ([0.2, 0.3], 13),
    ],
)
def test_a_mask_costs_clicks_and_painting(ious, expected):
    assert cost(ious, 0.85, LEARNING) == expected


def test_better_on_every_image_is_promoted():
    before, after = costs([3.0, 4.0, 2.0, 5.0] * 2), costs([2.0, 3.0, 1.5, 4.5] * 2)
    result = judge_costs(before, after, general=None, max_forgotten=0.02)
    assert result.is_better
    assert result.clicks == (3.5, 2.75)
    assert (result.num_images, result.num_masks) == (8, 80)
    low, high = result.difference
    assert -1.1 <= low < -0.75 < high < 0
    assert result.reason.startswith("better: 3.50 to 2.75 clicks a mask")


def test_better_by_chance_is_rejected():
    before, after = costs([3.0, 4.0, 2.0, 5.0] * 2), costs([1.0, 4.5, 2.5, 5.2] * 2)
    result = judge_costs(before, after, general=None, max_forgotten=0.02)
    assert result.clicks[1] < result.clicks[0]
    assert not result.is_better
    assert result.reason.startswith("not better beyond chance: 3.50 to 3.30")


@pytest.mark.parametrize(("forgotten", "is_better"), [(0.015, True), (0.03, False)])
def test_a_model_that_forgets_is_rejected(forgotten, is_better):
    before, after = costs([3.0] * 6), costs([2.0] * 6)
    general = (costs([1.0] * 3, [0.8] * 3), costs([1.0] * 3, [0.8 - forgotten] * 3))
    result = judge_costs(before, after, general=general, max_forgotten=0.02)
    assert result.is_better is is_better
    assert result.general_iou_1 == pytest.approx((0.8, 0.8 - forgotten))
    assert ("general images are 0.030" in result.reason) is not is_better


def test_the_same_model_is_never_better():
    same = costs([3.0, 1.0, 2.0] * 2)
    result = judge_costs(same, same, general=None, max_forgotten=1)
    assert result.difference == (0, 0)
    assert not result.is_better


def test_means_count_masks_not_images():
    uneven = costs([2.0, 8.0], num_masks=[30, 10])
    assert uneven.mean("clicks") == pytest.approx(3.5)
    low, high = paired_interval([60, 80] * 3, [30, 80] * 3, [30, 10] * 3)
    assert -1 <= low < -30 / 40 < high <= 0


def test_images_without_masks_change_nothing():
    some = paired_interval([30, 40, 20] * 2, [25, 30, 20] * 2, [10] * 6)
    more = paired_interval([30, 40, 20] * 2 + [0], [25, 30, 20] * 2 + [0], [10] * 6 + [0])
    assert more == some
    assert paired_interval([30] * 5, [10] * 5, [10] * 5) is None
    assert paired_interval([], [], []) is None


def test_too_few_images_tell_nothing():
    result = judge_costs(costs([3.0] * 5), costs([1.0] * 5), general=None, max_forgotten=1)
    assert (result.is_better, result.difference) == (False, None)
    assert result.reason == "too few images to tell: 3.00 to 1.00 clicks a mask"
    assert result.figures()["difference"] is None


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    random = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        effect = random.normal(-0.5, 1, 30)  # of images
        low, high = paired_interval(np.zeros(30), effect * 5, np.full(30, 5))
        held += low <= -0.5 <= high
    assert 0.82 <= held / 200 <= 0.96  # 90%, within the noise of 200 draws
