"""Background jobs: leases of their workers, errors, and handlers by kind."""

import pytest

from samkit.dataengine import (
    SCAN,
    add_job,
    add_model_version,
    finish_job,
    get_job,
    report_progress,
    take_job,
    work_once,
)
from samkit.dataengine.work import jobs
from samkit.errors import ConflictError, StoreError


def test_job_of_a_dead_worker_goes_to_another(scene, clock):
    store = scene.store
    job = add_job(store, scene.project.id, "auto", {"grid": 32})
    first = take_job(store, lease_s=10)
    assert (first.id, first.data, first.attempts) == (job.id, {"grid": 32}, 1)
    assert take_job(store) is None
    clock.advance(seconds=9)
    report_progress(store, first, 0.5, lease_s=10)
    clock.advance(seconds=9)
    assert take_job(store) is None
    clock.advance(seconds=1)
    second = take_job(store)
    assert (second.id, second.attempts, second.progress) == (job.id, 2, 0.5)
    with pytest.raises(ConflictError, match="no longer this worker's"):
        finish_job(store, first)
    finish_job(store, second)
    assert (get_job(store, job.id).state, get_job(store, job.id).progress) == ("done", 1.0)


def test_failed_job_keeps_its_error(scene):
    add_job(scene.store, scene.project.id, "auto", {})
    job = take_job(scene.store)
    finish_job(scene.store, job, error="no image")
    failed = get_job(scene.store, job.id)
    assert (failed.state, failed.error) == ("failed", "no image")


def test_worker_runs_the_handler_of_each_kind_and_leaves_unknown_kinds(scene, monkeypatch):
    def refuse(_store, job):
        raise StoreError(f"cannot count to {job.data['number']}")

    monkeypatch.setitem(jobs.HANDLERS, "double", lambda _, job: {"twice": 2 * job.data["number"]})
    monkeypatch.setitem(jobs.HANDLERS, "refuse", refuse)
    store, project_id = scene.store, scene.project.id
    unknown = add_job(store, project_id, "unknown", {})
    added = [add_job(store, project_id, kind, {"number": 4}) for kind in ("double", "refuse")]
    scan = add_job(store, project_id, SCAN, {"num_annotators": 2})
    assert [work_once(store).id for _ in range(3)] == [added[0].id, added[1].id, scan.id]
    assert work_once(store) is None
    double, refused, scanned = (get_job(store, one.id) for one in (*added, scan))
    assert (double.state, double.data) == ("done", {"number": 4, "twice": 8})
    assert (refused.state, refused.error) == ("failed", "cannot count to 4")
    assert scanned.data["report"]["num_known"] == len(scene.images)
    assert get_job(store, unknown.id).state == "waiting"


def test_model_versions_of_earlier_checksums_are_known(scene):
    added = add_model_version(scene.store, name="m", checksum="a" * 64, path="")
    known = add_model_version(
        scene.store, name="m", checksum="b" * 64, path="", former_checksum="a" * 64
    )
    other = add_model_version(
        scene.store, name="m", checksum="c" * 64, path="", former_checksum="d" * 64
    )
    assert known.id == added.id != other.id
