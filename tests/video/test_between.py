"""Masks between keyframes: moved by the flow of the pixels, from both sides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from samkit.geometry import encode_rle
from samkit.video import ObjectResult, VideoAnswer, fill_between
from samkit.video.frames import FrameList

SIZE, RADIUS, EVERY = 128, 22, 4


def texture(seed, sigma=3.0):
    """Smooth noise: something that flow can follow."""
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.clip(128 + 90 * smooth / smooth.std() / 2, 0, 255).astype(np.uint8)


def disc(x, y):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2


def clip(count):
    """A disc that moves by 3 and 1 pixels a frame before a still background; with its masks."""
    background, pattern = texture(0), texture(1)
    frames, masks = [], []
    for number in range(count):
        dx, dy = 3 * number, number
        mask = disc(34 + dx, 40 + dy)
        moved = np.roll(pattern, (dy, dx), axis=(0, 1))
        frames.append(np.where(mask[..., None], moved, background))
        masks.append(mask)
    return FrameList(frames, "the clip"), masks


def answer(index, masks, *, states=None, score=0.9):
    states = states or ["present"] * len(masks)
    return VideoAnswer(
        index=index,
        object_ids=tuple(range(1, len(masks) + 1)),
        results=tuple(
            ObjectResult(
                rle=encode_rle(mask),
                score=score if mask.any() else 0.0,
                state=state,
                confirmed=True,
            )
            for mask, state in zip(masks, states, strict=True)
        ),
        size_hw=(SIZE, SIZE),
    )


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_a_moving_disc_is_where_it_is():
    frames, masks = clip(9)
    keyframes = [answer(number, [masks[number * EVERY]]) for number in range(3)]
    found = list(fill_between(keyframes, frames, EVERY))
    assert [one.index for one in found] == list(range(9))
    for one in found:
        assert iou(one.masks[0], masks[one.index]) > 0.9, one.index
        # Neither keyframe would do: in the middle the disc is elsewhere.
        assert one.of(1).confirmed == (one.index % EVERY == 0)
    assert iou(masks[2], masks[0]) < 0.75


def test_keyframes_are_as_they_were():
    frames, masks = clip(5)
    keyframes = [answer(0, [masks[0]]), answer(1, [masks[4]], score=0.5)]
    found = list(fill_between(keyframes, frames, EVERY))
    assert [found[0].results, found[4].results] == [one.results for one in keyframes]
    assert found[1].scores[0] == pytest.approx(0.8)  # a quarter of the way from .9 to .5
    assert found[1].states == ("present",)


def test_the_end_follows_the_last_keyframe():
    frames, masks = clip(7)
    found = list(fill_between([answer(1, [masks[4]])], frames, EVERY))
    assert [one.index for one in found] == [4, 5, 6]
    assert iou(found[-1].masks[0], masks[6]) > 0.85


@pytest.mark.parametrize("is_gone_first", [False, True])
def test_an_absent_object_goes_or_comes_half_way(is_gone_first):
    frames, masks = clip(5)
    nothing = np.zeros((SIZE, SIZE), bool)
    ends = [answer(0, [masks[0]]), answer(1, [nothing], states=["absent"])]
    if is_gone_first:
        ends = [answer(0, [nothing], states=["absent"]), answer(1, [masks[4]])]
    found = list(fill_between(ends, frames, EVERY))
    there = [one.masks[0].any() for one in found]
    assert there == (
        [False, False, True, True, True] if is_gone_first else [True] * 3 + [False] * 2
    )
    assert [one.states[0] for one in found[1:4]].count("absent") == 1
    assert "present" not in [one.states[0] for one in found[1:4]]
    assert found[2].scores[0] == pytest.approx(0.9)


def test_objects_are_moved_each_by_itself():
    frames, masks = clip(5)
    still = disc(100, 100)
    ends = [answer(0, [masks[0], still]), answer(1, [masks[4], still])]
    middle = list(fill_between(ends, frames, EVERY))[2]
    assert iou(middle.masks[0], masks[2]) > 0.9
    assert iou(middle.masks[1], still) > 0.95


def test_keyframes_that_lie_apart_are_not_joined():
    frames, masks = clip(9)
    found = fill_between([answer(0, [masks[0]]), answer(2, [masks[8]])], frames, EVERY)
    assert [one.index for one in found] == [0, 8]


def test_no_keyframes_no_answers():
    assert not list(fill_between([], clip(3)[0], EVERY))
