"""Video: frames read when needed, and objects followed through them."""

from typing import TYPE_CHECKING

from samkit.lazy import lazy_names
from samkit.video.answer import ObjectResult, VideoAnswer
from samkit.video.between import fill_between, fill_gap, move_box
from samkit.video.frames import EveryNth, FrameFolder, FrameSource
from samkit.video.interface import ObjectAnswer, State, Tracker
from samkit.video.opening import VIDEO_SUFFIXES, VideoLike, open_frames, open_path
from samkit.video.stack import STACK_SUFFIXES, StackFrames
from samkit.video.stream import VideoStream
from samkit.video.video import Video
from samkit.video.video_file import FrameTimes, VideoFile
from samkit.video.writing import write_video

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.video.feature_tracker import FeatureTracker, FeatureTrackerConfig
    from samkit.video.features import FrameFeatures, grey_picture
    from samkit.video.motion_rules import MotionRules
    from samkit.video.predictor import VideoPredictor
    from samkit.video.sam2_hypotheses import HypothesisTracker
    from samkit.video.sam2_memory import (
        DISTRACTOR_AWARE,
        HYPOTHESES,
        PLAIN,
        POLICIES,
        POOLED,
        PUBLISHED,
        SAMURAI,
        MemoryFrame,
        MemoryPolicy,
        ObjectMemory,
    )
    from samkit.video.sam2_tracker import (
        CORRECTED_LOGIT,
        GIVEN_LOGIT,
        NO_OBJECT_LOGIT,
        Sam2Tracker,
    )
    from samkit.video.trackers import follower_of

__all__ = [
    "CORRECTED_LOGIT",
    "DISTRACTOR_AWARE",
    "GIVEN_LOGIT",
    "HYPOTHESES",
    "NO_OBJECT_LOGIT",
    "PLAIN",
    "POLICIES",
    "POOLED",
    "PUBLISHED",
    "SAMURAI",
    "STACK_SUFFIXES",
    "VIDEO_SUFFIXES",
    "EveryNth",
    "FeatureTracker",
    "FeatureTrackerConfig",
    "FrameFeatures",
    "FrameFolder",
    "FrameSource",
    "FrameTimes",
    "HypothesisTracker",
    "MemoryFrame",
    "MemoryPolicy",
    "MotionRules",
    "ObjectAnswer",
    "ObjectMemory",
    "ObjectResult",
    "Sam2Tracker",
    "StackFrames",
    "State",
    "Tracker",
    "Video",
    "VideoAnswer",
    "VideoFile",
    "VideoLike",
    "VideoPredictor",
    "VideoStream",
    "fill_between",
    "fill_gap",
    "follower_of",
    "grey_picture",
    "move_box",
    "open_frames",
    "open_path",
    "write_video",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CORRECTED_LOGIT": "sam2_tracker",
        "DISTRACTOR_AWARE": "sam2_memory",
        "GIVEN_LOGIT": "sam2_tracker",
        "HYPOTHESES": "sam2_memory",
        "NO_OBJECT_LOGIT": "sam2_tracker",
        "PLAIN": "sam2_memory",
        "POLICIES": "sam2_memory",
        "POOLED": "sam2_memory",
        "PUBLISHED": "sam2_memory",
        "SAMURAI": "sam2_memory",
        "FeatureTracker": "feature_tracker",
        "FeatureTrackerConfig": "feature_tracker",
        "FrameFeatures": "features",
        "HypothesisTracker": "sam2_hypotheses",
        "MemoryFrame": "sam2_memory",
        "MemoryPolicy": "sam2_memory",
        "ObjectMemory": "sam2_memory",
        "MotionRules": "motion_rules",
        "Sam2Tracker": "sam2_tracker",
        "VideoPredictor": "predictor",
        "follower_of": "trackers",
        "grey_picture": "features",
    },
)
