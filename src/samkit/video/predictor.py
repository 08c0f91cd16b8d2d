"""VideoPredictor: a model that follows objects through videos."""

from __future__ import annotations

import os
from typing import Any

from samkit.predict import Predictor
from samkit.video.frames import FrameSource
from samkit.video.interface import Tracker
from samkit.video.opening import VideoLike, open_frames
from samkit.video.sam2_memory import MemoryPolicy
from samkit.video.stream import VideoStream
from samkit.video.trackers import create_tracker
from samkit.video.video import Video
from samkit.weights import DEFAULT_MODEL


class VideoPredictor:
    """Follows objects, given by points, boxes or masks on any frames, through a video.

        tracker = samkit.VideoPredictor.load()
        video = tracker.open("clip.mp4")
        video.prompt(0, object_id=1, points=[[500, 375]])
        for answer in video.propagate():
            answer.index, answer.object_ids, answer.masks

    It keeps nothing of a video: several may be open at once.

    Attributes:
        predictor: the model for images.
        tracker: what follows objects, by the model's family.
    """

    def __init__(self, predictor: Predictor, tracker: Tracker | None = None) -> None:
        """Create a video predictor; `tracker` is by default the one of the model's family."""
        self.predictor = predictor
        self.tracker = create_tracker(predictor) if tracker is None else tracker

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: str | None = None,
        backend: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        policy: MemoryPolicy | str | None = None,
    ) -> VideoPredictor:
        """Load a model by name or from a checkpoint file; see `Predictor.load`.

        Args:
            policy: rules of SAM 2's memory, or their name: "plain" (the default), "samurai",
                "distractor_aware", "hypotheses" or "pooled"; see `samkit.video.MemoryPolicy`.

        Raises:
            WeightsError: the weights are unknown, missing, damaged or do not fit.
            BackendError: the backend, precision or device is not available here.
            ConfigError: the policy is unknown, or the model is no SAM 2.
        """
        predictor = Predictor.load(
            source, device=device, backend=backend, precision=precision, threads=threads
        )
        return cls(predictor, create_tracker(predictor, policy))

    def describe(self) -> dict[str, Any]:
        """Model, backend, precision, device, threads and tracker in use."""
        return {**self.predictor.describe(), "tracker": self.tracker.describe()}

    def open(self, video: VideoLike, *, non_overlapping: bool = False) -> Video:
        """Open a video.

        Args:
            video: a video file, a folder of frames, an array (T, H, W, 3), a list of images, any
                iterator of images, or a camera's number; see `samkit.video.open_frames`.
            non_overlapping: each pixel belongs to one object at most.

        Raises:
            VideoError: it is missing, empty, damaged, without pictures, or nothing that has frames.
        """
        return self.open_source(open_frames(video), non_overlapping=non_overlapping)

    def open_source(self, source: FrameSource, *, non_overlapping: bool = False) -> Video:
        """Open a source of frames of one's own; see `samkit.video.FrameSource`."""
        return Video(self.tracker, source, non_overlapping=non_overlapping)

    def stream(self, *, non_overlapping: bool = False) -> VideoStream:
        """Begin a stream: one frame in, one answer out."""
        return VideoStream(self.tracker, non_overlapping=non_overlapping)
