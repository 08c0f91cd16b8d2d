"""Annotations, their versions and their history."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samkit.dataengine import (
    NewEvent,
    add_class,
    add_model_version,
    annotation_events,
    annotation_history,
    create_project,
    delete_annotation,
    get_image,
    give_back,
    list_annotations,
    redo_annotation,
    rejected_masks,
    replace_annotation,
    save_annotation,
    set_num_annotators,
    submit_image,
    take_image,
    undo_annotation,
    visible_annotations,
)
from samkit.errors import ConflictError, MissingError, RoleError, StoreError

NESTED = [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]
ANY = st.characters(exclude_categories=())  # also halves of characters


@pytest.fixture
def save(scene, rle_of):
    """Saves a box on the first image, which the annotator holds."""
    image_id = scene.hold(scene.ann)

    def make(box=(1, 2, 5, 6), **more):
        given = {"image_id": image_id, "user_id": scene.ann, "rle": rle_of(*box)}
        return save_annotation(scene.store, **(given | more))

    return make


def test_saved_mask_is_measured_and_kept_with_its_prompts(scene, save, clock):
    model = add_model_version(scene.store, name="m", checksum="0" * 64, path="")
    nucleus = add_class(scene.store, scene.project.id, "nucleus")
    events = [
        NewEvent(
            kind="point",
            data={"xy": [2, 3], "label": 1},
            duration_ms=1200,
            model_version_id=model.id,
        ),
        NewEvent(kind="choose", data={"index": 2}, duration_ms=300),
        NewEvent(kind="brush", data={"radius": 2}, duration_ms=2000),
    ]
    one = save(class_id=nucleus.id, events=events, score=0.9)
    assert (one.area_px, one.box_xyxy, one.version) == (16, (1, 2, 5, 6), 1)
    assert (one.num_clicks, one.duration_ms) == (2, 3500)
    assert (one.score, one.stability, one.class_id) == (0.9, None, nucleus.id)
    assert one.created_at == clock()
    assert list_annotations(scene.store, one.image_id) == (one,)
    stored = annotation_events(scene.store, one.id)
    assert [(e.kind, e.data, e.duration_ms, e.model_version_id) for e in stored] == [
        (e.kind, e.data, e.duration_ms, e.model_version_id) for e in events
    ]
    assert {(e.user_id, e.version, e.at) for e in stored} == {(scene.ann, 1, clock())}
    image = get_image(scene.store, one.image_id)
    assert (image.num_masks, image.version) == (1, 2)


def test_stale_change_is_refused_and_changes_nothing(scene, save, rle_of, refusal):
    one = save()
    two = replace_annotation(
        scene.store, one.id, user_id=scene.ann, version=1, rle=rle_of(0, 0, 2, 2), class_id=None
    )
    assert (two.version, two.area_px) == (2, 4)
    with refusal(ConflictError, "is at version 2 now; the change is based on 1"):
        delete_annotation(scene.store, one.id, user_id=scene.ann, version=1)
    assert list_annotations(scene.store, one.image_id) == (two,)


def test_of_changes_at_once_one_wins(scene, save, rle_of):
    one = save()

    def change(number):
        try:
            return replace_annotation(
                scene.store,
                one.id,
                user_id=scene.ann,
                version=1,
                rle=rle_of(0, 0, 1 + number, 1),
                class_id=None,
            ).area_px
        except ConflictError:
            return None

    with ThreadPoolExecutor(6) as pool:
        won = [area for area in pool.map(change, range(6)) if area is not None]
    assert [a.area_px for a in list_annotations(scene.store, one.image_id)] == won
    assert len(annotation_history(scene.store, one.id)) == 2


def test_deleted_mask_leaves_the_list_and_comes_back_by_undo(scene, save):
    one, other = save(), save((6, 6, 8, 8))
    gone = delete_annotation(scene.store, one.id, user_id=scene.ann, version=1, duration_ms=400)
    assert (gone.deleted, gone.duration_ms) == (True, 400)
    assert list_annotations(scene.store, one.image_id) == (other,)
    assert list_annotations(scene.store, one.image_id, deleted=True) == (gone, other)
    assert get_image(scene.store, one.image_id).num_masks == 1
    with pytest.raises(StoreError, match="deleted already"):
        delete_annotation(scene.store, one.id, user_id=scene.ann, version=2)
    back = undo_annotation(scene.store, one.id, user_id=scene.ann, version=2)
    assert (back.rle, back.deleted, back.version) == (one.rle, False, 3)
    assert get_image(scene.store, one.image_id).num_masks == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["replace", "delete", "undo", "redo"]), max_size=12))
def test_undo_and_redo_are_those_of_an_editor(steps, sqlite_scene, rle_of):
    """Against a list of states with a place in it, which is what an editor shows."""
    scene = sqlite_scene
    image_id = scene.hold(scene.ann)
    one = save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 1, 1))
    states, place, area = [None, 1], 1, 1
    for step in steps:
        who = {"user_id": scene.ann, "version": one.version}
        if (step, place) in (("undo", 0), ("redo", len(states) - 1)):
            with pytest.raises(StoreError, match=f"nothing to {step}"):
                {"undo": undo_annotation, "redo": redo_annotation}[step](scene.store, one.id, **who)
            continue
        if step == "replace":
            area += 1
            one = replace_annotation(
                scene.store,
                one.id,
                rle=rle_of(0, 0, 1, 1) if area == 1 else rle_of(0, 0, min(area, 16), 1),
                class_id=None,
                **who,
            )
            area = one.area_px
            states, place = [*states[: place + 1], area], place + 1
        elif step == "delete":
            if states[place] is None:
                continue
            one = delete_annotation(scene.store, one.id, **who)
            states, place = [*states[: place + 1], None], place + 1
        elif step == "undo":
            one, place = undo_annotation(scene.store, one.id, **who), place - 1
        else:
            one, place = redo_annotation(scene.store, one.id, **who), place + 1
        assert (None if one.deleted else one.area_px) == states[place]
    history = annotation_history(scene.store, one.id)
    assert [state.version for state in history] == list(range(1, one.version + 1))
    give_back(scene.store, image_id, scene.ann)


def test_request_that_comes_again_adds_no_second_mask(scene, save):
    one = save(request_id="r1")
    assert save((7, 7, 9, 9), request_id="r1") == one
    assert save((7, 7, 9, 9), request_id="r2").id != one.id
    assert get_image(scene.store, one.image_id).num_masks == 2


def test_request_that_comes_again_after_the_lease_is_answered(scene, save, refusal):
    one = save(request_id="r1")
    give_back(scene.store, one.image_id, scene.ann)
    take_image(scene.store, one.image_id, scene.bob)
    assert save(request_id="r1") == one
    with refusal(ConflictError, "is held by somebody else"):
        save(request_id="r2")
    with refusal(ConflictError, "somebody else used the request_id 'r1'"):
        save((7, 7, 9, 9), user_id=scene.bob, request_id="r1")
    assert get_image(scene.store, one.image_id).num_masks == 1


def test_only_the_holder_may_change_masks(scene, save, rle_of, refusal):
    one = save()
    with refusal(ConflictError, "is held by somebody else"):
        save(user_id=scene.bob)
    give_back(scene.store, one.image_id, scene.ann)
    with refusal(ConflictError, "is held by nobody"):
        undo_annotation(scene.store, one.id, user_id=scene.ann, version=1)


def test_annotators_of_one_image_leave_each_others_masks(scene, save, refusal):
    one = save()
    set_num_annotators(scene.store, one.image_id, 2, user_id=scene.rev)
    submit_image(scene.store, one.image_id, scene.ann)
    take_image(scene.store, one.image_id, scene.bob)
    with refusal(RoleError, "belongs to another annotator"):
        delete_annotation(scene.store, one.id, user_id=scene.bob, version=1)


def test_annotators_of_one_image_do_not_see_each_others_masks(scene, save, refusal):
    one = save()
    set_num_annotators(scene.store, one.image_id, 2, user_id=scene.rev)
    submit_image(scene.store, one.image_id, scene.ann)
    take_image(scene.store, one.image_id, scene.bob)
    other = save(user_id=scene.bob)
    automatic = save(user_id=scene.bob, stage="fully-automatic")
    for user_id, seen in (
        (scene.ann, (one, automatic)),
        (scene.bob, (other, automatic)),
        (scene.rev, (one, other, automatic)),
    ):
        assert visible_annotations(scene.store, one.image_id, user_id=user_id) == seen
        for read in (annotation_history, annotation_events):
            for mask in seen:
                given = read(scene.store, mask.id, user_id=user_id)
                assert given == read(scene.store, mask.id)
            for mask in (mask for mask in (one, other, automatic) if mask not in seen):
                with refusal(RoleError, "belongs to another annotator"):
                    read(scene.store, mask.id, user_id=user_id)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"rle": {"size": [12, 16], "counts": "0"}}, "must cover the image's 192 pixels"),
        ({"rle": {"size": [12, 17], "counts": "0"}}, "must have the image's size [12, 16]"),
        ({"rle": {"size": [12, 16], "counts": [192]}}, "needs at least one pixel"),
        ({"rle": {"size": [12, 16], "counts": "\x00\xff"}}, "malformed run-length code"),
        ({"rle": None}, "must be polygons or a run-length code"),
        ({"class_id": 99}, "there is no class 99"),
        ({"class_id": 2**70}, ""),
        ({"stage": "stage 9"}, "stage must be one of"),
        ({"score": float("nan")}, "score must be from 0 to 1; got nan"),
        ({"score": -5.0}, "score must be from 0 to 1; got -5"),
        ({"stability": 1e308}, "stability must be from 0 to 1; got 1e+308"),
        ({"events": [NewEvent(kind="point", data={"x": "\ud800"})]}, "must be Unicode"),
        ({"events": [NewEvent(kind="point", data={"x": NESTED})]}, "nested at most 16 levels"),
        ({"events": [NewEvent(kind="point", data={"x": float("inf")})]}, "must be JSON"),
        ({"events": [NewEvent(kind="point", data={}, model_version_id=99)]}, ""),
    ],
)
def test_what_does_not_fit_is_refused_whole(change, part, scene, save, refusal):
    with refusal(StoreError, part):
        save(**change)
    assert get_image(scene.store, scene.images[0].id) == scene.images[0]


def test_predicted_iou_a_little_above_1_is_1(save):
    assert save(score=1.013, stability=1.0).score == 1.0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**30), 10**30)
    | st.text(ANY, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(ANY, max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values, levels=st.integers(0, 40))
def test_events_that_are_taken_can_be_read_again(value, levels, sqlite_scene, rle_of):
    store, data = sqlite_scene.store, {"value": value}
    for _ in range(levels):
        data = {"inner": data}
    given_event = NewEvent(kind="point", data=data)
    image_id = sqlite_scene.hold(sqlite_scene.ann)
    mine = {"image_id": image_id, "user_id": sqlite_scene.ann, "rle": rle_of(0, 0, 2, 2)}
    try:
        one = save_annotation(store, events=[given_event], **mine)
    except StoreError:
        return
    (event,) = annotation_events(store, one.id)
    assert event.data == data
    json.dumps(event.data, allow_nan=False).encode()


def test_score_is_of_the_mask_that_is_there(scene, save, rle_of):
    """The model's IoU goes when the mask is changed by hand, and returns with the mask."""
    one, mine = save(score=0.9, stability=0.8), {"user_id": scene.ann}
    store = scene.store
    named = replace_annotation(store, one.id, version=1, rle=one.rle, class_id=None, **mine)
    assert (named.score, named.stability) == (0.9, 0.8)
    other, third = rle_of(0, 0, 3, 3), rle_of(0, 0, 5, 5)
    by_hand = replace_annotation(store, one.id, version=2, rle=other, class_id=None, **mine)
    assert (by_hand.score, by_hand.stability) == (None, None)
    by_click = replace_annotation(
        store, one.id, version=3, rle=third, class_id=None, score=0.7, **mine
    )
    assert (by_click.score, by_click.stability) == (0.7, None)
    undone = [undo_annotation(store, one.id, version=4 + i, **mine) for i in range(2)]
    assert [state.score for state in undone] == [None, 0.9]
    assert [state.score for state in annotation_history(store, one.id)] == [
        *(0.9, 0.9, None, 0.7),
        *(None, 0.9),
    ]


@pytest.mark.parametrize("missing", ["user", "image"])
def test_user_and_image_must_be_there(missing, save, refusal):
    with refusal(MissingError, f"there is no {missing} 99"):
        save(**{{"user": "user_id", "image": "image_id"}[missing]: 99})


def test_class_of_another_project_is_refused(scene, save, tmp_path, refusal):
    other = create_project(scene.store, name="other", root=tmp_path)
    foreign = add_class(scene.store, other.id, "cell")
    with refusal(StoreError, "class 'cell' belongs to another project"):
        save(class_id=foreign.id)


def test_events_are_checked(refusal):
    with refusal(StoreError, "an event's kind must be one of point, box"):
        NewEvent(kind="sneeze", data={})
    for duration_ms in (-1, 2**62):
        with refusal(StoreError, "duration_ms must be from 0 to a day"):
            NewEvent(kind="point", data={}, duration_ms=duration_ms)


def test_rejected_masks_are_answers_that_people_deleted_or_changed(scene, rle_of):
    store, image = scene.store, scene.hold(scene.ann)
    shapes = [rle_of(number, 1, number + 3, 5) for number in range(6)]
    kinds = [
        {"stage": "fully-automatic", "score": 0.9},  # deleted
        {"stage": "fully-automatic", "score": 0.8},  # changed
        {"stage": "fully-automatic", "score": 0.7},  # left
        {"stage": "imported", "score": 0.7},  # another program's, deleted
        {"score": 0.6},  # a person's own, deleted
        {},  # painted by hand, deleted
    ]
    made = [
        save_annotation(store, image_id=image, user_id=scene.ann, rle=rle, **kind)
        for rle, kind in zip(shapes, kinds, strict=True)
    ]
    for number in (0, 3, 4, 5):
        delete_annotation(store, made[number].id, user_id=scene.ann, version=1)
    change = {"user_id": scene.ann, "version": 1, "class_id": None}
    replace_annotation(store, made[1].id, rle=rle_of(1, 1, 9, 9), score=0.95, **change)
    assert rejected_masks(store, image) == (shapes[0], shapes[1], shapes[4])
    # A mask that is there again, whoever made it, is not rejected.
    save_annotation(store, image_id=image, user_id=scene.ann, rle=shapes[0])
    undo_annotation(store, made[1].id, user_id=scene.ann, version=2)
    assert rejected_masks(store, image) == (rle_of(1, 1, 9, 9), shapes[4])
