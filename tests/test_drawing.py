"""Drawing of masks, prompts and labels."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samkit.drawing import (
    BACKGROUND_COLOR,
    BOX_COLOR,
    FOREGROUND_COLOR,
    MANY_MASKS,
    Layer,
    draw_boxes,
    draw_caption,
    draw_labels,
    draw_layers,
    draw_masks,
    draw_points,
    line_width,
    mask_color,
)


def random_image(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def rectangle(image, x0, y0, x1, y1):
    mask = np.zeros((1, *image.shape[:2]), bool)
    mask[0, y0:y1, x0:x1] = True
    return mask


def close_to(mask, margin):
    """The mask and all pixels within a margin of it."""
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


@given(masks=arrays(bool, st.tuples(st.integers(1, 3), st.just(30), st.just(30))))
def test_pixels_away_from_masks_are_unchanged(masks):
    masks = masks.copy()
    masks[:, :, 15:] = False
    image = random_image(30, 30)
    away = ~close_to(masks.any(axis=0), line_width(image) + 2)
    np.testing.assert_array_equal(draw_masks(image, masks)[away], image[away])


def test_inside_of_a_mask_is_tinted_by_half():
    image = random_image()
    drawn = draw_masks(image, rectangle(image, 10, 10, 50, 30))
    inner = np.s_[14:26, 14:46]
    expected = (image[inner] + np.array(mask_color(0), float)) / 2
    assert abs(drawn[inner] - expected).max() <= 1


def test_smaller_masks_are_seen_over_larger_ones_and_tinted_once():
    image = random_image()
    small, large = rectangle(image, 20, 14, 34, 26), rectangle(image, 6, 4, 54, 36)
    inner, between = np.s_[18:22, 24:30], np.s_[18:22, 10:16]
    for order in ([small, large], [large, small]):
        drawn = draw_masks(image, np.concatenate(order))
        color = mask_color(0 if order[0] is small else 1)
        expected = (image[inner] + np.array(color, float)) / 2
        assert abs(drawn[inner] - expected).max() <= 1
        color = mask_color(0 if order[0] is large else 1)
        expected = (image[between] + np.array(color, float)) / 2
        assert abs(drawn[between] - expected).max() <= 1


def test_many_masks_have_a_thin_outline():
    image = np.zeros((60, 330, 3), np.uint8)
    boxes = [rectangle(image, x, 20, x + 10, 40) for x in range(5, 320, 20)]
    few, many = (draw_masks(image, np.concatenate(boxes[:n])) for n in (MANY_MASKS, MANY_MASKS + 1))
    changed = [(drawn[:, :20] > 0).any(axis=-1).sum() for drawn in (few, many)]
    assert changed[0] > changed[1] >= 10 * 20
    assert many.min(axis=-1).max() > 200  # near OUTLINE_COLOR, but for its soft edge


def test_layers_are_patches_of_masks():
    image = random_image()
    mask = rectangle(image, 20, 14, 34, 26)[0]
    patch = Layer(color=mask_color(0), patch=mask[14:26, 20:34], corner_xy=(20, 14))
    np.testing.assert_array_equal(draw_layers(image, [patch]), draw_masks(image, mask[None]))


@pytest.mark.parametrize(("opacity", "channel_range"), [(0, 0), (1, 255)])
def test_opacity_goes_from_the_image_to_the_colour(opacity, channel_range):
    image = random_image()
    drawn = draw_masks(image, rectangle(image, 10, 10, 50, 30), opacity=opacity)
    inner = np.s_[14:26, 14:46]
    expected = image[inner] if channel_range == 0 else np.broadcast_to(mask_color(0), (12, 32, 3))
    np.testing.assert_array_equal(drawn[inner], expected)


def test_empty_masks_change_nothing():
    image = random_image()
    np.testing.assert_array_equal(draw_masks(image, np.zeros((0, 40, 60), bool)), image)
    np.testing.assert_array_equal(draw_masks(image, np.zeros((2, 40, 60), bool)), image)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4))), image)
    nothing = draw_points(image, np.zeros((0, 2)), np.zeros(0, np.int64))
    np.testing.assert_array_equal(nothing, image)


@pytest.mark.parametrize(
    "draw",
    [
        lambda image: draw_masks(image, np.ones((2, *image.shape[:2]), bool)),
        lambda image: draw_points(image, np.zeros((1, 2)), np.ones(1, np.int64)),
        lambda image: draw_points(image, np.zeros((1, 2)), np.zeros(1, np.int64)),
        lambda image: draw_boxes(image, np.array([[0.0, 0, 1, 1]])),
        lambda image: draw_caption(image, "a caption"),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (40, 60), (1200, 30)])
def test_image_of_any_size_gets_a_picture_of_its_own(draw, shape):
    image = random_image(*shape)
    before = image.copy()
    image.flags.writeable = False
    drawn = draw(image)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert not np.shares_memory(drawn, image)
    np.testing.assert_array_equal(image, before)
    assert (drawn != image).any()


@given(st.integers(0, 1000))
def test_colours_of_neighbouring_masks_differ(index):
    first, second = np.array(mask_color(index)), np.array(mask_color(index + 1))
    assert abs(first - second).max() > 100
    assert all(0 <= channel <= 255 for channel in mask_color(index))


def test_colours_of_the_first_masks_all_differ():
    assert len({mask_color(index) for index in range(50)}) == 50


@given(
    st.lists(st.tuples(st.floats(0, 59.99), st.floats(0, 39.99), st.booleans()), min_size=1),
)
def test_points_change_only_what_is_near_them(points):
    image = random_image()
    points_xy = np.array([point[:2] for point in points])
    labels = np.array([point[2] for point in points], np.int64)
    drawn = draw_points(image, points_xy, labels)
    rows, cols = np.mgrid[:40, :60]
    distance = np.hypot(cols[..., None] - points_xy[:, 0], rows[..., None] - points_xy[:, 1])
    away = distance.min(axis=-1) > 5 * line_width(image) + 2
    np.testing.assert_array_equal(drawn[away], image[away])


@pytest.mark.parametrize(("label", "color"), [(1, FOREGROUND_COLOR), (0, BACKGROUND_COLOR)])
@pytest.mark.parametrize("xy", [(30, 20), (0, 0), (59, 39), (59.9, 39.9)])
def test_colour_of_a_point_tells_its_label(label, color, xy):
    drawn = draw_points(random_image(), np.array([xy], float), np.array([label]))
    assert (drawn == color).all(axis=-1).any()
    other = BACKGROUND_COLOR if label else FOREGROUND_COLOR
    assert not (drawn == other).all(axis=-1).any()


def test_box_is_drawn_on_its_outermost_pixels():
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[5.0, 4, 25, 16]]))  # far edges are exclusive
    expected = np.zeros((20, 30), bool)
    expected[4:16, 5:25] = True
    expected[5:15, 6:24] = False
    np.testing.assert_array_equal((drawn == BOX_COLOR).all(axis=-1), expected)
    assert not drawn[~expected].any()


@pytest.mark.parametrize("far", [1e4, 1e12, 1e300])
def test_box_may_reach_far_out_of_the_image(far):
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[5, 4, far, far]]))
    expected = draw_boxes(image, np.array([[5.0, 4, 100, 100]]))
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("shape", "width"), [((1, 1), 1), ((500, 400), 1), ((1000, 400), 2), ((300, 5000), 10)]
)
def test_lines_grow_with_the_image(shape, width):
    assert line_width(np.zeros((*shape, 3), np.uint8)) == width


# --- Labels ---


def labelled(*texts, corners=None, size_hw=(120, 200)):
    image = np.full((*size_hw, 3), 90, np.uint8)
    corners = np.array(corners or [(10 * number, 5) for number in range(len(texts))])
    colors = [mask_color(number) for number in range(len(texts))]
    return image, draw_labels(image, corners, texts, colors), colors


def test_a_label_has_its_colour_and_leaves_the_image_as_it_was():
    image, drawn, (color,) = labelled("car 0.90")
    assert (image == 90).all()
    changed = (drawn != image).any(axis=2)
    rows, cols = np.nonzero(changed)
    assert (cols.min(), rows.min()) == (0, 5)
    assert (drawn[changed] == color).all(axis=1).mean() > 0.5
    assert drawn.shape == image.shape


def test_labels_do_not_cover_each_other():
    _, drawn, colors = labelled("a car", "a car", "a car", corners=[(5, 5)] * 3)
    areas = [(drawn == color).all(axis=2).sum() for color in colors]
    assert min(areas) > 0.9 * max(areas)


def test_labels_stay_in_the_image():
    image, drawn, _ = labelled("a red car", corners=[(195, 118)])
    rows, cols = np.nonzero((drawn != image).any(axis=2))
    assert rows.max() == 119
    assert cols.max() == 199
    assert cols.min() > 100


def test_labels_without_room_below_go_up():
    _, drawn, colors = labelled("a car", "a tree", "a dog", corners=[(5, 118)] * 3)
    areas = [(drawn == color).all(axis=2).sum() for color in colors]
    assert min(areas) > 0.7 * max(areas)


def test_line_breaks_are_spaces():
    np.testing.assert_array_equal(labelled("a\n car")[1], labelled("a car")[1])


def test_no_text_is_no_label():
    image, drawn, _ = labelled("", "")
    np.testing.assert_array_equal(drawn, image)
    np.testing.assert_array_equal(labelled("\u00e9t\u00e9")[1].shape, image.shape)
