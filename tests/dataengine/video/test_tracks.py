"""Tracks: classes, attributes over time, deletion, splitting, merging, keyframes."""

import numpy as np
import pytest

from dataengine.video.conftest import SIZE_HW, truth
from samkit.dataengine import (
    Attribute,
    Labelling,
    add_class,
    add_track,
    clear_frames,
    confirm_frame,
    delete_class,
    delete_track,
    keyframes_around,
    list_tracks,
    mark_absent,
    merge_classes,
    merge_tracks,
    restore_track,
    save_interpolated,
    set_keyframe,
    set_labelling,
    set_track_attributes,
    set_track_class,
    split_track,
    track_frame,
    track_frames,
)
from samkit.errors import ConflictError, MissingError, StoreError
from samkit.geometry import decode_rle, encode_rle


def test_tracks_are_numbered_and_safe_to_ask_for_twice(clip):
    first, second = clip.track(request_id="a"), clip.track()
    assert (first.number, second.number) == (1, 2)
    assert clip.track(request_id="a").id == first.id
    assert [one.number for one in list_tracks(clip.store, clip.video.id)] == [1, 2]


def test_a_change_names_the_version_that_it_is_based_on(clip):
    car = add_class(clip.store, clip.project.id, "car")
    track = clip.track()
    changed = set_track_class(
        clip.store, track.id, user_id=clip.ann, version=track.version, class_id=car.id
    )
    assert (changed.class_id, changed.version) == (car.id, track.version + 1)
    with pytest.raises(ConflictError, match="reload it"):
        set_track_class(
            clip.store, track.id, user_id=clip.ann, version=track.version, class_id=None
        )


def test_classes_of_tracks_are_merged_and_kept_like_those_of_masks(clip):
    car, van = (add_class(clip.store, clip.project.id, name) for name in ("car", "van"))
    clip.track(class_id=car.id)
    with pytest.raises(StoreError, match="1 track has the class 'car'"):
        delete_class(clip.store, car.id)
    merge_classes(clip.store, car.id, into=van.id)
    assert list_tracks(clip.store, clip.video.id)[0].class_id == van.id


def test_attributes_hold_from_a_frame_on(clip):
    store = clip.store
    set_labelling(
        store,
        clip.project.id,
        Labelling(attributes=(Attribute(name="light", kind="choice", choices=("on", "off")),)),
    )
    track = clip.track()

    def put(frame, **values):
        nonlocal track
        track = set_track_attributes(
            store,
            track.id,
            user_id=clip.ann,
            version=track.version,
            frame=frame,
            attributes=values or None,
        )

    put(0, light="on")
    put(12, light="off", occluded=True)
    put(5, light="on")  # says nothing new
    assert dict(track.attributes) == {0: {"light": "on"}, 12: {"light": "off", "occluded": True}}
    assert track.attributes_at(11) == {"light": "on"}
    assert track.attributes_at(19)["occluded"] is True
    put(12)
    assert track.attributes_at(19) == {"light": "on"}
    with pytest.raises(StoreError, match="one of on, off"):
        put(3, light="blue")


def test_a_deleted_track_comes_back(clip):
    track = clip.track()
    clip.show(track, 3, 100)
    gone = delete_track(clip.store, track.id, user_id=clip.ann, version=track.version)
    assert list_tracks(clip.store, clip.video.id) == ()
    assert track_frames(clip.store, clip.video.id, first=0, last=19) == ()
    with pytest.raises(MissingError, match="bring it back first"):
        clip.show(track, 4, 100)
    restore_track(clip.store, track.id, user_id=clip.ann, version=gone.version)
    assert [one.frame for one in track_frames(clip.store, clip.video.id, first=0, last=19)] == [3]


def test_splitting_and_merging_again_gives_the_same_frames(clip):
    store = clip.store
    track = clip.track()
    for at in (0, 6, 12):
        clip.show(track, at, 100)
    before = track_frames(store, clip.video.id, first=0, last=19)
    first, second = split_track(store, track.id, user_id=clip.ann, version=track.version, frame=6)
    assert [[run.first for run in one.runs] for one in (first, second)] == [[0], [6, 12]]
    merged = merge_tracks(
        store,
        first.id,
        user_id=clip.ann,
        version=first.version,
        other_id=second.id,
        other_version=second.version,
    )
    assert merged.id == track.id
    assert track_frames(store, clip.video.id, first=0, last=19) == before
    with pytest.raises(StoreError, match="after its first and up to its last"):
        split_track(store, merged.id, user_id=clip.ann, version=merged.version, frame=0)


def test_tracks_that_both_have_a_persons_mask_in_a_frame_are_not_merged(clip):
    one, other = clip.track(), clip.track()
    clip.show(one, 4, 100)
    clip.show(other, 4, 150)
    with pytest.raises(StoreError, match="both have a mask by a person in frame 4: clear one"):
        merge_tracks(
            clip.store,
            one.id,
            user_id=clip.ann,
            version=one.version,
            other_id=other.id,
            other_version=other.version,
        )


def test_absence_is_marked_confirmed_and_cleared(clip):
    track = clip.track()
    clip.show(track, 0, 100)
    mark_absent(clip.store, track.id, user_id=clip.ann, first=5, last=8)
    (now,) = list_tracks(clip.store, clip.video.id)
    assert [(run.first, run.last, run.state) for run in now.runs] == [
        (0, 0, "present"),
        (5, 8, "absent"),
    ]
    assert not decode_rle(track_frame(clip.store, track.id, 6).rle).any()
    clear_frames(clip.store, track.id, user_id=clip.ann, first=5, last=8)
    assert track_frame(clip.store, track.id, 6) is None


def test_masks_between_keyframes_replace_no_mask_by_a_person(clip):
    track = clip.track()
    for at in (0, 2, 4):
        clip.show(track, at, 100)
    frames = [(at, encode_rle(truth(at, 150)), "present") for at in (1, 2, 3)]
    assert save_interpolated(clip.store, track.id, frames, user_id=clip.ann) == 2
    kinds = [one.kind for one in track_frames(clip.store, clip.video.id, first=0, last=4)]
    assert kinds == ["confirmed", "interpolated", "confirmed", "interpolated", "confirmed"]
    before, after = keyframes_around(clip.store, track.id, 3)
    assert (before.frame, after.frame) == (2, 4)


def filled(clip, track, *frames):
    """Fill frames between keyframes with the true masks."""
    masks = [(at, encode_rle(truth(at, 100)), "present") for at in frames]
    save_interpolated(clip.store, track.id, masks, user_id=clip.ann)


def stale_frames(clip, track):
    found = track_frames(clip.store, clip.video.id, first=0, last=19, track_id=track.id)
    frames = [one.frame for one in found if one.stale]
    (listed,) = (one for one in list_tracks(clip.store, clip.video.id) if one.id == track.id)
    runs = [range(run.first, run.last + 1) for run in listed.runs if run.stale]
    assert frames == [at for run in runs for at in run]
    return frames


def test_a_new_keyframe_makes_what_was_filled_around_it_out_of_date(clip):
    track = clip.track()
    for at in (0, 4, 8):
        clip.show(track, at, 100)
    filled(clip, track, 1, 2, 3, 5, 6, 7)
    assert stale_frames(clip, track) == []
    confirm_frame(clip.store, track.id, 6, user_id=clip.ann)  # as right as its neighbours
    assert stale_frames(clip, track) == []
    clip.show(track, 2, 150)
    assert stale_frames(clip, track) == [1, 3]
    filled(clip, track, 1, 3)
    assert stale_frames(clip, track) == []
    clear_frames(clip.store, track.id, user_id=clip.ann, first=4, last=4)
    assert stale_frames(clip, track) == [3, 5]
    mark_absent(clip.store, track.id, user_id=clip.ann, first=7, last=8)
    assert stale_frames(clip, track) == [3, 5]
    (now,) = list_tracks(clip.store, clip.video.id)
    _, part = split_track(clip.store, now.id, user_id=clip.ann, version=now.version, frame=5)
    assert stale_frames(clip, track) == [3]
    assert stale_frames(clip, part) == [5]


def test_what_was_there_before_an_object_was_marked_absent_comes_back(clip):
    track = clip.track()
    drawn = clip.show(track, 3, 100, prompts={})
    prompted = clip.show(track, 4, 100, kind="prompted", prompts={"points": [[1, 1]]})
    filled(clip, track, 7)
    for _ in range(2):  # pressed twice
        mark_absent(clip.store, track.id, user_id=clip.ann, first=3, last=3)
    mark_absent(clip.store, track.id, user_id=clip.ann, first=4, last=6)
    mark_absent(clip.store, track.id, user_id=clip.ann, first=7, last=7)
    for frame, before, kind, prompts in (
        (3, drawn, "confirmed", {}),
        (4, prompted, "confirmed", {}),
        (7, None, "interpolated", None),
    ):
        assert track_frame(clip.store, track.id, frame).area_px == 0
        (back,) = clear_frames(clip.store, track.id, user_id=clip.ann, first=frame, last=frame)
        assert (back.kind, back.state, back.prompts) == (kind, "present", prompts)
        assert before is None or back.rle == before.rle
    assert clear_frames(clip.store, track.id, user_id=clip.ann, first=5, last=5) == ()


def test_what_does_not_fit_the_video_is_refused(clip):
    track = clip.track()
    fits = encode_rle(truth(0, 100))
    with pytest.raises(StoreError, match="frames 0 to 19; got 20"):
        set_keyframe(clip.store, track.id, 20, user_id=clip.ann, rle=fits)
    other_size = encode_rle(np.ones((3, 3), bool))
    with pytest.raises(StoreError):
        set_keyframe(clip.store, track.id, 0, user_id=clip.ann, rle=other_size)
    with pytest.raises(StoreError, match="at least one pixel"):
        set_keyframe(
            clip.store, track.id, 0, user_id=clip.ann, rle=encode_rle(np.zeros(SIZE_HW, bool))
        )
    with pytest.raises(MissingError, match="no mask in frame 0"):
        confirm_frame(clip.store, track.id, 0, user_id=clip.ann)
    with pytest.raises(StoreError, match="no class 99"):
        add_track(clip.store, clip.video.id, user_id=clip.ann, class_id=99)
