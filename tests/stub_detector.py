"""A detector with preset answers."""

from __future__ import annotations

import numpy as np

from samkit.text import Detections, Detector


class StubDetector(Detector):
    """Finds the same in each image, and remembers what it was asked.

    Attributes:
        found: boxes, scores and phrases; or a function that gives them for the phrases.
        asked: image, phrases and threshold of each call.
    """

    box_thresh = 0.3

    def __init__(self, *found, by_phrases=None):
        self.by_phrases = by_phrases or (lambda phrases: found)
        self.asked, self.source = [], "stub"

    def detect(self, image, phrases, *, box_thresh=None):
        self.asked.append((image, tuple(phrases), box_thresh))
        found = self.by_phrases(phrases)
        return Detections(
            boxes_xyxy=np.array([box for box, _, _ in found], np.float64).reshape(-1, 4),
            scores=np.array([score for _, score, _ in found], np.float32),
            phrases=tuple(phrase for *_, phrase in found),
        )

    def split(self, phrases):
        raise AssertionError

    def infer(self, pixels, phrases):
        raise AssertionError

    def input_wh(self, size_hw):
        raise AssertionError


def side_by_side(phrases):
    """One thing for each phrase."""
    return [
        ((2 + 30 * number, 5, 28 + 30 * number, 40), 0.9 - 0.4 * number, phrase)
        for number, phrase in enumerate(phrases)
    ]
