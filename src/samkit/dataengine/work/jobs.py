"""Work in the background, which outlives its workers; the models that it is done with."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find, find_locked
from samkit.dataengine.schema import JobRow, ModelVersionRow, ProjectRow
from samkit.dataengine.values import Job, JobState, ModelVersion
from samkit.errors import ConflictError, StoreError

JOB_LEASE_S = 300.0  # a worker that reports no progress for so long is dead


def add_job(store: Store, project_id: int, kind: str, data: Mapping[str, Any]) -> Job:
    """Put work into the queue.

    Raises:
        StoreError: no such project.
    """
    with store.write() as session:
        find(session, ProjectRow, project_id, "project")
        row = JobRow(
            project_id=project_id,
            kind=kind,
            state="waiting",
            data=dict(data),
            progress=0.0,
            error="",
            attempts=0,
            created_at=store.clock(),
        )
        session.add(row)
        session.flush()
        return _to_job(row)


def take_job(
    store: Store, *, kinds: Sequence[str] | None = None, lease_s: float = JOB_LEASE_S
) -> Job | None:
    """Begin the oldest job that waits, or whose worker is dead; None if there is none.

    Args:
        store: where.
        kinds: of jobs that the worker can do; by default all.
        lease_s: how long until it must report progress.
    """
    now = store.clock()
    dead = and_(JobRow.state == "running", JobRow.lease_expires_at <= now)
    query = select(JobRow).where(or_(JobRow.state == "waiting", dead)).order_by(JobRow.id).limit(1)
    if kinds is not None:
        query = query.where(JobRow.kind.in_(kinds))
    with store.write() as session:
        row = session.scalar(query.with_for_update(skip_locked=True))
        if row is None:
            return None
        row.state, row.lease_expires_at = "running", now + timedelta(seconds=lease_s)
        row.attempts += 1
        return _to_job(row)


def report_progress(
    store: Store, job: Job, progress: float, *, lease_s: float = JOB_LEASE_S
) -> None:
    """Say how far a job is, from 0 to 1, and that its worker lives.

    Raises:
        ConflictError: another worker has it by now, or it is over.
    """
    with store.write() as session:
        row = _running(session, job)
        row.progress = min(max(progress, 0.0), 1.0)
        row.lease_expires_at = store.clock() + timedelta(seconds=lease_s)


def finish_job(
    store: Store, job: Job, *, error: str = "", result: Mapping[str, Any] | None = None
) -> None:
    """End a job: it is done, or has failed with an error of one line.

    Args:
        store: where.
        job: as its worker took it.
        error: why it has failed; empty if it has not.
        result: what came of it, which is added to the job's data.

    Raises:
        ConflictError: another worker has it by now, or it is over.
    """
    with store.write() as session:
        row = _running(session, job)
        row.state, row.error = ("failed", error) if error else ("done", "")
        row.progress = row.progress if error else 1.0
        row.lease_expires_at = None
        row.data = {**row.data, **(result or {})}


def get_job(store: Store, job_id: int) -> Job:
    """A job.

    Raises:
        StoreError: there is none with this number.
    """
    with store.read() as session:
        return _to_job(find(session, JobRow, job_id, "job"))


def add_model_version(store: Store, *, name: str, checksum: str, path: str) -> ModelVersion:
    """Note a checkpoint by its name and checksum; one that is known is given as it is.

    Raises:
        StoreError: the name is empty.
    """
    if not name.strip():
        raise StoreError("a model version needs a name")
    query = select(ModelVersionRow).where(
        ModelVersionRow.name == name, ModelVersionRow.checksum == checksum
    )
    with store.write() as session:
        row = session.scalar(query)
        if row is None:
            row = ModelVersionRow(name=name, checksum=checksum, path=path, created_at=store.clock())
            session.add(row)
            session.flush()
        return _to_model(row)


def list_model_versions(store: Store) -> tuple[ModelVersion, ...]:
    """All model versions, the oldest first."""
    with store.read() as session:
        rows = session.scalars(select(ModelVersionRow).order_by(ModelVersionRow.id))
        return tuple(_to_model(row) for row in rows)


def _running(session: Session, job: Job) -> JobRow:
    row = find_locked(session, JobRow, job.id, "job")
    if row.state != "running" or row.attempts != job.attempts:
        raise ConflictError(f"job {job.id} is {row.state} and no longer this worker's")
    return row


def _to_job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        project_id=row.project_id,
        kind=row.kind,
        state=cast("JobState", row.state),
        data=row.data,
        progress=row.progress,
        error=row.error,
        attempts=row.attempts,
    )


def _to_model(row: ModelVersionRow) -> ModelVersion:
    return ModelVersion(
        id=row.id,
        name=row.name,
        checksum=row.checksum,
        path=row.path,
        created_at=row.created_at,
    )
