"""Frames of videos from which models may learn: only what people made, in finished videos."""

from itertools import pairwise

import pytest

from dataengine.video.conftest import LEVELS, SIZE_HW, write_frames
from dataengine.video.test_following import Stub, ask
from samkit.batch import follow_next
from samkit.dataengine import (
    accept_video,
    add_track,
    add_video,
    confirm_frame,
    count_finished_masks,
    count_verified_masks,
    create_user,
    delete_track,
    get_track,
    get_video,
    interpolate,
    mark_absent,
    return_video,
    submit_video,
    take_video,
    track_frame,
    verified_frames,
)
from samkit.dataengine.video.verified import FRAMES_PER_VIDEO, evenly_spaced

CLICK = {"points": [[9, 7]], "labels": [1], "box": None}


def found(clip):
    """Tracks whose masks teach, by frame."""
    frames = verified_frames(clip.store, clip.project.id)
    return {one.frame: [mask.track_id for mask in one.masks] for one in frames}


def count(clip):
    return count_verified_masks(clip.store, clip.project.id)


def submit(clip):
    submit_video(clip.store, clip.video.id, clip.ann)


def test_only_finished_videos_teach(clip):
    track = clip.track()
    clip.show(track, 2, LEVELS[1], kind="prompted", prompts=CLICK)
    assert (found(clip), count(clip)) == ({}, 0)
    submit(clip)
    assert (found(clip), count(clip)) == ({2: [track.id]}, 1)
    assert count_finished_masks(clip.store, clip.project.id) == 0  # of images
    reviewer = create_user(clip.store, name="rev", role="reviewer").id
    video = get_video(clip.store, clip.video.id)
    return_video(clip.store, video.id, reviewer, version=video.version, comment="once more")
    assert (found(clip), count(clip)) == ({}, 0)
    take_video(clip.store, video.id, clip.ann)
    clip.show(track, 5, LEVELS[1])
    submit(clip)
    version = get_video(clip.store, video.id).version
    accept_video(clip.store, video.id, reviewer, version=version)
    assert (found(clip), count(clip)) == ({2: [track.id], 5: [track.id]}, 2)


def test_what_the_tracker_made_does_not_teach(clip):
    """Nor what was interpolated, is confirmed as it was followed, or is absent."""
    prompted, drawn = clip.track(), clip.track()
    clip.show(prompted, 0, LEVELS[0], kind="prompted", prompts=CLICK)
    clip.show(drawn, 0, LEVELS[1])
    ask(clip, 0, stop=6)
    follow_next(clip.store, Stub(), worker="w")
    confirm_frame(clip.store, prompted.id, 3, user_id=clip.ann)
    base = track_frame(clip.store, drawn.id, 4).rle["counts"]
    clip.show(drawn, 4, LEVELS[1], prompts={"base": base, "base_kind": "propagated"})
    confirm_frame(clip.store, drawn.id, 4, user_id=clip.ann)  # it stays a person's
    clip.show(drawn, 8, LEVELS[1])
    interpolate(clip.store, drawn.id, 6, user_id=clip.ann, by="box")
    mark_absent(clip.store, prompted.id, user_id=clip.ann, first=10, last=11)
    submit(clip)
    assert found(clip) == {0: [prompted.id, drawn.id], 4: [drawn.id], 8: [drawn.id]}
    assert count(clip) == 4
    (first, *_) = verified_frames(clip.store, clip.project.id)
    assert first.masks[0].prompts == CLICK
    assert first.masks[1].prompts == {}
    kinds = {run.kind for run in get_track(clip.store, drawn.id).runs}
    assert kinds == {"confirmed", "propagated", "interpolated"}


def test_deleted_tracks_do_not_teach(clip):
    kept, dropped = clip.track(), clip.track()
    for track in (kept, dropped):
        clip.show(track, 1, LEVELS[0])
    delete_track(clip.store, dropped.id, user_id=clip.ann, version=dropped.version)
    submit(clip)
    assert (found(clip), count(clip)) == ({1: [kept.id]}, 1)


def test_a_long_video_counts_no_more_than_a_few_frames(clip):
    """Evenly spaced, with the masks of all its tracks in these."""
    first, second = clip.track(), clip.track()
    for frame in range(20):
        clip.show(first, frame, LEVELS[0])
    clip.show(second, 0, LEVELS[1])
    clip.show(second, 1, LEVELS[1])  # in no frame that is taken
    submit(clip)
    frames = [0, 3, 5, 8, 11, 14, 16, 19]
    assert found(clip) == {at: [first.id] if at else [first.id, second.id] for at in frames}
    assert count(clip) == FRAMES_PER_VIDEO + 1


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 200])
def test_frames_are_evenly_spaced(length):
    frames = list(range(3, 3 + 2 * length, 2))
    chosen = evenly_spaced(frames)
    assert len(chosen) == len(set(chosen)) == min(length, FRAMES_PER_VIDEO)
    assert chosen == sorted(chosen)
    if length:
        assert {frames[0], frames[-1]} == {chosen[0], chosen[-1]}
        steps = [later - before for before, later in pairwise(chosen)]
        assert max(steps, default=0) - min(steps, default=0) <= 2  # a place in the list


def test_the_key_of_a_frame_is_that_of_its_content(sqlite_clip):
    """The same file at two places has the same embeddings; each frame has its own."""
    clip = sqlite_clip
    write_frames(clip.root / "again")
    copy = add_video(clip.store, clip.project.id, "again")
    take_video(clip.store, copy.id, clip.ann)
    tracks = (clip.track(), add_track(clip.store, copy.id, user_id=clip.ann))
    for track in tracks:
        clip.show(track, 3, LEVELS[0])
        clip.show(track, 4, LEVELS[0])
    submit(clip)
    submit_video(clip.store, copy.id, clip.ann)
    keys = [one.pixels_key for one in verified_frames(clip.store, clip.project.id)]
    assert keys[:2] == keys[2:]
    assert len(set(keys)) == 2
    assert all(len(key) == 64 and int(key, 16) for key in keys)
    assert {one.video.size_hw for one in verified_frames(clip.store, clip.project.id)} == {SIZE_HW}
