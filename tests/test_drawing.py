"""Pictures of results."""

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


def random_photo(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def rectangle(photo, x0, y0, x1, y1):
    mask = np.zeros((1, *photo.shape[:2]), bool)
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
    photo = random_photo(30, 30)
    away = ~close_to(masks.any(axis=0), line_width(photo) + 2)
    np.testing.assert_array_equal(draw_masks(photo, masks)[away], photo[away])


def test_inside_of_a_mask_is_tinted_by_half():
    photo = random_photo()
    drawn = draw_masks(photo, rectangle(photo, 10, 10, 50, 30))
    inner = np.s_[14:26, 14:46]
    expected = (photo[inner] + np.array(mask_color(0), float)) / 2
    assert abs(drawn[inner] - expected).max() <= 1


def test_smaller_masks_are_seen_over_larger_ones_and_tinted_once():
    photo = random_photo()
    small, large = rectangle(photo, 20, 14, 34, 26), rectangle(photo, 6, 4, 54, 36)
    inner, between = np.s_[18:22, 24:30], np.s_[18:22, 10:16]
    for order in ([small, large], [large, small]):
        drawn = draw_masks(photo, np.concatenate(order))
        color = mask_color(0 if order[0] is small else 1)
        expected = (photo[inner] + np.array(color, float)) / 2
        assert abs(drawn[inner] - expected).max() <= 1
        color = mask_color(0 if order[0] is large else 1)
        expected = (photo[between] + np.array(color, float)) / 2
        assert abs(drawn[between] - expected).max() <= 1


def test_many_masks_have_a_thin_outline():
    photo = np.zeros((60, 330, 3), np.uint8)
    boxes = [rectangle(photo, x, 20, x + 10, 40) for x in range(5, 320, 20)]
    few, many = (draw_masks(photo, np.concatenate(boxes[:n])) for n in (MANY_MASKS, MANY_MASKS + 1))
    changed = [(drawn[:, :20] > 0).any(axis=-1).sum() for drawn in (few, many)]
    assert changed[0] > changed[1] >= 10 * 20
    assert many.min(axis=-1).max() > 200  # near OUTLINE_COLOR, but for its soft edge


def test_layers_are_patches_of_masks():
    photo = random_photo()
    mask = rectangle(photo, 20, 14, 34, 26)[0]
    patch = Layer(color=mask_color(0), patch=mask[14:26, 20:34], corner_xy=(20, 14))
    np.testing.assert_array_equal(draw_layers(photo, [patch]), draw_masks(photo, mask[None]))


@pytest.mark.parametrize(("opacity", "channel_range"), [(0, 0), (1, 255)])
def test_opacity_goes_from_the_photo_to_the_colour(opacity, channel_range):
    photo = random_photo()
    drawn = draw_masks(photo, rectangle(photo, 10, 10, 50, 30), opacity=opacity)
    inner = np.s_[14:26, 14:46]
    expected = photo[inner] if channel_range == 0 else np.broadcast_to(mask_color(0), (12, 32, 3))
    np.testing.assert_array_equal(drawn[inner], expected)


def test_empty_masks_change_nothing():
    photo = random_photo()
    np.testing.assert_array_equal(draw_masks(photo, np.zeros((0, 40, 60), bool)), photo)
    np.testing.assert_array_equal(draw_masks(photo, np.zeros((2, 40, 60), bool)), photo)
    np.testing.assert_array_equal(draw_boxes(photo, np.zeros((0, 4))), photo)
    nothing = draw_points(photo, np.zeros((0, 2)), np.zeros(0, np.int64))
    np.testing.assert_array_equal(nothing, photo)


@pytest.mark.parametrize(
    "draw",
    [
        lambda photo: draw_masks(photo, np.ones((2, *photo.shape[:2]), bool)),
        lambda photo: draw_points(photo, np.zeros((1, 2)), np.ones(1, np.int64)),
        lambda photo: draw_points(photo, np.zeros((1, 2)), np.zeros(1, np.int64)),
        lambda photo: draw_boxes(photo, np.array([[0.0, 0, 1, 1]])),
        lambda photo: draw_caption(photo, "a caption"),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (40, 60), (1200, 30)])
def test_photo_of_any_size_gets_a_picture_of_its_own(draw, shape):
    photo = random_photo(*shape)
    before = photo.copy()
    photo.flags.writeable = False
    drawn = draw(photo)
    assert drawn.shape == photo.shape
    assert drawn.dtype == np.uint8
    assert not np.shares_memory(drawn, photo)
    np.testing.assert_array_equal(photo, before)
    assert (drawn != photo).any()


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
    photo = random_photo()
    points_xy = np.array([point[:2] for point in points])
    labels = np.array([point[2] for point in points], np.int64)
    drawn = draw_points(photo, points_xy, labels)
    rows, cols = np.mgrid[:40, :60]
    distance = np.hypot(cols[..., None] - points_xy[:, 0], rows[..., None] - points_xy[:, 1])
    away = distance.min(axis=-1) > 5 * line_width(photo) + 2
    np.testing.assert_array_equal(drawn[away], photo[away])


@pytest.mark.parametrize(("label", "color"), [(1, FOREGROUND_COLOR), (0, BACKGROUND_COLOR)])
@pytest.mark.parametrize("xy", [(30, 20), (0, 0), (59, 39), (59.9, 39.9)])
def test_colour_of_a_point_tells_its_label(label, color, xy):
    drawn = draw_points(random_photo(), np.array([xy], float), np.array([label]))
    assert (drawn == color).all(axis=-1).any()
    other = BACKGROUND_COLOR if label else FOREGROUND_COLOR
    assert not (drawn == other).all(axis=-1).any()


def test_box_is_drawn_on_its_outermost_pixels():
    photo = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_boxes(photo, np.array([[5.0, 4, 25, 16]]))  # far edges are exclusive
    expected = np.zeros((20, 30), bool)
    expected[4:16, 5:25] = True
    expected[5:15, 6:24] = False
    np.testing.assert_array_equal((drawn == BOX_COLOR).all(axis=-1), expected)
    assert not drawn[~expected].any()


@pytest.mark.parametrize("far", [1e4, 1e12, 1e300])
def test_box_may_reach_far_out_of_the_photo(far):
    photo = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_boxes(photo, np.array([[5, 4, far, far]]))
    expected = draw_boxes(photo, np.array([[5.0, 4, 100, 100]]))
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("shape", "width"), [((1, 1), 1), ((500, 400), 1), ((1000, 400), 2), ((300, 5000), 10)]
)
def test_lines_grow_with_the_photo(shape, width):
    assert line_width(np.zeros((*shape, 3), np.uint8)) == width


# --- Labels ---


def labelled(*texts, corners=None, size_hw=(120, 200)):
    photo = np.full((*size_hw, 3), 90, np.uint8)
    corners = np.array(corners or [(10 * number, 5) for number in range(len(texts))])
    colors = [mask_color(number) for number in range(len(texts))]
    return photo, draw_labels(photo, corners, texts, colors), colors


def test_a_label_has_its_colour_and_leaves_the_photo_as_it_was():
    photo, drawn, (color,) = labelled("car 0.90")
    assert (photo == 90).all()
    changed = (drawn != photo).any(axis=2)
    rows, cols = np.nonzero(changed)
    assert (cols.min(), rows.min()) == (0, 5)
    assert (drawn[changed] == color).all(axis=1).mean() > 0.5
    assert drawn.shape == photo.shape


def test_labels_do_not_cover_each_other():
    _, drawn, colors = labelled("a car", "a car", "a car", corners=[(5, 5)] * 3)
    areas = [(drawn == color).all(axis=2).sum() for color in colors]
    assert min(areas) > 0.9 * max(areas)


def test_labels_stay_in_the_photo():
    photo, drawn, _ = labelled("a red car", corners=[(195, 118)])
    rows, cols = np.nonzero((drawn != photo).any(axis=2))
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
    photo, drawn, _ = labelled("", "")
    np.testing.assert_array_equal(drawn, photo)
    np.testing.assert_array_equal(labelled("\u00e9t\u00e9")[1].shape, photo.shape)
