"""Routes for masks, and for submitting and reviewing images."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from samkit.dataengine import (
    DAY_MS,
    Annotation,
    Change,
    Event,
    NewEvent,
    Page,
    accept_image,
    annotation_events,
    annotation_history,
    delete_annotation,
    get_image,
    image_changes,
    judge_mask,
    list_submissions,
    redo_annotation,
    reopen_image,
    replace_annotation,
    report_unusable,
    restore_submissions,
    return_image,
    review_history,
    save_annotation,
    skip_image,
    submit_image,
    undo_annotation,
    user_names,
    visible_annotations,
)
from samkit.geometry import Rle
from samkit.web.routing import Key, new_router
from samkit.web.schemas import (
    MAX_INT32,
    AcceptImage,
    AnnotationChange,
    AnnotationOut,
    AtVersion,
    EventModel,
    ImageOut,
    JudgeMask,
    NewAnnotation,
    Reason,
    RestoreMasks,
    ReturnImage,
    RevisionOut,
    RleModel,
    SubmissionOut,
    VerdictOut,
    page_of,
    submission_out,
)
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import TheState
from samkit.web.verdicts import verdicts_page

router = new_router()

VersionQuery = Annotated[int, Query(ge=0, le=MAX_INT32)]
Duration = Annotated[int, Query(ge=0, le=DAY_MS)]


@router.get("/images/{image_id}/annotations")
def get_annotations(
    studio: TheState, user: AnyUser, image_id: Key, *, deleted: bool = False
) -> Page[AnnotationOut]:
    """List all masks of an image that one may see, on one page."""
    found = visible_annotations(studio.store, image_id, user_id=user.id, deleted=deleted)
    names = user_names(studio.store)
    items = tuple(_with_name(one, names[one.user_id]) for one in found)
    return Page(items=items, next_after=None)


@router.post("/images/{image_id}/annotations", status_code=201)
def add_annotation(
    studio: TheState, user: AnyUser, image_id: Key, body: NewAnnotation
) -> AnnotationOut:
    """Add a mask to an image that one holds; safe to repeat with the same request_id."""
    made = save_annotation(
        studio.store,
        image_id=image_id,
        user_id=user.id,
        rle=_rle(body.rle),
        class_id=body.class_id,
        attributes=body.attributes,
        events=_events(body.events),
        score=body.score,
        stability=body.stability,
        request_id=body.request_id,
    )
    return _with_name(made, user.name)


@router.put("/annotations/{annotation_id}")
def put_annotation(
    studio: TheState, user: AnyUser, annotation_id: Key, body: AnnotationChange
) -> AnnotationOut:
    """Replace an annotation's mask and class."""
    made = replace_annotation(
        studio.store,
        annotation_id,
        user_id=user.id,
        version=body.version,
        rle=_rle(body.rle),
        class_id=body.class_id,
        attributes=body.attributes,
        events=_events(body.events),
        score=body.score,
        stability=body.stability,
    )
    return _named(studio, made)


@router.delete("/annotations/{annotation_id}")
def drop_annotation(
    studio: TheState,
    user: AnyUser,
    annotation_id: Key,
    version: VersionQuery,
    duration_ms: Duration = 0,
) -> AnnotationOut:
    """Delete a mask; undo brings it back."""
    made = delete_annotation(
        studio.store, annotation_id, user_id=user.id, version=version, duration_ms=duration_ms
    )
    return _named(studio, made)


@router.post("/annotations/{annotation_id}/undo")
def undo(studio: TheState, user: AnyUser, annotation_id: Key, body: AtVersion) -> AnnotationOut:
    """Undo a mask's last change."""
    made = undo_annotation(studio.store, annotation_id, user_id=user.id, version=body.version)
    return _named(studio, made)


@router.post("/annotations/{annotation_id}/redo")
def redo(studio: TheState, user: AnyUser, annotation_id: Key, body: AtVersion) -> AnnotationOut:
    """Redo the change that was undone last."""
    made = redo_annotation(studio.store, annotation_id, user_id=user.id, version=body.version)
    return _named(studio, made)


@router.put("/annotations/{annotation_id}/verdict")
def put_verdict(
    studio: TheState, user: Reviewer, annotation_id: Key, body: JudgeMask
) -> AnnotationOut:
    """Accept or reject one mask of an image that is up for review."""
    made = judge_mask(
        studio.store, annotation_id, user.id, version=body.version, verdict=body.verdict
    )
    return _named(studio, made)


@router.get("/annotations/{annotation_id}/history")
def get_history(studio: TheState, user: AnyUser, annotation_id: Key) -> Page[RevisionOut]:
    """List all states of a mask."""
    found = annotation_history(studio.store, annotation_id, user_id=user.id)
    return page_of(RevisionOut, found)


@router.get("/annotations/{annotation_id}/events")
def get_events(studio: TheState, user: AnyUser, annotation_id: Key) -> Page[Event]:
    """List all prompts and corrections of a mask."""
    found = annotation_events(studio.store, annotation_id, user_id=user.id)
    return Page(items=found, next_after=None)


@router.get("/images/{image_id}/changes")
def get_changes(studio: TheState, user: AnyUser, image_id: Key) -> Page[Change]:
    """List all changes of an image's tags and of its masks that one may see, oldest first."""
    found = image_changes(studio.store, image_id, user_id=user.id)
    return Page(items=found, next_after=None)


@router.post("/images/{image_id}/submit")
def submit(
    studio: TheState,
    user: AnyUser,
    image_id: Key,
    duration_ms: Annotated[int, Query(ge=0, le=DAY_MS)] = 0,
) -> ImageOut:
    """Submit an image that one holds; the duration is the time since the last event."""
    image = submit_image(studio.store, image_id, user.id, duration_ms=duration_ms)
    return ImageOut.model_validate(image)


@router.post("/images/{image_id}/skip")
def skip(studio: TheState, user: AnyUser, image_id: Key, body: Reason) -> ImageOut:
    """Skip an image that one holds: others are still offered it."""
    skipped = skip_image(studio.store, image_id, user.id, reason=body.reason)
    return ImageOut.model_validate(skipped)


@router.post("/images/{image_id}/unusable")
def report(studio: TheState, user: AnyUser, image_id: Key, body: Reason) -> ImageOut:
    """Report that an image which one holds cannot be annotated: nobody is offered it."""
    reported = report_unusable(studio.store, image_id, user.id, reason=body.reason)
    return ImageOut.model_validate(reported)


@router.post("/images/{image_id}/reopen")
def reopen(studio: TheState, user: Reviewer, image_id: Key, body: AtVersion) -> ImageOut:
    """Offer an image again that was skipped or reported as unusable."""
    reopened = reopen_image(studio.store, image_id, user.id, version=body.version)
    return ImageOut.model_validate(reopened)


@router.get("/images/{image_id}/submissions")
def get_submissions(studio: TheState, _user: Reviewer, image_id: Key) -> Page[SubmissionOut]:
    """List what each person has made of an image."""
    names = user_names(studio.store)
    submitted = list_submissions(studio.store, image_id)
    found = tuple(submission_out(one, names[one.user_id]) for one in submitted)
    return Page(items=found, next_after=None)


@router.post("/images/{image_id}/restore")
def restore(studio: TheState, user: Reviewer, image_id: Key, body: RestoreMasks) -> ImageOut:
    """Make an image's masks those that these people submitted."""
    restored = restore_submissions(
        studio.store, image_id, user.id, version=body.version, of=body.user_ids
    )
    return ImageOut.model_validate(restored)


@router.post("/images/{image_id}/accept")
def accept(studio: TheState, user: Reviewer, image_id: Key, body: AcceptImage) -> ImageOut:
    """Accept an image's masks, all or those chosen; the others are deleted."""
    accepted = accept_image(
        studio.store, image_id, user.id, version=body.version, masks=body.annotation_ids
    )
    return ImageOut.model_validate(accepted)


@router.post("/images/{image_id}/return")
def send_back(studio: TheState, user: Reviewer, image_id: Key, body: ReturnImage) -> ImageOut:
    """Return an image to its annotators, with a comment."""
    returned = return_image(
        studio.store,
        image_id,
        user.id,
        version=body.version,
        comment=body.comment,
        to=body.user_ids,
    )
    return ImageOut.model_validate(returned)


@router.get("/images/{image_id}/reviews")
def get_reviews(studio: TheState, user: AnyUser, image_id: Key) -> Page[VerdictOut]:
    """List what people decided on an image: verdicts, and why it was skipped or reported."""
    get_image(studio.store, image_id)
    found = review_history(studio.store, image_id, user_id=user.id)
    return verdicts_page(studio.store, found)


def _rle(rle: RleModel) -> Rle:
    return {"size": rle.size, "counts": rle.counts}


def _events(events: list[EventModel]) -> list[NewEvent]:
    return [
        NewEvent(
            kind=one.kind,
            data=one.data,
            duration_ms=one.duration_ms,
            model_version_id=one.model_version_id,
        )
        for one in events
    ]


def _named(studio: TheState, made: Annotation) -> AnnotationOut:
    return _with_name(made, user_names(studio.store)[made.user_id])


def _with_name(made: Annotation, user_name: str) -> AnnotationOut:
    fields = AnnotationOut.model_fields.keys() - {"user_name"}
    return AnnotationOut(user_name=user_name, **{name: getattr(made, name) for name in fields})
