"""Routes for projects, jobs and statistics, and for the server's status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from fastapi import HTTPException

import samkit
from samkit.dataengine import (
    REVIEWERS,
    SCAN,
    Agreement,
    Page,
    Project,
    User,
    add_job,
    count_images,
    count_people,
    count_videos,
    create_project,
    get_image,
    get_job,
    get_project,
    list_doubly_annotated,
    list_projects,
    measure_agreement,
    user_names,
    work_days,
    work_once,
)
from samkit.web.routing import After, Key, Limit, new_router
from samkit.web.schemas import (
    AgreementOut,
    Health,
    JobOut,
    ModelOut,
    NewProject,
    NewScan,
    PersonCountOut,
    ProjectOut,
    StateCountOut,
    StatisticsOut,
    StatusOut,
    WorkDayOut,
)
from samkit.web.sign_in import Admin, AnyUser, Reviewer
from samkit.web.state import ServerState, TheState

router = new_router()


@router.get("/health")
def get_health() -> Health:
    """Report that the server is running."""
    return Health(ok=True)


@router.get("/status")
def get_status(studio: TheState, _user: AnyUser) -> StatusOut:
    """Return the server's version, model and limits."""
    config, model = studio.config, studio.embedder.model
    return StatusOut(
        version=samkit.__version__,
        model=None if model is None else ModelOut.model_validate(model),
        hint_after_s=config.hint_after_s,
        local=config.is_local,
        max_upload_mb=config.max_upload_mb,
        max_megapixels=config.max_megapixels,
        words=bool(studio.text),
    )


@router.get("/projects")
def get_projects(
    studio: TheState, user: AnyUser, after: After = 0, limit: Limit = 100
) -> Page[ProjectOut]:
    """List the projects that one may see."""
    page = list_projects(studio.store, user=user, after=after, limit=limit)
    items = tuple(_project_out(one, user) for one in page.items)
    return Page(items=items, next_after=page.next_after)


@router.post("/projects", status_code=201)
def add_project(studio: TheState, admin: Admin, body: NewProject) -> ProjectOut:
    """Create a project in one of the folders that the server allows."""
    root = _allowed_root(body.root, studio.config.allowed_roots)
    return _project_out(create_project(studio.store, name=body.name, root=root), admin)


@router.get("/projects/{project_id}")
def get_one_project(studio: TheState, user: AnyUser, project_id: Key) -> ProjectOut:
    """Return a project."""
    return _project_out(get_project(studio.store, project_id), user)


@router.post("/projects/{project_id}/scan", status_code=202)
def scan_project(studio: TheState, _admin: Admin, project_id: Key, body: NewScan) -> JobOut:
    """Scan the project's root for new images, in the background."""
    job = add_job(studio.store, project_id, SCAN, {"num_annotators": body.num_annotators})
    studio.background.submit(0, lambda: work_once(studio.store))
    return JobOut.model_validate(job)


@router.get("/jobs/{job_id}")
def get_one_job(studio: TheState, _user: AnyUser, job_id: Key) -> JobOut:
    """Return a job and its progress."""
    return JobOut.model_validate(get_job(studio.store, job_id))


@router.get("/projects/{project_id}/statistics")
def get_statistics(
    studio: TheState, _user: AnyUser, project_id: Key, *, days: bool = True
) -> StatisticsOut:
    """Count images, videos and masks by state; with `days`, also work by day, person and stage.

    The latter reads all prompts: half a second for 100,000 masks.
    """
    get_project(studio.store, project_id)
    names = user_names(studio.store)
    states = count_images(studio.store, project_id)
    work = [
        WorkDayOut(
            day=one.day,
            user_id=one.user_id,
            user_name=names[one.user_id],
            stage=one.stage,
            num_masks=one.num_masks,
            num_corrected=one.num_corrected,
            num_clicks=one.num_clicks,
            duration_ms=one.duration_ms,
            seconds_per_mask=one.seconds_per_mask,
            clicks_per_mask=one.clicks_per_mask,
        )
        for one in (work_days(studio.store, project_id) if days else ())
    ]
    images = {state: StateCountOut.model_validate(one) for state, one in states.items()}
    videos = count_videos(studio.store, project_id)
    return StatisticsOut(images=images, videos=videos, days=work)


@router.get("/projects/{project_id}/people")
def get_people(studio: TheState, _user: Reviewer, project_id: Key) -> Page[PersonCountOut]:
    """Count what has become of each person's images, on one page."""
    get_project(studio.store, project_id)
    names = user_names(studio.store)
    found = tuple(
        PersonCountOut(user_name=names[one.user_id], **asdict(one))
        for one in count_people(studio.store, project_id)
    )
    return Page(items=found, next_after=None)


@router.get("/projects/{project_id}/agreement")
def get_agreements(
    studio: TheState, _user: AnyUser, project_id: Key, after: After = 0, limit: Limit = 20
) -> Page[AgreementOut]:
    """Compare people on the images that several have annotated."""
    get_project(studio.store, project_id)
    page = list_doubly_annotated(studio.store, project_id, after=after, limit=limit)
    found = [one for key in page.items for one in measure_agreement(studio.store, key)]
    return Page(items=_agreements(studio, found), next_after=page.next_after)


@router.get("/images/{image_id}/agreement")
def get_agreement(studio: TheState, user: AnyUser, image_id: Key) -> Page[AgreementOut]:
    """Compare people on one image; all pairs on one page, of those of whom one may know."""
    compared = measure_agreement(studio.store, image_id)
    if user.role not in REVIEWERS and get_image(studio.store, image_id).open:
        compared = ()  # whoever works on it shall not learn who else does
    found = _agreements(studio, compared)
    return Page(items=found, next_after=None)


def _agreements(studio: ServerState, found: Iterable[Agreement]) -> tuple[AgreementOut, ...]:
    names = user_names(studio.store)
    return tuple(
        AgreementOut(
            image_id=one.image_id,
            image_path=get_image(studio.store, one.image_id).path,
            user_ids=list(one.user_ids),
            user_names=[names[user_id] for user_id in one.user_ids],
            ious=list(one.ious),
            num_unmatched=list(one.num_unmatched),
            num_same_class=one.num_same_class,
            mean_iou=one.mean_iou,
        )
        for one in found
    )


def _project_out(project: Project, user: User) -> ProjectOut:
    return ProjectOut(
        id=project.id,
        name=project.name,
        root=project.root if user.role == "admin" else None,
        created_at=project.created_at,
    )


def _allowed_root(root: str, allowed: tuple[Path, ...]) -> Path:
    """Resolve a root; a link that leads out of the allowed folders is refused."""
    try:
        folder = Path(root).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise HTTPException(422, "no such folder, or it is not allowed") from error
    if not any(folder.is_relative_to(one.resolve()) for one in allowed):
        # The same words, so that nobody learns which folders exist.
        raise HTTPException(422, "no such folder, or it is not allowed")
    return folder
