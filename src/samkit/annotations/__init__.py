"""Annotations of other programs: read from files, drawn as masks, and placed on their images."""

from samkit.annotations.clips import CLIP_FORMATS, detect_clip_format, open_clips
from samkit.annotations.coco import CocoFile, CocoImage, read_coco
from samkit.annotations.label_studio_interface import LabelInterface, read_label_interface
from samkit.annotations.model import (
    AnnotatedImage,
    AnnotatedMask,
    AnnotationFiles,
    AnnotationList,
    AnnotationSet,
    Fault,
    ReadOptions,
    faults_of_nothing,
)
from samkit.annotations.names import ImageNames, place_notes
from samkit.annotations.registry import (
    FORMATS,
    AnnotationFormat,
    detect_format,
    open_annotations,
)
from samkit.annotations.sa1b import sa1b_image
from samkit.annotations.segmentations import CocoSegmentation, read_rles, segmentation_rle
from samkit.annotations.spaces import DrawnImage, draw_image
from samkit.annotations.suspicions import find_duplicates, find_suspicions

__all__ = [
    "CLIP_FORMATS",
    "FORMATS",
    "AnnotatedImage",
    "AnnotatedMask",
    "AnnotationFiles",
    "AnnotationFormat",
    "AnnotationList",
    "AnnotationSet",
    "CocoFile",
    "CocoImage",
    "CocoSegmentation",
    "DrawnImage",
    "Fault",
    "ImageNames",
    "LabelInterface",
    "ReadOptions",
    "detect_clip_format",
    "detect_format",
    "draw_image",
    "faults_of_nothing",
    "find_duplicates",
    "find_suspicions",
    "open_annotations",
    "open_clips",
    "place_notes",
    "read_coco",
    "read_label_interface",
    "read_rles",
    "sa1b_image",
    "segmentation_rle",
]
