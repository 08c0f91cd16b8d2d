"""The robot user's clicks."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluation.stub import rectangle
from samkit.errors import DataError
from samkit.evaluation import Click, first_click, next_click


def test_first_of_equally_far_pixels_row_by_row():
    two = rectangle(40, 10, 45, 15) | rectangle(5, 12, 10, 17)
    assert first_click(two) == Click(x=42, y=12, is_foreground=True)
    one_row = rectangle(40, 12, 45, 17) | rectangle(5, 12, 10, 17)
    assert first_click(one_row) == Click(x=7, y=14, is_foreground=True)


def test_first_click_lies_in_the_mask_even_if_it_is_hollow():
    ring = rectangle(10, 10, 50, 50) & ~rectangle(15, 15, 45, 45)
    click = first_click(ring)
    assert ring[click.y, click.x]


def test_what_is_missed_gets_foreground_and_what_is_wrong_background():
    truth = rectangle(10, 10, 50, 50)
    missing = truth & ~rectangle(10, 10, 30, 50)
    assert next_click(truth, missing) == Click(x=19, y=19, is_foreground=True)
    too_much = truth | rectangle(50, 10, 63, 50)
    assert next_click(truth, too_much) == Click(x=56, y=16, is_foreground=False)


def test_larger_error_is_that_with_the_larger_circle_not_the_larger_area():
    truth = rectangle(0, 0, 30, 60)
    rim = rectangle(26, 0, 30, 60)  # 240 missed pixels, 2 from their boundary
    square = rectangle(40, 20, 51, 31)  # 121 wrong ones, up to 6 from theirs
    click = next_click(truth, (truth & ~rim) | square)
    assert click == Click(x=45, y=25, is_foreground=False)


def test_wrong_pixels_win_over_missed_ones_that_are_as_far():
    # As in RITM and in SAM 2's code: foreground only if the missed region is larger.
    truth, wrong = rectangle(10, 10, 15, 15), rectangle(30, 5, 35, 10)
    assert next_click(truth, wrong) == Click(x=32, y=7, is_foreground=False)


def published_click(truth, predicted, is_known, clicked):
    """RITM's next click (arXiv:2102.06583): x, y, is_foreground; on full arrays with a border."""

    def distances(region):
        padded = np.pad(region, 1).astype(np.uint8)
        transform = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        return transform * ~clicked

    missed = distances(truth & ~predicted & is_known)
    wrong = distances(~truth & predicted & is_known)
    is_foreground = missed.max() > wrong.max()
    chosen = missed if is_foreground else wrong
    if chosen.max() == 0:
        return None
    y, x = np.argwhere(chosen == chosen.max())[0].tolist()
    return Click(x=x, y=y, is_foreground=bool(is_foreground))


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.booleans())
def test_clicks_are_those_of_the_published_protocol(seed, num_clicked, has_void):
    rng = np.random.default_rng(seed)
    truth, predicted, void = (
        cv2.GaussianBlur(rng.random((20, 24)), (0, 0), 2) > 0.5 for _ in range(3)
    )
    void &= has_void
    clicks, clicked = [], np.zeros((20, 24), bool)
    for _ in range(num_clicked + 1):
        expected = published_click(truth, predicted, ~void, clicked)
        assert next_click(truth & ~void, predicted & ~void, clicks) == expected
        if expected is None:
            return
        clicks.append(expected)
        clicked[expected.y, expected.x] = True


def test_no_pixel_is_clicked_twice():
    truth, nothing = rectangle(10, 10, 13, 13), rectangle(0, 0, 0, 0)
    clicks = []
    while (click := next_click(truth, nothing, clicks)) is not None:
        clicks.append(click)
    assert len({(click.x, click.y) for click in clicks}) == len(clicks) == 9
    assert (clicks[0].x, clicks[0].y) == (11, 11)


def test_no_click_where_nothing_is_wrong():
    mask = rectangle(10, 10, 13, 13)
    assert next_click(mask, mask) is None


def test_empty_mask_is_refused(refusal):
    with refusal(DataError, "empty mask"):
        first_click(np.zeros((5, 5), bool))
