"""Resumable work over many images: work lists, masks and result files.

Each kind of work has three steps, `claim`, `generate` and `commit`, which an `Executor` runs.
"""

from typing import TYPE_CHECKING

from samkit.batch.auto import AutoResult, AutoWork
from samkit.batch.executor import Executor, Finished, InProcess, Outcome, Postponed, Work
from samkit.batch.generator import ClassChoice, MaskGenerator, is_out_of_memory
from samkit.batch.inputs import (
    InputImage,
    PageChoice,
    Skipped,
    find_images,
    name_results,
    split_into_pages,
)
from samkit.batch.mask_files import COCO_NAME, DEFAULT_FORMATS, FORMATS, SUFFIXES
from samkit.batch.prelabel import prelabel_images, run_prelabelling
from samkit.batch.process_pool import ProcessPool
from samkit.batch.prompt_results import summary
from samkit.batch.prompts import ImagePrompt, prompts_from_options
from samkit.batch.ray_cluster import RayCluster
from samkit.batch.retries import run_with_retries
from samkit.batch.run_folder import STATE_NAME, Record, RunFolder
from samkit.batch.segment import (
    DEFAULT_SEGMENT_FORMATS,
    SEGMENT_FORMATS,
    SEGMENT_STATE_NAME,
    PromptedImage,
    SegmentOptions,
    SegmentWork,
    check_models,
    check_result_names,
    read_prompted_images,
)
from samkit.batch.selecting import SELECT_FORMATS, SelectWork, selection_summary
from samkit.batch.shards import COPY_SUFFIX, DEFAULT_SHARD_IMAGES
from samkit.batch.track_formats import DEFAULT_TRACK_FORMATS, TRACK_FORMATS
from samkit.batch.workers import available_cores, limit_threads
from samkit.lazy import lazy_names

if TYPE_CHECKING:  # OpenCV takes a tenth of a second to import
    from samkit.batch.follow import follow_job, follow_next
    from samkit.batch.track import ObjectPrompt, TrackFolder, follow_objects, write_tracks

__all__ = [
    "COCO_NAME",
    "COPY_SUFFIX",
    "DEFAULT_FORMATS",
    "DEFAULT_SEGMENT_FORMATS",
    "DEFAULT_SHARD_IMAGES",
    "DEFAULT_TRACK_FORMATS",
    "FORMATS",
    "SEGMENT_FORMATS",
    "SEGMENT_STATE_NAME",
    "SELECT_FORMATS",
    "STATE_NAME",
    "SUFFIXES",
    "TRACK_FORMATS",
    "AutoResult",
    "AutoWork",
    "ClassChoice",
    "Executor",
    "Finished",
    "ImagePrompt",
    "InProcess",
    "InputImage",
    "MaskGenerator",
    "ObjectPrompt",
    "Outcome",
    "PageChoice",
    "Postponed",
    "ProcessPool",
    "PromptedImage",
    "RayCluster",
    "Record",
    "RunFolder",
    "SegmentOptions",
    "SegmentWork",
    "SelectWork",
    "Skipped",
    "TrackFolder",
    "Work",
    "available_cores",
    "check_models",
    "check_result_names",
    "find_images",
    "follow_job",
    "follow_next",
    "follow_objects",
    "is_out_of_memory",
    "limit_threads",
    "name_results",
    "prelabel_images",
    "prompts_from_options",
    "read_prompted_images",
    "run_prelabelling",
    "run_with_retries",
    "selection_summary",
    "split_into_pages",
    "summary",
    "write_tracks",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ObjectPrompt": "track",
        "TrackFolder": "track",
        "follow_job": "follow",
        "follow_next": "follow",
        "follow_objects": "track",
        "write_tracks": "track",
    },
)
