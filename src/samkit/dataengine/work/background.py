"""Jobs that the server does in the background, one after another."""

from dataclasses import asdict

from samkit.dataengine.database import Store
from samkit.dataengine.values import Job
from samkit.dataengine.work.ingest import AddReport, add_images
from samkit.dataengine.work.jobs import finish_job, report_progress, take_job
from samkit.errors import SamkitError

SCAN = "scan"  # look for new images; data: {"num_annotators": int}, which may be missing
MOST_LINES = 100  # of faults and duplicates that are kept in a job's result


def work_once(store: Store) -> Job | None:
    """Do the oldest job that this worker can do; None if there is none."""
    job = take_job(store, kinds=(SCAN,))
    if job is None:
        return None
    try:
        report = add_images(
            store,
            job.project_id,
            num_annotators=int(job.data.get("num_annotators", 1)),
            on_image=lambda done, total: report_progress(store, job, done / total),
        )
    except (SamkitError, OSError) as error:
        finish_job(store, job, error=" ".join(str(error).split()))
    else:
        finish_job(store, job, result={"report": _summary(report)})
    return job


def _summary(report: AddReport) -> dict[str, object]:
    return {
        **asdict(report),
        "num_duplicates": len(report.duplicates),
        "num_faults": len(report.faults),
        "duplicates": report.duplicates[:MOST_LINES],
        "faults": report.faults[:MOST_LINES],
    }
