"""Bodies of the REST API's requests, and of those answers that differ from the store's values.

Routes return a value of the data engine itself where its JSON needs no other schema. An `Out`
model adds names of people, hides fields, or describes a pair as a list of two, which more OpenAPI
clients understand than a tuple.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from samkit.dataengine import (
    DAY_MS,
    EVENT_KINDS,
    AttributeKind,
    JobState,
    MaskVerdict,
    Outcome,
    Page,
    Priority,
    Review,
    Role,
    Stage,
    Submission,
    User,
)
from samkit.web.decoders import Hindrance

MAX_INT64 = 2**63 - 1
MAX_INT32 = 2**31 - 1
MAX_RLE = 2 * 2**20  # characters of a mask; noise on 24 megapixels has 0.7 million
MAX_AT_ONCE = 100  # images of one verdict
MAX_EVENTS = 10_000  # in one change of a mask
# Of one prompt: decoding so many takes 80 ms, in which nobody else is answered.
MAX_POINTS = 64
MAX_SECRET = 1000  # characters
MAX_MASKS = 100_000  # of one image
MAX_PEOPLE = 1000
MAX_CLASSES = 100_000  # of a project
MAX_NAMES = 100  # of attributes, choices or tags

Key = Annotated[int, Field(ge=1, le=MAX_INT64)]
Version = Annotated[int, Field(ge=0, le=MAX_INT32)]
Side = Annotated[int, Field(ge=1, le=MAX_INT32)]
Pair = Field(min_length=2, max_length=2)
People = Annotated[list[Key], Field(min_length=1, max_length=MAX_PEOPLE)]
Names = Annotated[list[str], Field(max_length=MAX_NAMES)]
# Checked by the store, which knows the project's.
Attributes = Annotated[dict[str, bool | int | float | str | None], Field(max_length=2 * MAX_NAMES)]
Secret = Annotated[str, Field(min_length=1, max_length=MAX_SECRET)]


class Model(BaseModel):
    """Base of all bodies: built from the store's values; unknown fields are refused."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", allow_inf_nan=False)


Out = TypeVar("Out", bound=Model)


def page_of(model: type[Out], values: Iterable[object], next_after: int | None = None) -> Page[Out]:
    """Make a page of answers from the store's values."""
    return Page(items=tuple(model.model_validate(one) for one in values), next_after=next_after)


class Problem(Model):
    """Why a request was refused, in one line."""

    detail: str


# --- People ---


class Credentials(Model):
    """Name and password, or the token of a local server."""

    name: Annotated[str, Field(max_length=100)] | None = None
    password: Secret | None = None
    token: Secret | None = None


class SignInOut(Model):
    user: User
    csrf_token: str
    local: bool


class NewUser(Model):
    name: str
    password: Secret | None = None
    role: Role = "annotator"


class UserChange(Model):
    role: Role | None = None
    password: Secret | None = None
    active: bool | None = None


class Settings(Model):
    """What a person has set on the page, which alone knows what it means."""

    settings: dict[str, Any]


class PasswordChange(Model):
    old: Secret
    new: Secret


# --- Projects and images ---


class ModelOut(Model):
    id: int
    name: str
    checksum: str


class StatusOut(Model):
    version: str
    model: ModelOut | None
    hint_after_s: float
    local: bool
    max_upload_mb: int
    max_megapixels: int
    words: bool


class Health(Model):
    ok: bool


class NewProject(Model):
    name: str
    root: Annotated[str, Field(max_length=4096)]


class ProjectOut(Model):
    """A project; `root` is null for everybody but admins."""

    id: int
    name: str
    root: str | None
    created_at: datetime


class NewClass(Model):
    name: str
    color: str | None = None


class ClassChange(Model):
    name: str | None = None
    color: str | None = None
    key: str | None = None


class ClassOrder(Model):
    class_ids: Annotated[list[Key], Field(max_length=MAX_CLASSES)]


class MergeClass(Model):
    into: Key


class AttributeModel(Model):
    name: str
    kind: AttributeKind
    choices: Names = []


class LabellingModel(Model):
    """What a project's people are asked for; see `samkit.dataengine.Labelling`."""

    attributes: Annotated[list[AttributeModel], Field(max_length=MAX_NAMES)] = []
    tags: Names = []
    class_required: bool = False


class TagsChange(Model):
    version: Version
    tags: Names


class TagsOut(Model):
    image_id: int
    tags: list[str]
    version: int


class TagRevisionOut(Model):
    version: int
    change: str
    tags: list[str]
    user_id: int
    at: datetime


class ImageOut(Model):
    id: int
    project_id: int
    path: str
    sha256: str
    num_bytes: int
    size_hw: Annotated[list[int], Pair]
    stage: Stage
    review: Review
    comment: str
    num_masks: int
    num_annotators: int
    open: bool
    version: int
    tags: list[str]
    priority: Priority
    batch: str
    num_open_comments: int


class TilesOut(Model):
    """Levels of an image by tiles, and whether its values can be read without waiting."""

    tile_side: int
    sizes_wh: list[tuple[int, int]]
    has_values: bool


class DecoderOut(Model):
    """The decoder of the model that answers, and the sides of its input and its embeddings."""

    model_version_id: int
    hindrance: Hindrance | None
    model_side: int
    grid_side: int
    num_channels: int


class ValuesOut(Model):
    """Values of the pixels from x, y on: rows of pixels of channels.

    They are exact but for images by tiles of 8 bits, whose tiles are JPEG.
    """

    x: int
    y: int
    is_exact: bool
    values: list[list[list[int | float | None]]]


class LeaseOut(Model):
    image: ImageOut
    user_id: int
    expires_at: datetime


class Holder(Model):
    user_name: str
    expires_at: datetime


class HolderOut(Model):
    """Who holds an image; null if nobody does."""

    holder: Holder | None


class NextOut(Model):
    lease: LeaseOut | None


class NumAnnotators(Model):
    num_annotators: Annotated[int, Field(ge=1, le=1000)]


class NewScan(Model):
    num_annotators: Annotated[int, Field(ge=1, le=1000)] = 1


class JobOut(Model):
    id: int
    project_id: int
    kind: str
    state: JobState
    data: dict[str, Any]
    progress: float
    error: str


# --- Masks ---


class RleModel(Model):
    """A mask in COCO's compressed run-length encoding."""

    size: Annotated[list[Side], Pair]
    counts: Annotated[str, Field(max_length=MAX_RLE)]


class EventModel(Model):
    kind: Literal[EVENT_KINDS]  # type: ignore[valid-type]
    data: dict[str, Any] = {}
    duration_ms: Annotated[int, Field(ge=0, le=DAY_MS)] = 0
    model_version_id: Key | None = None


Events = Annotated[list[EventModel], Field(max_length=MAX_EVENTS)]


class NewAnnotation(Model):
    rle: RleModel
    class_id: Key | None = None
    attributes: Attributes = {}
    events: Events = []
    score: float | None = None
    stability: float | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class AnnotationChange(Model):
    """A new state; the scores are those of the new mask. Attributes of null stay as they are."""

    version: Version
    rle: RleModel
    class_id: Key | None = None
    attributes: Attributes | None = None
    events: Events = []
    score: float | None = None
    stability: float | None = None


class AtVersion(Model):
    version: Version


class AcceptImage(Model):
    """Which masks to accept; null for all."""

    version: Version
    annotation_ids: Annotated[list[Key], Field(max_length=MAX_MASKS)] | None = None


class ReturnImage(Model):
    """To whom; null for everyone whose masks are there."""

    version: Version
    comment: str
    user_ids: People | None = None


class FoundOut(Model):
    num_images: int


class ImageVersion(Model):
    """An image as it was shown; a newer one is refused."""

    id: Key
    version: Version


class ReviewMany(Model):
    """The comment is needed to return images."""

    verdict: Literal["accept", "return", "reopen"]
    images: Annotated[list[ImageVersion], Field(min_length=1, max_length=MAX_AT_ONCE)]
    comment: str = ""


class RefusedImage(Model):
    id: int
    detail: str


class ReviewedOut(Model):
    done: list[ImageOut]
    refused: list[RefusedImage]


class RestoreMasks(Model):
    version: Version
    user_ids: People


class Reason(Model):
    reason: str


class AnnotationOut(Model):
    """An annotation, with its maker's name."""

    id: int
    image_id: int
    user_id: int
    user_name: str
    class_id: int | None
    rle: RleModel
    box_xyxy: Annotated[list[int], Field(min_length=4, max_length=4)]
    area_px: int
    stage: Stage
    score: float | None
    stability: float | None
    version: int
    deleted: bool
    num_clicks: int
    duration_ms: int
    created_at: datetime
    attributes: dict[str, bool | int | float | str]
    verdict: MaskVerdict | None


class JudgeMask(Model):
    """A verdict on a mask as it was at a version; null takes an earlier one back."""

    version: Version
    verdict: MaskVerdict | None


class RevisionOut(Model):
    version: int
    change: str
    rle: RleModel
    class_id: int | None
    score: float | None
    stability: float | None
    deleted: bool
    user_id: int
    at: datetime
    attributes: dict[str, bool | int | float | str]


class SubmissionOut(Model):
    user_id: int
    user_name: str
    outcome: Outcome
    reason: str
    returned: bool
    annotation_ids: list[int]
    at: datetime


class OwnSubmission(Model):
    submission: SubmissionOut | None


def submission_out(submission: Submission, user_name: str) -> SubmissionOut:
    """Add a person's name to what they submitted."""
    return SubmissionOut(
        user_id=submission.user_id,
        user_name=user_name,
        outcome=submission.outcome,
        reason=submission.reason,
        returned=submission.returned,
        annotation_ids=list(submission.annotation_ids),
        at=submission.at,
    )


class VerdictOut(Model):
    user_id: int
    user_name: str
    verdict: str
    comment: str
    at: datetime


# --- Numbers ---


class StateCountOut(Model):
    num_images: int
    num_masks: int
    masks_per_image: float


class WorkDayOut(Model):
    day: date
    user_id: int
    user_name: str
    stage: Stage
    num_masks: int
    num_corrected: int
    num_clicks: int
    duration_ms: int
    seconds_per_mask: float | None
    clicks_per_mask: float | None


class StatisticsOut(Model):
    images: dict[Review, StateCountOut]
    videos: dict[Review, int]
    days: list[WorkDayOut]


class PersonCountOut(Model):
    """What has become of one person's images; see `samkit.dataengine.PersonCount`."""

    user_id: int
    user_name: str
    num_waiting: int
    num_accepted: int
    num_returned: int
    num_skipped: int
    num_unusable: int
    num_held: int
    num_assigned: int


class AgreementOut(Model):
    image_id: int
    image_path: str
    user_ids: Annotated[list[int], Pair]
    user_names: Annotated[list[str], Pair]
    ious: list[float]
    num_unmatched: Annotated[list[int], Pair]
    num_same_class: int
    mean_iou: float


class LearningIn(Model):
    """How a project's model learns; see `samkit.dataengine.Learning`."""

    every_masks: Annotated[int, Field(ge=0, le=MAX_INT32)]
    prefill: bool
    target_precision: Annotated[float, Field(ge=0, le=1)]
    choose_next: bool = False
    lora: bool = False
    away_minutes: Annotated[int, Field(ge=1, le=MAX_INT32)] = 30


class ServeIn(Model):
    """The model version that shall answer."""

    model_version_id: Key


class LearnedOut(Model):
    """A learned model, with what its judge measured."""

    version: ModelOut
    parent_id: int
    learns: Literal["decoder", "lora"]
    num_images: int
    num_masks: int
    verdict: Literal["promoted", "rejected"]
    reason: str
    figures: dict[str, Any]
    created_at: datetime


class LearningOut(Model):
    """A project's models.

    Attributes:
        serving: the version that answers; None while the server's own model is loading.
        doing: "learn", "lora", "prefill", "choose", "embed" or "waiting"; None for nothing.
        left: number of images that are still to be prefilled or encoded; None if that is not done
            now.
        tiles: numbers of tiles that are done and of all, of a large image that is being prefilled
            now; None for others.
        finished_masks: masks that people have finished.
        learned: oldest first.
        precision: fraction of late prefilled masks that people left as they were; None without any.
        prefilled: number of these masks.
    """

    every_masks: int
    prefill: bool
    target_precision: float
    choose_next: bool
    lora: bool
    away_minutes: int
    serving: int | None
    doing: str | None
    left: int | None
    tiles: tuple[int, int] | None
    finished_masks: int
    learned: tuple[LearnedOut, ...]
    precision: float | None
    prefilled: int


class NewAudit(Model):
    """Size of the sample, and its seed."""

    num_images: Annotated[int, Field(ge=1, le=MAX_INT32)]
    seed: Annotated[int, Field(ge=0, le=MAX_INT64)] = 0


class AuditOut(Model):
    """A quality audit, and how many of its images people have corrected so far."""

    id: int
    user_id: int
    seed: int
    created_at: datetime
    num_images: int
    num_untouched: int
    num_corrected: int
    num_unusable: int
    num_open: int


class AuditReportOut(Model):
    """An audit with its figures; see `samkit.learning.AuditFigures`."""

    audit: AuditOut
    figures: dict[str, Any]
