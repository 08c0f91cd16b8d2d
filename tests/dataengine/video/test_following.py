"""Jobs that follow tracks: what they replace, how they go on, what becomes of corrections."""

import numpy as np
import pytest

from dataengine.video.conftest import LEVELS, NUM_FRAMES, truth
from samkit.batch import follow_job, follow_next
from samkit.dataengine import (
    begin_following,
    clear_frames,
    finish_job,
    follow_tracks,
    get_job,
    has_following_to_do,
    latest_following,
    list_tracks,
    mark_absent,
    release_following,
    save_followed,
    set_keyframe,
    stop_following,
    take_job,
    track_frame,
    track_frames,
)
from samkit.errors import ConflictError, StoreError
from samkit.geometry import decode_rle, encode_rle
from samkit.video import VideoPredictor
from video.stub_tracker import StubTracker


class Stub(VideoPredictor):
    def __init__(self):
        super().__init__(None, StubTracker())

    @property
    def num_encoded(self):
        return len(self.tracker.encoded)


@pytest.fixture
def stub():
    return Stub()


def ask(clip, start=0, **options):
    return follow_tracks(clip.store, clip.video.id, user_id=clip.ann, start=start, **options)


def shown(clip, track):
    """What is stored of a track: level and kind by frame."""
    frames = track_frames(clip.store, clip.video.id, first=0, last=99, track_id=track.id)
    return {one.frame: one for one in frames}


def assert_follows(clip, track, level, frames):
    found = shown(clip, track)
    for at in frames:
        assert np.array_equal(decode_rle(found[at].rle), truth(at, level)), at


def test_three_objects_are_followed_to_both_ends(clip, stub):
    tracks = [clip.track() for _ in LEVELS]
    for track, level in zip(tracks, LEVELS, strict=True):
        clip.show(track, 8, level)
    ask(clip, 8)
    assert has_following_to_do(clip.store)
    assert follow_next(clip.store, stub, worker="w").kind == "follow"
    ask(clip, 8, reverse=True)
    follow_next(clip.store, stub, worker="w")
    assert follow_next(clip.store, stub, worker="w") is None
    for track, level in zip(tracks, LEVELS, strict=True):
        assert_follows(clip, track, level, range(NUM_FRAMES))
    job = latest_following(clip.store, clip.video.id)
    assert (job.state, job.progress, job.error) == ("done", 1.0, "")
    runs = list_tracks(clip.store, clip.video.id)[0].runs
    assert [(one.first, one.last, one.kind) for one in runs] == [
        (0, 7, "propagated"),
        (8, 8, "confirmed"),
        (9, 19, "propagated"),
    ]


def test_corrections_stay_and_the_nearer_keyframe_decides_in_any_order(clip, stub):
    track = clip.track()
    clip.show(track, 0, 100)
    ask(clip)
    follow_next(clip.store, stub, worker="w")
    clip.show(track, 10, 150)  # it was another object
    assert [shown(clip, track)[at].stale for at in (9, 11)] == [False, True]
    ask(clip, 10)
    follow_next(clip.store, stub, worker="w")
    assert_follows(clip, track, 100, range(10))
    assert_follows(clip, track, 150, range(10, NUM_FRAMES))
    ask(clip, 10, reverse=True)
    follow_next(clip.store, stub, worker="w")
    assert_follows(clip, track, 100, range(6))  # 5 is as near to both
    assert_follows(clip, track, 150, range(6, NUM_FRAMES))
    ask(clip)
    encoded = stub.num_encoded
    follow_next(clip.store, stub, worker="w")
    assert_follows(clip, track, 150, range(6, NUM_FRAMES))
    assert stub.num_encoded > encoded


def test_a_job_goes_on_where_a_killed_worker_has_left_it(clip, stub):
    track = clip.track()
    clip.show(track, 0, 100)
    ask(clip)
    job = take_job(clip.store, kinds=("follow",))
    begin_following(clip.store, job, "first")

    class KilledError(Exception):
        pass

    def die(at):
        if at >= 8:
            raise KilledError

    with pytest.raises(KilledError):
        follow_job(clip.store, job, stub, on_commit=die)
    assert sorted(shown(clip, track)) == list(range(8))
    assert take_job(clip.store, kinds=("follow",)) is None
    assert release_following(clip.store, "first") == 1
    other = Stub()
    follow_next(clip.store, other, worker="second")
    assert_follows(clip, track, 100, range(NUM_FRAMES))
    # The keyframe, the frame before that it goes on from, and those that were left.
    assert other.num_encoded == 2 + NUM_FRAMES - 8
    with pytest.raises(ConflictError, match="no longer this worker's"):
        save_followed(clip.store, job, clip.video.version, [], at=3)


def test_a_worker_that_is_silent_loses_its_job(clip, clock, stub):
    clip.show(clip.track(), 0, 100)
    ask(clip)
    job = take_job(clip.store, kinds=("follow",), lease_s=60)
    assert not has_following_to_do(clip.store)
    clock.advance(seconds=61)
    assert has_following_to_do(clip.store)
    follow_next(clip.store, stub, worker="w")
    with pytest.raises(ConflictError):
        finish_job(clip.store, job)


def test_a_job_that_loses_its_workers_in_a_frame_is_given_up(clip, stub):
    clip.show(clip.track(), 0, 100)
    job = ask(clip)
    for _ in range(3):
        taken = take_job(clip.store, kinds=("follow",))
        begin_following(clip.store, taken, "w")
        release_following(clip.store, "w")
    follow_next(clip.store, stub, worker="w")
    found = get_job(clip.store, job.id)
    assert (found.state, stub.num_encoded) == ("failed", 0)
    assert found.error.startswith("3 processes were lost in frame 0")


def test_stopping_keeps_what_is_stored(clip, stub):
    track = clip.track()
    clip.show(track, 0, 100)
    ask(clip)
    job = take_job(clip.store, kinds=("follow",))

    def stop(at):
        if at == 8:
            stop_following(clip.store, clip.video.id, user_id=clip.ann)

    with pytest.raises(ConflictError, match="stopped"):
        follow_job(clip.store, job, stub, on_commit=stop)
    assert sorted(shown(clip, track)) == list(range(8))
    assert latest_following(clip.store, clip.video.id).state == "stopped"
    assert not has_following_to_do(clip.store)
    # Asked for again anywhere behind, it goes on without a gap.
    assert ask(clip, 15).data["start"] == 8


def test_a_correction_while_a_job_runs_is_followed_from(clip, stub):
    track = clip.track()
    clip.show(track, 0, 100)
    ask(clip)
    job = take_job(clip.store, kinds=("follow",))

    def correct(at):
        if at == 8:
            clip.show(track, 10, 150)

    follow_job(clip.store, job, stub, on_commit=correct)
    assert_follows(clip, track, 100, range(10))
    assert_follows(clip, track, 150, range(10, NUM_FRAMES))


def test_masks_and_absence_by_people_are_never_replaced(clip, stub):
    track = clip.track()
    clip.show(track, 0, 100)
    drawn = encode_rle(truth(4, 200))
    set_keyframe(clip.store, track.id, 4, user_id=clip.ann, rle=drawn)
    clear_frames(clip.store, track.id, user_id=clip.ann, first=4, last=4)
    mark_absent(clip.store, track.id, user_id=clip.ann, first=5, last=7)
    ask(clip)
    follow_next(clip.store, stub, worker="w")
    assert_follows(clip, track, 100, [4, 8, 19])
    assert [shown(clip, track)[at].kind for at in (5, 6, 7)] == ["confirmed"] * 3
    assert not any(shown(clip, track)[at].area_px for at in (5, 6, 7))


def test_tracks_that_begin_later_join(clip, stub):
    early, late = clip.track(), clip.track()
    clip.show(early, 0, 100)
    clip.show(late, 12, 150)
    ask(clip)
    follow_next(clip.store, stub, worker="w")
    assert_follows(clip, early, 100, range(NUM_FRAMES))
    assert sorted(shown(clip, late)) == list(range(12, NUM_FRAMES))


def test_only_the_chosen_tracks_and_frames_are_followed(clip, stub):
    one, other = clip.track(), clip.track()
    clip.show(one, 0, 100)
    clip.show(other, 0, 150)
    ask(clip, track_ids=[other.id], stop=5)
    follow_next(clip.store, stub, worker="w")
    assert sorted(shown(clip, one)) == [0]
    assert sorted(shown(clip, other)) == [0, 1, 2, 3, 4]
    with pytest.raises(StoreError, match="has no track 99"):
        ask(clip, track_ids=[99])


def test_without_a_mask_there_is_nothing_to_follow(clip):
    with pytest.raises(StoreError, match="show an object first"):
        ask(clip)
    track = clip.track()
    clip.show(track, 10, 100)
    with pytest.raises(StoreError, match="show an object first"):
        ask(clip, 0, stop=5)


def test_one_job_at_a_time_follows_a_video(clip):
    clip.show(clip.track(), 0, 100)
    ask(clip)
    with pytest.raises(ConflictError, match="is being followed: wait, or stop it"):
        ask(clip)


def test_a_prompt_on_a_followed_frame_can_be_taken_back(clip, stub):
    track = clip.track()
    clip.show(track, 0, 100)
    ask(clip)
    follow_next(clip.store, stub, worker="w")
    before = track_frame(clip.store, track.id, 6)
    prompts = {"points": [[1, 1]], "labels": [1], "base": before.rle["counts"]}
    clip.show(track, 6, 150, kind="prompted", prompts=prompts)
    (back,) = clear_frames(clip.store, track.id, user_id=clip.ann, first=6, last=6)
    assert (back.kind, back.rle, back.stale) == ("propagated", before.rle, True)
