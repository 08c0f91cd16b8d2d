"""A tracker without a network, for what holds of any tracker: it follows a grey level.

A prompt names the level under its point; the object is wherever the frame has this level. The
predicted IoU depends on what the memory holds, so that a difference in memory shows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from samkit.geometry import CoordMap, mask_to_logits
from samkit.image_spec import ImageSpec
from samkit.video import ObjectAnswer

SPEC = ImageSpec(size=64, logits_stride=1)
SIZE_HW = (48, 64)


class StubTracker:
    def __init__(self):
        self.encoded = []

    def describe(self):
        return {"name": "stub"}

    def coords(self, size_hw):
        return CoordMap.of(size_hw, SPEC)

    def encode(self, frame):
        self.encoded.append(int(frame[0, 0, 0]))
        return frame

    def start(self):
        return {"confirmed": {}, "recent": []}

    def answer(self, features, level, score):
        mask = features[..., 1] == level
        return ObjectAnswer(
            logits=mask_to_logits(mask, self.coords(features.shape[:2])),
            coords=self.coords(features.shape[:2]),
            score=score,
            state="present" if mask.any() else "absent",
        )

    def prompt(self, features, memory, index, prompts, previous):
        if prompts.mask_logits is not None:
            mask = prompts.mask_logits[0, 0]
            y, x = np.argwhere(mask)[0]
            return replace(self.answer(features, features[y, x, 1], 1.0), exact=mask)
        if prompts.boxes_xyxy is not None:
            x, y = prompts.boxes_xyxy[0, :2].astype(int)
        else:
            x, y = prompts.points_xy[0, -1].astype(int)
        return self.answer(features, features[y, x, 1], 0.5 if previous is None else 0.6)

    def track(self, features, memories, index, *, reverse):
        return [self.follow(features, memory, index, reverse=reverse) for memory in memories]

    def follow(self, features, memory, index, *, reverse):
        known = {
            at: level
            for at, level in memory["confirmed"].items()
            if (at >= index if reverse else at <= index)
        }
        assert known, "tracked before its first confirmed frame"
        nearest = min(known, key=lambda at: abs(at - index))
        score = 0.3 + 0.01 * len(memory["recent"]) + 0.1 * len(known)
        return self.answer(features, known[nearest], score)

    def memorise(self, features, memory, index, answer, *, prompted, reverse):
        if prompted:
            level = features[answer.mask()][:, 1]
            memory["confirmed"][index] = int(level[0])
            memory["recent"] = []
        else:
            memory["recent"] = [*memory["recent"][-5:], index]

    def release(self, memory, index=None):
        memory["recent"] = []
        if index is not None:
            del memory["confirmed"][index]


def level_frames(count):
    """Frames with two squares, of levels 100 and 200, that move; the red channel is the number."""
    frames = np.zeros((count, *SIZE_HW, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[4:12, 4 + 2 * number : 12 + 2 * number, 1] = 100
        frame[30:40, 20:30, 1] = 200
        frame[..., 0] = number
    return frames
