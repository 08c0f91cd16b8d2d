"""Answers to prompts in frames of videos, by the tracker of the model that serves."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from samkit.dataengine import StoredVideo
from samkit.errors import NothingFoundError
from samkit.geometry import Rle, decode_rle, encode_rle, mask_to_logits
from samkit.web.video_frames import VideoFrames

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

FEATURES_CACHED = 4  # frames; 20 MB each
MAX_WAITING = 3  # prompts of one person that wait for an answer


@dataclass(frozen=True, kw_only=True)
class FramePrompt:
    """One object's prompt in a frame: all points and the box, or either.

    Attributes:
        base: the mask that points correct; None without, and with a box, which begins anew.
    """

    points: Sequence[tuple[float, float]]
    labels: Sequence[int]
    box: tuple[float, float, float, float] | None
    base: Rle | None


class VideoPrompter:
    """Answers prompts; encodes each frame once while it is among those used last."""

    def __init__(self, frames: VideoFrames) -> None:
        self._frames = frames
        self._lock = threading.Lock()
        self._features: OrderedDict[tuple[str, int, str], Any] = OrderedDict()
        self._waiting: Counter[int] = Counter()

    @contextmanager
    def waiting(self, user_id: int) -> Iterator[None]:
        """Count a prompt of a person as waiting.

        Raises:
            HTTPException: 503 if too many wait.
        """
        with self._lock:
            if self._waiting[user_id] >= MAX_WAITING:
                raise HTTPException(503, "too many prompts are waiting for an answer")
            self._waiting[user_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[user_id] -= 1
                self._waiting += Counter()  # forgets who has none

    def answer(
        self, video: StoredVideo, index: int, predictor: Predictor, prompt: FramePrompt
    ) -> tuple[Rle, float]:
        """Return the mask and its predicted IoU.

        Raises:
            PromptError: the prompt is invalid, or lies outside of the frame.
            NothingFoundError: nothing is there.
            VideoError: the frame cannot be read.
        """
        from samkit.types import Prompts
        from samkit.video import VideoPredictor

        tracker = VideoPredictor(predictor).tracker
        coords = tracker.coords(video.size_hw)
        prompts = Prompts.of(
            points=[list(prompt.points)] if prompt.points else None,
            labels=[list(prompt.labels)] if prompt.labels else None,
            boxes=None if prompt.box is None else [list(prompt.box)],
        )
        prompts.check_fits(coords)
        previous = None
        if prompt.base is not None and prompt.box is None:
            previous = mask_to_logits(decode_rle(prompt.base), coords)
        features = self._encoded(video, index, predictor, tracker)
        found = tracker.prompt(features, tracker.start(), index, prompts, previous)
        mask = found.mask()
        if not mask.any():
            raise NothingFoundError("nothing is found at this prompt: give other points, or a box")
        return encode_rle(mask), min(1.0, max(0.0, found.score))

    def _encoded(self, video: StoredVideo, index: int, predictor: Predictor, tracker: Any) -> Any:
        key = video.fingerprint, index, predictor.encoder_checksum
        with self._lock:
            if key in self._features:
                self._features.move_to_end(key)
                return self._features[key]
        features = tracker.encode(self._frames.read(video, index))
        with self._lock:
            self._features[key] = features
            while len(self._features) > FEATURES_CACHED:
                self._features.popitem(last=False)
        return features
