"""Honey pots: known answers, mixed into the queue unseen, with scores and exact exports."""

import json

import pytest

from samkit.dataengine import (
    accept_image,
    add_comment,
    count_images,
    count_people,
    create_user,
    delete_annotation,
    delete_project,
    end_honey_pots,
    export_history,
    export_project,
    get_image,
    honey_scores,
    list_annotations,
    list_comments,
    list_doubly_annotated,
    list_honey_pots,
    review_history,
    save_annotation,
    set_honey_pot_every,
    start_honey_pots,
    submit_image,
    take_back,
    take_image,
    take_next,
    visible_annotations,
)
from samkit.dataengine.schema import ImageRow
from samkit.errors import ConflictError, RoleError, StoreError


@pytest.fixture
def accepted(scene, rle_of):
    """The first image, with two masks of bob, accepted."""
    image_id = scene.hold(scene.bob)
    for x in (0, 8):
        rle = rle_of(x, 0, x + 4, 4)
        save_annotation(scene.store, image_id=image_id, user_id=scene.bob, rle=rle, score=0.5)
    image = submit_image(scene.store, image_id, scene.bob)
    return accept_image(scene.store, image_id, scene.rev, version=image.version)


@pytest.fixture
def pot(scene, accepted):
    (made,) = start_honey_pots(scene.store, scene.project.id, [accepted.id], user_id=scene.rev)
    return made


def attempt(scene, rle_of, user_id, *xs):
    """What a user makes of the honey pot: squares at these places."""
    image_id = scene.hold(user_id)
    for x in xs:
        rle = rle_of(x, 0, x + 4, 4)
        save_annotation(scene.store, image_id=image_id, user_id=user_id, rle=rle)
    return submit_image(scene.store, image_id, user_id)


def exported(scene, folder, **options):
    export_project(scene.store, scene.project.id, folder, file_format="coco", **options)
    found = json.loads((folder / "all.json").read_text())
    boxes = sorted(one["bbox"] for one in found["annotations"])
    return [one["file_name"] for one in found["images"]], boxes


def test_it_looks_like_an_image_that_nobody_has_annotated(scene, accepted, pot, rle_of):
    store = scene.store
    assert (pot.review, pot.open, pot.num_masks, pot.comment) == ("none", True, 0, "")
    assert pot.version > accepted.version
    add_comment(store, pot.id, scene.rev, "a hard one")
    assert visible_annotations(store, pot.id, user_id=scene.ann, deleted=True) == ()
    assert review_history(store, pot.id, user_id=scene.ann) == ()
    assert list_comments(store, pot.id, user_id=scene.ann) == ()
    assert len(visible_annotations(store, pot.id, user_id=scene.rev, deleted=True)) == 2
    assert len(review_history(store, pot.id, user_id=scene.rev)) == 1
    submitted = attempt(scene, rle_of, scene.ann, 0)
    assert (submitted.review, submitted.open) == ("none", True)
    carl = create_user(store, name="carl").id
    take_image(store, pot.id, carl)
    assert visible_annotations(store, pot.id, user_id=carl, deleted=True) == ()
    assert len(visible_annotations(store, pot.id, user_id=scene.ann)) == 1
    assert count_images(store, scene.project.id)["submitted"].num_images == 0


def test_answers_are_scored(scene, pot, rle_of):
    store, project_id = scene.store, scene.project.id
    carl = create_user(store, name="carl").id
    attempt(scene, rle_of, scene.ann, 0, 8)
    attempt(scene, rle_of, carl, 1, 12)  # one is shifted by a pixel, one is elsewhere
    first, second = honey_scores(store, project_id)
    assert (first.user_id, first.mean_iou) == (scene.ann, 1.0)
    assert (first.num_found, first.num_missed, first.num_extra) == (2, 0, 0)
    assert second.mean_iou == pytest.approx(0.6 / 3)
    assert (second.num_found, second.num_missed, second.num_extra) == (1, 1, 1)
    take_back(store, pot.id, carl)
    assert [one.user_id for one in honey_scores(store, project_id)] == [scene.ann]
    assert list_doubly_annotated(store, project_id).items == ()
    assert {one.user_id: one.num_waiting for one in count_people(store, project_id)} == {carl: 0}


def test_exports_have_the_answer_once(scene, accepted, rle_of, tmp_path):
    before = exported(scene, tmp_path / "before")
    start_honey_pots(scene.store, scene.project.id, [accepted.id], user_id=scene.rev)
    assert exported(scene, tmp_path / "pot") == before
    attempt(scene, rle_of, scene.ann, 4)
    assert exported(scene, tmp_path / "answered") == before == (["a.png"], before[1])
    assert len(before[1]) == 2
    assert exported(scene, tmp_path / "open", states=["none"]) == ([], [])
    history = tmp_path / "history.jsonl"
    assert export_history(scene.store, scene.project.id, history) == 2
    end_honey_pots(scene.store, scene.project.id, [accepted.id], user_id=scene.rev)
    assert exported(scene, tmp_path / "ended") == before
    assert export_history(scene.store, scene.project.id, history) == 2


def test_it_ends_as_it_was(scene, accepted, pot, rle_of):
    store, project_id = scene.store, scene.project.id
    was = {one.rle["counts"]: one.score for one in list_annotations(store, pot.id, deleted=True)}
    attempt(scene, rle_of, scene.ann, 0)
    (ended,) = end_honey_pots(store, project_id, [pot.id], user_id=scene.rev)
    assert (ended.review, ended.open, ended.num_masks) == ("accepted", False, 2)
    present = list_annotations(store, pot.id)
    assert {one.rle["counts"]: one.score for one in present} == was
    (found,) = list_honey_pots(store, project_id)
    assert (found.num_masks, found.ended_at is None) == (2, False)
    assert [one.user_id for one in honey_scores(store, project_id)] == [scene.ann]
    # Begun again, whoever has answered it is not asked again, and the new answer counts.
    take_image(store, pot.id, scene.rev)
    delete_annotation(store, present[1].id, user_id=scene.rev, version=present[1].version)
    accept_image(store, pot.id, scene.rev, version=get_image(store, pot.id).version)
    start_honey_pots(store, project_id, [pot.id], user_id=scene.rev)
    assert [one.num_missed for one in honey_scores(store, project_id)] == [0]


def test_it_is_mixed_into_the_queue(scene, pot):
    store, project_id = scene.store, scene.project.id
    set_honey_pot_every(store, project_id, 2, user_id=scene.rev)
    places = set()
    for number in range(12):
        user = create_user(store, name=f"u{number}").id
        taken = []
        for _ in range(2):
            lease = take_next(store, project_id, user)
            taken.append(lease.image.id)
            submit_image(store, lease.image.id, user)
        if pot.id in taken:  # one of two, unless the others were gone
            places.add(taken.index(pot.id))
        with store.write() as session:  # for the next person
            for one in scene.images[1:]:
                row = session.get(ImageRow, one.id)
                row.review, row.open = "none", True
    assert places == {0, 1}
    assert take_next(store, project_id, scene.rev).image.id != pot.id  # who knows the answer


def test_what_cannot_be_a_honey_pot(scene, accepted, refusal):
    store, project_id = scene.store, scene.project.id
    with refusal(StoreError, "b.png is no accepted image with masks: it has no answer"):
        start_honey_pots(store, project_id, [accepted.id, scene.images[1].id], user_id=scene.rev)
    with refusal(RoleError, "needs the role"):
        start_honey_pots(store, project_id, [accepted.id], user_id=scene.ann)
    with refusal(StoreError, "a.png is no honey pot"):
        end_honey_pots(store, project_id, [accepted.id], user_id=scene.rev)
    with refusal(StoreError, "honey pots come once in 2 to 1000 images; got 1"):
        set_honey_pot_every(store, project_id, 1, user_id=scene.rev)
    take_image(store, accepted.id, scene.adm)
    with refusal(ConflictError, "a.png is held by somebody else"):
        start_honey_pots(store, project_id, [accepted.id], user_id=scene.rev)
    assert get_image(store, accepted.id) == accepted


def test_honey_pots_go_with_their_project(scene, pot):
    delete_project(scene.store, scene.project.id)
    assert list_honey_pots(scene.store, scene.project.id) == ()
