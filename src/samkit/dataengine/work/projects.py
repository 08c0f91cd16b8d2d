"""Projects and their images."""

from pathlib import Path

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from samkit.dataengine.database import Store
from samkit.dataengine.people import ADMINS
from samkit.dataengine.rows import (
    check_limit,
    find,
    find_locked,
    to_image,
    to_page,
    to_project,
)
from samkit.dataengine.schema import (
    AnnotationRow,
    ClassRow,
    EventRow,
    ImageJobRow,
    ImageRow,
    JobRow,
    NextImageRow,
    ProjectRow,
    ReviewRow,
    RevisionRow,
    SubmissionMaskRow,
    SubmissionRow,
    TagRevisionRow,
    TrackFrameRow,
    TrackRow,
    VideoReviewRow,
    VideoRow,
)
from samkit.dataengine.team_schema import AssignmentRow, CommentRow, MaskVerdictRow, MemberRow
from samkit.dataengine.values import (
    FINISHED,
    ImagePlace,
    Page,
    Project,
    StoredImage,
    User,
    check_label,
)
from samkit.dataengine.work.audits import delete_quality_audits
from samkit.dataengine.work.honey_pots import delete_honey_pots
from samkit.dataengine.work.learned import delete_learned
from samkit.dataengine.work.sources import ImageSource
from samkit.dataengine.work.webhooks import delete_webhooks
from samkit.errors import StoreError
from samkit.formats import RangeLike, ValueRange


def create_project(
    store: Store, *, name: str, root: str | Path, value_range: RangeLike = "auto"
) -> Project:
    """Create a project.

    Args:
        root: folder or fsspec URL that contains its images.
        value_range: which values of its images become black and white.

    Raises:
        StoreError: the name is taken or not valid, or the root does not exist.
        ConfigError: value_range is not valid.
    """
    check_label("a project's name", name, 200)
    row = ProjectRow(
        name=name,
        root=ImageSource(root).root,
        created_at=store.clock(),
        value_range=str(ValueRange.of(value_range)),
    )
    with store.write() as session:
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:
            raise StoreError(f"there is a project {name!r} already") from error
        return to_project(row)


def get_project(store: Store, project_id: int) -> Project:
    """Return a project.

    Raises:
        StoreError: no such project.
    """
    with store.read() as session:
        return to_project(find(session, ProjectRow, project_id, "project"))


def list_projects(
    store: Store, *, user: User | None = None, after: int = 0, limit: int = 100
) -> Page[Project]:
    """List projects in the order they were created.

    Args:
        user: only projects that this user may see; None for all.
        after: `next_after` of the previous page; 0 for the first page.
        limit: page size, 1 to 1000.
    """
    query = select(ProjectRow).where(ProjectRow.id > after).order_by(ProjectRow.id)
    if user is not None and user.role not in ADMINS:
        is_member = exists().where(
            MemberRow.project_id == ProjectRow.id, MemberRow.user_id == user.id
        )
        query = query.where(or_(~ProjectRow.members_only, is_member))
    with store.read() as session:
        rows = session.scalars(query.limit(check_limit(limit)))
        return to_page([to_project(row) for row in rows], limit)


def set_value_range(store: Store, project_id: int, value_range: RangeLike) -> Project:
    """Set which values of a project's images, old and new, become black and white.

    Masks stay as they are; embeddings are computed again when they are needed.

    Raises:
        StoreError: no such project.
        ConfigError: value_range is not valid.
    """
    text = str(ValueRange.of(value_range))
    with store.write() as session:
        row = find_locked(session, ProjectRow, project_id, "project")
        row.value_range = text
        images = update(ImageRow).where(ImageRow.project_id == project_id)
        session.execute(images.values(value_range=text))
        return to_project(row)


def rename_project(store: Store, project_id: int, name: str) -> Project:
    """Rename a project.

    Raises:
        StoreError: no such project, or the name is taken or not valid.
    """
    check_label("a project's name", name, 200)
    with store.write() as session:
        row = find_locked(session, ProjectRow, project_id, "project")
        row.name = name
        try:
            session.flush()
        except IntegrityError as error:
            raise StoreError(f"there is a project {name!r} already") from error
        return to_project(row)


def delete_project(store: Store, project_id: int) -> None:
    """Delete a project with all masks and their history; image files stay on disk.

    Raises:
        StoreError: no such project.
    """
    images = select(ImageRow.id).where(ImageRow.project_id == project_id)
    masks = select(AnnotationRow.id).where(AnnotationRow.project_id == project_id)
    with store.write() as session:
        row = find_locked(session, ProjectRow, project_id, "project")
        # Whoever works on an image holds its row and adds rows to the project; only when all of
        # them are done, the project itself may go.
        session.execute(images.order_by(ImageRow.id).with_for_update())
        session.refresh(row, with_for_update=True)
        delete_quality_audits(session, project_id)
        delete_honey_pots(session, project_id)
        delete_webhooks(session, project_id)
        session.execute(delete(CommentRow).where(CommentRow.project_id == project_id))
        for kind in (EventRow, RevisionRow, SubmissionMaskRow, MaskVerdictRow):
            session.execute(delete(kind).where(kind.annotation_id.in_(masks)))
        for of_image in (ReviewRow, ImageJobRow, TagRevisionRow):
            session.execute(delete(of_image).where(of_image.image_id.in_(images)))
        delete_learned(session, project_id)
        videos = select(VideoRow.id).where(VideoRow.project_id == project_id)
        tracks = select(TrackRow.id).where(TrackRow.video_id.in_(videos))
        session.execute(videos.order_by(VideoRow.id).with_for_update())
        session.execute(delete(TrackFrameRow).where(TrackFrameRow.track_id.in_(tracks)))
        session.execute(delete(TrackRow).where(TrackRow.video_id.in_(videos)))
        session.execute(delete(VideoReviewRow).where(VideoReviewRow.video_id.in_(videos)))
        session.execute(delete(VideoRow).where(VideoRow.project_id == project_id))
        for own in (
            AssignmentRow,
            NextImageRow,
            AnnotationRow,
            SubmissionRow,
            ImageRow,
            ClassRow,
            JobRow,
            MemberRow,
        ):
            session.execute(delete(own).where(own.project_id == project_id))
        session.delete(row)


def get_image(store: Store, image_id: int) -> StoredImage:
    """Return an image.

    Raises:
        StoreError: no such image.
    """
    with store.read() as session:
        return to_image(find(session, ImageRow, image_id, "image"))


def image_place(store: Store, image_id: int) -> ImagePlace:
    """Where an image is in its project.

    Raises:
        MissingError: no such image.
    """
    with store.read() as session:
        project_id = find(session, ImageRow, image_id, "image").project_id
        own = ImageRow.project_id == project_id
        count = select(func.count()).select_from(ImageRow).where(own)
        finished = count.where(ImageRow.review.in_(FINISHED))
        before, after = ImageRow.id < image_id, ImageRow.id > image_id
        return ImagePlace(
            number=1 + (session.scalar(count.where(before)) or 0),
            num_images=session.scalar(count) or 0,
            num_finished=session.scalar(finished) or 0,
            previous_id=session.scalar(select(func.max(ImageRow.id)).where(own, before)),
            next_id=session.scalar(select(func.min(ImageRow.id)).where(own, after)),
        )


def latest_image_id(store: Store, project_id: int) -> int:
    """Id of the image that was added last to a project; 0 if it has none."""
    query = select(func.max(ImageRow.id)).where(ImageRow.project_id == project_id)
    with store.read() as session:
        return session.scalar(query) or 0
