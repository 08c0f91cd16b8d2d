"""Routes for the classes of a project: everybody reads them, reviewers change them."""

from __future__ import annotations

from samkit.dataengine import (
    ClassCount,
    LabelClass,
    Page,
    add_class,
    change_class,
    count_class_masks,
    delete_class,
    get_project,
    list_classes,
    merge_classes,
    order_classes,
)
from samkit.web.routing import Key, new_router
from samkit.web.schemas import ClassChange, ClassOrder, MergeClass, NewClass
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import TheState

router = new_router()


@router.get("/projects/{project_id}/classes")
def get_classes(studio: TheState, _user: AnyUser, project_id: Key) -> Page[LabelClass]:
    """List all classes of a project in their order, on one page."""
    get_project(studio.store, project_id)
    found = list_classes(studio.store, project_id)
    return Page(items=found, next_after=None)


@router.get("/projects/{project_id}/classes/counts")
def get_class_counts(studio: TheState, _user: AnyUser, project_id: Key) -> Page[ClassCount]:
    """Count the images and masks of each class that masks have; `class_id` is null for none."""
    get_project(studio.store, project_id)
    found = count_class_masks(studio.store, project_id)
    return Page(items=found, next_after=None)


@router.post("/projects/{project_id}/classes", status_code=201)
def put_class(studio: TheState, _user: Reviewer, project_id: Key, body: NewClass) -> LabelClass:
    """Return the class of a name; add it if there is none."""
    return add_class(studio.store, project_id, body.name, color=body.color)


@router.put("/projects/{project_id}/classes/order")
def put_order(
    studio: TheState, _user: Reviewer, project_id: Key, body: ClassOrder
) -> Page[LabelClass]:
    """Set the order of a project's classes; the body names each of them once."""
    order_classes(studio.store, project_id, body.class_ids)
    return Page(items=list_classes(studio.store, project_id), next_after=None)


@router.patch("/classes/{class_id}")
def patch_class(studio: TheState, _user: Reviewer, class_id: Key, body: ClassChange) -> LabelClass:
    """Change a class's name, colour or key."""
    return change_class(studio.store, class_id, name=body.name, color=body.color, key=body.key)


@router.post("/classes/{class_id}/merge")
def merge_class(studio: TheState, _user: Reviewer, class_id: Key, body: MergeClass) -> LabelClass:
    """Merge a class into another one, which all its masks get; returns that one."""
    return merge_classes(studio.store, class_id, into=body.into)


@router.delete("/classes/{class_id}", status_code=204)
def drop_class(studio: TheState, _user: Reviewer, class_id: Key) -> None:
    """Delete a class that no mask has."""
    delete_class(studio.store, class_id)
