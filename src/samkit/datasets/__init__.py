"""Data sets for training and evaluation: readers of files, and synthetic scenes."""

from samkit.datasets.annotated import AnnotatedImages
from samkit.datasets.checking import (
    SIZES_PX,
    CheckedImage,
    DataReport,
    check_data,
    find_shared,
    find_shared_with,
)
from samkit.datasets.folders import ImageFolder
from samkit.datasets.joined import JoinedData
from samkit.datasets.picked import PickedData
from samkit.datasets.registry import KINDS, DataKind, DataSet, open_annotated, open_data
from samkit.datasets.sa1b import Sa1bShards
from samkit.datasets.sample import Sample, SampleSource, SampleStream, require_indexed
from samkit.datasets.videos import (
    MovingImages,
    SequenceClips,
    VideoClip,
    VideoSource,
    VosSequence,
    find_vos_sequences,
    open_videos,
    read_object_masks,
)

__all__ = [
    "KINDS",
    "SIZES_PX",
    "AnnotatedImages",
    "CheckedImage",
    "DataKind",
    "DataReport",
    "DataSet",
    "ImageFolder",
    "JoinedData",
    "MovingImages",
    "PickedData",
    "Sa1bShards",
    "Sample",
    "SampleSource",
    "SampleStream",
    "SequenceClips",
    "VideoClip",
    "VideoSource",
    "VosSequence",
    "check_data",
    "find_shared",
    "find_shared_with",
    "find_vos_sequences",
    "open_annotated",
    "open_data",
    "open_videos",
    "read_object_masks",
    "require_indexed",
]
