"""Video: frames read when needed, and objects followed through them."""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names
from samkit.video.answer import ObjectResult, VideoAnswer
from samkit.video.frames import EveryNth, FrameFolder, FrameSource
from samkit.video.interface import ObjectAnswer, State, Tracker
from samkit.video.opening import VideoLike, open_frames
from samkit.video.stream import VideoStream
from samkit.video.video import Video
from samkit.video.writing import write_video

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.video.feature_tracker import FeatureTracker, FeatureTrackerConfig
    from samkit.video.features import FrameFeatures, grey_picture
    from samkit.video.motion_rules import MotionRules
    from samkit.video.predictor import VideoPredictor
    from samkit.video.sam2_memory import (
        DISTRACTOR_AWARE,
        PLAIN,
        POLICIES,
        PUBLISHED,
        SAMURAI,
        MemoryPolicy,
    )
    from samkit.video.sam2_tracker import Sam2Tracker

__all__ = [
    "DISTRACTOR_AWARE",
    "PLAIN",
    "POLICIES",
    "PUBLISHED",
    "SAMURAI",
    "EveryNth",
    "FeatureTracker",
    "FeatureTrackerConfig",
    "FrameFeatures",
    "FrameFolder",
    "FrameSource",
    "MemoryPolicy",
    "MotionRules",
    "ObjectAnswer",
    "ObjectResult",
    "Sam2Tracker",
    "State",
    "Tracker",
    "Video",
    "VideoAnswer",
    "VideoLike",
    "VideoPredictor",
    "VideoStream",
    "grey_picture",
    "open_frames",
    "write_video",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DISTRACTOR_AWARE": "sam2_memory",
        "PLAIN": "sam2_memory",
        "POLICIES": "sam2_memory",
        "PUBLISHED": "sam2_memory",
        "SAMURAI": "sam2_memory",
        "FeatureTracker": "feature_tracker",
        "FeatureTrackerConfig": "feature_tracker",
        "FrameFeatures": "features",
        "MemoryPolicy": "sam2_memory",
        "MotionRules": "motion_rules",
        "Sam2Tracker": "sam2_tracker",
        "VideoPredictor": "predictor",
        "grey_picture": "features",
    },
)
