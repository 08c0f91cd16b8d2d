"""Members of projects: who may see and work on which project."""

import pytest

from samkit.dataengine import (
    change_user,
    create_project,
    get_image,
    get_members,
    list_projects,
    list_users,
    may_see,
    return_image,
    save_annotation,
    set_members,
    set_num_annotators,
    start_quality_audit,
    submit_image,
    take_image,
    take_next,
    upcoming_images,
)
from samkit.errors import MissingError, RoleError, StoreError


@pytest.fixture
def people(scene):
    return {one.name: one for one in list_users(scene.store).items}


def only(scene, *members):
    return set_members(scene.store, scene.project.id, members, user_id=scene.adm)


def test_projects_are_for_everybody_at_first(scene, people):
    found = get_members(scene.store, scene.project.id)
    assert (found.everybody, found.user_ids) == (True, ())
    assert [one.name for one in found.people] == ["ann", "bob", "rev", "adm"]
    assert all(may_see(scene.store, one, "project", scene.project.id) for one in people.values())


def test_only_members_and_admins_see_what_is_in_a_project(scene, people, rle_of):
    image_id = scene.hold(scene.ann)
    mask = save_annotation(
        scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 2, 2)
    )
    found = only(scene, scene.ann)
    assert (found.everybody, found.user_ids) == (False, (scene.ann,))
    assert [one.name for one in found.people] == ["ann", "adm"]
    things = {"project": scene.project.id, "image": image_id, "annotation": mask.id}
    for what, key in things.items():
        seen = [name for name, one in people.items() if may_see(scene.store, one, what, key)]
        assert seen == ["ann", "adm"], what
        assert may_see(scene.store, people["bob"], what, 999)  # which hides nothing
    open_project = create_project(scene.store, name="open", root=scene.project.root)
    names = [one.name for one in list_projects(scene.store, user=people["bob"]).items]
    assert names == ["open"]
    for name in ("ann", "adm"):
        assert len(list_projects(scene.store, user=people[name]).items) == 2
    assert may_see(scene.store, people["bob"], "project", open_project.id)
    set_members(scene.store, scene.project.id, None, user_id=scene.adm)
    assert may_see(scene.store, people["bob"], "image", image_id)


def test_who_is_no_member_cannot_work(scene, refusal):
    only(scene, scene.ann)
    image_id = scene.hold(scene.ann)
    image = submit_image(scene.store, image_id, scene.ann)
    project_id = scene.project.id
    with refusal(RoleError, "'bob' is not a member of project 'cells'"):
        take_next(scene.store, project_id, scene.bob)
    with refusal(RoleError, "'bob' is not a member"):
        take_image(scene.store, scene.images[1].id, scene.bob)
    for work in (
        lambda: return_image(scene.store, image_id, scene.rev, version=image.version, comment="x"),
        lambda: set_num_annotators(scene.store, image_id, 2, user_id=scene.rev),
        lambda: start_quality_audit(scene.store, project_id, num_images=1, user_id=scene.rev),
    ):
        with refusal(RoleError, "'rev' is not a member"):
            work()
    assert get_image(scene.store, image_id) == image
    assert take_next(scene.store, project_id, scene.adm) is not None


def test_who_is_removed_gives_back_what_they_hold_and_others_get_it(scene):
    image_id = scene.hold(scene.bob)
    submitted = submit_image(scene.store, image_id, scene.bob)
    return_image(scene.store, image_id, scene.rev, version=submitted.version, comment="again")
    scene.hold(scene.bob, 1)
    project_id = scene.project.id
    assert image_id not in [one.id for one in upcoming_images(scene.store, project_id, scene.ann)]
    only(scene, scene.ann)
    assert take_next(scene.store, project_id, scene.ann).image.id == image_id
    assert take_image(scene.store, scene.images[1].id, scene.ann).is_new


def test_members_are_set_by_admins(scene, refusal):
    with refusal(RoleError, "needs the role admin"):
        set_members(scene.store, scene.project.id, [scene.rev], user_id=scene.rev)
    with refusal(MissingError, "there is no user 999"):
        only(scene, scene.ann, 999)
    with refusal(StoreError, "a member is named twice"):
        only(scene, scene.ann, scene.ann)
    assert get_members(scene.store, scene.project.id).everybody
    only(scene, scene.ann, scene.bob)
    change_user(scene.store, scene.bob, active=False)
    found = get_members(scene.store, scene.project.id)
    assert ([one.id for one in found.people], found.user_ids) == (
        [scene.ann, scene.adm],
        (scene.ann, scene.bob),
    )
