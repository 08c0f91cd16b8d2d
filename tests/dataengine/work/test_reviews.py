"""Reviews, corrections, statistics, and agreement of two people."""

from datetime import date

import pytest
from sqlalchemy import select

from samkit.dataengine import (
    NewEvent,
    accept_image,
    add_class,
    change_user,
    count_images,
    delete_annotation,
    get_image,
    judge_mask,
    list_annotations,
    list_doubly_annotated,
    measure_agreement,
    replace_annotation,
    return_image,
    review_history,
    save_annotation,
    set_num_annotators,
    submit_image,
    take_image,
    take_next,
    work_days,
)
from samkit.dataengine.team_schema import MaskVerdictRow
from samkit.errors import ConflictError, RoleError, StoreError


@pytest.fixture
def submitted(scene, rle_of):
    """An image with a mask, submitted."""
    image_id = scene.hold(scene.ann)
    one = save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 4))
    return submit_image(scene.store, image_id, scene.ann), one


def test_second_person_accepts(scene, submitted, clock):
    image, _ = submitted
    assert (image.review, image.open) == ("submitted", False)
    accepted = accept_image(scene.store, image.id, scene.rev, version=image.version)
    assert accepted.review == "accepted"
    (verdict,) = review_history(scene.store, image.id)
    assert (verdict.user_id, verdict.verdict, verdict.at) == (scene.rev, "accepted", clock())


def test_returned_image_is_fixed_and_submitted_again(scene, submitted):
    image, _ = submitted
    back = return_image(scene.store, image.id, scene.rev, version=image.version, comment="edge")
    assert (back.review, back.comment, back.open) == ("returned", "edge", True)
    take_image(scene.store, image.id, scene.ann)
    again = submit_image(scene.store, image.id, scene.ann)
    done = accept_image(scene.store, image.id, scene.rev, version=again.version)
    assert (done.review, done.comment) == ("accepted", "")
    assert [one.comment for one in review_history(scene.store, image.id)] == ["edge", ""]


@pytest.mark.parametrize("leaves", ["before", "after"])
def test_image_returned_to_somebody_who_has_left_waits_for_anybody(leaves, scene, submitted):
    image, _ = submitted
    if leaves == "before":
        change_user(scene.store, scene.ann, active=False)
    return_image(scene.store, image.id, scene.rev, version=image.version, comment="edge")
    change_user(scene.store, scene.ann, active=False)
    assert take_next(scene.store, scene.project.id, scene.bob).image.id == image.id
    assert submit_image(scene.store, image.id, scene.bob).review == "submitted"


def test_reviewer_fixes_and_accepts(scene, submitted, rle_of):
    image, one = submitted
    take_image(scene.store, image.id, scene.rev)
    replace_annotation(
        scene.store, one.id, user_id=scene.rev, version=1, rle=rle_of(0, 0, 5, 5), class_id=None
    )
    now = get_image(scene.store, image.id)
    assert accept_image(scene.store, image.id, scene.rev, version=now.version).review == "accepted"


def test_change_of_an_accepted_image_puts_it_up_for_review_again(scene, submitted):
    image, one = submitted
    accept_image(scene.store, image.id, scene.rev, version=image.version)
    take_image(scene.store, image.id, scene.rev)
    delete_annotation(scene.store, one.id, user_id=scene.rev, version=1)
    assert get_image(scene.store, image.id).review == "submitted"


def test_review_of_what_has_changed_is_refused(scene, submitted, refusal):
    image, _ = submitted
    with refusal(ConflictError, "reload it"):
        accept_image(scene.store, image.id, scene.rev, version=image.version - 1)


def test_who_may_not_review_is_refused(scene, submitted, refusal):
    image, _ = submitted
    who = {"version": image.version}
    with refusal(RoleError, "needs the role reviewer or admin; 'bob' is annotator"):
        accept_image(scene.store, image.id, scene.bob, **who)
    with refusal(StoreError, "b.png is not up for review"):
        accept_image(scene.store, scene.images[1].id, scene.rev, version=1)
    with refusal(StoreError, "a comment must have 1 to 2000 characters"):
        return_image(scene.store, image.id, scene.rev, comment=" ", **who)
    take_image(scene.store, image.id, scene.adm)
    with refusal(ConflictError, "held by somebody else"):
        accept_image(scene.store, image.id, scene.rev, **who)


def test_reviewer_does_not_review_their_own_image_but_a_lone_admin_may(scene, refusal):
    for index, user in ((0, scene.rev), (1, scene.adm)):
        image = submit_image(scene.store, scene.hold(user, index), user)
        if user == scene.rev:
            with refusal(RoleError, "another person must review it"):
                accept_image(scene.store, image.id, user, version=image.version)
        else:
            accepted = accept_image(scene.store, image.id, user, version=image.version)
            assert accepted.review == "accepted"


def test_statistics_by_person_and_day(scene, rle_of, clock):
    image_id = scene.hold(scene.ann)

    def work(user, clicks, ms):
        events = [NewEvent(kind="point", data={}, duration_ms=ms)] * clicks
        return save_annotation(
            scene.store, image_id=image_id, user_id=user, rle=rle_of(0, 0, 2, 2), events=events
        )

    work(scene.ann, 1, 4000)
    work(scene.ann, 3, 2000)
    gone = work(scene.ann, 5, 1000)
    delete_annotation(scene.store, gone.id, user_id=scene.ann, version=1)
    clock.advance(hours=12)  # midnight, UTC
    work(scene.ann, 2, 500)
    first, second = work_days(scene.store, scene.project.id)
    assert (first.day, second.day) == (date(2026, 3, 1), date(2026, 3, 2))
    # The time of the deleted mask was spent, too.
    assert (first.user_id, first.num_masks, first.num_clicks) == (scene.ann, 2, 9)
    assert (first.seconds_per_mask, first.clicks_per_mask) == (7.5, 4.5)
    assert (second.seconds_per_mask, second.stage) == (1.0, "assisted-manual")
    submit_image(scene.store, image_id, scene.ann)
    counts = count_images(scene.store, scene.project.id)
    assert {state: (one.num_images, one.num_masks) for state, one in counts.items()} == {
        "none": (3, 0),
        "submitted": (1, 3),
        "accepted": (0, 0),
        "returned": (0, 0),
        "skipped": (0, 0),
        "unusable": (0, 0),
    }
    assert counts["submitted"].masks_per_image == 3


def test_agreement_of_two_people(scene, rle_of):
    image_id = scene.images[0].id
    set_num_annotators(scene.store, image_id, 2, user_id=scene.rev)
    # 16 px against 8 of them; the same 4 px; one that has no partner.
    drawn = {
        scene.ann: [(0, 0, 4, 4), (8, 8, 10, 10)],
        scene.bob: [(8, 8, 10, 10), (0, 0, 4, 2), (12, 0, 14, 2)],
    }
    cat = add_class(scene.store, scene.project.id, "cat").id
    dog = add_class(scene.store, scene.project.id, "dog").id
    classes = {scene.ann: [cat, None], scene.bob: [None, dog, cat]}
    for user, boxes in drawn.items():
        assert list_doubly_annotated(scene.store, scene.project.id).items == ()
        take_image(scene.store, image_id, user)
        for box, class_id in zip(boxes, classes[user], strict=True):
            rle = rle_of(*box)
            save_annotation(
                scene.store, image_id=image_id, user_id=user, rle=rle, class_id=class_id
            )
        submit_image(scene.store, image_id, user)
    page = list_doubly_annotated(scene.store, scene.project.id)
    assert (page.items, page.next_after) == ((image_id,), None)
    (one,) = measure_agreement(scene.store, image_id)
    assert (one.user_ids, one.ious, one.num_unmatched) == ((scene.ann, scene.bob), (1, 0.5), (0, 1))
    assert one.mean_iou == 0.5
    assert one.num_same_class == 1  # neither gave the equal ones any; the others have two


def test_single_masks_are_judged(scene, rle_of, refusal):
    store, image_id = scene.store, scene.hold(scene.ann)
    good, bad = (
        save_annotation(store, image_id=image_id, user_id=scene.ann, rle=rle_of(x, 0, x + 4, 4))
        for x in (0, 6)
    )

    def judge(mask, verdict, user_id=scene.rev, version=1):
        return judge_mask(store, mask.id, user_id, version=version, verdict=verdict)

    with refusal(ConflictError, "a.png is held by somebody else"):
        judge(good, "accepted")
    image = submit_image(store, image_id, scene.ann)
    assert judge(good, "accepted").verdict == "accepted"
    assert judge(bad, "rejected").verdict == "rejected"
    with refusal(StoreError, "1 of its masks is rejected: return the image, correct them"):
        accept_image(store, image_id, scene.rev, version=image.version)
    with refusal(RoleError, "needs the role"):
        judge(good, "accepted", scene.bob)
    with refusal(ConflictError, "is at version 1 now; the verdict is on 2"):
        judge(good, "accepted", version=2)
    with refusal(StoreError, "a verdict must be one of accepted, rejected"):
        judge(good, "fine")
    returned = return_image(store, image_id, scene.rev, version=image.version, comment="one is bad")
    # The annotator sees which one; whoever changes a mask makes it one that nobody has judged.
    assert [one.verdict for one in list_annotations(store, image_id)] == ["accepted", "rejected"]
    take_image(store, image_id, scene.ann)
    changed = replace_annotation(
        store, bad.id, user_id=scene.ann, version=1, rle=rle_of(6, 0, 9, 3), class_id=None
    )
    assert changed.verdict is None
    again = submit_image(store, image_id, scene.ann)
    assert again.version > returned.version
    assert judge(bad, "rejected", version=2).verdict == "rejected"
    assert judge(bad, None, version=2).verdict is None
    judge(bad, "rejected", version=2)
    accepted = accept_image(store, image_id, scene.rev, version=again.version, masks=[good.id])
    assert (accepted.review, accepted.num_masks) == ("accepted", 1)
    with store.read() as session:
        kept = session.execute(select(MaskVerdictRow.annotation_id, MaskVerdictRow.verdict)).all()
    assert [tuple(one) for one in kept] == [
        (good.id, "accepted"),
        (bad.id, "rejected"),
        (bad.id, "rejected"),
        (bad.id, None),
        (bad.id, "rejected"),
    ]
