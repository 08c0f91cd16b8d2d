"""Leases: an image has one holder, and every image is handed out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import (
    Learning,
    Store,
    add_images,
    count_images,
    count_next_images,
    create_project,
    create_user,
    get_image,
    give_back,
    offered_images,
    renew_lease,
    return_image,
    save_annotation,
    set_learning,
    set_next_images,
    set_num_annotators,
    start_quality_audit,
    submit_image,
    take_image,
    take_next,
    upcoming_images,
)
from samkit.dataengine.schema import ImageRow
from samkit.dataengine.values import REVIEWS
from samkit.dataengine.work.queue import is_open
from samkit.errors import ConflictError, RoleError, StoreError


def test_two_people_get_different_images_in_order(scene):
    first = take_next(scene.store, scene.project.id, scene.ann)
    second = take_next(scene.store, scene.project.id, scene.bob)
    assert [first.image.path, second.image.path] == ["a.png", "b.png"]
    assert take_next(scene.store, scene.project.id, scene.ann).image == first.image


def test_lease_that_expired_goes_to_who_asks_next(scene, clock):
    lease = take_next(scene.store, scene.project.id, scene.ann, lease_s=60)
    assert (lease.expires_at - clock()).total_seconds() == 60
    clock.advance(seconds=60)
    assert take_next(scene.store, scene.project.id, scene.bob).image == lease.image
    with pytest.raises(ConflictError, match="held by somebody else"):
        renew_lease(scene.store, lease.image.id, scene.ann)


def test_late_holder_goes_on_where_nobody_has_taken_over(scene, clock):
    lease = take_next(scene.store, scene.project.id, scene.ann, lease_s=60)
    clock.advance(hours=2)
    again = renew_lease(scene.store, lease.image.id, scene.ann, lease_s=30)
    assert (again.expires_at - clock()).total_seconds() == 30
    assert take_next(scene.store, scene.project.id, scene.bob).image.path == "b.png"


def test_image_given_back_is_offered_again(scene):
    lease = take_next(scene.store, scene.project.id, scene.ann)
    give_back(scene.store, lease.image.id, scene.bob)  # not theirs
    assert take_next(scene.store, scene.project.id, scene.bob).image != lease.image
    give_back(scene.store, lease.image.id, scene.ann)
    assert take_next(scene.store, scene.project.id, scene.rev).image == lease.image


def test_certain_image_is_taken_unless_another_holds_it(scene, refusal):
    third = scene.images[2]
    assert take_image(scene.store, third.id, scene.ann).image == third
    with refusal(ConflictError, "deep/c.png is held by somebody else"):
        take_image(scene.store, third.id, scene.rev)


def test_submitted_image_is_only_for_reviewers(scene, refusal):
    image_id = scene.hold(scene.ann)
    submit_image(scene.store, image_id, scene.ann)
    with refusal(RoleError, "a.png is submitted: only a reviewer may change it"):
        take_image(scene.store, image_id, scene.bob)
    assert take_image(scene.store, image_id, scene.rev).user_id == scene.rev


def test_returned_image_comes_first_and_to_its_annotator_only(scene):
    image = submit_image(scene.store, scene.hold(scene.ann, 2), scene.ann)
    return_image(scene.store, image.id, scene.rev, version=image.version, comment="more")
    assert take_next(scene.store, scene.project.id, scene.bob).image.path == "a.png"
    lease = take_next(scene.store, scene.project.id, scene.ann)
    assert (lease.image.path, lease.image.comment) == ("deep/c.png", "more")


def test_image_for_two_is_offered_to_each_of_two_once(scene, refusal):
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    for user in (scene.ann, scene.bob):
        assert take_next(scene.store, scene.project.id, user).image.id == image_id
        image = submit_image(scene.store, image_id, user)
        assert image.review == ("none" if user == scene.ann else "submitted")
        if user == scene.ann:
            with refusal(RoleError, "is waiting for another annotator"):
                take_image(scene.store, image_id, user)
    assert not image.open
    assert take_next(scene.store, scene.project.id, scene.adm).image.path == "b.png"


@pytest.mark.parametrize("review", ["submitted", "accepted", "skipped"])
def test_imported_state_holds_until_more_people_are_wanted(review, scene):
    image_id = scene.images[0].id
    with scene.store.write() as session:  # as an import leaves it: nobody has submitted it
        row = session.get(ImageRow, image_id)
        row.review, row.open, row.num_annotators = review, is_open(review), 2
    before = get_image(scene.store, image_id)
    assert set_num_annotators(scene.store, image_id, 2, user_id=scene.rev) == before
    for number, state in ((1, review), (3, "skipped" if review == "skipped" else "none")):
        image = set_num_annotators(scene.store, image_id, number, user_id=scene.rev)
        assert (image.review, image.open) == (state, is_open(state))


def test_states_that_wait_for_annotators():
    assert [one for one in REVIEWS if is_open(one)] == ["none", "returned", "skipped"]


def test_upcoming_images_are_those_that_are_taken_next(scene):
    expected = upcoming_images(scene.store, scene.project.id, scene.ann, limit=3)
    taken = []
    for _ in expected:
        lease = take_next(scene.store, scene.project.id, scene.ann)
        taken.append(lease.image)
        submit_image(scene.store, lease.image.id, scene.ann)
    assert tuple(taken) == expected


def test_chosen_images_come_first_if_the_project_wants_it(scene):
    ids = [image.id for image in scene.images]
    set_next_images(scene.store, scene.project.id, [ids[2], ids[0], ids[3]])

    def upcoming():
        found = upcoming_images(scene.store, scene.project.id, scene.ann, limit=4)
        return [ids.index(one.id) for one in found]

    assert upcoming() == [0, 1, 2, 3]
    set_learning(scene.store, scene.project.id, Learning(choose_next=True))
    assert upcoming() == [2, 0, 3, 1]
    # Whoever asks, and images that somebody holds as well.
    scene.hold(scene.bob, 2)
    offered = offered_images(scene.store, scene.project.id, limit=3)
    assert [ids.index(one.id) for one in offered] == [2, 0, 3]
    give_back(scene.store, ids[2], scene.bob)
    taken = []
    for user in (scene.ann, scene.bob, scene.rev, scene.adm):
        image = take_next(scene.store, scene.project.id, user).image
        taken.append(ids.index(image.id))
    assert taken == [2, 0, 3, 1]
    submit_image(scene.store, ids[2], scene.ann)
    assert count_next_images(scene.store, scene.project.id) == 2
    # Replaced, not added to.
    set_next_images(scene.store, scene.project.id, [ids[1]])
    assert count_next_images(scene.store, scene.project.id) == 1


def test_images_of_audits_come_before_chosen_ones(scene):
    ids = [image.id for image in scene.images]
    with scene.store.write() as session:
        session.get(ImageRow, ids[3]).stage = "fully-automatic"
    start_quality_audit(scene.store, scene.project.id, num_images=1, user_id=scene.rev)
    set_learning(scene.store, scene.project.id, Learning(choose_next=True))
    set_next_images(scene.store, scene.project.id, [ids[1]])
    found = upcoming_images(scene.store, scene.project.id, scene.ann)
    assert [ids.index(one.id) for one in found] == [3, 1, 0, 2]
    assert take_next(scene.store, scene.project.id, scene.ann).image.id == ids[3]


def test_only_images_of_the_project_can_be_chosen(scene, refusal):
    first = scene.images[0].id
    with refusal(StoreError, "image 999 is not of project"):
        set_next_images(scene.store, scene.project.id, [first, 999])
    with refusal(StoreError, "the database refuses it"):
        set_next_images(scene.store, scene.project.id, [first, first])
    assert count_next_images(scene.store, scene.project.id) == 0


def test_lease_of_no_length_is_refused(scene, refusal):
    for lease_s in (0, -1, 1e9, float("nan")):
        with refusal(StoreError, "lease_s must be above 0 and at most a day"):
            take_next(scene.store, scene.project.id, scene.ann, lease_s=lease_s)


def test_many_at_once_never_hold_the_same_image_and_leave_none(where, tmp_path, rle_of):
    """Ten people over two connections pools, as two processes have them."""
    num_people, num_images = 10, 40
    for number in range(num_images):
        pixels = np.full((12, 16, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
    with Store.open(where) as store, Store.open(where) as other:
        project = create_project(store, name="p", root=tmp_path)
        add_images(store, project.id)
        people = [create_user(store, name=f"u{i}").id for i in range(num_people)]
        held, lock, done = set(), threading.Lock(), []

        def work(number):
            own, user = (store, other)[number % 2], people[number]
            while (lease := take_next(own, project.id, user)) is not None:
                with lock:
                    assert lease.image.id not in held
                    held.add(lease.image.id)
                save_annotation(own, image_id=lease.image.id, user_id=user, rle=rle_of(1, 1, 5, 5))
                with lock:
                    held.remove(lease.image.id)
                submit_image(own, lease.image.id, user)
                done.append(lease.image.id)

        with ThreadPoolExecutor(num_people) as pool:
            list(pool.map(work, range(num_people)))
        assert len(done) == len(set(done)) == num_images
        states = count_images(store, project.id)
        assert (states["submitted"].num_images, states["submitted"].num_masks) == (40, 40)


def test_one_image_that_all_want_goes_to_one(scene):
    users = [create_user(scene.store, name=f"w{i}").id for i in range(8)]

    def take(user):
        try:
            return take_image(scene.store, scene.images[1].id, user).user_id
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [user for user in pool.map(take, users) if user is not None]
    assert len(winners) == 1
