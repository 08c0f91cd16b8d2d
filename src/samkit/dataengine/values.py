"""Values that the store returns: plain and frozen, without a connection to the database.

All times are in UTC, all durations in milliseconds, all coordinates in pixels of the image.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar, get_args

from samkit.errors import StoreError
from samkit.formats import split_page
from samkit.geometry import Rle

Role = Literal["annotator", "reviewer", "admin"]
Review = Literal["none", "submitted", "returned", "accepted", "skipped", "unusable"]
# What a person has made of an image.
Outcome = Literal["annotated", "skipped", "unusable"]
# The paper's three stages, and masks made by other programs.
Stage = Literal["assisted-manual", "semi-automatic", "fully-automatic", "imported"]
Judged = Literal["promoted", "rejected"]  # what becomes of a learned model
# What a round trains: the decoder, or with it low-rank corrections of the image encoder.
Learnt = Literal["decoder", "lora"]
# How soon the queue offers an image.
Priority = Literal["urgent", "high", "normal", "low"]
MaskVerdict = Literal["accepted", "rejected"]  # of a reviewer on one mask
JobState = Literal["waiting", "running", "done", "failed", "stopped"]

ROLES: tuple[Role, ...] = get_args(Role)
MASK_VERDICTS: tuple[MaskVerdict, ...] = get_args(MaskVerdict)
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
REVIEWS: tuple[Review, ...] = get_args(Review)
STAGES: tuple[Stage, ...] = get_args(Stage)
# Stages of masks that people make: all of an image's, or those that automatic masks have missed.
MADE_BY_PEOPLE: tuple[Stage, ...] = ("assisted-manual", "semi-automatic")
# What exports have unless told otherwise: a person has said that the masks are complete.
FINISHED: tuple[Review, ...] = ("submitted", "accepted")
# Events of a single press of the pointer, which "clicks per mask" counts.
CLICK_KINDS = ("point", "box", "brush", "erase", "polygon", "move", "remove")
DAY_MS = 24 * 60 * 60 * 1000  # maximum duration of an event, so that sums stay within 64 bits
# "review": a reviewer chose among whole masks, which corrects none of them. "shape": masks were
# merged, split, cleaned up, given other corners, or cut where they overlapped. "move" and "remove"
# are of an earlier point or box.
EVENT_KINDS = (
    *CLICK_KINDS,
    "text",
    "choose",
    "class",
    "attributes",
    "delete",
    "undo",
    "redo",
    "import",
    "review",
    "shape",
)
# Unicode's categories of control characters, halves of characters and ends of lines, and what else
# XML forbids. Joiners, which some scripts need, are not among them.
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
FORBIDDEN = "\ufffe\uffff"

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Item]):
    """One page of a list.

    Attributes:
        items: in the list's order.
        next_after: `after` of the next page; None on the last page.
    """

    items: tuple[Item, ...]
    next_after: int | None


def all_items(read: Callable[[int], Page[Item]]) -> Iterator[Item]:
    """Yield all items of a paged list; `read` returns the page after a number."""
    after: int | None = 0
    while after is not None:
        page = read(after)
        yield from page.items
        after = page.next_after


@dataclass(frozen=True, kw_only=True)
class User:
    """A person who may sign in."""

    id: int
    name: str
    role: Role
    active: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a project's model learns from its masks.

    Attributes:
        every_masks: learn each time that this many masks were finished since; 0 for on demand.
        prefill: put confident masks on images before people open them.
        target_precision: fraction of prefilled masks that people shall accept as they are.
        choose_next: the queue offers first those images from which the model would learn most.
        lora: train the image encoder, too, by low-rank corrections, when everybody is away.
        away_minutes: everybody is away when nobody has worked for this time.
        max_clicks: clicks until an annotator gives up and paints, for the cost of a mask.
        paint_clicks: clicks that painting counts as.
        max_forgotten: how much worse a learned model may be on general images, in mIoU of first
            clicks.
    """

    every_masks: int = 0
    prefill: bool = False
    target_precision: float = 0.9
    choose_next: bool = False
    lora: bool = False
    away_minutes: int = 30
    max_clicks: int = 8
    paint_clicks: int = 5
    max_forgotten: float = 0.02

    def __post_init__(self) -> None:
        for name in ("every_masks", "away_minutes", "max_clicks", "paint_clicks"):
            least = 1 if name in ("max_clicks", "away_minutes") else 0
            if getattr(self, name) < least:
                raise StoreError(f"{name} must be at least {least}; got {getattr(self, name)}")
        for name in ("target_precision", "max_forgotten"):
            if not 0 <= getattr(self, name) <= 1:
                raise StoreError(f"{name} must be from 0 to 1; got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A set of images and their masks; `root` is a folder or an fsspec URL.

    `value_range` says which values of new images become black and white.
    """

    id: int
    name: str
    root: str
    created_at: datetime
    value_range: str
    learning: Learning = Learning()


@dataclass(frozen=True, kw_only=True)
class LabelClass:
    """A class of a project, with the colour of its masks and its key on the page.

    `key` is named as the page's table of keys names it, such as "a" or "Alt+x"; empty for none.
    """

    id: int
    project_id: int
    name: str
    color: str
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image of a project.

    Attributes:
        path: path below the project's root, with forward slashes; of the second page of a file and
            those after it `stack.tif#page=2`.
        sha256: checksum of the file, and of the page's number from the second on.
        num_bytes: size of the file.
        size_hw: height and width in pixels, after EXIF rotation.
        value_range: which values become black and white; see `samkit.formats.ValueRange`.
        stage: stage of the data engine that its latest masks come from.
        review: its state: "none" until submitted; "skipped" if somebody has skipped it, and it
            waits for others; "unusable" if somebody has reported that it cannot be annotated.
        comment: comment of the reviewer who returned it, why it is skipped or unusable, or what to
            do in a quality audit.
        num_masks: number of masks that are not deleted.
        num_annotators: number of people who shall annotate it independently.
        open: whether the queue still offers it.
        version: counts changes of its masks, its tags and its review.
        priority: how soon the queue offers it.
        batch: name of the batch that it is in; empty for none.
        num_open_comments: number of threads of comments that are not resolved.
    """

    id: int
    project_id: int
    path: str
    sha256: str
    num_bytes: int
    size_hw: tuple[int, int]
    value_range: str
    stage: Stage
    review: Review
    comment: str
    num_masks: int
    num_annotators: int
    open: bool
    version: int
    tags: tuple[str, ...] = ()
    priority: Priority = "normal"
    batch: str = ""
    num_open_comments: int = 0

    @property
    def page(self) -> int:
        """Page of its file, from 1."""
        return split_page(self.path)[1] or 1

    @property
    def pixels_key(self) -> str:
        """Identifies the pixels that are seen: file, page and range of values."""
        if self.value_range == "full":  # as all images were seen at first
            return self.sha256
        return hashlib.sha256(f"{self.sha256} {self.value_range}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ImagePlace:
    """Where an image is in its project, in the order in which images were added.

    Attributes:
        number: from 1.
        num_images: of the project.
        num_finished: images of the project that are submitted or accepted.
        previous_id, next_id: its neighbours; None at the ends.
    """

    number: int
    num_images: int
    num_finished: int
    previous_id: int | None
    next_id: int | None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A user's exclusive hold on an image until `expires_at`; `is_new` if they had none before."""

    image: StoredImage
    user_id: int
    expires_at: datetime
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What a person has made of an image, when they finished it.

    Attributes:
        reason: why they skipped or reported it; empty if they annotated it.
        returned: whether the image was returned to them, and they have not submitted it again.
        annotation_ids: the masks that it holds, of those that they could see.
    """

    user_id: int
    outcome: Outcome
    reason: str
    returned: bool
    annotation_ids: tuple[int, ...]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """A prompt or correction by an annotator.

    Attributes:
        kind: one of EVENT_KINDS.
        data: the prompt as JSON, such as {"xy": [3, 4], "label": 1}.
        duration_ms: time since the previous event.
        model_version_id: the model that answered.
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
    """A stored event: a `NewEvent` with its author, its time and the version it led to."""

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
    """One state of an annotation; `change` is what led to it: edit, undo or redo."""

    version: int
    change: str
    rle: Rle
    class_id: int | None
    score: float | None
    stability: float | None
    deleted: bool
    user_id: int
    at: datetime
    attributes: Mapping[str, bool | int | float | str]


@dataclass(frozen=True, kw_only=True)
class TagRevision:
    """One state of an image's tags; `change` is what led to it: edit, undo or redo."""

    version: int
    change: str
    tags: tuple[str, ...]
    user_id: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Change:
    """That a mask of an image, or its tags, were changed: a revision without its content.

    `annotation_id` is None for the tags.
    """

    annotation_id: int | None
    version: int
    change: str
    user_id: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The current state of a mask of an image.

    Attributes:
        user_id: its first author.
        version: counts its changes from 1; a change must name the version that it is based on.
        score: the model's predicted IoU of this mask; None if it was made or changed by hand.
        stability: IoU of the masks at a higher and a lower threshold; None if not measured.
        num_clicks: points, boxes, strokes and polygons so far.
        duration_ms: time spent on it so far.
        attributes: values by name; flags that are not set are left out. See `Labelling`.
        verdict: what a reviewer says of this version; None if nobody has judged it.
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
    attributes: Mapping[str, bool | int | float | str]
    verdict: MaskVerdict | None = None


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A checkpoint that answered prompts; `checksum` is the SHA-256 of its weights."""

    id: int
    name: str
    checksum: str
    path: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class LearnedModel:
    """A model that learned from a project's masks.

    Attributes:
        version: its record; `version.id` is what answers name.
        parent_id: model version that it began from.
        learns: what was trained: "decoder", or "lora", corrections of the image encoder with it.
        num_images, num_masks: what it learned from.
        num_finished: finished masks of the project then, with those held back.
        verdict: "promoted" or "rejected".
        reason: why, in one line.
        figures: what the judge measured; see `samkit.learning.Judgement`.
    """

    version: ModelVersion
    parent_id: int
    learns: Learnt
    num_images: int
    num_masks: int
    num_finished: int
    verdict: Judged
    reason: str
    figures: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """From then on, a model version answered a project's prompts.

    Attributes:
        user_id: who chose it; None if the learner did.
    """

    model_version_id: int
    user_id: int | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredConfidence:
    """How sure a model version is that people accept its masks, learned in a project.

    Attributes:
        target_precision: precision that its threshold was chosen for.
        num_finished: finished masks of the project when it was learned.
        content: fields of a `samkit.learning.Confidence`.
    """

    model_version_id: int
    target_precision: float
    num_finished: int
    content: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredHead:
    """A proposal head that a project's masks have taught.

    Attributes:
        content: its file.
        num_finished: finished masks of the project when it learned.
    """

    content: bytes
    num_finished: int


@dataclass(frozen=True, kw_only=True)
class QualityAudit:
    """A random sample of images whose automatic masks people correct.

    Attributes:
        user_id: who started it.
        num_images: size of the sample.
        num_untouched: number of images that it was drawn from.
    """

    id: int
    project_id: int
    user_id: int
    seed: int
    num_images: int
    num_untouched: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class AuditedImage:
    """An image of a quality audit.

    Attributes:
        automatic: masks when the audit began, by annotation.
        corrected: masks as they are now, by annotation; None while people have not submitted it.
    """

    image: StoredImage
    automatic: Mapping[int, Rle]
    corrected: Mapping[int, Rle] | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """Background work; `progress` is from 0 to 1."""

    id: int
    project_id: int
    kind: str
    state: JobState
    data: Mapping[str, Any]
    progress: float
    error: str
    attempts: int


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a value is one of the choices.

    Raises:
        StoreError: it is not.
    """
    if value not in choices:
        raise StoreError(f"{what} must be one of {', '.join(choices)}; got {value!r:.40}")


def check_label(what: str, text: str, max_characters: int) -> None:
    """Check a name that people give: not empty, on one line, and without control characters.

    Files of other programs cannot hold such characters, or read them as the end of a name.

    Raises:
        StoreError: it is not valid.
    """
    if any(unicodedata.category(one) in UNPRINTABLE or one in FORBIDDEN for one in text):
        raise StoreError(f"{what} must be one line of printable text; got {text!a:.60}")
    if not text.strip() or len(text) > max_characters:
        raise StoreError(f"{what} must have 1 to {max_characters} characters; got {text!r:.40}")


def check_states(states: Sequence[str]) -> None:
    """Check that all are states of review, and that there is one.

    Raises:
        StoreError: they are not.
    """
    if not states:
        raise StoreError(f"give at least one state of {', '.join(REVIEWS)}")
    for state in states:
        check_choice("a state", state, REVIEWS)
