"""What workers are asked, and what they answer; all of it is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from samkit.image_spec import ImageSpec
from samkit.predict import Refine
from samkit.proposals import AutoMaskConfig

MaskFormat: TypeAlias = Literal["rle", "png"]
Source: TypeAlias = Literal["memory", "disk", "computed"]


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image by the SHA-256 of its file.

    Attributes:
        content: the file; None for an image that was sent earlier.
    """

    sha256: str
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class EmbedJob:
    """Embed an image."""

    image: ImageFile


@dataclass(frozen=True, kw_only=True)
class PredictJob:
    """Answer prompts.

    Attributes:
        parts: arguments of `Prompts.of`, as they came.
        masks: instead of mask logits, masks in a form of COCO's, one for each prompt.
        mask_format: of the masks in the answer.
        with_logits: whether the answer has the mask logits, too.
        as_prediction: whether the answer is a `MaskPrediction` instead of JSON.
    """

    image: ImageFile
    parts: Mapping[str, Any]
    masks: tuple[Any, ...] | None = None
    multimask: bool = True
    refine: Refine = "none"
    fine: bool = False
    mask_format: MaskFormat = "rle"
    with_logits: bool = False
    as_prediction: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it can be decoded together with other jobs on its image.

        Refined answers and fine masks take their time after decoding, so that a batch would only
        make the first one wait.
        """
        return self.refine == "none" and not self.fine


@dataclass(frozen=True, kw_only=True)
class TextJob:
    """Find what words name.

    Attributes:
        text_thresh: minimum score; None for the text model's own.
    """

    image: ImageFile
    text: tuple[str, ...]
    text_thresh: float | None = None
    multimask: bool = True
    mask_format: MaskFormat = "rle"


@dataclass(frozen=True, kw_only=True)
class AutoJob:
    """Find masks of everything; the answer is a line for each step, then for each mask.

    Attributes:
        config: None for the default.
        is_quick: in place of the configuration, that of `quick_config`.
    """

    image: ImageFile
    config: AutoMaskConfig | None = None
    is_quick: bool = False
    mask_format: MaskFormat = "rle"


@dataclass(frozen=True, kw_only=True)
class TrackJob:
    """Follow objects through a video; the answer is a line for each frame.

    Attributes:
        path: the video, on the server's disk.
        prompts: arguments of `Video.prompt`, in their order.
        reverse: follow the objects to the beginning of the video first.
        non_overlapping: each pixel belongs to one object at most.
        stop: frame to stop before; None for the end.
    """

    path: Path
    prompts: tuple[Mapping[str, Any], ...]
    reverse: bool = False
    non_overlapping: bool = False
    stop: int | None = None
    mask_format: MaskFormat = "rle"


QuickJob: TypeAlias = EmbedJob | PredictJob | TextJob
StreamJob: TypeAlias = AutoJob | TrackJob
Job: TypeAlias = QuickJob | StreamJob


def is_stream(job: Job) -> bool:
    """Whether the answer comes line by line, and takes its time."""
    return isinstance(job, AutoJob | TrackJob)


def image_key(job: Job) -> str | None:
    """The image whose embedding a job uses; None for jobs that embed on their own."""
    return None if isinstance(job, AutoJob | TrackJob) else job.image.sha256


def kind_of(job: Job) -> str:
    """Name of a kind of job: "embed", "predict", ..."""
    return type(job).__name__.removesuffix("Job").lower()


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The model that a worker has loaded.

    Attributes:
        description: see `Predictor.describe`.
        encoder_checksum: with which embeddings are cached.
        image_spec: how images become its input.
        reads_text: whether there is a text model.
    """

    description: Mapping[str, str | int]
    encoder_checksum: str
    image_spec: ImageSpec
    reads_text: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The end of a job.

    Attributes:
        value: JSON as bytes, or a `MaskPrediction`; empty after lines.
        source: where the embedding came from; None for jobs without one.
    """

    value: Any = b""
    source: Source | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A part of an answer: a line of JSON."""

    text: bytes


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The end of a job that failed.

    Attributes:
        where: traceback, for the server's log.
    """

    error: Exception
    where: str = ""


Event: TypeAlias = Answer | Line | Failure
