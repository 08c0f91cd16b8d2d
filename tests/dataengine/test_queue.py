"""Leases: nobody holds what another holds, and nothing is left over."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import (
    Store,
    add_photos,
    count_photos,
    create_project,
    create_user,
    give_back,
    renew_lease,
    return_photo,
    save_annotation,
    set_num_annotators,
    submit_photo,
    take_next,
    take_photo,
    upcoming_photos,
)
from samkit.errors import ConflictError, RoleError, StoreError


def test_two_people_get_different_photos_in_order(scene):
    first = take_next(scene.store, scene.project.id, scene.ann)
    second = take_next(scene.store, scene.project.id, scene.bob)
    assert [first.photo.path, second.photo.path] == ["a.png", "b.png"]
    assert take_next(scene.store, scene.project.id, scene.ann).photo == first.photo


def test_lease_that_expired_goes_to_who_asks_next(scene, clock):
    lease = take_next(scene.store, scene.project.id, scene.ann, lease_s=60)
    assert (lease.expires_at - clock()).total_seconds() == 60
    clock.advance(seconds=60)
    assert take_next(scene.store, scene.project.id, scene.bob).photo == lease.photo
    with pytest.raises(ConflictError, match="held by somebody else"):
        renew_lease(scene.store, lease.photo.id, scene.ann)


def test_late_holder_goes_on_where_nobody_has_taken_over(scene, clock):
    lease = take_next(scene.store, scene.project.id, scene.ann, lease_s=60)
    clock.advance(hours=2)
    again = renew_lease(scene.store, lease.photo.id, scene.ann, lease_s=30)
    assert (again.expires_at - clock()).total_seconds() == 30
    assert take_next(scene.store, scene.project.id, scene.bob).photo.path == "b.png"


def test_photo_given_back_is_offered_again(scene):
    lease = take_next(scene.store, scene.project.id, scene.ann)
    give_back(scene.store, lease.photo.id, scene.bob)  # not theirs
    assert take_next(scene.store, scene.project.id, scene.bob).photo != lease.photo
    give_back(scene.store, lease.photo.id, scene.ann)
    assert take_next(scene.store, scene.project.id, scene.rev).photo == lease.photo


def test_certain_photo_is_taken_unless_another_holds_it(scene, refusal):
    third = scene.photos[2]
    assert take_photo(scene.store, third.id, scene.ann).photo == third
    with refusal(ConflictError, "deep/c.png is held by somebody else"):
        take_photo(scene.store, third.id, scene.rev)


def test_submitted_photo_is_only_for_reviewers(scene, refusal):
    image_id = scene.hold(scene.ann)
    submit_photo(scene.store, image_id, scene.ann)
    with refusal(RoleError, "a.png is submitted: only a reviewer may change it"):
        take_photo(scene.store, image_id, scene.bob)
    assert take_photo(scene.store, image_id, scene.rev).user_id == scene.rev


def test_returned_photo_comes_first_and_to_its_annotator_only(scene):
    photo = submit_photo(scene.store, scene.hold(scene.ann, 2), scene.ann)
    return_photo(scene.store, photo.id, scene.rev, version=photo.version, comment="more")
    assert take_next(scene.store, scene.project.id, scene.bob).photo.path == "a.png"
    lease = take_next(scene.store, scene.project.id, scene.ann)
    assert (lease.photo.path, lease.photo.comment) == ("deep/c.png", "more")


def test_photo_for_two_is_offered_to_each_of_two_once(scene, refusal):
    image_id = scene.photos[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    for user in (scene.ann, scene.bob):
        assert take_next(scene.store, scene.project.id, user).photo.id == image_id
        photo = submit_photo(scene.store, image_id, user)
        assert photo.review == ("none" if user == scene.ann else "submitted")
        if user == scene.ann:
            with refusal(RoleError, "waits for another annotator"):
                take_photo(scene.store, image_id, user)
    assert not photo.open
    assert take_next(scene.store, scene.project.id, scene.adm).photo.path == "b.png"


def test_upcoming_photos_are_those_that_are_taken_next(scene):
    expected = upcoming_photos(scene.store, scene.project.id, scene.ann, limit=3)
    taken = []
    for _ in expected:
        lease = take_next(scene.store, scene.project.id, scene.ann)
        taken.append(lease.photo)
        submit_photo(scene.store, lease.photo.id, scene.ann)
    assert tuple(taken) == expected


def test_lease_of_no_length_is_refused(scene, refusal):
    for lease_s in (0, -1, 1e9, float("nan")):
        with refusal(StoreError, "lease_s must be above 0 and at most a day"):
            take_next(scene.store, scene.project.id, scene.ann, lease_s=lease_s)


def test_many_at_once_never_hold_the_same_photo_and_leave_none(where, tmp_path, rle_of):
    """Ten people over two connections pools, as two processes have them."""
    num_people, num_photos = 10, 40
    for number in range(num_photos):
        pixels = np.full((12, 16, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
    with Store.open(where) as store, Store.open(where) as other:
        project = create_project(store, name="p", root=tmp_path)
        add_photos(store, project.id)
        people = [create_user(store, name=f"u{i}").id for i in range(num_people)]
        held, lock, done = set(), threading.Lock(), []

        def work(number):
            own, user = (store, other)[number % 2], people[number]
            while (lease := take_next(own, project.id, user)) is not None:
                with lock:
                    assert lease.photo.id not in held
                    held.add(lease.photo.id)
                save_annotation(own, image_id=lease.photo.id, user_id=user, rle=rle_of(1, 1, 5, 5))
                with lock:
                    held.remove(lease.photo.id)
                submit_photo(own, lease.photo.id, user)
                done.append(lease.photo.id)

        with ThreadPoolExecutor(num_people) as pool:
            list(pool.map(work, range(num_people)))
        assert len(done) == len(set(done)) == num_photos
        states = count_photos(store, project.id)
        assert (states["submitted"].num_photos, states["submitted"].num_masks) == (40, 40)


def test_one_photo_that_all_want_goes_to_one(scene):
    users = [create_user(scene.store, name=f"w{i}").id for i in range(8)]

    def take(user):
        try:
            return take_photo(scene.store, scene.photos[1].id, user).user_id
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [user for user in pool.map(take, users) if user is not None]
    assert len(winners) == 1
