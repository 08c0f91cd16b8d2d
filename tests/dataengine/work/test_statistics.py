"""Statistics: time is that of who spent it, on its day and by the stage of the masks."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samkit.dataengine import (
    NewEvent,
    accept_image,
    add_images,
    annotation_events,
    create_project,
    create_user,
    delete_annotation,
    get_image,
    give_back,
    list_annotations,
    list_images,
    replace_annotation,
    restore_submissions,
    return_image,
    save_annotation,
    set_num_annotators,
    submit_image,
    take_image,
    visible_annotations,
    work_days,
)
from samkit.dataengine.database import Store
from samkit.dataengine.schema import ImageRow
from samkit.errors import StoreError


def hand_over(store, image_id, holder, user):
    """Let a user take an image that another one may hold."""
    if holder is not None:
        give_back(store, image_id, holder)
    take_image(store, image_id, user)


def prompts(ms, count=1):
    return [NewEvent(kind="point", data={}, duration_ms=ms)] * count


def test_looking_at_masks_that_are_right_is_work_of_their_stage(prelabelled, scene, clock):
    submit_image(scene.store, prelabelled, scene.ann, duration_ms=4000)
    days = {(one.user_id, one.stage): one for one in work_days(scene.store, scene.project.id)}
    looked = days[scene.ann, "semi-automatic"]
    assert (looked.duration_ms, looked.num_masks, looked.num_clicks) == (4000, 0, 0)
    assert looked.seconds_per_mask is None
    # Returned and submitted again: both times count.
    image = get_image(scene.store, prelabelled)
    return_image(
        scene.store, prelabelled, user_id=scene.rev, version=image.version, comment="look again"
    )
    take_image(scene.store, prelabelled, scene.ann)
    submit_image(scene.store, prelabelled, scene.ann, duration_ms=1500)
    again = [one for one in work_days(scene.store, scene.project.id) if one.user_id == scene.ann]
    assert [(one.stage, one.duration_ms) for one in again] == [("semi-automatic", 5500)]


def test_looking_at_an_image_without_automatic_masks_is_manual_work(scene, rle_of, refusal):
    image = scene.hold(scene.ann, 1)
    save_annotation(
        scene.store, image_id=image, user_id=scene.ann, rle=rle_of(1, 1, 5, 5), events=prompts(700)
    )
    for duration_ms in (-1, 24 * 60 * 60 * 1000 + 1):
        with refusal(StoreError, "duration_ms must be from 0 to a day"):
            submit_image(scene.store, image, scene.ann, duration_ms=duration_ms)
    submit_image(scene.store, image, scene.ann, duration_ms=300)
    (day,) = work_days(scene.store, scene.project.id)
    assert (day.stage, day.num_masks, day.duration_ms) == ("assisted-manual", 1, 1000)


@pytest.fixture
def prelabelled(scene, rle_of):
    """An image that the annotator holds, with two automatic masks that the admin had made."""
    image_id = scene.hold(scene.adm)
    for x in (0, 4):
        save_annotation(
            scene.store,
            image_id=image_id,
            user_id=scene.adm,
            rle=rle_of(x, 0, x + 3, 3),
            stage="fully-automatic",
            events=[NewEvent(kind="import", data={"origin": "prelabel"})],
        )
    hand_over(scene.store, image_id, scene.adm, scene.ann)
    return image_id


def rows(scene):
    return {
        (one.day.day, one.user_id, one.stage): (
            one.num_masks,
            one.num_corrected,
            one.num_clicks,
            one.seconds_per_mask,
        )
        for one in work_days(scene.store, scene.project.id)
    }


def correct(scene, one, user, rle, ms, version=1):
    replace_annotation(
        scene.store,
        one.id,
        user_id=user,
        version=version,
        rle=rle,
        class_id=None,
        events=prompts(ms),
    )


def test_time_on_automatic_masks_is_that_of_who_corrected_them(scene, prelabelled, rle_of, clock):
    clock.advance(hours=24)
    take_image(scene.store, prelabelled, scene.ann)
    for one in list_annotations(scene.store, prelabelled):
        correct(scene, one, scene.ann, rle_of(0, 0, 5, 5), 30 * 60_000)
    save_annotation(
        scene.store,
        image_id=prelabelled,
        user_id=scene.ann,
        rle=rle_of(8, 8, 10, 10),
        events=prompts(10_000),
    )
    assert rows(scene) == {
        (1, scene.adm, "fully-automatic"): (2, 0, 0, None),
        (2, scene.ann, "fully-automatic"): (0, 2, 2, 1800.0),
        (2, scene.ann, "semi-automatic"): (1, 0, 1, 10.0),
    }


def test_an_automatic_mask_that_is_deleted_was_corrected(scene, prelabelled):
    first, _ = list_annotations(scene.store, prelabelled)
    delete_annotation(scene.store, first.id, user_id=scene.ann, version=1, duration_ms=4000)
    assert rows(scene) == {
        (1, scene.adm, "fully-automatic"): (1, 0, 0, None),
        (1, scene.ann, "fully-automatic"): (0, 1, 0, 4.0),
    }


def test_choice_among_peoples_masks_corrects_none(scene, rle_of):
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    made = []
    for user in (scene.ann, scene.bob):
        take_image(scene.store, image_id, user)
        box = rle_of(0, 0, 4, 4)
        one = save_annotation(
            scene.store, image_id=image_id, user_id=user, rle=box, events=prompts(3000)
        )
        made.append(one.id)
        submit_image(scene.store, image_id, user)
    for user in (scene.ann, scene.bob):
        image = get_image(scene.store, image_id)
        at = {"version": image.version}
        image = restore_submissions(scene.store, image_id, scene.rev, of=[user], **at)
    accept_image(scene.store, image_id, scene.rev, version=image.version, masks=[])
    assert {user for _, user, _ in rows(scene)} == {scene.ann, scene.bob}


def test_changed_mask_is_restored_without_a_correction(scene, rle_of):
    image_id = scene.hold(scene.ann)
    one = save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 4))
    submit_image(scene.store, image_id, scene.ann)
    take_image(scene.store, image_id, scene.adm)
    correct(scene, one, scene.adm, rle_of(0, 0, 5, 5), 1000)
    give_back(scene.store, image_id, scene.adm)
    image = get_image(scene.store, image_id)
    restore_submissions(scene.store, image_id, scene.rev, version=image.version, of=[scene.ann])
    (restored,) = list_annotations(scene.store, image_id)
    assert (restored.area_px, restored.version) == (16, 3)
    assert [one.kind for one in annotation_events(scene.store, one.id)][-1] == "review"
    assert rows(scene) == {
        (1, scene.ann, "assisted-manual"): (1, 0, 0, 0.0),
        (1, scene.adm, "assisted-manual"): (0, 1, 1, 1.0),
    }


def test_who_had_masks_made_may_correct_them(scene, prelabelled, rle_of):
    hand_over(scene.store, prelabelled, scene.ann, scene.adm)
    first, _ = list_annotations(scene.store, prelabelled)
    correct(scene, first, scene.adm, rle_of(0, 0, 5, 5), 6000)
    assert rows(scene) == {(1, scene.adm, "fully-automatic"): (2, 1, 1, 6.0)}


def test_corrections_of_own_masks_count_on_later_days_alone(scene, rle_of, clock):
    image_id = scene.hold(scene.ann)
    own = save_annotation(
        scene.store,
        image_id=image_id,
        user_id=scene.ann,
        rle=rle_of(0, 0, 2, 2),
        events=prompts(3000),
    )
    correct(scene, own, scene.ann, rle_of(0, 0, 3, 3), 2000)
    assert rows(scene) == {(1, scene.ann, "assisted-manual"): (1, 0, 2, 5.0)}
    clock.advance(hours=24)
    take_image(scene.store, image_id, scene.ann)
    correct(scene, own, scene.ann, rle_of(0, 0, 4, 4), 7000, version=2)
    assert rows(scene) == {
        (1, scene.ann, "assisted-manual"): (1, 0, 2, 5.0),
        (2, scene.ann, "assisted-manual"): (0, 1, 1, 7.0),
    }


def test_masks_that_people_add_beside_automatic_ones_are_semi_automatic(scene, prelabelled, rle_of):
    def stage_on(image_id, **options):
        return save_annotation(
            scene.store,
            image_id=image_id,
            user_id=scene.ann,
            rle=rle_of(8, 8, 10, 10),
            **options,
        ).stage

    for one in list_annotations(scene.store, prelabelled):
        delete_annotation(scene.store, one.id, user_id=scene.ann, version=1)
    assert stage_on(prelabelled) == "semi-automatic"
    assert stage_on(prelabelled) == "semi-automatic"
    assert stage_on(prelabelled, stage="imported") == "imported"
    assert stage_on(prelabelled) == "semi-automatic"
    empty = scene.hold(scene.ann, index=1)
    assert stage_on(empty) == stage_on(empty) == "assisted-manual"
    searched = scene.hold(scene.ann, index=2)
    with scene.store.write() as session:  # prelabelled, and nothing was found
        session.get(ImageRow, searched).stage = "fully-automatic"
    assert stage_on(searched) == stage_on(searched) == "semi-automatic"


def test_annotators_do_not_see_each_others_semi_automatic_masks(scene, prelabelled, rle_of):
    set_num_annotators(scene.store, prelabelled, 2, user_id=scene.rev)
    own = save_annotation(
        scene.store, image_id=prelabelled, user_id=scene.ann, rle=rle_of(8, 8, 10, 10)
    )
    seen = {
        user: [one.id for one in visible_annotations(scene.store, prelabelled, user_id=user)]
        for user in (scene.ann, scene.bob, scene.rev)
    }
    assert own.id in seen[scene.ann]
    assert own.id in seen[scene.rev]
    assert seen[scene.bob] == [one for one in seen[scene.ann] if one != own.id]
    assert len(seen[scene.bob]) == 2


STEP = st.tuples(
    st.sampled_from(["add", "correct", "delete", "automatic", "next day"]),
    st.integers(0, 2),  # who
    st.integers(0, 5),  # which mask
    st.integers(0, 5000),  # milliseconds
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=12))
def test_all_time_is_somebodys(steps, tmp_path_factory, image_folder, rle_of, clock):
    """Law: each person's time and clicks of each day are those of their events, no more."""
    with Store.open(tmp_path_factory.mktemp("s") / "store.db", clock=clock) as store:
        project = create_project(store, name="p", root=image_folder)
        add_images(store, project.id)
        users = [create_user(store, name=name, role="admin").id for name in "abc"]
        image_id = list_images(store, project.id).items[0].id
        masks, holder = [], None
        for kind, who, which, ms in steps:
            if kind == "next day":
                clock.advance(hours=24)
                continue
            user = users[who]
            hand_over(store, image_id, holder, user)
            holder = user
            if kind in {"add", "automatic"}:
                stage = "fully-automatic" if kind == "automatic" else None
                masks.append(
                    save_annotation(
                        store,
                        image_id=image_id,
                        user_id=user,
                        rle=rle_of(0, 0, 2, 2),
                        stage=stage,
                        events=[] if stage else prompts(ms),
                    )
                )
            elif masks:
                found = list_annotations(store, image_id, deleted=True)[which % len(masks)]
                if kind == "correct":
                    replace_annotation(
                        store,
                        found.id,
                        user_id=user,
                        version=found.version,
                        rle=rle_of(0, 0, 3, 3),
                        class_id=None,
                        events=prompts(ms),
                    )
                elif not found.deleted:
                    delete_annotation(
                        store, found.id, user_id=user, version=found.version, duration_ms=ms
                    )
        spent, clicks = Counter(), Counter()
        for mask in masks:
            for event in annotation_events(store, mask.id):
                spent[event.at.date(), event.user_id] += event.duration_ms
                clicks[event.at.date(), event.user_id] += event.kind == "point"
        days = work_days(store, project.id)
        found_spent, found_clicks = Counter(), Counter()
        for one in days:
            found_spent[one.day, one.user_id] += one.duration_ms
            found_clicks[one.day, one.user_id] += one.num_clicks
        assert found_spent == spent
        assert found_clicks == clicks
        assert sum(one.num_masks for one in days) == len(list_annotations(store, image_id))
