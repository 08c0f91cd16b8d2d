"""Background jobs, and the model versions that prompts were answered with.

A job survives its worker: another one takes it when the first has stopped reporting progress.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeAlias, cast

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find, find_locked, to_model
from samkit.dataengine.schema import JobRow, ModelVersionRow, ProjectRow
from samkit.dataengine.values import Job, JobState, ModelVersion
from samkit.dataengine.work.ingest import add_images
from samkit.errors import ConflictError, SamkitError, StoreError

JOB_LEASE_S = 300.0  # a worker without a progress report for this long is dead
SCAN = "scan"  # add new images; data: {"num_annotators": int}, which may be missing
MAX_REPORT_LINES = 100  # of faults and of duplicates, in a job's result

Handler: TypeAlias = Callable[[Store, Job], Mapping[str, Any]]


def add_job(store: Store, project_id: int, kind: str, data: Mapping[str, Any]) -> Job:
    """Add a job to the queue.

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
        return to_job(row)


def take_job(
    store: Store, *, kinds: Sequence[str] | None = None, lease_s: float = JOB_LEASE_S
) -> Job | None:
    """Take the oldest job that is waiting or whose worker is dead; None if there is none.

    Args:
        kinds: kinds of job that the worker can run; None for all.
        lease_s: seconds until the worker must report progress.
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
        return to_job(row)


def report_progress(
    store: Store, job: Job, progress: float, *, lease_s: float = JOB_LEASE_S
) -> None:
    """Report a job's progress, from 0 to 1, and extend its lease.

    Raises:
        ConflictError: another worker has the job now, or it has ended.
    """
    with store.write() as session:
        row = running_job(session, job)
        row.progress = min(max(progress, 0.0), 1.0)
        row.lease_expires_at = store.clock() + timedelta(seconds=lease_s)


def finish_job(
    store: Store, job: Job, *, error: str = "", result: Mapping[str, Any] | None = None
) -> None:
    """End a job as done, or as failed with a one-line error.

    Args:
        job: the job as its worker took it.
        error: reason of the failure; empty for success.
        result: added to the job's data.

    Raises:
        ConflictError: another worker has the job now, or it has ended.
    """
    with store.write() as session:
        row = running_job(session, job)
        row.state, row.error = ("failed", error) if error else ("done", "")
        row.progress = row.progress if error else 1.0
        row.lease_expires_at = None
        row.data = {**row.data, **(result or {})}


def work_once(store: Store) -> Job | None:
    """Run the oldest job of a kind in HANDLERS; None if there is none."""
    job = take_job(store, kinds=tuple(HANDLERS))
    if job is None:
        return None
    try:
        result = HANDLERS[job.kind](store, job)
    except (SamkitError, OSError) as error:
        finish_job(store, job, error=" ".join(str(error).split()))
    else:
        finish_job(store, job, result=result)
    return job


def _scan(store: Store, job: Job) -> dict[str, Any]:
    """Add the new images below a project's root."""
    report = add_images(
        store,
        job.project_id,
        num_annotators=int(job.data.get("num_annotators", 1)),
        on_image=lambda done, total: report_progress(store, job, done / total),
    )
    summary = {
        **asdict(report),
        "num_duplicates": len(report.duplicates),
        "num_faults": len(report.faults),
        "duplicates": report.duplicates[:MAX_REPORT_LINES],
        "faults": report.faults[:MAX_REPORT_LINES],
    }
    return {"report": summary}


# Work of each kind; what a handler returns is added to the job's data.
HANDLERS: dict[str, Handler] = {SCAN: _scan}


def get_job(store: Store, job_id: int) -> Job:
    """Return a job.

    Raises:
        StoreError: no such job.
    """
    with store.read() as session:
        return to_job(find(session, JobRow, job_id, "job"))


def add_model_version(
    store: Store, *, name: str, checksum: str, path: str, former_checksum: str | None = None
) -> ModelVersion:
    """Register a checkpoint by name and checksum; a known one is returned unchanged.

    Args:
        former_checksum: what earlier versions of samkit recorded for the same weights.

    Raises:
        StoreError: the name is empty.
    """
    if not name.strip():
        raise StoreError("a model version needs a name")
    known = [one for one in (checksum, former_checksum) if one is not None]
    query = (
        select(ModelVersionRow)
        .where(ModelVersionRow.name == name, ModelVersionRow.checksum.in_(known))
        .order_by(ModelVersionRow.id)
        .limit(1)
    )
    with store.write() as session:
        row = session.scalar(query)
        if row is None:
            row = ModelVersionRow(name=name, checksum=checksum, path=path, created_at=store.clock())
            session.add(row)
            session.flush()
        return to_model(row)


def list_model_versions(store: Store) -> tuple[ModelVersion, ...]:
    """List all model versions, oldest first."""
    with store.read() as session:
        rows = session.scalars(select(ModelVersionRow).order_by(ModelVersionRow.id))
        return tuple(to_model(row) for row in rows)


def running_job(session: Session, job: Job) -> JobRow:
    """Return the locked row of a job that a worker has.

    Raises:
        ConflictError: another worker has it now, or it has ended.
    """
    row = find_locked(session, JobRow, job.id, "job")
    if row.state != "running" or row.attempts != job.attempts:
        raise ConflictError(f"job {job.id} is {row.state} and no longer this worker's")
    return row


def to_job(row: JobRow) -> Job:
    """Convert a job's row."""
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
