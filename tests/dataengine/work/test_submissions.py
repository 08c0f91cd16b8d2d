"""Submissions: states of images, several annotators, and what a reviewer chooses of their masks."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from samkit.dataengine import (
    accept_image,
    annotation_history,
    change_user,
    count_images,
    delete_annotation,
    export_project,
    get_image,
    give_back,
    list_annotations,
    list_images,
    list_submissions,
    measure_agreement,
    reopen_image,
    replace_annotation,
    report_unusable,
    restore_submissions,
    return_image,
    review_history,
    save_annotation,
    set_num_annotators,
    skip_image,
    submit_image,
    take_back,
    take_image,
    take_next,
    undo_annotation,
)
from samkit.errors import ConflictError, MissingError, RoleError, StoreError


def draw(scene, user, image_id, *boxes, rle_of, stage="assisted-manual"):
    """Let a user take an image, draw boxes and submit it; return the ids of the masks."""
    take_image(scene.store, image_id, user)
    made = [
        save_annotation(
            scene.store, image_id=image_id, user_id=user, rle=rle_of(*box), stage=stage
        ).id
        for box in boxes
    ]
    submit_image(scene.store, image_id, user)
    return made


@pytest.fixture
def double(scene, rle_of):
    """An image by ann and bob: the same object twice, and one that bob alone saw."""
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    own = draw(scene, scene.ann, image_id, (0, 0, 4, 4), rle_of=rle_of)
    others = draw(scene, scene.bob, image_id, (0, 0, 4, 2), (8, 8, 10, 10), rle_of=rle_of)
    return image_id, own, others


def version_of(scene, image_id):
    return get_image(scene.store, image_id).version


def present(scene, image_id):
    return [one.id for one in list_annotations(scene.store, image_id)]


# --- Skipped and unusable images ---


def test_skipped_image_is_for_others(scene, clock):
    image_id = scene.hold(scene.ann)
    skipped = skip_image(scene.store, image_id, scene.ann, reason="too many fish")
    assert (skipped.review, skipped.comment, skipped.open) == ("skipped", "too many fish", True)
    assert take_next(scene.store, scene.project.id, scene.ann).image.path == "b.png"
    assert take_next(scene.store, scene.project.id, scene.bob).image.id == image_id
    (verdict,) = review_history(scene.store, image_id)
    assert (verdict.user_id, verdict.verdict, verdict.comment, verdict.at) == (
        *(scene.ann, "skipped", "too many fish"),
        clock(),
    )
    done = submit_image(scene.store, image_id, scene.bob)
    assert (done.review, done.comment) == ("submitted", "")


def test_who_skipped_an_image_may_still_take_and_submit_it(scene):
    image_id = scene.hold(scene.ann)
    skip_image(scene.store, image_id, scene.ann, reason="later")
    take_image(scene.store, image_id, scene.ann)
    assert submit_image(scene.store, image_id, scene.ann).review == "submitted"
    (one,) = list_submissions(scene.store, image_id)
    assert (one.user_id, one.outcome, one.reason) == (scene.ann, "annotated", "")


def test_image_that_all_skipped_blocks_nobody(scene):
    for user in (scene.ann, scene.bob, scene.rev, scene.adm):
        for image in scene.images:
            assert take_next(scene.store, scene.project.id, user).image.id == image.id
            skip_image(scene.store, image.id, user, reason="?")
        assert take_next(scene.store, scene.project.id, user) is None
    assert count_images(scene.store, scene.project.id)["skipped"].num_images == 4


def test_unusable_image_is_offered_to_nobody_until_it_is_reopened(scene, refusal):
    image_id = scene.hold(scene.ann)
    gone = report_unusable(scene.store, image_id, scene.ann, reason="truncated")
    assert (gone.review, gone.comment, gone.open) == ("unusable", "truncated", False)
    assert take_next(scene.store, scene.project.id, scene.bob).image.path == "b.png"
    with refusal(RoleError, "a.png is unusable: only a reviewer may change it"):
        take_image(scene.store, image_id, scene.ann)
    with refusal(RoleError, "needs the role reviewer or admin; 'ann' is annotator"):
        reopen_image(scene.store, image_id, scene.ann, version=gone.version)
    with refusal(ConflictError, "reload it"):
        reopen_image(scene.store, image_id, scene.rev, version=gone.version - 1)
    back = reopen_image(scene.store, image_id, scene.rev, version=gone.version)
    assert (back.review, back.comment, back.open) == ("none", "", True)
    assert take_next(scene.store, scene.project.id, scene.ann).image.id == image_id
    history = review_history(scene.store, image_id)
    assert [one.verdict for one in history] == ["unusable", "reopened"]
    give_back(scene.store, image_id, scene.ann)
    with refusal(StoreError, "a.png is neither skipped nor unusable"):
        reopen_image(scene.store, image_id, scene.rev, version=version_of(scene, image_id))


def test_submissions_survive_a_report_that_was_wrong(scene, rle_of):
    image_id = scene.images[0].id
    draw(scene, scene.ann, image_id, (0, 0, 4, 4), rle_of=rle_of)
    take_image(scene.store, image_id, scene.rev)
    gone = report_unusable(scene.store, image_id, scene.rev, reason="wrong camera")
    assert (
        reopen_image(scene.store, image_id, scene.rev, version=gone.version).review == "submitted"
    )


def test_reviewer_annotates_what_was_reported_as_unusable(scene):
    image_id = scene.hold(scene.ann)
    report_unusable(scene.store, image_id, scene.ann, reason="dark")
    take_image(scene.store, image_id, scene.rev)
    done = submit_image(scene.store, image_id, scene.rev)
    assert (done.review, done.comment) == ("submitted", "")
    assert [one.user_id for one in list_submissions(scene.store, image_id)] == [scene.rev]


@pytest.mark.parametrize("act", [skip_image, report_unusable])
def test_setting_aside_needs_a_reason_and_the_image(act, scene, refusal):
    image_id = scene.hold(scene.ann)
    for reason in ("", " \n", "x" * 2001):
        with refusal(StoreError, "a reason must have 1 to 2000 characters"):
            act(scene.store, image_id, scene.ann, reason=reason)
    with refusal(ConflictError, "take it first"):
        act(scene.store, image_id, scene.bob, reason="?")
    assert get_image(scene.store, image_id).review == "none"


def test_submitted_image_is_not_skipped(scene, refusal):
    image_id = scene.hold(scene.ann)
    submit_image(scene.store, image_id, scene.ann)
    take_image(scene.store, image_id, scene.rev)
    with refusal(StoreError, "a.png is submitted: there is nothing to skip"):
        skip_image(scene.store, image_id, scene.rev, reason="?")


def test_skipping_one_of_two_annotators_leaves_the_image_to_others(scene):
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    take_image(scene.store, image_id, scene.ann)
    skip_image(scene.store, image_id, scene.ann, reason="?")
    for user, review in ((scene.bob, "skipped"), (scene.adm, "submitted")):
        take_image(scene.store, image_id, user)
        assert submit_image(scene.store, image_id, user).review == review


def test_reason_stays_while_the_image_is_skipped(scene):
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    take_image(scene.store, image_id, scene.ann)
    skip_image(scene.store, image_id, scene.ann, reason="too dark")
    for user, told in (
        (scene.bob, ("skipped", "too dark")),
        (scene.adm, ("submitted", "")),
    ):
        take_image(scene.store, image_id, user)
        image = submit_image(scene.store, image_id, user)
        assert (image.review, image.comment) == told


@pytest.mark.parametrize("leaves", ["before", "after"])
def test_skipping_does_not_submit_rejected_work_of_somebody_who_has_left(leaves, scene, rle_of):
    image_id = scene.images[0].id
    draw(scene, scene.ann, image_id, (0, 0, 4, 4), rle_of=rle_of)
    if leaves == "before":
        change_user(scene.store, scene.ann, active=False)
    at = {"version": version_of(scene, image_id), "comment": "edge"}
    return_image(scene.store, image_id, scene.rev, **at)
    change_user(scene.store, scene.ann, active=False)
    assert take_next(scene.store, scene.project.id, scene.bob).image.id == image_id
    image = skip_image(scene.store, image_id, scene.bob, reason="?")
    assert (image.review, image.open) == ("returned", True)
    assert take_next(scene.store, scene.project.id, scene.adm).image.id == image_id
    assert submit_image(scene.store, image_id, scene.adm).review == "submitted"


def test_skipping_what_was_returned_does_not_submit_it_where_others_have(scene, double):
    """Two have submitted what now needs one; only one of them is asked to correct it, and skips."""
    image_id, _, _ = double
    set_num_annotators(scene.store, image_id, 1, user_id=scene.rev)
    at = {"version": version_of(scene, image_id), "comment": "edge"}
    return_image(scene.store, image_id, scene.rev, to=[scene.ann], **at)
    take_image(scene.store, image_id, scene.ann)
    image = skip_image(scene.store, image_id, scene.ann, reason="?")
    assert (image.review, image.open) == ("skipped", True)
    image = reopen_image(scene.store, image_id, scene.rev, version=image.version)
    assert (image.review, image.open) == ("none", True)
    assert take_next(scene.store, scene.project.id, scene.ann).image.id == image_id
    assert submit_image(scene.store, image_id, scene.ann).review == "submitted"


def test_skipped_and_unusable_images_are_not_exported(scene, rle_of, tmp_path):
    for index, act in enumerate((skip_image, report_unusable)):
        image_id = scene.hold(scene.ann, index)
        save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 2, 2))
        act(scene.store, image_id, scene.ann, reason="?")
    report = export_project(scene.store, scene.project.id, tmp_path / "out", file_format="coco")
    assert report.num_images == {"all": 0}
    told = export_project(
        scene.store,
        scene.project.id,
        tmp_path / "out",
        file_format="coco",
        states=["skipped", "unusable"],
    )
    assert (told.num_images, told.num_masks) == ({"all": 2}, {"all": 2})


def set_aside_by(act):
    def work(store, image, user, _):
        take_image(store, image.id, user)
        act(store, image.id, user, reason="?")

    return work


def submit_by(store, image, user, _):
    take_image(store, image.id, user)
    submit_image(store, image.id, user)


ACTS = {
    "submit": submit_by,
    "skip": set_aside_by(skip_image),
    "report": set_aside_by(report_unusable),
    "return": lambda store, image, _, admin: return_image(
        store, image.id, admin, version=image.version, comment="?"
    ),
    "accept": lambda store, image, _, admin: accept_image(
        store, image.id, admin, version=image.version
    ),
    "reopen": lambda store, image, _, admin: reopen_image(
        store, image.id, admin, version=image.version
    ),
    "people": lambda store, image, _, admin: set_num_annotators(
        store, image.id, 3 - image.num_annotators, user_id=admin
    ),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(list(ACTS)), st.sampled_from(["ann", "bob", "rev"])), max_size=12
    )
)
def test_states_are_what_people_have_made_of_the_image(steps, sqlite_scene):
    """Whatever people do in whatever order, an image is open exactly while it waits for them."""
    scene, store = sqlite_scene, sqlite_scene.store
    image_id = scene.images[0].id
    with store.write() as session:
        for table in ("submission_masks", "submissions", "reviews"):
            session.execute(text(f"DELETE FROM {table}"))
        session.execute(
            text("UPDATE images SET review='none', open=1, num_annotators=1, lease_user_id=NULL")
        )
    for act, name in steps:
        before = get_image(store, image_id)
        with suppress(RoleError, StoreError):
            ACTS[act](store, before, getattr(scene, name), scene.adm)
        now, made = get_image(store, image_id), list_submissions(store, image_id)
        assert now.open == (now.review in ("none", "returned", "skipped"))
        assert not (act == "skip" and now.review == "submitted" and before.review != "submitted")
        num_done = sum(one.outcome == "annotated" and not one.returned for one in made)
        holds = {
            "submitted": num_done >= now.num_annotators,
            "accepted": num_done >= now.num_annotators,
            "returned": any(one.returned for one in made),
            "unusable": any(one.outcome == "unusable" for one in made),
        }
        assert holds.get(now.review, True)


# --- Two annotators ---


def test_agreement_is_that_of_what_was_submitted(scene, double, rle_of):
    image_id, (own,), (near, _) = double
    (before,) = measure_agreement(scene.store, image_id)
    assert (before.ious, before.num_unmatched) == ((0.5,), (0, 1))
    take_image(scene.store, image_id, scene.rev)
    delete_annotation(scene.store, own, user_id=scene.rev, version=1)
    other = rle_of(9, 3, 12, 9)
    replace_annotation(scene.store, near, user_id=scene.rev, version=1, rle=other, class_id=None)
    accept_image(scene.store, image_id, scene.rev, version=version_of(scene, image_id))
    assert measure_agreement(scene.store, image_id) == (before,)


def test_agreement_counts_the_masks_that_both_began_with(scene, rle_of):
    """Of a prelabelled image: what each submission holds, not only what the person drew."""
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    take_image(scene.store, image_id, scene.rev)
    shared = [
        save_annotation(
            scene.store,
            image_id=image_id,
            user_id=scene.rev,
            rle=rle_of(*box),
            stage="fully-automatic",
        ).id
        for box in ((0, 0, 4, 4), (8, 8, 10, 10))
    ]
    give_back(scene.store, image_id, scene.rev)
    draw(scene, scene.ann, image_id, (12, 0, 14, 2), rle_of=rle_of)
    take_image(scene.store, image_id, scene.bob)
    delete_annotation(scene.store, shared[1], user_id=scene.bob, version=1)
    replace_annotation(
        scene.store, shared[0], user_id=scene.bob, version=1, rle=rle_of(0, 0, 4, 2), class_id=None
    )
    submit_image(scene.store, image_id, scene.bob)
    (one,) = measure_agreement(scene.store, image_id)
    assert (one.user_ids, one.ious, one.num_unmatched) == ((scene.ann, scene.bob), (0.5,), (2, 0))
    held = {one.user_id: len(one.annotation_ids) for one in list_submissions(scene.store, image_id)}
    assert held == {scene.ann: 3, scene.bob: 1}
    # "Take ann's" brings back what she submitted, exactly.
    restore_submissions(
        scene.store, image_id, scene.rev, version=version_of(scene, image_id), of=[scene.ann]
    )
    found = {one.id: one.area_px for one in list_annotations(scene.store, image_id)}
    assert (found[shared[0]], found[shared[1]], len(found)) == (16, 4, 3)


def test_masks_of_two_people_are_not_accepted_unseen(scene, double, refusal, tmp_path):
    image_id, own, others = double
    at = {"version": version_of(scene, image_id)}
    with refusal(StoreError, "a.png has the masks of several people"):
        accept_image(scene.store, image_id, scene.rev, **at)
    with refusal(StoreError, "a.png has no mask 99"):
        accept_image(scene.store, image_id, scene.rev, masks=[99], **at)
    chosen = [own[0], others[1]]
    done = accept_image(scene.store, image_id, scene.rev, masks=chosen, **at)
    assert (done.review, done.num_masks) == ("accepted", 2)
    assert present(scene, image_id) == chosen
    report = export_project(scene.store, scene.project.id, tmp_path / "out", file_format="coco")
    assert report.num_masks == {"all": 2}


def test_reviewer_takes_one_persons_masks_and_changes_their_mind(scene, double):
    image_id, own, others = double

    def take(*people):
        at = {"version": version_of(scene, image_id), "of": people}
        restore_submissions(scene.store, image_id, scene.rev, **at)
        return present(scene, image_id)

    assert take(scene.bob) == others
    assert take(scene.ann) == own
    assert take(scene.ann, scene.bob) == [*own, *others]
    assert take(scene.bob) == others
    assert get_image(scene.store, image_id).num_masks == 2
    done = accept_image(scene.store, image_id, scene.rev, version=version_of(scene, image_id))
    assert done.review == "accepted"
    states = annotation_history(scene.store, own[0])
    assert [one.deleted for one in states] == [False, True, False, True]
    take_image(scene.store, image_id, scene.rev)
    back = undo_annotation(scene.store, own[0], user_id=scene.rev, version=4)
    assert not back.deleted


def test_only_what_was_submitted_can_be_taken(scene, double, refusal):
    image_id, _, _ = double
    at = {"version": version_of(scene, image_id)}
    with refusal(StoreError, f"a.png was not submitted by user {scene.adm}"):
        restore_submissions(scene.store, image_id, scene.rev, of=[scene.ann, scene.adm], **at)
    with refusal(StoreError, "name at least one person"):
        restore_submissions(scene.store, image_id, scene.rev, of=[], **at)
    with refusal(RoleError, "needs the role"):
        restore_submissions(scene.store, image_id, scene.bob, of=[scene.bob], **at)
    with pytest.raises(MissingError):
        list_submissions(scene.store, 99)


def test_returned_image_is_for_all_whose_masks_are_there(scene, double, rle_of):
    image_id, _, _ = double
    back = return_image(
        scene.store, image_id, scene.rev, version=version_of(scene, image_id), comment="both"
    )
    assert (back.review, back.open) == ("returned", True)
    for user, review in ((scene.bob, "returned"), (scene.ann, "submitted")):
        lease = take_next(scene.store, scene.project.id, user)
        assert (lease.image.id, lease.image.comment) == (image_id, "both")
        save_annotation(scene.store, image_id=image_id, user_id=user, rle=rle_of(5, 5, 7, 7))
        assert submit_image(scene.store, image_id, user).review == review
    (one,) = measure_agreement(scene.store, image_id)
    assert one.ious == (1.0, 0.5)  # of what each submitted last


def test_returned_image_is_for_whom_the_reviewer_chose(scene, double, refusal):
    image_id, _, _ = double
    at = {"version": version_of(scene, image_id), "comment": "yours"}
    with refusal(StoreError, f"a.png was not submitted by user {scene.adm}"):
        return_image(scene.store, image_id, scene.rev, to=[scene.adm], **at)
    return_image(scene.store, image_id, scene.rev, to=[scene.ann], **at)
    assert take_next(scene.store, scene.project.id, scene.bob).image.path == "b.png"
    with refusal(RoleError, "is waiting for another annotator"):
        take_image(scene.store, image_id, scene.bob)
    assert take_next(scene.store, scene.project.id, scene.ann).image.id == image_id
    assert submit_image(scene.store, image_id, scene.ann).review == "submitted"


def test_image_is_not_returned_to_whose_masks_were_left_out(scene, double):
    image_id, _, _ = double
    restore_submissions(
        scene.store, image_id, scene.rev, version=version_of(scene, image_id), of=[scene.bob]
    )
    return_image(
        scene.store, image_id, scene.rev, version=version_of(scene, image_id), comment="edge"
    )
    returned = {one.user_id: one.returned for one in list_submissions(scene.store, image_id)}
    assert returned == {scene.ann: False, scene.bob: True}


def test_image_is_not_returned_to_who_has_left(scene, double, refusal):
    image_id, _, _ = double
    change_user(scene.store, scene.ann, active=False)
    at = {"version": version_of(scene, image_id), "comment": "edge"}
    with refusal(RoleError, "'ann' is not active"):
        return_image(scene.store, image_id, scene.rev, to=[scene.ann], **at)
    return_image(scene.store, image_id, scene.rev, **at)
    # Her work was rejected all the same, so that somebody else is needed beside bob.
    for user, review in ((scene.bob, "returned"), (scene.adm, "submitted")):
        assert take_next(scene.store, scene.project.id, user).image.id == image_id
        assert submit_image(scene.store, image_id, user).review == review


def test_list_of_images_in_several_states(scene):
    skip_image(scene.store, scene.hold(scene.ann, 1), scene.ann, reason="?")
    submit_image(scene.store, scene.hold(scene.ann, 2), scene.ann)
    page = list_images(scene.store, scene.project.id, review=("skipped", "submitted"))
    assert [one.path for one in page.items] == ["b.png", "deep/c.png"]


def test_submission_is_taken_back_until_it_is_reviewed(scene, clock, refusal):
    store = scene.store
    image_id = scene.hold(scene.ann)
    submit_image(store, image_id, scene.ann)
    with refusal(StoreError, "was not submitted by you"):
        take_back(store, image_id, scene.bob)
    lease = take_back(store, image_id, scene.ann)
    assert (lease.user_id, lease.image.review, lease.image.open) == (scene.ann, "none", True)
    assert list_submissions(store, image_id) == ()
    submit_image(store, image_id, scene.ann)
    # A reviewer who holds it has begun.
    take_image(store, image_id, scene.rev)
    with refusal(ConflictError, "is held by somebody else"):
        take_back(store, image_id, scene.ann)
    clock.advance(seconds=1)
    accept_image(store, image_id, scene.rev, version=get_image(store, image_id).version)
    with refusal(ConflictError, "has been reviewed since"):
        take_back(store, image_id, scene.ann)


def test_returned_image_is_returned_again_when_it_is_taken_back(scene, clock):
    store = scene.store
    image_id = scene.hold(scene.ann)
    version = submit_image(store, image_id, scene.ann).version
    clock.advance(seconds=1)
    return_image(store, image_id, scene.rev, version=version, comment="too small")
    clock.advance(seconds=1)
    take_image(store, image_id, scene.ann)
    submit_image(store, image_id, scene.ann)
    image = take_back(store, image_id, scene.ann).image
    assert (image.review, image.comment, image.open) == ("returned", "too small", True)
    assert submit_image(store, image_id, scene.ann).review == "submitted"
    verdicts = [one.verdict for one in review_history(store, image_id)]
    assert verdicts == ["returned", "taken back"]


@pytest.mark.parametrize("set_aside", [skip_image, report_unusable])
def test_image_that_was_set_aside_is_taken_back(scene, set_aside):
    store = scene.store
    image_id = scene.hold(scene.ann)
    set_aside(store, image_id, scene.ann, reason="by mistake")
    image = take_back(store, image_id, scene.ann).image
    assert (image.review, image.comment, image.open) == ("none", "", True)


def test_nothing_is_taken_back_from_what_others_reported(scene, refusal):
    store = scene.store
    image_id = scene.images[0].id
    set_num_annotators(store, image_id, 2, user_id=scene.rev)
    submit_image(store, scene.hold(scene.ann), scene.ann)
    report_unusable(store, scene.hold(scene.bob), scene.bob, reason="blurred")
    with refusal(ConflictError, "is unusable, by somebody else"):
        take_back(store, image_id, scene.ann)
    [own, _] = list_submissions(store, image_id)
    assert own.user_id == scene.ann
