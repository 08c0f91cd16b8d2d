"""Assignments: who is offered which image, in which order, and what waits for whom."""

import pytest

from samkit.dataengine import (
    ImageSearch,
    Learning,
    OwnWork,
    assign_images,
    assignees,
    change_user,
    count_batches,
    count_found_images,
    count_people,
    get_image,
    own_work,
    return_image,
    set_learning,
    set_members,
    set_next_images,
    submit_image,
    take_image,
    take_next,
    upcoming_images,
)
from samkit.errors import RoleError, StoreError


@pytest.fixture
def assign(scene):
    """Assign images by their places."""

    def make(places, user_id=None, **settings):
        ids = [scene.images[place].id for place in places]
        by = scene.rev if user_id is None else user_id
        return assign_images(scene.store, scene.project.id, ids, user_id=by, **settings)

    return make


def offered(scene, user_id):
    """Places of the images that a user is offered, in order."""
    ids = [one.id for one in scene.images]
    found = upcoming_images(scene.store, scene.project.id, user_id, limit=10)
    return [ids.index(one.id) for one in found]


def test_assigned_images_are_offered_to_whom_they_are_assigned(scene, assign, refusal):
    assign([1, 3], people=[scene.ann])
    assert offered(scene, scene.ann) == [1, 3, 0, 2]
    assert offered(scene, scene.bob) == [0, 2]
    assert assignees(scene.store, scene.images[1].id) == (scene.ann,)
    assert take_next(scene.store, scene.project.id, scene.ann).image.path == "b.png"
    with refusal(RoleError, "deep/d.jpg is assigned to somebody else"):
        take_image(scene.store, scene.images[3].id, scene.bob)
    assert take_image(scene.store, scene.images[3].id, scene.rev).is_new  # who reviews, may
    assign([1, 3], people=[])
    assert offered(scene, scene.bob) == [0, 2]  # the others are held
    assert assignees(scene.store, scene.images[1].id) == ()


def test_images_are_dealt_out(scene, assign):
    assign(range(4), people=[scene.ann, scene.bob], deal=True)
    assert [assignees(scene.store, one.id) for one in scene.images] == [
        (scene.ann,),
        (scene.bob,),
    ] * 2
    assign(range(4), people=[scene.ann, scene.bob, scene.ann])
    assert {assignees(scene.store, one.id) for one in scene.images} == {(scene.ann, scene.bob)}


def test_images_of_whoever_has_left_go_to_anybody(scene, assign):
    assign([0], people=[scene.ann])
    assign([1], people=[scene.ann, scene.bob])
    change_user(scene.store, scene.ann, active=False)
    assert offered(scene, scene.adm) == [0, 2, 3]
    assert offered(scene, scene.bob) == [1, 0, 2, 3]
    change_user(scene.store, scene.ann, active=True)
    set_members(scene.store, scene.project.id, [scene.bob], user_id=scene.adm)
    assert offered(scene, scene.bob) == [1, 0, 2, 3]


def test_urgent_images_come_first(scene, assign):
    changed = assign([2], priority="urgent", batch="night")
    assert [(one.priority, one.batch) for one in changed] == [("urgent", "night")]
    assign([3], priority="high")
    assign([0], priority="low")
    assert offered(scene, scene.ann) == [2, 3, 1, 0]
    # What is assigned to somebody comes before what is not, whatever the model would like next.
    assign([1], people=[scene.ann])
    set_learning(scene.store, scene.project.id, Learning(choose_next=True))
    set_next_images(scene.store, scene.project.id, [one.id for one in scene.images])
    assert offered(scene, scene.ann) == [1, 2, 3, 0]
    assign([0, 1, 2, 3], priority="normal")
    assert offered(scene, scene.bob) == [0, 2, 3]
    image = get_image(scene.store, scene.images[2].id)
    assert (image.batch, image.version) == ("night", scene.images[2].version)


def test_batches_are_counted_and_searched(scene, assign):
    assign([0, 1], batch="first", people=[scene.ann])
    assign([2], batch="second")
    scene.hold(scene.ann)
    submit_image(scene.store, scene.images[0].id, scene.ann)
    found = count_batches(scene.store, scene.project.id)
    assert [(one.batch, one.num_images, one.num_open, one.num_submitted) for one in found] == [
        ("", 1, 1, 0),
        ("first", 2, 1, 1),
        ("second", 1, 1, 0),
    ]
    searches = [
        ImageSearch(batch="first"),
        ImageSearch(batch=""),
        ImageSearch(assigned_to=scene.ann),
        ImageSearch(assigned_to=scene.ann, batch="second"),
    ]
    numbers = [count_found_images(scene.store, scene.project.id, one) for one in searches]
    assert numbers == [2, 1, 2, 0]
    (person,) = count_people(scene.store, scene.project.id)
    assert (person.user_id, person.num_assigned, person.num_waiting) == (scene.ann, 1, 1)


def test_people_know_what_waits_for_them(scene, assign):
    assert own_work(scene.store, scene.ann) == ()
    assign([0, 1], people=[scene.ann])
    image = scene.hold(scene.ann)
    version = submit_image(scene.store, image, scene.ann).version
    work = OwnWork(
        project_id=scene.project.id, project_name="cells", num_returned=0, num_assigned=1
    )
    assert own_work(scene.store, scene.ann) == (work,)
    return_image(scene.store, image, scene.rev, version=version, comment="more")
    (found,) = own_work(scene.store, scene.ann)
    assert (found.num_returned, found.num_assigned) == (1, 1)
    set_members(scene.store, scene.project.id, [scene.bob], user_id=scene.adm)
    assert own_work(scene.store, scene.ann) == ()


def test_what_cannot_be_assigned(scene, assign, refusal):
    with refusal(RoleError, "needs the role"):
        assign([0], user_id=scene.ann, priority="high")
    with refusal(StoreError, "a priority must be one of urgent, high, normal, low"):
        assign([0], priority="soon")
    with refusal(StoreError, "a batch must be one line"):
        assign([0], batch="a\nb")
    with refusal(StoreError, "image 999 is not of project"):
        assign_images(
            scene.store, scene.project.id, [scene.images[0].id, 999], user_id=scene.rev, batch="b"
        )
    set_members(scene.store, scene.project.id, [scene.rev], user_id=scene.adm)
    with refusal(RoleError, "'ann' is not a member"):
        assign([0], people=[scene.ann])
    assert get_image(scene.store, scene.images[0].id).batch == ""
