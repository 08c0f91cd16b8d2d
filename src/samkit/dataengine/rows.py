"""Conversion of table rows to values, and look-up of rows by key."""

from typing import TypeVar, cast

from sqlalchemy.orm import Session

from samkit.dataengine.schema import (
    AnnotationRow,
    Base,
    ClassRow,
    EventRow,
    ImageRow,
    ModelVersionRow,
    ProjectRow,
    RevisionRow,
    UserRow,
)
from samkit.dataengine.values import (
    PRIORITIES,
    Annotation,
    Event,
    LabelClass,
    Learning,
    MaskVerdict,
    ModelVersion,
    Page,
    Project,
    Review,
    Revision,
    Role,
    Stage,
    StoredImage,
    User,
)
from samkit.errors import MissingError, StoreError

Row = TypeVar("Row", bound=Base)
Item = TypeVar("Item", StoredImage, User, Project)
MAX_PAGE_ITEMS = 1000


def find(session: Session, kind: type[Row], key: int | tuple[int, int], what: str) -> Row:
    """Find a row by its key.

    Raises:
        MissingError: there is no such row.
    """
    row = session.get(kind, key)
    if row is None:
        raise MissingError(f"there is no {what} {key}")
    return row


def find_locked(session: Session, kind: type[Row], key: int, what: str) -> Row:
    """Find a row by its key and lock it until the transaction ends.

    On PostgreSQL it is locked FOR NO KEY UPDATE: others can still add rows that refer to it, and
    need not wait for it while they hold rows that this transaction locks next.

    Raises:
        MissingError: there is no such row.
    """
    lock = {"key_share": True}
    row = session.get(kind, key, with_for_update=lock, populate_existing=True)
    if row is None:
        raise MissingError(f"there is no {what} {key}")
    return row


def check_limit(limit: int) -> int:
    """Validate a page size; return one more, to see whether another page follows.

    Raises:
        StoreError: it is not from 1 to 1000.
    """
    if not 1 <= limit <= MAX_PAGE_ITEMS:
        raise StoreError(f"limit must be from 1 to {MAX_PAGE_ITEMS}; got {limit}")
    return limit + 1


def to_page(items: list[Item], limit: int) -> Page[Item]:
    """Make a page of the first `limit` of up to `limit + 1` items."""
    more = len(items) > limit
    return Page(items=tuple(items[:limit]), next_after=items[limit - 1].id if more else None)


def to_user(row: UserRow) -> User:
    """Convert a user's row."""
    return User(
        id=row.id,
        name=row.name,
        role=cast("Role", row.role),
        active=row.active,
        created_at=row.created_at,
    )


def to_project(row: ProjectRow) -> Project:
    """Convert a project's row."""
    return Project(
        id=row.id,
        name=row.name,
        root=row.root,
        created_at=row.created_at,
        value_range=row.value_range,
        learning=Learning(**row.learning),
    )


def to_class(row: ClassRow) -> LabelClass:
    """Convert a class's row."""
    return LabelClass(
        id=row.id, project_id=row.project_id, name=row.name, color=row.color, key=row.key
    )


def to_image(row: ImageRow) -> StoredImage:
    """Convert an image's row."""
    return StoredImage(
        id=row.id,
        project_id=row.project_id,
        path=row.path,
        sha256=row.sha256,
        num_bytes=row.num_bytes,
        size_hw=(row.height, row.width),
        value_range=row.value_range,
        stage=cast("Stage", row.stage),
        review=cast("Review", row.review),
        comment=row.comment,
        num_masks=row.num_masks,
        num_annotators=row.num_annotators,
        open=row.open,
        version=row.version,
        tags=tuple(row.tags),
        priority=PRIORITIES[row.priority],
        batch=row.batch,
        num_open_comments=row.num_open_comments,
    )


def to_annotation(row: AnnotationRow, size_hw: tuple[int, int]) -> Annotation:
    """Convert the row of an annotation on an image of this size."""
    return Annotation(
        id=row.id,
        image_id=row.image_id,
        user_id=row.user_id,
        class_id=row.class_id,
        rle={"size": list(size_hw), "counts": row.counts},
        box_xyxy=(row.x0, row.y0, row.x1, row.y1),
        area_px=row.area_px,
        stage=cast("Stage", row.stage),
        score=row.score,
        stability=row.stability,
        version=row.version,
        deleted=row.deleted,
        num_clicks=row.num_clicks,
        duration_ms=row.duration_ms,
        created_at=row.created_at,
        attributes=row.attributes,
        verdict=cast("MaskVerdict | None", row.verdict),
    )


def to_revision(row: RevisionRow, size_hw: tuple[int, int]) -> Revision:
    """Convert the row of a revision on an image of this size."""
    return Revision(
        version=row.version,
        change=row.change,
        rle={"size": list(size_hw), "counts": row.counts},
        class_id=row.class_id,
        score=row.score,
        stability=row.stability,
        deleted=row.deleted,
        user_id=row.user_id,
        at=row.at,
        attributes=row.attributes,
    )


def to_event(row: EventRow) -> Event:
    """Convert an event's row."""
    return Event(
        id=row.id,
        annotation_id=row.annotation_id,
        version=row.version,
        kind=row.kind,
        data=row.data,
        duration_ms=row.duration_ms,
        model_version_id=row.model_version_id,
        user_id=row.user_id,
        at=row.at,
    )


def to_model(row: ModelVersionRow) -> ModelVersion:
    """Convert a model version's row."""
    return ModelVersion(
        id=row.id,
        name=row.name,
        checksum=row.checksum,
        path=row.path,
        created_at=row.created_at,
    )
