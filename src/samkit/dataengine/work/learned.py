"""Models that learned from a project's masks, and which model answers its prompts.

A learned model is a decoder, and maybe corrections of the image encoder; its file is in the
database, so that a version is there whole or not at all, on every machine that opens the store, and
in every backup. Rejected ones leave their figures only.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import and_, delete, func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find, find_locked, to_model
from samkit.dataengine.schema import (
    AnnotationRow,
    ConfidenceRow,
    DecoderRow,
    EventRow,
    ImageRow,
    LearnedRow,
    ModelVersionRow,
    ProjectRow,
    PromotionRow,
    ProposalHeadRow,
    RevisionRow,
    VideoRow,
)
from samkit.dataengine.values import (
    FINISHED,
    Judged,
    LearnedModel,
    Learning,
    Learnt,
    ModelVersion,
    Promotion,
    StoredConfidence,
    StoredHead,
)
from samkit.dataengine.work.webhooks import tell
from samkit.errors import ConflictError, StoreError

LATE_MASKS = 200


def set_learning(store: Store, project_id: int, learning: Learning) -> None:
    """Set how a project's model learns.

    Raises:
        StoreError: no such project.
    """
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project").learning = asdict(learning)


def add_learned_model(
    store: Store,
    project_id: int,
    *,
    name: str,
    checksum: str,
    parent_id: int,
    decoder: bytes | None,
    num_images: int,
    num_masks: int,
    num_finished: int,
    reason: str,
    figures: Mapping[str, Any],
    learns: Learnt = "decoder",
    encoder_checksum: str | None = None,
) -> LearnedModel:
    """Record a learned model, and let it answer the project's prompts if it was promoted.

    Args:
        name: what people see, such as "cells 3".
        checksum: of all its weights; see `samkit.weights.weights_sha256`.
        parent_id: model version that it began from.
        decoder: its decoder as bytes; None rejects it.
        num_images, num_masks: what it learned from.
        num_finished: masks of `count_verified_masks`, with those held back.
        reason: why it was promoted or rejected, in one line.
        figures: what was measured, as JSON.
        learns: what was trained.
        encoder_checksum: of the image encoder, if it is not the server's.

    Raises:
        ConflictError: it was promoted, but another model than its parent answers now.
        StoreError: no such project or parent.
    """
    with store.write() as session:
        project = find_locked(session, ProjectRow, project_id, "project")
        find(session, ModelVersionRow, parent_id, "model version")
        serving = _serving(session, project_id)
        if decoder is not None and serving not in (None, parent_id):
            raise ConflictError(
                f"model version {serving} answers in {project.name!r:.40} now, not {parent_id} that"
                " this one began from: learn again"
            )
        known = select(ModelVersionRow).where(
            ModelVersionRow.name == name, ModelVersionRow.checksum == checksum
        )
        version = session.scalar(known)
        if version is None:
            version = ModelVersionRow(
                name=name, checksum=checksum, path="", created_at=store.clock()
            )
            session.add(version)
            session.flush()
        row = LearnedRow(
            project_id=project_id,
            model_version_id=version.id,
            parent_id=parent_id,
            learns=learns,
            num_images=num_images,
            num_masks=num_masks,
            num_finished=num_finished,
            verdict="rejected" if decoder is None else "promoted",
            reason=reason,
            figures=dict(figures),
            created_at=store.clock(),
        )
        session.add(row)
        facts = {"model": name, "verdict": row.verdict, "reason": reason, "num_masks": num_masks}
        tell(session, store, project_id, "model.learned", facts)
        if decoder is not None:
            row_of_file = DecoderRow(
                model_version_id=version.id,
                content=decoder,
                encoder_checksum=encoder_checksum or "",
            )
            session.merge(row_of_file)
            if serving is None:  # a way back to the first one
                _promote(session, store, project_id, parent_id, user_id=None)
            _promote(session, store, project_id, version.id, user_id=None)
        session.flush()
        return _to_learned(row, version)


def serve_version(store: Store, project_id: int, model_version_id: int, *, user_id: int) -> None:
    """Let another version answer a project's prompts: one that did before.

    Raises:
        StoreError: no such project, or the version never answered there.
        RoleError: the user is not a reviewer.
    """
    with store.write() as session:
        acting_user(session, user_id, REVIEWERS)
        project = find_locked(session, ProjectRow, project_id, "project")
        earlier = select(PromotionRow.id).where(
            PromotionRow.project_id == project_id,
            PromotionRow.model_version_id == model_version_id,
        )
        if session.scalar(earlier.limit(1)) is None:
            raise StoreError(
                f"model version {model_version_id} never answered in {project.name!r:.40}:"
                f" samkit engine versions lists those that did"
            )
        if _serving(session, project_id) != model_version_id:
            _promote(session, store, project_id, model_version_id, user_id=user_id)


def serving_version(store: Store, project_id: int) -> int | None:
    """Id of the model version that answers a project's prompts; None for the server's own model."""
    with store.read() as session:
        return _serving(session, project_id)


def serving_versions(store: Store) -> dict[int, int]:
    """Ids of the model versions that answer, by project; others have the server's own model."""
    latest = select(func.max(PromotionRow.id)).group_by(PromotionRow.project_id)
    query = select(PromotionRow).where(PromotionRow.id.in_(latest))
    with store.read() as session:
        return {row.project_id: row.model_version_id for row in session.scalars(query)}


def model_version(store: Store, model_version_id: int) -> ModelVersion:
    """Return a model version.

    Raises:
        MissingError: there is no such version.
    """
    with store.read() as session:
        return to_model(find(session, ModelVersionRow, model_version_id, "model version"))


def count_finished_masks(store: Store, project_id: int) -> int:
    """Number of masks on the images that people have finished."""
    query = select(func.sum(ImageRow.num_masks)).where(
        ImageRow.project_id == project_id, ImageRow.review.in_(FINISHED)
    )
    with store.read() as session:
        return session.scalar(query) or 0


def count_verified_masks(store: Store, project_id: int) -> int:
    """Number of masks from which a model may learn: on finished images, and of finished videos.

    Of a video those count that people prompted or drew, in the frames that teach.
    """
    query = select(func.sum(VideoRow.num_verified)).where(
        VideoRow.project_id == project_id, VideoRow.review.in_(FINISHED)
    )
    with store.read() as session:
        in_videos = session.scalar(query) or 0
    return count_finished_masks(store, project_id) + in_videos


def prefill_outcomes(store: Store, project_id: int, *, last: int = LATE_MASKS) -> tuple[int, int]:
    """Count late automatic masks that people left as they were, and all of them.

    Only of finished images: a mask that was shown and not touched is accepted when its image is
    submitted. A mask that only got a class is as it was.

    Args:
        last: number of masks, the latest ones.
    """
    query = (
        select(AnnotationRow.deleted, AnnotationRow.counts == RevisionRow.counts)
        .join(ImageRow, ImageRow.id == AnnotationRow.image_id)
        .join(
            RevisionRow,
            and_(RevisionRow.annotation_id == AnnotationRow.id, RevisionRow.version == 1),
        )
        .where(
            AnnotationRow.project_id == project_id,
            AnnotationRow.stage == "fully-automatic",
            ImageRow.review.in_(FINISHED),
        )
        .order_by(AnnotationRow.id.desc())
        .limit(last)
    )
    with store.read() as session:
        rows = session.execute(query).all()
    return sum(not deleted and bool(same) for deleted, same in rows), len(rows)


def save_confidence(
    store: Store,
    project_id: int,
    model_version_id: int,
    *,
    target_precision: float,
    num_finished: int,
    content: Mapping[str, Any],
) -> None:
    """Store what was learned about how sure a model version is; replaces what was there.

    Args:
        target_precision: precision that its threshold was chosen for.
        num_finished: finished masks of the project when it was learned.
        content: fields of a `samkit.learning.Confidence`, as JSON.

    Raises:
        StoreError: no such project or version.
    """
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        find(session, ModelVersionRow, model_version_id, "model version")
        row = ConfidenceRow(
            project_id=project_id,
            model_version_id=model_version_id,
            target_precision=target_precision,
            num_finished=num_finished,
            content=dict(content),
            created_at=store.clock(),
        )
        session.merge(row)


def read_confidence(
    store: Store, project_id: int, model_version_id: int
) -> StoredConfidence | None:
    """What was learned about how sure a model version is; None if nothing was."""
    with store.read() as session:
        row = session.get(ConfidenceRow, (project_id, model_version_id))
        if row is None:
            return None
        return StoredConfidence(
            model_version_id=row.model_version_id,
            target_precision=row.target_precision,
            num_finished=row.num_finished,
            content=row.content,
            created_at=row.created_at,
        )


def save_proposal_head(
    store: Store, project_id: int, encoder_checksum: str, content: bytes, *, num_finished: int
) -> None:
    """Store the proposal head that a project's masks have taught; replaces what was there.

    Args:
        encoder_checksum: of the image encoder that it belongs to.
        content: its file.
        num_finished: finished masks of the project when it learned.

    Raises:
        StoreError: no such project.
    """
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        row = ProposalHeadRow(
            project_id=project_id,
            encoder_checksum=encoder_checksum,
            content=content,
            num_finished=num_finished,
            created_at=store.clock(),
        )
        session.merge(row)


def read_proposal_head(store: Store, project_id: int, encoder_checksum: str) -> StoredHead | None:
    """The proposal head that a project's masks have taught for an image encoder, if any."""
    with store.read() as session:
        row = session.get(ProposalHeadRow, (project_id, encoder_checksum))
        if row is None:
            return None
        return StoredHead(content=row.content, num_finished=row.num_finished)


def learned_from(store: Store, project_id: int, *, learns: Learnt | None = None) -> int:
    """Number of finished masks when the project's latest model learned; 0 before the first.

    Args:
        learns: the latest model for which this was trained; None for any.
    """
    query = select(LearnedRow.num_finished).where(LearnedRow.project_id == project_id)
    if learns is not None:
        query = query.where(LearnedRow.learns == learns)
    with store.read() as session:
        return session.scalar(query.order_by(LearnedRow.id.desc()).limit(1)) or 0


def list_promotions(store: Store, project_id: int) -> tuple[Promotion, ...]:
    """List which models answered a project's prompts, oldest first."""
    query = select(PromotionRow).where(PromotionRow.project_id == project_id)
    with store.read() as session:
        return tuple(
            Promotion(model_version_id=row.model_version_id, user_id=row.user_id, at=row.at)
            for row in session.scalars(query.order_by(PromotionRow.id))
        )


def list_learned_models(store: Store, project_id: int) -> tuple[LearnedModel, ...]:
    """List a project's learned models, promoted or not, oldest first."""
    query = (
        select(LearnedRow, ModelVersionRow)
        .join(ModelVersionRow, ModelVersionRow.id == LearnedRow.model_version_id)
        .where(LearnedRow.project_id == project_id)
        .order_by(LearnedRow.id)
    )
    with store.read() as session:
        return tuple(_to_learned(row, version) for row, version in session.execute(query))


def read_decoder(store: Store, model_version_id: int) -> bytes | None:
    """Read a learned decoder's file; None for a version that is no learned one, or was rejected."""
    with store.read() as session:
        row = session.get(DecoderRow, model_version_id)
        return None if row is None else row.content


def encoder_of_version(store: Store, model_version_id: int) -> str | None:
    """Checksum of the image encoder that a version has of its own; None if it is the server's."""
    query = select(DecoderRow.encoder_checksum).where(
        DecoderRow.model_version_id == model_version_id
    )
    with store.read() as session:
        return session.scalar(query) or None


def delete_learned(session: Session, project_id: int) -> None:
    """Delete a project's learned models; versions that events name keep their records."""
    own = select(LearnedRow.model_version_id).where(LearnedRow.project_id == project_id)
    versions = session.scalars(own).all()
    for kind in (ConfidenceRow, LearnedRow, PromotionRow):
        session.execute(delete(kind).where(kind.project_id == project_id))
    session.execute(delete(DecoderRow).where(DecoderRow.model_version_id.in_(versions)))
    for version in versions:
        used = select(EventRow.id).where(EventRow.model_version_id == version).limit(1)
        if session.scalar(used) is None:
            session.execute(delete(ModelVersionRow).where(ModelVersionRow.id == version))


def _serving(session: Session, project_id: int) -> int | None:
    query = select(PromotionRow.model_version_id).where(PromotionRow.project_id == project_id)
    return session.scalar(query.order_by(PromotionRow.id.desc()).limit(1))


def _promote(
    session: Session, store: Store, project_id: int, model_version_id: int, *, user_id: int | None
) -> None:
    row = PromotionRow(
        project_id=project_id,
        model_version_id=model_version_id,
        user_id=user_id,
        at=store.clock(),
    )
    session.add(row)
    session.flush()


def _to_learned(row: LearnedRow, version: ModelVersionRow) -> LearnedModel:
    return LearnedModel(
        version=to_model(version),
        parent_id=row.parent_id,
        learns=cast("Learnt", row.learns),
        num_images=row.num_images,
        num_masks=row.num_masks,
        num_finished=row.num_finished,
        verdict=cast("Judged", row.verdict),
        reason=row.reason,
        figures=row.figures,
        created_at=row.created_at,
    )
