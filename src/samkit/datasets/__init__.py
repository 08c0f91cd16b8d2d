"""Data sets for training and evaluation: readers of files, and synthetic scenes."""

from samkit.datasets.coco import CocoData
from samkit.datasets.folders import ImageFolder, InstancePng
from samkit.datasets.registry import KINDS, DataKind, DataSet, open_data
from samkit.datasets.sa1b import Sa1bFolder, Sa1bShards
from samkit.datasets.sample import Sample, SampleSource, SampleStream, require_indexed

__all__ = [
    "KINDS",
    "CocoData",
    "DataKind",
    "DataSet",
    "ImageFolder",
    "InstancePng",
    "Sa1bFolder",
    "Sa1bShards",
    "Sample",
    "SampleSource",
    "SampleStream",
    "open_data",
    "require_indexed",
]
