"""Quality audits: a random sample of images with automatic masks goes to people for correction.

The sample records each mask's version, so that what people made of it can be compared with what was
there. `samkit.learning` measures it.
"""

import random
from collections.abc import Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, check_member
from samkit.dataengine.rows import find, find_locked, to_image
from samkit.dataengine.schema import (
    AnnotationRow,
    ImageRow,
    ProjectRow,
    QualityAuditImageRow,
    QualityAuditMaskRow,
    QualityAuditRow,
    RevisionRow,
    SubmissionRow,
)
from samkit.dataengine.values import FINISHED, AuditedImage, QualityAudit, Stage
from samkit.errors import StoreError
from samkit.geometry import Rle

AUTOMATIC: Stage = "fully-automatic"
# What the page shows on each image of a sample.
REQUEST = (
    "Quality audit: correct every mask as well as you can, delete those of no object, and add what"
    " is missing."
)
IDS_PER_QUERY = 500  # databases limit the number of parameters


def start_quality_audit(
    store: Store, project_id: int, *, num_images: int, user_id: int, seed: int = 0
) -> QualityAudit:
    """Draw a random sample of images with automatic masks, which annotators are then offered first.

    It is drawn from the images that only a program has annotated, including those on which it found
    nothing: nobody holds or has skipped one, changed a mask or added one, and no audit has it yet.
    Images that several people annotate independently are left out: they have no single correction.

    Args:
        seed: the same seed draws the same sample from the same images.

    Raises:
        StoreError: no such project, or it has fewer such images.
        RoleError: the user is not a reviewer.
    """
    if num_images < 1:
        raise StoreError(f"num_images must be at least 1; got {num_images}")
    if not 0 <= seed < 2**63:
        raise StoreError(f"seed must be from 0 to 2^63 - 1; got {seed}")
    with store.write() as session:
        user = acting_user(session, user_id, REVIEWERS)
        find_locked(session, ProjectRow, project_id, "project")
        check_member(session, user, project_id)
        untouched = select(ImageRow.id).where(
            ImageRow.project_id == project_id, _is_untouched(store)
        )
        # Locked, as all that change an image do: whoever is about to take one waits.
        query = untouched.order_by(ImageRow.id).with_for_update(key_share=True)
        ids = session.scalars(query).all()
        if len(ids) < num_images:
            raise StoreError(
                f"{len(ids)} images have automatic masks that nobody has touched; got"
                f" num_images {num_images}: ask for fewer, or add masks by samkit engine prelabel"
            )
        audit = QualityAuditRow(
            project_id=project_id,
            user_id=user_id,
            seed=seed,
            num_untouched=len(ids),
            created_at=store.clock(),
        )
        session.add(audit)
        session.flush()
        chosen = sorted(random.Random(seed).sample(ids, num_images))  # noqa: S311
        for start in range(0, num_images, IDS_PER_QUERY):
            _record(session, audit, chosen[start : start + IDS_PER_QUERY])
        return _to_audit(audit, num_images)


def list_quality_audits(store: Store, project_id: int) -> tuple[QualityAudit, ...]:
    """List a project's quality audits, oldest first.

    Raises:
        StoreError: no such project.
    """
    query = (
        select(QualityAuditRow, func.count())
        .join(QualityAuditImageRow, QualityAuditImageRow.audit_id == QualityAuditRow.id)
        .where(QualityAuditRow.project_id == project_id)
        .group_by(QualityAuditRow.id)
        .order_by(QualityAuditRow.id)
    )
    with store.read() as session:
        find(session, ProjectRow, project_id, "project")
        return tuple(_to_audit(row, count) for row, count in session.execute(query))


def audit_states(store: Store, project_id: int) -> dict[int, tuple[int, int]]:
    """Count the images of each audit that people have corrected, and reported as unusable."""
    query = (
        select(
            QualityAuditImageRow.audit_id,
            func.sum(case((ImageRow.review.in_(FINISHED), 1), else_=0)),
            func.sum(case((ImageRow.review == "unusable", 1), else_=0)),
        )
        .join(ImageRow, ImageRow.id == QualityAuditImageRow.image_id)
        .where(QualityAuditImageRow.project_id == project_id)
        .group_by(QualityAuditImageRow.audit_id)
    )
    with store.read() as session:
        return {
            audit_id: (int(corrected), int(unusable))
            for audit_id, corrected, unusable in session.execute(query)
        }


def audited_images(store: Store, audit_id: int) -> Iterator[AuditedImage]:
    """Yield the images of a quality audit, in order, each as it is when it is read.

    Raises:
        StoreError: no such audit.
    """
    query = select(QualityAuditImageRow.image_id).where(QualityAuditImageRow.audit_id == audit_id)
    with store.read() as session:
        find(session, QualityAuditRow, audit_id, "quality audit")
        ids = session.scalars(query.order_by(QualityAuditImageRow.image_id)).all()
    return (_read(store, image_id) for image_id in ids)


def delete_quality_audits(session: Session, project_id: int) -> None:
    """Delete a project's quality audits; masks and images stay."""
    masks = select(AnnotationRow.id).where(AnnotationRow.project_id == project_id)
    session.execute(delete(QualityAuditMaskRow).where(QualityAuditMaskRow.annotation_id.in_(masks)))
    for kind in (QualityAuditImageRow, QualityAuditRow):
        session.execute(delete(kind).where(kind.project_id == project_id))


def _is_untouched(store: Store) -> ColumnElement[bool]:
    """Select images that a program has annotated and nobody has touched."""
    touched = or_(
        AnnotationRow.stage != AUTOMATIC, AnnotationRow.version > 1, AnnotationRow.deleted
    )
    return and_(
        ImageRow.stage == AUTOMATIC,
        ImageRow.review == "none",
        ImageRow.open,
        ImageRow.num_annotators == 1,
        or_(ImageRow.lease_expires_at.is_(None), ImageRow.lease_expires_at <= store.clock()),
        ~exists().where(SubmissionRow.image_id == ImageRow.id),
        ~exists().where(QualityAuditImageRow.image_id == ImageRow.id),
        ~exists().where(AnnotationRow.image_id == ImageRow.id, touched),
    )


def _record(session: Session, audit: QualityAuditRow, image_ids: Sequence[int]) -> None:
    """Write down a part of a sample with its masks, and say on its images what is asked for."""
    rows = [
        {"image_id": one, "project_id": audit.project_id, "audit_id": audit.id} for one in image_ids
    ]
    session.execute(insert(QualityAuditImageRow), rows)
    masks = select(AnnotationRow.id, AnnotationRow.version).where(
        AnnotationRow.image_id.in_(image_ids)
    )
    session.execute(insert(QualityAuditMaskRow).from_select(["annotation_id", "version"], masks))
    of_sample = update(ImageRow).where(ImageRow.id.in_(image_ids))
    session.execute(of_sample.values(comment=REQUEST, version=ImageRow.version + 1))


def _read(store: Store, image_id: int) -> AuditedImage:
    then: Select[int, str] = (
        select(RevisionRow.annotation_id, RevisionRow.counts)
        .join(
            QualityAuditMaskRow,
            and_(
                QualityAuditMaskRow.annotation_id == RevisionRow.annotation_id,
                QualityAuditMaskRow.version == RevisionRow.version,
            ),
        )
        .join(AnnotationRow, AnnotationRow.id == RevisionRow.annotation_id)
        .where(AnnotationRow.image_id == image_id)
        .order_by(RevisionRow.annotation_id)
    )
    now: Select[int, str] = (
        select(AnnotationRow.id, AnnotationRow.counts)
        .where(AnnotationRow.image_id == image_id, ~AnnotationRow.deleted)
        .order_by(AnnotationRow.id)
    )
    with store.read() as session:
        image = to_image(find(session, ImageRow, image_id, "image"))
        is_done = image.review in FINISHED
        automatic = _masks(session, then, image.size_hw)
        corrected = _masks(session, now, image.size_hw) if is_done else None
        return AuditedImage(image=image, automatic=automatic, corrected=corrected)


def _masks(session: Session, query: Select[int, str], size_hw: tuple[int, int]) -> dict[int, Rle]:
    size = list(size_hw)
    return {key: {"size": size, "counts": counts} for key, counts in session.execute(query)}


def _to_audit(row: QualityAuditRow, num_images: int) -> QualityAudit:
    return QualityAudit(
        id=row.id,
        project_id=row.project_id,
        user_id=row.user_id,
        seed=row.seed,
        num_images=num_images,
        num_untouched=row.num_untouched,
        created_at=row.created_at,
    )
