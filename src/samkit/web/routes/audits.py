"""Routes for quality audits: samples of automatic masks that people correct."""

from __future__ import annotations

from samkit.dataengine import (
    Page,
    QualityAudit,
    audit_states,
    audited_images,
    list_quality_audits,
    start_quality_audit,
)
from samkit.errors import MissingError
from samkit.extras import require_packages
from samkit.web.routing import Key, new_router
from samkit.web.schemas import AuditOut, AuditReportOut, NewAudit
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import ServerState, TheState

router = new_router()


@router.post("/projects/{project_id}/audits", status_code=201)
def post_audit(studio: TheState, user: Reviewer, project_id: Key, body: NewAudit) -> AuditOut:
    """Draw a sample of images with automatic masks, which annotators are then offered first."""
    made = start_quality_audit(
        studio.store, project_id, num_images=body.num_images, seed=body.seed, user_id=user.id
    )
    return _audits(studio, project_id)[made.id]


@router.get("/projects/{project_id}/audits")
def get_audits(studio: TheState, _user: AnyUser, project_id: Key) -> Page[AuditOut]:
    """List a project's audits, oldest first, with what people have done of each."""
    return Page(items=tuple(_audits(studio, project_id).values()), next_after=None)


@router.get("/projects/{project_id}/audits/{audit_id}")
def get_audit(studio: TheState, _user: AnyUser, project_id: Key, audit_id: Key) -> AuditReportOut:
    """Compare automatic masks with what people have made of them so far; needs the extra bench."""
    require_packages("the report of an audit", ("scipy",), "bench")
    from samkit.learning import measure_audit

    audit = _audits(studio, project_id).get(audit_id)
    if audit is None:
        raise MissingError(f"there is no audit {audit_id} in project {project_id}")
    with studio.exchanging:  # it reads all masks of the sample
        figures = measure_audit(audited_images(studio.store, audit_id))
    return AuditReportOut(audit=audit, figures=figures.to_json())


def _audits(studio: ServerState, project_id: int) -> dict[int, AuditOut]:
    """All audits of a project by id.

    Raises:
        MissingError: no such project.
    """
    audits = list_quality_audits(studio.store, project_id)
    states = audit_states(studio.store, project_id)
    return {one.id: _audit_out(one, states[one.id]) for one in audits}


def _audit_out(audit: QualityAudit, state: tuple[int, int]) -> AuditOut:
    corrected, unusable = state
    return AuditOut(
        id=audit.id,
        user_id=audit.user_id,
        seed=audit.seed,
        created_at=audit.created_at,
        num_images=audit.num_images,
        num_untouched=audit.num_untouched,
        num_corrected=corrected,
        num_unusable=unusable,
        num_open=audit.num_images - corrected - unusable,
    )
