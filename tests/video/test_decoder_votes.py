"""What the decoder's word is worth, by what it said where the mask is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from samkit.video.decoder_votes import LEAST, MOST, Votes

USED = (48, 64)


def square(low, high):
    mask = np.zeros((64, 64), bool)
    mask[low:high, low:high] = True
    return mask


def test_a_decoder_that_was_right_is_worth_most():
    votes = Votes.where_known(square(10, 30), square(10, 30), USED)
    assert votes == Votes(inside=MOST, outside=MOST)


def test_a_decoder_that_fills_a_hole_is_worth_the_odds_of_its_pixels():
    truth = square(10, 30) & ~square(15, 25)
    votes = Votes.where_known(square(10, 30), truth, USED)
    assert votes.inside == pytest.approx(math.log(300 / 100))
    assert votes.outside == MOST


def test_a_decoder_that_misses_a_part_is_believed_less_when_it_says_outside():
    votes = Votes.where_known(square(10, 26), square(10, 30), USED)
    assert votes.inside == MOST
    around = 32 * 32 - 16 * 16
    missed = 20 * 20 - 16 * 16
    assert votes.outside == pytest.approx(math.log((around - missed) / missed), rel=0.2)


def test_a_decoder_that_finds_nothing_is_worth_little():
    assert Votes.where_known(square(0, 0), square(5, 9), USED) == Votes(inside=LEAST, outside=LEAST)


def test_padding_is_not_outside():
    truth = np.zeros((64, 64), bool)
    truth[40:48] = True
    votes = Votes.where_known(square(40, 48), truth, USED)
    beside = Votes.where_known(square(40, 48), truth, (64, 64))
    assert votes.outside < beside.outside  # half of what is around it was missed, not a third


def test_votes_grow_with_the_decoder_until_it_is_sure():
    votes = Votes(inside=1, outside=3)
    given = votes.of(np.array([[-20.0, -4, 0, 4, 20]]), 8)
    np.testing.assert_allclose(given, [[-3, -1.5, 0, 0.5, 1]])


def test_confirmed_frames_are_averaged():
    assert Votes.mean([Votes(inside=1, outside=2), Votes(inside=3, outside=4)]) == Votes(
        inside=2, outside=3
    )
