"""Database tables. Rows stay inside the data engine, which returns `values` to its callers."""

from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
# SQLite numbers rows automatically only in a column declared INTEGER.
KEY = BigInteger().with_variant(Integer, "sqlite")
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """A time, stored as whole microseconds since 1970 in UTC: it sorts alike in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else EPOCH + value * MICROSECOND


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class UserRow(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")  # of the page


class ProjectRow(Base):
    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    root: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    value_range: Mapped[str] = mapped_column(String(80), server_default="auto")
    learning: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    labelling: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    members_only: Mapped[bool] = mapped_column(server_default=false())  # else for everybody
    honey_pot_every: Mapped[int] = mapped_column(server_default="10")  # images


class ClassRow(Base):
    __tablename__ = "label_classes"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(200))
    color: Mapped[str] = mapped_column(String(7))
    rank: Mapped[int] = mapped_column(server_default="0")  # lists have the lowest first, then by id
    removed: Mapped[bool] = mapped_column(server_default=false())
    merged_into: Mapped[int | None] = mapped_column(BigInteger)  # of a removed one
    key: Mapped[str] = mapped_column(String(20), server_default="")  # that chooses it on the page


class ImageRow(Base):
    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("project_id", "sha256"),
        UniqueConstraint("project_id", "path"),
        # Lists are ordered by `id`; each filter has its own index.
        Index(None, "project_id", "id"),
        Index(None, "project_id", "review", "id", "num_masks"),
        Index(None, "project_id", "stage", "id"),
        Index(None, "project_id", "open", "priority", "id"),  # the queue
        Index(None, "project_id", "batch", "id"),
        Index(None, "project_id", "num_open_comments", "id"),
        Index(None, "project_id", "num_masks", "id"),
        Index(None, "lease_user_id"),
    )

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)
    height: Mapped[int]
    width: Mapped[int]
    value_range: Mapped[str] = mapped_column(String(80), server_default="auto")
    stage: Mapped[str] = mapped_column(String(20))
    review: Mapped[str] = mapped_column(String(20))
    comment: Mapped[str] = mapped_column(Text)
    num_masks: Mapped[int]
    num_annotators: Mapped[int]
    open: Mapped[bool]
    version: Mapped[int]
    tags: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    priority: Mapped[int] = mapped_column(server_default="2")  # place in PRIORITIES
    batch: Mapped[str] = mapped_column(String(100), server_default="")
    num_open_comments: Mapped[int] = mapped_column(server_default="0")
    honey_pot: Mapped[bool] = mapped_column(server_default=false())  # now; looks like no other
    # Empty since migration 0003; SQLite cannot drop a column with a foreign key.
    returned_to: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    lease_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcTime)


class SubmissionRow(Base):
    """A user has finished an image, and is not offered it again unless it is returned to them."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("image_id", "user_id"),
        Index(None, "project_id", "image_id"),
        Index(None, "user_id", "returned", "image_id"),  # the queue of returned images
        Index(None, "project_id", "at", "user_id", "stage", "duration_ms"),  # statistics
    )

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    outcome: Mapped[str] = mapped_column(String(20), server_default="annotated")
    reason: Mapped[str] = mapped_column(Text, server_default="")
    returned: Mapped[bool] = mapped_column(server_default=false())
    resubmitted: Mapped[bool] = mapped_column(server_default=false())  # after it was returned
    # Time that no event of a mask has, such as for looking at prefilled masks; and its stage.
    stage: Mapped[str] = mapped_column(String(20), server_default="assisted-manual")
    duration_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")


class SubmissionMaskRow(Base):
    """A mask that a submission holds, at the version that it had then."""

    __tablename__ = "submission_masks"
    __table_args__ = (Index(None, "annotation_id"),)

    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id"), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), primary_key=True)
    version: Mapped[int]


class ReviewRow(Base):
    """One verdict on an image, by a reviewer or by who skipped or reported it; all are kept."""

    __tablename__ = "reviews"
    __table_args__ = (Index(None, "image_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    verdict: Mapped[str] = mapped_column(String(20))
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class ModelVersionRow(Base):
    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("name", "checksum"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    checksum: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class DecoderRow(Base):
    """A learned decoder's file: in the database, so that it is stored whole or not at all.

    With corrections of the image encoder, if it has one of its own; `encoder_checksum` is empty for
    the server's.
    """

    __tablename__ = "decoders"

    model_version_id: Mapped[int] = mapped_column(
        ForeignKey("model_versions.id"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes] = mapped_column(LargeBinary)
    encoder_checksum: Mapped[str] = mapped_column(String(64), server_default="")


class LearnedRow(Base):
    """A model that learned from a project's masks, with what its judge measured."""

    __tablename__ = "learned_models"
    __table_args__ = (Index(None, "project_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    parent_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    learns: Mapped[str] = mapped_column(String(20), server_default="decoder")
    num_images: Mapped[int]
    num_masks: Mapped[int]
    num_finished: Mapped[int]
    verdict: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class PromotionRow(Base):
    """From here on a model answers a project's prompts; the latest one holds."""

    __tablename__ = "promotions"
    __table_args__ = (Index(None, "project_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)


class ConfidenceRow(Base):
    """How sure a model version is that people accept its masks, learned in a project."""

    __tablename__ = "confidences"

    project_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id"), primary_key=True, autoincrement=False
    )
    model_version_id: Mapped[int] = mapped_column(
        ForeignKey("model_versions.id"), primary_key=True, autoincrement=False
    )
    target_precision: Mapped[float]
    num_finished: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ProposalHeadRow(Base):
    """The proposal head that a project's finished masks have taught, for an image encoder."""

    __tablename__ = "proposal_heads"

    project_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id"), primary_key=True, autoincrement=False
    )
    encoder_checksum: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    num_finished: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class NextImageRow(Base):
    """An image that was chosen to be annotated next; the lowest rank comes first."""

    __tablename__ = "next_images"
    __table_args__ = (Index(None, "project_id", "rank"),)

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id"), primary_key=True, autoincrement=False
    )
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    rank: Mapped[int]


class AnnotationRow(Base):
    __tablename__ = "annotations"
    __table_args__ = (
        # A request that is repeated after a lost answer must not add a second mask.
        UniqueConstraint("image_id", "request_id"),
        Index(None, "image_id", "id"),
        # Searches by class and by person.
        Index(None, "class_id", "deleted", "project_id", "image_id"),
        Index(None, "user_id", "deleted", "project_id", "image_id"),
        # A covering index for the statistics.
        Index(
            "ix_annotations_statistics",
            "project_id",
            "deleted",
            "user_id",
            "created_at",
            "stage",
            "duration_ms",
            "num_clicks",
        ),
    )

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    request_id: Mapped[str | None] = mapped_column(String(100))
    class_id: Mapped[int | None] = mapped_column(ForeignKey("label_classes.id"))
    counts: Mapped[str] = mapped_column(Text)
    area_px: Mapped[int]
    x0: Mapped[int]
    y0: Mapped[int]
    x1: Mapped[int]
    y1: Mapped[int]
    stage: Mapped[str] = mapped_column(String(20))
    score: Mapped[float | None]
    stability: Mapped[float | None]
    version: Mapped[int]
    deleted: Mapped[bool]
    num_clicks: Mapped[int]
    duration_ms: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    verdict: Mapped[str | None] = mapped_column(String(20))  # of a reviewer, on this version


class RevisionRow(Base):
    """One state of an annotation; all are kept."""

    __tablename__ = "revisions"

    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    change: Mapped[str] = mapped_column(String(10))
    counts: Mapped[str] = mapped_column(Text)
    class_id: Mapped[int | None] = mapped_column(ForeignKey("label_classes.id"))
    deleted: Mapped[bool]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    score: Mapped[float | None]
    stability: Mapped[float | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")


class TagRevisionRow(Base):
    """One state of an image's tags; all are kept."""

    __tablename__ = "tag_revisions"

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id"), primary_key=True, autoincrement=False
    )
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    change: Mapped[str] = mapped_column(String(10))
    tags: Mapped[list[str]] = mapped_column(JSON)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)


class QualityAuditRow(Base):
    """A random sample of automatically annotated images that people correct, to measure masks."""

    __tablename__ = "quality_audits"
    __table_args__ = (Index(None, "project_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    seed: Mapped[int] = mapped_column(BigInteger)
    num_untouched: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class QualityAuditImageRow(Base):
    """An image of an audit's sample; it is in one audit at most."""

    __tablename__ = "quality_audit_images"
    __table_args__ = (
        Index(None, "project_id", "image_id"),  # the queue of audited images
        Index(None, "audit_id", "image_id"),
    )

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id"), primary_key=True, autoincrement=False
    )
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    audit_id: Mapped[int] = mapped_column(ForeignKey("quality_audits.id"))


class QualityAuditMaskRow(Base):
    """An automatic mask of an audited image, at the version that it had when the audit began."""

    __tablename__ = "quality_audit_masks"

    annotation_id: Mapped[int] = mapped_column(
        ForeignKey("annotations.id"), primary_key=True, autoincrement=False
    )
    version: Mapped[int]


class SignInRow(Base):
    """A sign-in of a user's browser."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "user_id"),)

    # Only the browser has the token: whoever reads the database cannot sign in with its hash.
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    csrf_token: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime] = mapped_column(UtcTime)


class AuditRow(Base):
    """An entry of the audit log: an action, done or refused."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    action: Mapped[str] = mapped_column(String(100))
    target: Mapped[str] = mapped_column(String(200))
    status: Mapped[int]
    address: Mapped[str] = mapped_column(String(100))
    token_id: Mapped[int | None] = mapped_column(BigInteger)  # if it was done by an API token


class EventRow(Base):
    __tablename__ = "events"
    __table_args__ = (Index(None, "annotation_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    duration_ms: Mapped[int] = mapped_column(BigInteger)
    model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)


class ImageJobRow(Base):
    """Work of a job on one image, which one run at a time holds; removed when the image is done."""

    __tablename__ = "image_jobs"
    __table_args__ = (Index(None, "kind", "run"),)

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(50), primary_key=True)
    run: Mapped[str] = mapped_column(String(300))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    num_lost: Mapped[int]
    error: Mapped[str] = mapped_column(Text)
    failed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(50))
    state: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    progress: Mapped[float]
    error: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class VideoRow(Base):
    """A video of a project: a file, a folder of frames, or a stack of pages."""

    __tablename__ = "videos"
    __table_args__ = (UniqueConstraint("project_id", "path"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    path: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)
    height: Mapped[int]
    width: Mapped[int]
    num_frames: Mapped[int]
    rate: Mapped[float | None]
    value_range: Mapped[str] = mapped_column(String(80))
    times: Mapped[bytes | None] = mapped_column(LargeBinary)  # of a file's frames; see `FrameTimes`
    version: Mapped[int]  # counts what people have changed
    added_at: Mapped[datetime] = mapped_column(UtcTime)
    lease_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    review: Mapped[str] = mapped_column(String(20), server_default="none")
    comment: Mapped[str] = mapped_column(Text, server_default="")
    num_clicks: Mapped[int] = mapped_column(server_default="0")  # of people, on any of its tracks
    duration_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")  # likewise
    # Masks that models may learn from, as of when it was submitted or judged.
    num_verified: Mapped[int] = mapped_column(server_default="0")


class VideoReviewRow(Base):
    """A video was submitted, or one verdict of a reviewer on it; all are kept."""

    __tablename__ = "video_reviews"
    __table_args__ = (Index(None, "video_id", "id"),)

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    verdict: Mapped[str] = mapped_column(String(20))
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcTime)


class TrackRow(Base):
    """An object of a video."""

    __tablename__ = "tracks"
    __table_args__ = (
        UniqueConstraint("video_id", "number"),
        UniqueConstraint("video_id", "request_id"),
        Index(None, "class_id"),
    )

    id: Mapped[int] = mapped_column(KEY, primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    number: Mapped[int]
    class_id: Mapped[int | None] = mapped_column(ForeignKey("label_classes.id"))
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)  # values from a frame on, by the frame
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    request_id: Mapped[str | None] = mapped_column(String(100))
    version: Mapped[int]
    deleted: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class TrackFrameRow(Base):
    """An object in a frame."""

    __tablename__ = "track_frames"
    # A covering index for the statistics: rows with their masks are large.
    __table_args__ = (Index(None, "track_id", "area_px", "frame"),)

    track_id: Mapped[int] = mapped_column(
        ForeignKey("tracks.id"), primary_key=True, autoincrement=False
    )
    frame: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    counts: Mapped[str] = mapped_column(Text)
    area_px: Mapped[int]
    score: Mapped[float | None]
    # The keyframe that it was followed from; none if a later change has made it out of date.
    source: Mapped[int | None]
    prompts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    at: Mapped[datetime] = mapped_column(UtcTime)
