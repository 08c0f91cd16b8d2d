"""The tracker on frozen features, by the embedded model on clips that are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from samkit import VideoPredictor
from samkit.geometry import mask_to_logits
from samkit.video.motion import carry, flow_back
from samkit.video.pixel_classifier import choose_pixels, moments_of

SIZE_HW = (180, 320)


def texture(seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


BACKGROUND = texture(0) // 2 + 40


def draw(*objects):
    """A frame with discs (x, y, colour), and their masks."""
    frame, masks = BACKGROUND.copy(), []
    for x, y, colour in objects:
        mask = np.zeros(SIZE_HW, np.uint8)
        cv2.circle(mask, (x, y), 26, 1, -1)
        frame[mask > 0] = colour
        frame[mask > 0] += texture(7)[mask > 0] // 8
        masks.append(mask > 0)
    return frame, masks


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


RED, BLUE = (200, 40, 40), (30, 60, 210)


@pytest.fixture(scope="module")
def predictor():
    return VideoPredictor.load(backend="torch", precision="float32")


@pytest.fixture(scope="module")
def moving():
    """Two discs that move; the second one is gone in frames 3 and 4."""
    clip = []
    for number in range(7):
        red, blue = (60 + 7 * number, 80, RED), (240 - 6 * number, 110, BLUE)
        clip.append(draw(red) if number in (3, 4) else draw(red, blue))
    return [frame for frame, _ in clip], [masks for _, masks in clip]


def test_flow_carries_a_mask_along():
    earlier, now = BACKGROUND[..., 0].copy(), np.roll(BACKGROUND[..., 0], 5, axis=1)
    logits = np.full((256, 256), -5, np.float32)
    logits[60:90, 100:140] = 5
    flow = flow_back(now, earlier, (144, 256))  # 320 pixels are 256 cells: 5 are 4
    moved = carry(logits, flow)
    expected = np.roll(logits, 4, axis=1)
    assert iou(moved > 0, expected > 0) > 0.95


@pytest.mark.slow
def test_the_classifier_tells_the_object_from_the_background(predictor, moving):
    frames, truth = moving
    tracker = predictor.tracker
    first, later = tracker.encode(frames[0]), tracker.encode(frames[5])
    logits = mask_to_logits(truth[0][0], first.coords)
    scales = first.scales()
    weights = moments_of(first, logits, scales).solve()
    looks = later.dot(weights[None, :-1], scales)[0] + float(weights[-1])
    wanted = mask_to_logits(truth[5][0], first.coords) > 0
    assert looks[wanted].mean() > 0.8
    assert looks[:144][~wanted[:144]].mean() < 0.1
    # Products at each level's own resolution are those of interpolated features.
    places = choose_pixels(later, logits)
    direct = weights[:-1] @ later.at(places, scales) + weights[-1]
    np.testing.assert_allclose(looks.reshape(-1)[places], direct.numpy(), atol=1e-3)


@pytest.mark.slow
def test_objects_are_followed_found_absent_and_found_again(predictor, moving):
    frames, truth = moving
    video = predictor.open(frames)
    video.prompt(0, object_id=1, mask=truth[0][0])
    video.prompt(0, object_id=2, points=[[240, 110]])
    answers = list(video.propagate())
    for number, answer in enumerate(answers):
        assert iou(answer.masks[0], truth[number][0]) > 0.9
        if number in (3, 4):
            assert answer.states[1] == "absent"
            assert not answer.masks[1].any()
        else:
            assert iou(answer.masks[1], truth[number][1]) > 0.85
    alone = predictor.open(frames)
    alone.prompt(0, object_id=1, mask=truth[0][0])
    assert [one.of(1) for one in alone.propagate(stop=4)] == [one.of(1) for one in answers[:4]]
    stream = predictor.stream()
    stream.track(frames[0])
    stream.prompt(object_id=1, mask=truth[0][0])
    assert [stream.track(frame).of(1) for frame in frames[1:4]] == [
        one.of(1) for one in answers[1:4]
    ]


@pytest.mark.slow
def test_look_alikes_that_cross_keep_their_names(predictor):
    clip = [draw((60 + 16 * n, 60, RED), (240 - 16 * n, 118, RED)) for n in range(10)]
    video = predictor.open([frame for frame, _ in clip])
    for name in (0, 1):
        video.prompt(0, object_id=name, mask=clip[0][1][name])
    for answer in video.propagate():
        for name in (0, 1):
            assert iou(answer.masks[name], clip[answer.index][1][name]) > 0.8
