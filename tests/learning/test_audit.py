"""Figures of a quality audit: pairs, what became of masks, intervals, histograms, plots."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import AuditedImage, StoredImage
from samkit.evaluation import draw_groups
from samkit.geometry import encode_rle
from samkit.learning import AuditFigures, CorrectedImage, measure_audit, write_audit_plots
from samkit.learning.audit import centre_map, common_edges, estimate_median, estimate_ratio


def rle_of(x0, y0, x1, y1):
    mask = np.zeros((10, 20), bool)
    mask[y0:y1, x0:x1] = True
    return encode_rle(mask)


def audited(automatic, corrected, review="submitted"):
    image = StoredImage(
        id=1,
        project_id=1,
        path="a.png",
        sha256="",
        num_bytes=1,
        size_hw=(10, 20),
        value_range="auto",
        stage="fully-automatic",
        review=review,
        comment="",
        num_masks=0,
        num_annotators=1,
        open=False,
        version=1,
    )
    return AuditedImage(image=image, automatic=automatic, corrected=corrected)


TEN = rle_of(0, 0, 10, 1)  # 10 pixels
NINE = rle_of(0, 0, 9, 1)
FAR = rle_of(12, 5, 18, 9)


def test_each_mask_is_compared_with_what_became_of_it():
    before = {1: TEN, 2: rle_of(0, 4, 10, 8), 3: FAR, 4: rle_of(0, 9, 2, 10)}
    after = {
        1: TEN,
        2: rle_of(0, 4, 10, 6),
        7: rle_of(12, 5, 18, 8),  # 3, drawn anew with 18 of its 24 pixels
        8: rle_of(15, 0, 20, 3),
    }
    figures = measure_audit([audited(before, after)])
    assert [(pair.fate, pair.iou) for pair in figures.pairs] == [
        ("unchanged", 1.0),
        ("edited", 0.5),
        ("redrawn", 0.75),
    ]
    assert figures.num_masks == {
        "automatic": 4,
        "corrected": 4,
        "pairs": 3,
        "unchanged": 1,
        "edited": 1,
        "redrawn": 1,
        "deleted": 1,
        "added": 1,
    }
    values = {name: one.value for name, one in figures.estimates.items()}
    assert values["iou_over_0.90"] == values["iou_over_0.75"] == pytest.approx(1 / 3)
    assert values["mean_iou"] == pytest.approx(0.75)
    assert values["deleted"] == values["added"] == 0.25
    # Of a single image there is no interval.
    assert {one.interval for one in figures.estimates.values()} == {None}


def test_a_share_is_of_what_is_over_the_threshold():
    nine_of_ten = measure_audit([audited({1: TEN}, {1: NINE})])
    assert nine_of_ten.pairs[0].iou == pytest.approx(0.9)
    assert nine_of_ten.estimates["iou_over_0.90"].value == 0
    assert nine_of_ten.estimates["iou_over_0.75"].value == 1


def test_masks_that_overlap_by_half_are_of_different_objects():
    figures = measure_audit([audited({1: TEN}, {2: rle_of(0, 0, 5, 1)})])
    assert (figures.pairs, figures.images[0].num_deleted, figures.images[0].num_added) == ((), 1, 1)


def test_images_that_nobody_has_submitted_are_open():
    calls = []
    figures = measure_audit(
        [
            audited({1: TEN}, None, review="none"),
            audited({1: TEN}, None, review="returned"),
            audited({1: TEN}, None, review="unusable"),
        ],
        on_image=calls.append,
    )
    assert (figures.num_open, figures.num_unusable, figures.images) == (2, 1, ())
    assert calls == [1, 2, 3]
    assert {one.value for one in figures.estimates.values()} == {None}
    content = json.loads(json.dumps(figures.to_json(), allow_nan=False))
    assert content["images"] == {"sampled": 3, "corrected": 0, "open": 2, "unusable": 1}


def test_figures_of_both_sides():
    figures = measure_audit(
        [audited({1: TEN, 2: FAR}, {1: TEN}), audited({}, {5: TEN, 6: TEN, 7: TEN})]
    )
    values = {name: one.value for name, one in figures.estimates.items()}
    assert (values["automatic_mean"], values["corrected_mean"]) == (1, 2)
    assert (values["automatic_median"], values["corrected_median"]) == (1, 2)
    assert values["corrected_size"] == pytest.approx(np.sqrt(10 / 200))
    assert values["corrected_concavity"] == 0
    assert (values["deleted"], values["added"]) == (0.5, 0.75)
    content = json.loads(json.dumps(figures.to_json(), allow_nan=False))
    assert content["masks_per_image"] == {"automatic": [2, 0], "corrected": [1, 3]}
    assert content["iou"]["counts"] == [0] * 19 + [1]
    assert content["size"]["edges"][-1] == 0.4  # the root of 24 / 200 is 0.346
    assert sum(content["size"]["automatic"]["counts"]) == 2
    assert content["size"]["corrected"]["quantiles"]["0.5"] == pytest.approx(np.sqrt(0.05))


def test_intervals_take_images_as_wholes():
    """100 masks in 10 images that agree within each are 10 observations, not 100."""
    weights = draw_groups(10, np.random.default_rng(0))
    together = estimate_ratio([(10, 10)] * 7 + [(0, 10)] * 3, weights, is_share=True)
    apart = estimate_ratio([(7, 10)] * 10, weights, is_share=True)
    assert together.value == apart.value == pytest.approx(0.7)
    low, high = together.interval
    # By the t distribution with 9 degrees: 0.7 +- 2.262 * sqrt(0.21 / 9).
    assert low == pytest.approx(0.7 - 0.346, abs=0.06)
    assert high == pytest.approx(min(0.7 + 0.346, 1), abs=0.06)
    assert apart.interval == pytest.approx((0.7, 0.7))


def test_intervals_contain_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        chance = rng.choice([0.5, 0.9], size=20)  # images differ; 0.7 on average
        right = rng.binomial(8, chance)
        weights = draw_groups(20, np.random.default_rng(trial), resamples=1000)
        low, high = estimate_ratio([(n, 8) for n in right], weights, is_share=True).interval
        hits += low <= 0.7 <= high
    assert 180 <= hits <= 199


def test_a_share_of_all_or_none_is_not_certain():
    weights = draw_groups(10, np.random.default_rng(0))
    all_ten = estimate_ratio([(4, 4)] * 10, weights, is_share=True)
    assert (all_ten.value, all_ten.interval[1]) == (1, 1)
    assert all_ten.interval[0] ** 10 == pytest.approx(0.025)  # ten in a row by chance
    none = estimate_ratio([(0, 4)] * 10, weights, is_share=True)
    assert none.interval == pytest.approx((0, 1 - all_ten.interval[0]))
    # A mean that is 1 is no share.
    assert estimate_ratio([(4, 4)] * 10, weights, is_share=False).interval == (1, 1)


def test_images_without_pairs_count_for_nothing():
    weights = draw_groups(8, np.random.default_rng(0))
    five = [(1, 2), (2, 2), (1, 2), (2, 2), (1, 2)]
    assert estimate_ratio([*five, (0, 0), (0, 0), (0, 0)], weights, is_share=True).interval is None
    assert estimate_ratio([(0, 0)] * 8, weights, is_share=True).value is None


def test_median_and_its_resamples():
    counts = [5, 1, 9, 3]
    assert estimate_median(counts, draw_groups(4, np.random.default_rng(0))).value == 4
    many = [7, 1, 4, 9, 2, 5, 8, 3]
    draws = draw_groups(8, np.random.default_rng(0), resamples=500)
    expected = [np.median(np.repeat(many, row)) for row in draws]
    found = estimate_median(many, draws)
    assert found.value == 4.5
    low, high = np.quantile(expected, [0.0055, 0.9945])  # expanded for 8 images
    assert found.interval == pytest.approx((low, high), abs=1)
    assert found.interval[0] < 4.5 < found.interval[1]


def test_centres_are_counted_where_they_are():
    figures = measure_audit([audited({1: rle_of(0, 0, 2, 2)}, {1: rle_of(18, 8, 20, 10)})])
    before, after = centre_map(figures.automatic), centre_map(figures.corrected)
    assert before.sum() == after.sum() == 1
    # Of 16 x 16 parts: x 1 / 20, y 1 / 10; then x 19 / 20, y 9 / 10.
    assert (before[1, 0], after[14, 15]) == (1, 1)
    assert centre_map(()).sum() == 0


def test_edges_are_common_and_round():
    edges = common_edges([np.array([0.1, 0.32]), np.array([])], step=0.1)
    assert (len(edges), edges[0], edges[-1]) == (21, 0, pytest.approx(0.4))
    assert common_edges([np.array([0.0])], step=0.1)[-1] == 0.1
    assert common_edges([np.array([20.0])], step=20)[-1] == 20


def test_plots_are_drawn_where_there_is_something(tmp_path):
    figures = measure_audit(
        [audited({1: TEN, 2: FAR, 3: FAR}, {1: NINE, 2: FAR, 9: FAR, 10: TEN})] * 7
    )
    paths = write_audit_plots(figures, tmp_path)
    assert [path.name for path in paths] == ["iou.png", "masks.png", "centres.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width > 2 * picture.height / 1.8
            assert len(picture.convert("RGB").getcolors(2**24)) > 20
    nothing = AuditFigures(images=(), num_open=3, num_unusable=0)
    assert write_audit_plots(nothing, tmp_path) == []
    without_pairs = AuditFigures(
        images=(
            CorrectedImage(
                pairs=(), num_deleted=0, num_added=1, automatic=(), corrected=figures.corrected[:1]
            ),
        ),
        num_open=0,
        num_unusable=0,
    )
    assert [path.name for path in write_audit_plots(without_pairs, tmp_path)] == [
        "masks.png",
        "centres.png",
    ]
