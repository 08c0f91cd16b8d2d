"""Routes for attributes of masks and tags of images: what a project offers, and an image's tags."""

from __future__ import annotations

from samkit.dataengine import (
    Attribute,
    ImageTags,
    Labelling,
    Page,
    ValueCount,
    count_values,
    get_labelling,
    image_tags,
    redo_tags,
    set_labelling,
    set_tags,
    tag_history,
    undo_tags,
)
from samkit.web.routing import Key, new_router
from samkit.web.schemas import (
    AtVersion,
    LabellingModel,
    TagRevisionOut,
    TagsChange,
    TagsOut,
    page_of,
)
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import ServerState, TheState

router = new_router()


@router.get("/projects/{project_id}/labelling")
def read_labelling(studio: TheState, _user: AnyUser, project_id: Key) -> LabellingModel:
    """Return what a project's people are asked for: attributes, tags, and whether classes."""
    return _labelling(studio, project_id)


@router.put("/projects/{project_id}/labelling")
def put_labelling(
    studio: TheState, _user: Reviewer, project_id: Key, body: LabellingModel
) -> LabellingModel:
    """Set what a project's people are asked for; values that are no longer offered stay."""
    attributes = tuple(
        Attribute(name=one.name, kind=one.kind, choices=tuple(one.choices))
        for one in body.attributes
    )
    labelling = Labelling(
        attributes=attributes, tags=tuple(body.tags), class_required=body.class_required
    )
    set_labelling(studio.store, project_id, labelling)
    return _labelling(studio, project_id)


@router.get("/projects/{project_id}/labelling/counts")
def get_counts(studio: TheState, _user: AnyUser, project_id: Key) -> Page[ValueCount]:
    """Count the masks with each value of an attribute, and the images with each tag."""
    return Page(items=count_values(studio.store, project_id), next_after=None)


@router.get("/images/{image_id}/tags")
def get_tags(studio: TheState, _user: AnyUser, image_id: Key) -> TagsOut:
    """Return an image's tags."""
    return _tags(image_tags(studio.store, image_id))


@router.put("/images/{image_id}/tags")
def put_tags(studio: TheState, user: AnyUser, image_id: Key, body: TagsChange) -> TagsOut:
    """Set the tags of an image that one holds."""
    changed = set_tags(
        studio.store, image_id, user_id=user.id, version=body.version, tags=body.tags
    )
    return _tags(changed)


@router.post("/images/{image_id}/tags/undo")
def undo(studio: TheState, user: AnyUser, image_id: Key, body: AtVersion) -> TagsOut:
    """Undo the last change of an image's tags."""
    return _tags(undo_tags(studio.store, image_id, user_id=user.id, version=body.version))


@router.post("/images/{image_id}/tags/redo")
def redo(studio: TheState, user: AnyUser, image_id: Key, body: AtVersion) -> TagsOut:
    """Redo the change of an image's tags that was undone last."""
    return _tags(redo_tags(studio.store, image_id, user_id=user.id, version=body.version))


@router.get("/images/{image_id}/tags/history")
def get_tag_history(studio: TheState, _user: AnyUser, image_id: Key) -> Page[TagRevisionOut]:
    """List all states of an image's tags, oldest first."""
    return page_of(TagRevisionOut, tag_history(studio.store, image_id))


def _labelling(studio: ServerState, project_id: int) -> LabellingModel:
    return LabellingModel.model_validate(get_labelling(studio.store, project_id))


def _tags(found: ImageTags) -> TagsOut:
    return TagsOut.model_validate(found)
