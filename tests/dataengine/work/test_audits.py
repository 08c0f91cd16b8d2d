"""Quality audits: which images are drawn, who gets them when, and what is compared."""

import pytest
from sqlalchemy import func, select

from samkit.dataengine import (
    accept_image,
    audited_images,
    create_project,
    delete_annotation,
    delete_project,
    get_image,
    give_back,
    list_annotations,
    list_quality_audits,
    replace_annotation,
    report_unusable,
    return_image,
    save_annotation,
    set_num_annotators,
    skip_image,
    start_quality_audit,
    submit_image,
    take_image,
    take_next,
    upcoming_images,
)
from samkit.dataengine.schema import (
    ImageRow,
    QualityAuditImageRow,
    QualityAuditMaskRow,
    QualityAuditRow,
)
from samkit.dataengine.work import Prelabelling
from samkit.errors import MissingError, RoleError, StoreError

AUTOMATIC = "fully-automatic"


@pytest.fixture
def prelabelled(scene, rle_of):
    """All four images have two automatic masks."""
    for image in scene.images:
        take_image(scene.store, image.id, scene.adm)
        for x in (0, 8):
            save_annotation(
                scene.store,
                image_id=image.id,
                user_id=scene.adm,
                rle=rle_of(x, 0, x + 4, 4),
                stage=AUTOMATIC,
            )
        give_back(scene.store, image.id, scene.adm)
    return scene


def start(scene, num_images=1, **options):
    options = {"user_id": scene.rev} | options
    return start_quality_audit(scene.store, scene.project.id, num_images=num_images, **options)


def sampled(scene, audit):
    return [one.image.path for one in audited_images(scene.store, audit.id)]


def hold_of_sample(scene, audit, user_id):
    """Let a user take the first image of a sample; return its id and its masks."""
    (one, *_) = audited_images(scene.store, audit.id)
    take_image(scene.store, one.image.id, user_id)
    return one.image.id, list_annotations(scene.store, one.image.id)


def test_sample_is_drawn_by_its_seed(prelabelled):
    first = start(prelabelled, 2, seed=3)
    assert (first.num_images, first.num_untouched, first.seed) == (2, 4, 3)
    assert first.user_id == prelabelled.rev
    # The rest is what the next one is drawn from.
    second = start(prelabelled, 2)
    assert second.num_untouched == 2
    paths = [image.path for image in prelabelled.images]
    assert sorted(sampled(prelabelled, first) + sampled(prelabelled, second)) == paths
    assert list_quality_audits(prelabelled.store, prelabelled.project.id) == (first, second)


def test_other_seeds_draw_other_samples(scene):
    """Images on which nothing was found are automatic as well."""
    with scene.store.write() as session:
        for row in session.scalars(select(ImageRow)):
            row.stage = AUTOMATIC
    seen = set()
    for seed in range(12):
        audit = start(scene, seed=seed)
        seen.update(sampled(scene, audit))
        with scene.store.write() as session:
            session.query(QualityAuditImageRow).delete()
    assert len(seen) == 4


def test_images_that_somebody_has_touched_are_not_drawn(prelabelled, rle_of):
    store, ann = prelabelled.store, prelabelled.ann
    changed, added, held, _ = (image.id for image in prelabelled.images)
    take_image(store, changed, ann)
    mask = list_annotations(store, changed)[0]
    delete_annotation(store, mask.id, user_id=ann, version=1)
    give_back(store, changed, ann)
    take_image(store, added, ann)
    save_annotation(store, image_id=added, user_id=ann, rle=rle_of(5, 5, 9, 9))
    give_back(store, added, ann)
    take_image(store, held, ann)
    audit = start(prelabelled, 1)
    assert (audit.num_untouched, sampled(prelabelled, audit)) == (1, ["deep/d.jpg"])


def test_skipped_and_independently_annotated_images_are_not_drawn(prelabelled):
    store, ann = prelabelled.store, prelabelled.ann
    skipped, several, submitted, _ = (image.id for image in prelabelled.images)
    take_image(store, skipped, ann)
    skip_image(store, skipped, ann, reason="dark")
    set_num_annotators(store, several, 2, user_id=prelabelled.rev)
    take_image(store, submitted, ann)
    submit_image(store, submitted, ann)
    assert sampled(prelabelled, start(prelabelled, 1)) == ["deep/d.jpg"]


def test_what_cannot_be_drawn_is_refused(prelabelled, refusal):
    with refusal(StoreError, "4 images have automatic masks that nobody has touched"):
        start(prelabelled, 5)
    with refusal(StoreError, "num_images must be at least 1; got 0"):
        start(prelabelled, 0)
    with refusal(StoreError, "seed must be from 0"):
        start(prelabelled, 1, seed=-1)
    with refusal(RoleError, "ann"):
        start(prelabelled, 1, user_id=prelabelled.ann)
    with refusal(MissingError, "there is no quality audit 9"):
        audited_images(prelabelled.store, 9)
    with refusal(MissingError, "there is no project 9"):
        list_quality_audits(prelabelled.store, 9)
    assert list_quality_audits(prelabelled.store, prelabelled.project.id) == ()


def test_annotators_get_audited_images_after_returned_ones(prelabelled):
    store, project, ann = prelabelled.store, prelabelled.project.id, prelabelled.ann
    take_image(store, prelabelled.images[3].id, ann)
    done = submit_image(store, prelabelled.images[3].id, ann)
    audit = start(prelabelled, 2, seed=1)
    first, second = sampled(prelabelled, audit)
    (rest,) = {one.path for one in prelabelled.images[:3]} - {first, second}
    return_image(store, done.id, prelabelled.rev, version=done.version, comment="more")
    expected = ["deep/d.jpg", first, second, rest]
    assert [one.path for one in upcoming_images(store, project, ann)] == expected
    assert [one.path for one in upcoming_images(store, project, ann, limit=3)] == expected[:3]
    taken = []
    for _ in expected:
        lease = take_next(store, project, ann)
        taken.append(lease.image.path)
        submit_image(store, lease.image.id, ann)
    assert taken == expected


def test_people_see_what_an_audit_asks_for_until_they_have_done_it(prelabelled):
    audit = start(prelabelled)
    image_id, _ = hold_of_sample(prelabelled, audit, prelabelled.ann)
    image = get_image(prelabelled.store, image_id)
    assert image.comment.startswith("Quality audit: correct every mask")
    assert image.review == "none"
    assert submit_image(prelabelled.store, image_id, prelabelled.ann).comment == ""


def test_masks_are_compared_with_those_of_the_beginning(prelabelled, rle_of):
    store, ann = prelabelled.store, prelabelled.ann
    audit = start(prelabelled)
    image_id, (first, second) = hold_of_sample(prelabelled, audit, ann)
    smaller = rle_of(0, 0, 4, 2)
    replace_annotation(store, first.id, user_id=ann, version=1, rle=smaller, class_id=None)
    delete_annotation(store, second.id, user_id=ann, version=1)
    new = save_annotation(store, image_id=image_id, user_id=ann, rle=rle_of(5, 5, 9, 9))
    (one,) = audited_images(store, audit.id)
    assert one.corrected is None  # not submitted yet
    image = submit_image(store, image_id, ann)
    (one,) = audited_images(store, audit.id)
    assert one.automatic == {first.id: first.rle, second.id: second.rle}
    assert one.corrected == {first.id: smaller, new.id: new.rle}
    # A reviewer who returns the image opens it again; one who accepts it does not.
    image = return_image(store, image_id, prelabelled.rev, version=image.version, comment="edge")
    (one,) = audited_images(store, audit.id)
    assert (one.corrected, one.image.comment) == (None, "edge")
    take_image(store, image_id, ann)
    image = submit_image(store, image_id, ann)
    accept_image(store, image_id, prelabelled.rev, version=image.version)
    (one,) = audited_images(store, audit.id)
    assert list(one.corrected) == [first.id, new.id]


def test_unusable_images_have_no_correction(prelabelled):
    audit = start(prelabelled)
    image_id, _ = hold_of_sample(prelabelled, audit, prelabelled.ann)
    report_unusable(prelabelled.store, image_id, prelabelled.ann, reason="blurred")
    (one,) = audited_images(prelabelled.store, audit.id)
    assert (one.image.review, one.image.comment, one.corrected) == ("unusable", "blurred", None)


def test_pre_labelling_leaves_audited_images_alone(prelabelled):
    def waiting():
        work = Prelabelling(
            prelabelled.store,
            prelabelled.project.id,
            None,
            user_id=prelabelled.adm,
            only_empty=False,
        )
        return len(work.image_ids())

    assert waiting() == 4
    start(prelabelled, 3)
    assert waiting() == 1


def test_audits_go_with_their_project(prelabelled, image_folder):
    store = prelabelled.store
    other = create_project(store, name="other", root=image_folder)
    start(prelabelled, 2)
    delete_project(store, prelabelled.project.id)
    with store.read() as session:
        for kind in (QualityAuditRow, QualityAuditImageRow, QualityAuditMaskRow):
            assert session.scalar(select(func.count()).select_from(kind)) == 0
    assert list_quality_audits(store, other.id) == ()
