"""Validation of prompts, on their own and against the image."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samkit.errors import PromptError
from samkit.geometry import CoordMap, logits_to_original
from samkit.types import Prompts

COORDS = CoordMap(original_hw=(40, 60), model_size=128)
SIDE = COORDS.logits_size  # 32

# --- Prompts: shapes ---

PARTS = {  # of one prompt
    "points": {"points": [[1, 2], [3, 4], [5, 6]], "labels": [1, 0, 1]},
    "box": {"boxes": [1, 2, 30, 40]},
    "mask": {"mask_logits": np.arange(SIDE * SIDE).reshape(SIDE, SIDE)},
}
COMBINATIONS = [
    ("points",), ("box",), ("mask",), ("points", "box"), ("points", "mask"), ("box", "mask"),
    ("points", "box", "mask"),
]  # fmt: skip


def one_prompt(names):
    return {key: value for name in names for key, value in PARTS[name].items()}


def batch_of(count, prompt):
    """The same prompt several times, with the axes that a batch has."""
    batch = {name: np.stack([np.asarray(value)] * count) for name, value in prompt.items()}
    if "mask_logits" in batch:
        batch["mask_logits"] = batch["mask_logits"][:, None]
    return batch


def assert_shapes(prompts, count, names):
    expected = {
        "points_xy": (count, 3, 2) if "points" in names else None,
        "labels": (count, 3) if "points" in names else None,
        "boxes_xyxy": (count, 4) if "box" in names else None,
        "mask_logits": (count, 1, SIDE, SIDE) if "mask" in names else None,
    }
    for name, shape in expected.items():
        value = getattr(prompts, name)
        assert shape == (None if value is None else value.shape), name
    assert len(prompts) == count
    prompts.check_fits(COORDS)


@pytest.mark.parametrize("names", COMBINATIONS, ids="-".join)
def test_one_prompt_gets_a_prompt_axis(names):
    prompts = Prompts.of(**one_prompt(names))
    assert_shapes(prompts, 1, names)
    assert prompts.batched is False


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("names", COMBINATIONS, ids="-".join)
def test_batch_keeps_its_prompt_axis(names, count):
    prompts = Prompts.of(**batch_of(count, one_prompt(names)))
    assert_shapes(prompts, count, names)
    assert prompts.batched is True


def test_values_are_kept_and_have_one_type():
    prompts = Prompts.of(**one_prompt(("points", "box", "mask")))
    assert prompts.points_xy.tolist() == [[[1, 2], [3, 4], [5, 6]]]
    assert prompts.labels.tolist() == [[1, 0, 1]]
    assert prompts.boxes_xyxy.tolist() == [[1, 2, 30, 40]]
    np.testing.assert_array_equal(prompts.mask_logits[0, 0], PARTS["mask"]["mask_logits"])
    types = [
        getattr(prompts, name).dtype
        for name in ("points_xy", "labels", "boxes_xyxy", "mask_logits")
    ]
    assert types == [np.float64, np.int64, np.float64, np.float32]


def test_mask_of_one_prompt_may_have_the_axis_of_an_answer():
    mask = np.zeros((1, SIDE, SIDE))
    prompts = Prompts.of(mask_logits=mask)
    assert prompts.mask_logits.shape == (1, 1, SIDE, SIDE)
    assert prompts.batched is False


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
@pytest.mark.parametrize("dtype", [int, float])
def test_anything_like_an_array_is_taken(make, dtype):
    prompts = Prompts.of(points=make([[dtype(1), dtype(2)]]), labels=make([1]))
    assert prompts.points_xy.tolist() == [[[1, 2]]]


def test_later_changes_to_the_callers_array_of_integers_do_not_matter():
    points = np.array([[1, 2]])
    prompts = Prompts.of(points=points, labels=[1])
    points[:] = 9
    assert prompts.points_xy.tolist() == [[[1, 2]]]


def test_prompts_are_compared_by_identity():
    prompts, other = (Prompts.of(boxes=[1, 2, 3, 4]) for _ in range(2))
    assert prompts == prompts
    assert prompts != other
    assert len({prompts, other}) == 2


def test_prompts_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prompts.of(boxes=[1, 2, 3, 4]).boxes_xyxy = None


# --- Prompts: refusals ---

REFUSED = {
    "nothing": ({}, "needs text, points, a box or mask_logits"),
    "labels alone": ({"labels": [1]}, "labels need points"),
    "labels with a box": ({"labels": [1], "boxes": [0, 0, 1, 1]}, "labels need points"),
    "too few labels": (
        {"points": [[1, 2], [3, 4]], "labels": [1]},
        "points and labels must agree in number",
    ),
    "labels of a batch": ({"points": [[1, 2]], "labels": [[1]]}, "must agree in number"),
    "points of a batch": ({"points": [[[1, 2]]], "labels": [1]}, "must agree in number"),
    "label for all": ({"points": [[1, 2]], "labels": 1}, "must agree in number"),
    "label 2": ({"points": [[1, 2]], "labels": [2]}, "labels must be 1", "got 2"),
    "label -2": ({"points": [[1, 2]], "labels": [-2]}, "labels must be 1", "got -2"),
    "padding alone": ({"points": [[1, 2]], "labels": [-1]}, "needs at least one; got 0"),
    "a prompt of padding": (
        {"points": [[[1, 2]], [[3, 4]]], "labels": [[1], [-1]]},
        "needs at least one; got 0",
    ),
    "label 0.5": ({"points": [[1, 2]], "labels": [0.5]}, "labels must be 1", "got 0.5"),
    "label NaN": ({"points": [[1, 2]], "labels": [np.nan]}, "labels must be 1", "got nan"),
    "one number": (
        {"points": 5, "labels": [1]},
        "points must be (2,)",
        "got ()",
    ),
    "flat points": ({"points": [1, 2, 3], "labels": [1]}, "points must be (2,)", "got (3,)"),
    "empty list": ({"points": [], "labels": []}, "points must be (2,), (N, 2)", "got (0,)"),
    "three coordinates": ({"points": [[1, 2, 3]], "labels": [1]}, "got (1, 3)"),
    "four axes": ({"points": np.zeros((1, 1, 1, 2)), "labels": [1]}, "got (1, 1, 1, 2)"),
    "no points": ({"points": np.zeros((0, 2)), "labels": []}, "needs at least one; got 0"),
    "no points in a batch": (
        {"points": np.zeros((3, 0, 2)), "labels": np.zeros((3, 0))},
        "needs at least one; got 0",
    ),
    "NaN point": ({"points": [[1, np.nan]], "labels": [1]}, "points must be finite"),
    "infinite point": ({"points": [[1, np.inf]], "labels": [1]}, "points must be finite"),
    "None as coordinate": ({"points": [[1, None]], "labels": [1]}, "points must be"),
    "NaN box": ({"boxes": [0, 0, 1, np.nan]}, "boxes must be finite"),
    "infinite box": ({"boxes": [-np.inf, 0, 1, 1]}, "boxes must be finite"),
    "inverted box": ({"boxes": [5, 0, 1, 9]}, "x0 < x1 and y0 < y1; got 5, 0, 1, 9"),
    "box upside down": ({"boxes": [0, 9, 5, 1]}, "x0 < x1 and y0 < y1; got 0, 9, 5, 1"),
    "empty box": ({"boxes": [[0, 0, 1, 1], [3, 3, 3, 9]]}, "got 3, 3, 3, 9"),
    "box of three": ({"boxes": [1, 2, 3]}, "boxes must be (4,) or (P, 4); got (3,)"),
    "boxes of boxes": ({"boxes": np.ones((1, 1, 4))}, "got (1, 1, 4)"),
    "one number as box": ({"boxes": 5}, "boxes must be (4,) or (P, 4); got ()"),
    "flat mask": ({"mask_logits": np.zeros(9)}, "mask_logits must be (L, L)", "got (9,)"),
    "three masks": ({"mask_logits": np.zeros((3, SIDE, SIDE))}, "got (3, 32, 32)"),
    "three masks each": ({"mask_logits": np.zeros((2, 3, SIDE, SIDE))}, "got (2, 3, 32, 32)"),
    "NaN mask": ({"mask_logits": np.full((SIDE, SIDE), np.nan)}, "mask_logits must be finite"),
    "infinite mask": ({"mask_logits": np.full((SIDE, SIDE), -np.inf)}, "must be finite"),
    "mask beyond float32": ({"mask_logits": np.full((SIDE, SIDE), 1e300)}, "must be finite"),
    "ragged points": (
        {"points": [[1, 2], [3]], "labels": [1, 1]},
        "points must be numbers in a regular array",
        "[[1, 2], [3]]",
    ),
    "ragged points with labels of other lengths": (
        {"points": [[[1, 2]], [[3, 4], [5, 6]]], "labels": [[1], [1]]},
        "points and labels must agree in number; got points of 1, 2 and labels of 1, 1",
    ),
    "ragged points with a bad label": (
        {"points": [[[1, 2]], [[3, 4], [5, 6]]], "labels": [[1], [1, 7]]},
        "labels must be 1",
        "got 7",
    ),
    "ragged points, one prompt without any": (
        {"points": [[[1, 2]], []]},
        "needs at least one; got 0",
    ),
    "ragged points of three coordinates": (
        {"points": [[[1, 2, 3]], [[3, 4, 5], [5, 6, 7]]]},
        "points must be numbers in a regular array",
    ),
    "ragged labels": (
        {"points": [[1, 2]], "labels": [[1], [1, 0]]},
        "labels must be numbers in a regular array",
    ),
    "text": ({"boxes": "1 2 3 4"}, "boxes must be numbers in a regular array", "'1 2 3 4'"),
    "array of text": (
        {"points": np.array([["a", "b"], ["c", "d"]]), "labels": [1, 1]},
        "points must be numbers",
    ),
    "dictionary": ({"points": {"x": 1}, "labels": [1]}, "points must be numbers"),
    "integer beyond float64": ({"boxes": [0, 0, 1, 10**400]}, "boxes must be numbers"),
    "box of a batch with points of one": (
        {"points": [[1, 2]], "labels": [1], "boxes": [[0, 0, 1, 1]]},
        "either all parts of prompts have a prompt axis, or none",
        "points has not, boxes has",
    ),
    "mask of one with boxes of a batch": (
        {"boxes": [[0, 0, 1, 1]], "mask_logits": np.zeros((SIDE, SIDE))},
        "boxes has, mask_logits has not",
    ),
    "batches that disagree": (
        {"points": np.ones((3, 1, 2)), "labels": np.ones((3, 1)), "boxes": [[0, 0, 1, 1]]},
        "must agree in number; got 3 of points, 1 of boxes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_prompt_is_refused(case, refusal):
    values, *told = REFUSED[case]
    with refusal(PromptError, *told):
        Prompts.of(**values)


def clicks(*points):
    return Prompts.of(points=points, labels=[1] * len(points))


@pytest.mark.parametrize("xy", [(0, 0), (59, 39), (59.999, 39.999), (0.5, 20)])
def test_points_in_the_image_fit(xy):
    clicks((5, 5), xy).check_fits(COORDS)


@pytest.mark.parametrize("xy", [(60, 5), (5, 40), (-0.001, 5), (5, -1), (1e9, 5)])
def test_points_outside_of_the_image_do_not_fit(xy, refusal):
    x, y = xy
    told = f"point ({x:g}, {y:g}) lies outside of the image of width 60 and height 40"
    with refusal(PromptError, told):
        clicks((5, 5), xy).check_fits(COORDS)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 60, 40), (-9, -9, 70, 50), (59, 39, 99, 99), (-5, -5, 0.5, 0.5), (59.9, 5, 60.1, 6)],
)
def test_boxes_that_overlap_the_image_fit(box):
    Prompts.of(boxes=[(1, 1, 2, 2), box]).check_fits(COORDS)


@pytest.mark.parametrize(
    "box", [(60, 0, 70, 9), (0, 40, 9, 50), (-9, 0, 0, 9), (0, -9, 9, 0), (99, 99, 100, 100)]
)
def test_boxes_outside_of_the_image_do_not_fit(box, refusal):
    shown = ", ".join(str(v) for v in box)
    told = f"box ({shown}) lies outside of the image of width 60 and height 40"
    with refusal(PromptError, told):
        Prompts.of(boxes=[(1, 1, 2, 2), box]).check_fits(COORDS)


@pytest.mark.parametrize("shape", [(16, 16), (SIDE, SIDE + 1), (256, 256), (0, 0), (40, 60)])
def test_masks_of_another_size_do_not_fit(shape, refusal):
    prompts = Prompts.of(mask_logits=np.zeros(shape))
    with refusal(PromptError, "mask_logits must be (32, 32)", f"got {shape}"):
        prompts.check_fits(COORDS)


@pytest.mark.parametrize(
    ("given", "shape"), [([5, 6], (1, 1)), ([[5, 6], [7, 8]], (1, 2)), (np.ones((3, 2, 2)), (3, 2))]
)
def test_points_without_labels_are_foreground(given, shape):
    prompts = Prompts.of(points=given)
    assert prompts.labels.shape == shape
    assert (prompts.labels == 1).all()


def test_a_lone_point_has_a_lone_label():
    prompts = Prompts.of(points=[5, 6], labels=0)
    np.testing.assert_array_equal(prompts.points_xy, [[[5, 6]]])
    np.testing.assert_array_equal(prompts.labels, [[0]])
    assert not prompts.batched


# --- Prompts: padding, and none at all ---


def assert_two_prompts(prompts):
    assert prompts.points_xy.tolist() == [[[8, 10], [0, 0]], [[23, 14], [22, 13]]]
    assert prompts.labels.tolist() == [[1, -1], [0, 1]]
    assert prompts.num_points.tolist() == [1, 2]
    assert prompts.batched
    prompts.check_fits(COORDS)


@pytest.mark.parametrize("make", [list, np.array, torch.tensor])
def test_prompts_may_differ_in_their_number_of_points(make):
    points = [make([[8, 10]]), make([[23, 14], [22, 13]])]
    assert_two_prompts(Prompts.of(points=points, labels=[make([1]), make([0, 1])]))
    assert Prompts.of(points=points).labels.tolist() == [[1, -1], [1, 1]]


@pytest.mark.parametrize("label", [-1, -10])
@pytest.mark.parametrize("place", [(-10, -10), (0, 0), (999, 5), (np.nan, np.nan)])
def test_points_labelled_as_padding_are_left_out(label, place):
    points = [[place, [8, 10], place], [[23, 14], place, [22, 13]]]
    labels = [[label, 1, label], [0, label, 1]]
    assert_two_prompts(Prompts.of(points=points, labels=labels))
    one = Prompts.of(points=points[0], labels=labels[0])
    assert one.points_xy.tolist() == [[[8, 10]]]
    assert one.labels.tolist() == [[1]]
    assert not one.batched


def test_prompts_with_a_box_need_no_points():
    boxes = [[0, 0, 9, 9], [1, 1, 8, 8]]
    prompts = Prompts.of(points=[[[8, 10]], []], labels=[[0], []], boxes=boxes)
    assert prompts.num_points.tolist() == [1, 0]
    prompts.check_fits(COORDS)


@pytest.mark.parametrize(
    "given",
    [
        {"boxes": np.zeros((0, 4))},
        {"boxes": []},
        {"points": np.zeros((0, 1, 2))},
        {"points": np.zeros((0, 3, 2)), "labels": np.zeros((0, 3)), "boxes": torch.zeros(0, 4)},
        {"mask_logits": np.zeros((0, 1, SIDE, SIDE))},
    ],
)
def test_there_may_be_no_prompts(given):
    prompts = Prompts.of(**given)
    assert len(prompts) == 0
    assert prompts.batched
    prompts.check_fits(COORDS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"points": [5, 6]}, True),
        ({"points": [[[5, 6]], [[1, 1]]]}, True),
        ({"points": [[5, 6], [7, 8]], "labels": [1, -1]}, True),
        ({"points": [[5, 6], [7, 8]]}, False),
        ({"points": [[[5, 6]], [[1, 1], [2, 2]]]}, False),
        ({"points": [5, 6], "boxes": [0, 0, 9, 9]}, False),
        ({"boxes": [0, 0, 9, 9]}, False),
        ({"boxes": []}, False),
    ],
)
def test_a_click_is_a_single_point_and_nothing_else(given, expected):
    assert Prompts.of(**given).are_clicks is expected


# --- Masks of one's own ---

WIDE = CoordMap(original_hw=(60, 80), model_size=4 * SIDE)


def test_mask_of_booleans_becomes_logits_in_the_images_spaces():
    mask = np.zeros((60, 80), bool)
    mask[15:45, 20:60] = True
    prompts = Prompts.of(mask_logits=mask)
    prompts.check_fits(WIDE)
    logits = prompts.with_logits(WIDE).mask_logits
    assert logits.shape == (1, 1, SIDE, SIDE)
    assert logits.dtype == np.float32
    inside = np.zeros((SIDE, SIDE), bool)
    inside[6:18, 8:24] = True  # the image is 24 x 32 there; below it is padding
    np.testing.assert_array_equal(logits[0, 0] > 0, inside)
    assert set(np.unique(logits)) == {-12, 12}


def test_logits_stay_as_they_are():
    prompts = Prompts.of(mask_logits=PARTS["mask"]["mask_logits"])
    assert prompts.with_logits(WIDE) is prompts
    assert Prompts.of(points=[1, 1]).with_logits(WIDE).mask_logits is None


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_mask_comes_back_from_its_logits(height, width, seed):
    """To within two cells of the logits at its edges."""
    rng = np.random.default_rng(seed)
    coords = CoordMap(original_hw=(height, width), model_size=256)
    mask = np.zeros((height, width), bool)
    y0, x0 = rng.integers(0, (height, width)).tolist()
    mask[y0 : y0 + height // 2 + 1, x0 : x0 + width // 2 + 1] = True
    logits = Prompts.of(mask_logits=mask).with_logits(coords).mask_logits[0, 0]
    assert (logits > 0).any()
    back = logits_to_original(logits, coords) > 0
    reach = 2 * int(np.ceil(4 / coords.scale_xy.min()))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    grown = cv2.dilate(mask.astype(np.uint8), kernel) > 0
    assert not (back & ~grown).any()


def test_mask_smaller_than_a_cell_is_not_lost():
    mask = np.zeros((600, 800), bool)
    mask[300, 400] = True
    coords = CoordMap(original_hw=(600, 800), model_size=4 * SIDE)
    logits = Prompts.of(mask_logits=mask).with_logits(coords).mask_logits
    assert (logits > 0).sum() == 1


def test_batch_of_masks_is_each_mask():
    masks = np.random.default_rng(0).random((3, 1, 60, 80)) > 0.5
    batch = Prompts.of(mask_logits=masks).with_logits(WIDE).mask_logits
    each = [Prompts.of(mask_logits=mask).with_logits(WIDE).mask_logits[0] for mask in masks]
    np.testing.assert_array_equal(batch, np.stack(each))


@pytest.mark.parametrize(
    "values", [[0, 1], [0, 255], [0.0, 1.0], [1, 1], np.array([3, 7], np.uint8)]
)
def test_mask_of_numbers_is_refused(values, refusal):
    """Case 19: 0 and 1 are no logits; 0 is undecided."""
    mask = np.resize(values, (SIDE, SIDE)).astype(np.asarray(values).dtype)
    with refusal(PromptError, "looks like a mask: give it as booleans, mask > 0"):
        Prompts.of(mask_logits=mask)


@pytest.mark.parametrize(
    "values", [[-1.0, 1.0], np.array([-1, 1], np.int8), [-0.5, 0.5], np.array([-1, 1], np.float16)]
)
def test_mask_of_minus_one_and_one_is_refused(values, refusal):
    mask = np.resize(values, (SIDE, SIDE)).astype(np.asarray(values).dtype)
    with refusal(PromptError, "looks like a mask: give it as booleans, mask > 0"):
        Prompts.of(mask_logits=mask)


@pytest.mark.parametrize("values", [[0, 0.2, 1], [0.1, 0.9], [0, 0.5]])
def test_probabilities_are_no_logits(values, refusal):
    with refusal(PromptError, "looks like probabilities: give it as booleans, mask > 0.5"):
        Prompts.of(mask_logits=np.resize(values, (SIDE, SIDE)))


@pytest.mark.parametrize(
    "values", [[0], [0.5], [-1], [-1, 0.5], [-2, 2], [-0.3, 0.1, 0.3], [-128, 127]]
)
def test_weak_and_even_logits_are_logits(values):
    logits = np.resize(np.asarray(values, np.float32), (SIDE, SIDE))
    np.testing.assert_array_equal(Prompts.of(mask_logits=logits).mask_logits[0, 0], logits)


@pytest.mark.parametrize("shape", [(40, 60), (1, 40, 60), (2, 1, 40, 60)])
def test_a_mask_without_a_pixel_is_refused(shape, refusal):
    mask = np.zeros(shape, bool)
    mask[1:, ...] = len(shape) == 4  # of a batch, the first alone has none
    with refusal(PromptError, "the mask has no pixel"):
        Prompts.of(mask_logits=mask)


def test_tensors_with_gradients_are_taken_without_them():
    def with_gradients(values):
        return torch.tensor(values, requires_grad=True)

    logits = torch.linspace(-9, 9, SIDE * SIDE).reshape(SIDE, SIDE)
    prompts = Prompts.of(
        points=with_gradients([[3.0, 4.0]]),
        boxes=with_gradients([1.0, 2.0, 30.0, 40.0]),
        mask_logits=logits.clone().requires_grad_(),
    )
    assert prompts.points_xy.tolist() == [[[3, 4]]]
    assert prompts.boxes_xyxy.tolist() == [[1, 2, 30, 40]]
    np.testing.assert_array_equal(prompts.mask_logits[0, 0], logits)
    lists = Prompts.of(points=[with_gradients([[3.0, 4.0]]), with_gradients([[1.0, 2.0]] * 2)])
    assert lists.num_points.tolist() == [1, 2]
    together = Prompts.of(boxes=[with_gradients([1.0, 2.0, 3.0, 4.0])])
    assert together.boxes_xyxy.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.7, 0.9), (0, 0, 1, 1)])
def test_boxes_of_fractions_are_refused(box, refusal):
    prompts = Prompts.of(boxes=[(1, 1, 20, 20), box])
    with refusal(PromptError, "coordinates are pixels, not fractions of the image"):
        prompts.check_fits(COORDS)
    Prompts.of(boxes=box).check_fits(CoordMap(original_hw=(1, 1), model_size=128))


def test_undecided_logits_are_logits():
    assert Prompts.of(mask_logits=np.zeros((SIDE, SIDE))).mask_logits.dtype == np.float32


def test_mask_of_another_image_is_refused(refusal):
    prompts = Prompts.of(mask_logits=np.ones((61, 80), bool))
    with refusal(PromptError, "a mask must be (32, 32)", "or (60, 80), the size of the image"):
        prompts.check_fits(WIDE)
