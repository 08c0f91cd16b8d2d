"""Comments: pinned to places and masks, answered, resolved, and hidden from independent work."""

from datetime import timedelta

import pytest

from samkit.dataengine import (
    ImageSearch,
    add_comment,
    answer_comment,
    count_found_images,
    delete_project,
    get_image,
    list_comments,
    resolve_comment,
    save_annotation,
    set_members,
    set_num_annotators,
)
from samkit.errors import MissingError, RoleError, StoreError


def texts(store, image_id, user_id):
    return [
        [each.text for each in one.comments]
        for one in list_comments(store, image_id, user_id=user_id)
    ]


def test_threads_are_pinned_answered_and_resolved(scene, rle_of, clock):
    store, image_id = scene.store, scene.hold(scene.ann)
    mask = save_annotation(store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 4))
    place = add_comment(store, image_id, scene.rev, "what is this?", xy=(3.5, 16 * 0.75))
    clock.advance(minutes=1)
    about = add_comment(store, image_id, scene.rev, "too large", annotation_id=mask.id)
    whole = add_comment(store, image_id, scene.ann, "a hard one")
    assert (place.xy, place.annotation_id, place.resolved) == ((3.5, 12.0), None, False)
    assert (about.xy, about.annotation_id) == (None, mask.id)
    assert (whole.xy, whole.annotation_id) == (None, None)
    answered = answer_comment(store, place.id, scene.ann, "a shadow")
    assert [(one.user_id, one.text) for one in answered.comments] == [
        (scene.rev, "what is this?"),
        (scene.ann, "a shadow"),
    ]
    assert answered.comments[1].at - answered.comments[0].at == timedelta(minutes=1)
    assert get_image(store, image_id).num_open_comments == 3
    assert resolve_comment(store, place.id, scene.bob).resolved
    resolve_comment(store, place.id, scene.bob)  # again
    assert get_image(store, image_id).num_open_comments == 2
    assert not resolve_comment(store, place.id, scene.ann, resolved=False).resolved
    assert get_image(store, image_id).num_open_comments == 3
    found = list_comments(store, image_id, user_id=scene.bob)
    assert [one.id for one in found] == [place.id, about.id, whole.id]
    search = ImageSearch(commented=True)
    assert count_found_images(store, scene.project.id, search) == 1


def test_what_cannot_be_said(scene, rle_of, refusal):
    store, image_id = scene.store, scene.hold(scene.ann)
    mask = save_annotation(store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 4))
    thread = add_comment(store, image_id, scene.ann, "x")
    answer = answer_comment(store, thread.id, scene.ann, "y").comments[1]
    with refusal(StoreError, "a comment must have 1 to 2000 characters"):
        add_comment(store, image_id, scene.ann, " ")
    with refusal(StoreError, "must be within 16 x 12 pixels; got 17, 3"):
        add_comment(store, image_id, scene.ann, "x", xy=(17, 3))
    with refusal(StoreError, "is not on b.png"):
        add_comment(store, scene.images[1].id, scene.ann, "x", annotation_id=mask.id)
    with refusal(MissingError, "there is no comment 999"):
        resolve_comment(store, 999, scene.ann)
    with refusal(StoreError, "is an answer: name the one that it answers"):
        answer_comment(store, answer.id, scene.ann, "z")
    set_members(store, scene.project.id, [scene.ann], user_id=scene.adm)
    with refusal(RoleError, "'bob' is not a member"):
        answer_comment(store, thread.id, scene.bob, "z")
    assert get_image(store, image_id).num_open_comments == 1


def test_independent_annotators_do_not_read_each_other(scene, rle_of, refusal):
    store, image_id = scene.store, scene.images[0].id
    set_num_annotators(store, image_id, 2, user_id=scene.rev)
    scene.hold(scene.ann)
    mask = save_annotation(store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 4))
    own = add_comment(store, image_id, scene.ann, "of ann")
    add_comment(store, image_id, scene.rev, "to all")
    add_comment(store, image_id, scene.rev, "on ann's", annotation_id=mask.id)
    assert texts(store, image_id, scene.bob) == [["to all"]]
    assert texts(store, image_id, scene.ann) == [["of ann"], ["to all"], ["on ann's"]]
    assert len(texts(store, image_id, scene.rev)) == 3
    for work in (
        lambda: answer_comment(store, own.id, scene.bob, "x"),
        lambda: resolve_comment(store, own.id, scene.bob),
        lambda: add_comment(store, image_id, scene.bob, "x", annotation_id=mask.id),
    ):
        with refusal(RoleError, "belongs to another annotator"):
            work()


def test_comments_go_with_their_project(scene, rle_of):
    image_id = scene.hold(scene.ann)
    mask = save_annotation(
        scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 4)
    )
    thread = add_comment(scene.store, image_id, scene.ann, "x", annotation_id=mask.id)
    answer_comment(scene.store, thread.id, scene.rev, "y")
    delete_project(scene.store, scene.project.id)
    with pytest.raises(MissingError):
        list_comments(scene.store, image_id, user_id=scene.ann)
