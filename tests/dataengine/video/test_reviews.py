"""Reviews of videos: submitted, accepted, returned, taken back; and what statistics count."""

import json

import pytest

from samkit.dataengine import (
    Labelling,
    accept_video,
    add_class,
    add_webhook,
    check_video_holder,
    confirm_frame,
    count_videos,
    create_user,
    delete_track,
    follow_tracks,
    get_video,
    give_video_back,
    list_deliveries,
    list_videos,
    mark_absent,
    return_video,
    set_labelling,
    set_track_class,
    stop_following,
    submit_video,
    take_video,
    take_video_back,
    video_lease_of,
    video_reviews,
    video_statistics,
)
from samkit.errors import ConflictError, RoleError, StoreError


@pytest.fixture
def rev(clip):
    return create_user(clip.store, name="rev", role="reviewer").id


def submit(clip, **options):
    return submit_video(clip.store, clip.video.id, clip.ann, **options)


def verdicts(clip):
    found = video_reviews(clip.store, clip.video.id)
    return [(one.user_id, one.verdict, one.comment) for one in found]


def test_a_video_is_returned_and_accepted(clip, rev):
    store, key = clip.store, clip.video.id
    clip.show(clip.track(), 0, 100)
    submitted = submit(clip)
    assert (submitted.review, video_lease_of(store, key)) == ("submitted", None)
    assert [one.id for one in list_videos(store, clip.project.id, review="submitted").items] == [
        key
    ]
    returned = return_video(store, key, rev, version=submitted.version, comment="the left one")
    assert (returned.review, returned.comment) == ("returned", "the left one")
    take_video(store, key, clip.bob)  # a returned video is for everybody
    again = submit_video(store, key, clip.bob)
    assert again.comment == "the left one"  # the reviewer sees what they asked for
    accepted = accept_video(store, key, rev, version=again.version)
    assert (accepted.review, accepted.comment) == ("accepted", "")
    assert list_videos(store, clip.project.id, review="submitted").items == ()
    assert verdicts(clip) == [
        (clip.ann, "submitted", ""),
        (rev, "returned", "the left one"),
        (clip.bob, "submitted", ""),
        (rev, "accepted", ""),
    ]


def test_who_may_change_and_judge_what_is_submitted(clip, rev):
    store, key = clip.store, clip.video.id
    give_video_back(store, key, clip.ann)
    with pytest.raises(StoreError, match="clip is not up for review"):
        accept_video(store, key, rev, version=clip.video.version)
    take_video(store, key, clip.ann)
    version = submit(clip).version
    with pytest.raises(RoleError, match="clip is submitted: only a reviewer may change it"):
        take_video(store, key, clip.bob)
    with pytest.raises(ConflictError, match="held by nobody"):
        clip.track()
    with pytest.raises(RoleError):
        accept_video(store, key, clip.bob, version=version)
    with pytest.raises(StoreError, match="a comment must have 1 to 2000 characters"):
        return_video(store, key, rev, version=version, comment=" ")
    take_video(store, key, rev)  # to correct it
    other = create_user(store, name="another", role="reviewer").id
    with pytest.raises(ConflictError, match="held by somebody else"):
        accept_video(store, key, other, version=version)
    clip.ann = rev
    clip.track()
    with pytest.raises(ConflictError, match="the review is of"):
        accept_video(store, key, rev, version=version)
    now = get_video(store, key).version
    assert accept_video(store, key, rev, version=now).review == "accepted"


def test_what_is_accepted_and_then_changed_is_up_for_review_again(clip, rev):
    store, key = clip.store, clip.video.id
    accept_video(store, key, rev, version=submit(clip).version)
    take_video(store, key, rev)
    check_video_holder(store, key, rev)
    assert get_video(store, key).review == "accepted"
    clip.ann = rev
    clip.track()
    assert get_video(store, key).review == "submitted"


def test_reviewers_do_not_review_their_own_but_admins_may(clip, rev):
    store, key = clip.store, clip.video.id
    take_video_as = {"rev": rev, "adm": create_user(store, name="adm", role="admin").id}
    submit(clip)
    for user in take_video_as.values():
        take_video(store, key, user)
        version = submit_video(store, key, user).version
    with pytest.raises(RoleError, match="'rev' annotated clip: another person must review it"):
        accept_video(store, key, rev, version=version)
    assert accept_video(store, key, take_video_as["adm"], version=version).review == "accepted"


def test_a_submission_is_taken_back_until_it_is_judged(clip, rev):
    store, key = clip.store, clip.video.id
    with pytest.raises(StoreError, match="was not submitted by you"):
        take_video_back(store, key, clip.ann)
    submit(clip)
    lease = take_video_back(store, key, clip.ann)
    assert (lease.video.review, lease.user_id) == ("none", clip.ann)
    version = submit(clip).version
    with pytest.raises(StoreError, match="was not submitted by you"):
        take_video_back(store, key, clip.bob)
    return_video(store, key, rev, version=version, comment="more")
    with pytest.raises(ConflictError, match="reviewed since"):
        take_video_back(store, key, clip.ann)
    take_video(store, key, clip.ann)
    submit(clip)
    assert take_video_back(store, key, clip.ann).video.review == "returned"  # as it was before


def test_what_is_being_followed_is_not_submitted(clip):
    clip.show(clip.track(), 0, 100)
    follow_tracks(clip.store, clip.video.id, user_id=clip.ann, start=0)
    with pytest.raises(ConflictError, match="clip is being followed: wait, or stop it"):
        submit(clip)
    stop_following(clip.store, clip.video.id, user_id=clip.ann)
    assert submit(clip).review == "submitted"


def test_tracks_need_the_class_that_the_project_requires(clip):
    car = add_class(clip.store, clip.project.id, "car")
    set_labelling(clip.store, clip.project.id, Labelling(class_required=True))
    track = clip.track()
    with pytest.raises(StoreError, match="clip: 1 track has no class, which the project requires"):
        submit(clip)
    set_track_class(clip.store, track.id, user_id=clip.ann, version=track.version, class_id=car.id)
    assert submit(clip).review == "submitted"


def test_webhooks_are_told(clip, rev):
    adm = create_user(clip.store, name="adm", role="admin").id
    names = ["video.submitted", "video.returned"]
    _, hook = add_webhook(
        clip.store, clip.project.id, url="https://example.org/", events=names, user_id=adm
    )
    version = submit(clip).version
    return_video(clip.store, clip.video.id, rev, version=version, comment="more")
    told = [json.loads(one.body) for one in list_deliveries(clip.store, hook.id).items]
    assert [(one["type"], one["data"]["comment"]) for one in told] == [
        ("video.returned", "more"),
        ("video.submitted", ""),
    ]
    assert told[0]["data"]["path"] == "clip"


def test_statistics_count_what_is_made_and_the_work(clip):
    first, second, third = (clip.track() for _ in range(3))
    clip.show(first, 0, 100, num_clicks=2, duration_ms=4000)
    clip.show(first, 1, 100)
    clip.show(second, 1, 150, num_clicks=1, duration_ms=1500)
    confirm_frame(clip.store, second.id, 1, user_id=clip.ann, duration_ms=500)
    mark_absent(clip.store, second.id, user_id=clip.ann, first=5, last=9)
    clip.show(third, 15, 200)
    delete_track(clip.store, third.id, user_id=clip.ann, version=third.version)
    counts = video_statistics(clip.store, clip.project.id)
    assert counts["submitted"].num_videos == 0
    assert counts["submitted"].seconds_per_track is None
    submit(clip, duration_ms=2000)
    counts = video_statistics(clip.store, clip.project.id)
    assert counts["none"].num_videos == counts["none"].num_frames == 0
    assert count_videos(clip.store, clip.project.id)["submitted"] == 1
    one = counts["submitted"]
    assert (one.num_videos, one.num_frames, one.num_masked_frames) == (1, 20, 2)
    assert (one.num_tracks, one.num_masks, one.num_clicks, one.duration_ms) == (2, 3, 3, 8000)
    assert (one.seconds_per_track, one.clicks_per_track) == (4.0, 1.5)


def test_work_is_a_number_of_clicks_and_at_most_a_day(sqlite_clip):
    track = sqlite_clip.track()
    for wrong in ({"num_clicks": -1}, {"duration_ms": 25 * 60 * 60 * 1000}):
        with pytest.raises(StoreError, match="duration_ms from 0 to a day"):
            sqlite_clip.show(track, 0, 100, **wrong)
