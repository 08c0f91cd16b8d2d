"""Data sets of videos, from which trainings draw clips of a few frames."""

from samkit.datasets.videos.clip import VideoClip, VideoSource
from samkit.datasets.videos.moving import MovingImages
from samkit.datasets.videos.registry import open_videos
from samkit.datasets.videos.sequences import (
    SequenceClips,
    VosSequence,
    find_vos_sequences,
    read_object_masks,
)

__all__ = [
    "MovingImages",
    "SequenceClips",
    "VideoClip",
    "VideoSource",
    "VosSequence",
    "find_vos_sequences",
    "open_videos",
    "read_object_masks",
]
