"""Frozen values that the store returns, detached from the database.

Times are in UTC, durations in milliseconds, coordinates in pixels of the upright image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar, get_args

from samkit.errors import StoreError
from samkit.geometry import Rle

Role = Literal["annotator", "reviewer", "admin"]
Review = Literal["none", "submitted", "accepted", "returned"]
# The three stages of the SAM paper's data engine, and masks from other programs.
Stage = Literal["assisted-manual", "semi-automatic", "fully-automatic", "imported"]
JobState = Literal["waiting", "running", "done", "failed"]

ROLES: tuple[Role, ...] = get_args(Role)
REVIEWS: tuple[Review, ...] = get_args(Review)
STAGES: tuple[Stage, ...] = get_args(Stage)
# Events made with one press of the pointer; "clicks per mask" counts these.
CLICK_KINDS = ("point", "box", "brush", "erase", "polygon")
DAY_MS = 24 * 60 * 60 * 1000  # longest duration of an event, so that sums stay within 64 bits
EVENT_KINDS = (*CLICK_KINDS, "text", "choose", "class", "delete", "undo", "redo", "import")

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Item]):
    """One page of a list.

    Attributes:
        items: in the list's order.
        next_after: pass it as `after` for the next page; None on the last page.
    """

    items: tuple[Item, ...]
    next_after: int | None


@dataclass(frozen=True, kw_only=True)
class User:
    id: int
    name: str
    role: Role
    active: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Project:
    """A set of images and their masks; `root` is a folder or fsspec URL."""

    id: int
    name: str
    root: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class LabelClass:
    id: int
    project_id: int
    name: str
    color: str


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """One image of a project.

    Attributes:
        path: relative to the project's root, with forward slashes.
        sha256: hash of the file's content.
        num_bytes: size of the file.
        size_hw: upright size in pixels.
        stage: data-engine stage of its latest masks.
        review: "none" until it is submitted.
        comment: the last reviewer's reason for returning it.
        num_masks: number of masks, without deleted ones.
        num_annotators: how many people should annotate it independently.
        open: whether the queue still offers it.
        version: incremented by each change of its masks or review.
    """

    id: int
    project_id: int
    path: str
    sha256: str
    num_bytes: int
    size_hw: tuple[int, int]
    stage: Stage
    review: Review
    comment: str
    num_masks: int
    num_annotators: int
    open: bool
    version: int


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A user's exclusive hold on an image until `expires_at`."""

    image: StoredImage
    user_id: int
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """A prompt or correction by an annotator, not stored yet.

    Attributes:
        kind: one of EVENT_KINDS.
        data: the prompt as JSON, such as {"xy": [3, 4], "label": 1}.
        duration_ms: time since the previous event.
        model_version_id: the model version that answered; None for edits by hand.
    """

    kind: str
    data: Mapping[str, Any]
    duration_ms: int = 0
    model_version_id: int | None = None

    def __post_init__(self) -> None:
        check_choice("an event's kind", self.kind, EVENT_KINDS)
        if not 0 <= self.duration_ms <= DAY_MS:
            raise StoreError(f"duration_ms must be from 0 to a day; got {self.duration_ms}")


@dataclass(frozen=True, kw_only=True)
class Event:
    """A stored event: a `NewEvent`, who made it, when, and the annotation's version it led to."""

    id: int
    annotation_id: int
    version: int
    kind: str
    data: Mapping[str, Any]
    duration_ms: int
    model_version_id: int | None
    user_id: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One state of an annotation; `change` says what produced it: edit, undo or redo."""

    version: int
    change: str
    rle: Rle
    class_id: int | None
    deleted: bool
    user_id: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The current state of one mask.

    Attributes:
        user_id: the user who created it.
        version: 1 at first, incremented by each change; a change names the version it is based on.
        score: the model's predicted IoU; None for masks made by hand.
        stability: stability score of the mask; None if not measured.
        num_clicks: points, boxes, strokes and polygons so far.
        duration_ms: time spent on it so far.
    """

    id: int
    image_id: int
    user_id: int
    class_id: int | None
    rle: Rle
    box_xyxy: tuple[int, int, int, int]
    area_px: int
    stage: Stage
    score: float | None
    stability: float | None
    version: int
    deleted: bool
    num_clicks: int
    duration_ms: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A checkpoint that answers prompts; `checksum` is the SHA-256 of its weights."""

    id: int
    name: str
    checksum: str
    path: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Job:
    """A background job; `progress` is from 0 to 1."""

    id: int
    project_id: int
    kind: str
    state: JobState
    data: Mapping[str, Any]
    progress: float
    error: str
    attempts: int


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a value is one of the choices; `what` names it in the error.

    Raises:
        StoreError: the value is another.
    """
    if value not in choices:
        raise StoreError(f"{what} must be one of {', '.join(choices)}; got {value!r:.40}")
