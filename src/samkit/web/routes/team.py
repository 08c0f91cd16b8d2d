"""Routes for the people of a project: its members, and which images are for whom."""

from __future__ import annotations

from samkit.dataengine import (
    BatchCount,
    Members,
    OwnWork,
    Page,
    assign_images,
    assignees,
    count_batches,
    get_members,
    get_project,
    list_holders,
    own_work,
    set_members,
    user_names,
)
from samkit.web.routing import Key, new_router
from samkit.web.schemas import ImageOut
from samkit.web.sign_in import Admin, AnyUser, Reviewer
from samkit.web.state import TheState
from samkit.web.team_schemas import Assign, AssignedOut, HeldImage, MembersIn, MembersOut, Person

router = new_router()


@router.get("/projects/{project_id}/members")
def read_members(studio: TheState, _user: Reviewer, project_id: Key) -> MembersOut:
    """Return who may work on a project."""
    return _members(get_members(studio.store, project_id))


@router.put("/projects/{project_id}/members")
def put_members(studio: TheState, user: Admin, project_id: Key, body: MembersIn) -> MembersOut:
    """Set who may work on a project; images that others hold are given back."""
    return _members(set_members(studio.store, project_id, body.user_ids, user_id=user.id))


@router.post("/projects/{project_id}/images/assign")
def post_assign(studio: TheState, user: Reviewer, project_id: Key, body: Assign) -> AssignedOut:
    """Assign images to people, and set their priority and their batch."""
    images = assign_images(
        studio.store,
        project_id,
        body.image_ids,
        user_id=user.id,
        people=body.user_ids,
        deal=body.deal,
        priority=body.priority,
        batch=body.batch,
    )
    return AssignedOut(images=[ImageOut.model_validate(one) for one in images])


@router.get("/images/{image_id}/assignees")
def get_assignees(studio: TheState, _user: AnyUser, image_id: Key) -> Page[Person]:
    """List the people whom an image is assigned to; none if it is for everybody."""
    names = user_names(studio.store)
    found = assignees(studio.store, image_id)
    people = tuple(Person(user_id=one, user_name=names[one]) for one in found)
    return Page(items=people, next_after=None)


@router.get("/projects/{project_id}/batches")
def get_batches(studio: TheState, _user: AnyUser, project_id: Key) -> Page[BatchCount]:
    """Count what has become of the images of each batch; those of none come first."""
    get_project(studio.store, project_id)
    return Page(items=count_batches(studio.store, project_id), next_after=None)


@router.get("/projects/{project_id}/holders")
def get_holders(studio: TheState, _user: Reviewer, project_id: Key) -> Page[HeldImage]:
    """List the images of a project that people hold now."""
    get_project(studio.store, project_id)
    names = user_names(studio.store)
    found = tuple(
        HeldImage(
            image_id=one.image.id,
            path=one.image.path,
            user_id=one.user_id,
            user_name=names[one.user_id],
            expires_at=one.expires_at,
        )
        for one in list_holders(studio.store, project_id)
    )
    return Page(items=found, next_after=None)


@router.get("/session/work")
def get_own_work(studio: TheState, user: AnyUser) -> Page[OwnWork]:
    """Return what waits for oneself in each project: images returned, and assigned."""
    return Page(items=own_work(studio.store, user.id), next_after=None)


def _members(found: Members) -> MembersOut:
    return MembersOut(
        everybody=found.everybody, people=list(found.people), user_ids=list(found.user_ids)
    )
