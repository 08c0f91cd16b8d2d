"""Videos of a project: added, recognised, held."""

import os

import numpy as np
import pytest
import tifffile

from dataengine.video.conftest import NUM_FRAMES, SIZE_HW, frame_of
from samkit.dataengine import (
    add_track,
    add_video,
    add_videos,
    check_video_holder,
    create_user,
    delete_project,
    get_video,
    give_video_back,
    list_users,
    list_videos,
    may_see,
    open_video,
    set_members,
    take_video,
    video_lease_of,
)
from samkit.errors import ConflictError, MissingError, RoleError, StoreError, VideoError
from samkit.video import VideoFile
from video.clips import brightness_frames, number_of, write_clip


def test_a_folder_of_frames_is_a_video(clip):
    video = clip.video
    assert (video.num_frames, video.size_hw, video.rate) == (NUM_FRAMES, SIZE_HW, None)
    assert np.array_equal(open_video(clip.store, video).read(7), frame_of(7))
    assert add_video(clip.store, clip.project.id, "clip").id == video.id


def test_video_files_are_found_and_open_without_being_read_through(sqlite_clip, monkeypatch):
    clip = sqlite_clip
    write_clip(clip.root / "deep.mp4", brightness_frames(15))
    (clip.root / "broken.mp4").write_bytes(b"no video")
    report = add_videos(clip.store, clip.project.id)
    assert (report.num_added, report.num_known, len(report.faults)) == (1, 0, 1)
    assert report.faults[0].startswith("broken.mp4: not a video")
    assert add_videos(clip.store, clip.project.id).num_known == 1
    video = list_videos(clip.store, clip.project.id).items[-1]
    assert (video.path, video.name, video.num_frames) == ("deep.mp4", "deep", 15)
    assert video.rate == pytest.approx(25)
    monkeypatch.setattr(VideoFile, "_scan", lambda _: pytest.fail("read through"))
    source = open_video(clip.store, video)
    assert [number_of(source.read(at)) for at in (13, 2)] == [13, 2]


def test_a_stack_is_a_video_whose_pages_share_a_range_of_values(sqlite_clip):
    clip = sqlite_clip
    pages = np.zeros((4, 8, 8), np.uint16)
    pages[:, :4] = np.array([1000, 2000, 3000, 4000])[:, None, None]
    tifffile.imwrite(clip.root / "cells.tif", pages, photometric="minisblack")
    video = add_video(clip.store, clip.project.id, "cells.tif")
    assert (video.num_frames, video.size_hw) == (4, (8, 8))
    source = open_video(clip.store, video)
    shown = [int(source.read(at)[0, 0, 0]) for at in range(4)]
    assert shown == sorted(shown)
    assert shown[0] < shown[1] < shown[2] == 255  # white is the middle page's brightest value


def test_a_video_that_has_changed_is_not_opened(sqlite_clip):
    clip = sqlite_clip
    frame = clip.root / "clip" / "00000.png"
    os.utime(frame, (1, 1))  # another time alone is no change
    open_video(clip.store, clip.video)
    (clip.root / "clip" / "00003.png").unlink()
    with pytest.raises(ConflictError, match="clip has changed since it was added"):
        open_video(clip.store, clip.video)


@pytest.mark.parametrize("path", ["../clip", "/etc", "gone.mp4", "", "clip/../../x"])
def test_paths_outside_of_the_root_or_without_a_file_are_refused(sqlite_clip, path):
    with pytest.raises(StoreError, match=r"no such file|outside of the project's root"):
        add_video(sqlite_clip.store, sqlite_clip.project.id, path)


def test_a_folder_without_frames_is_no_video(sqlite_clip):
    (sqlite_clip.root / "empty").mkdir()
    with pytest.raises(VideoError, match="empty has no images"):
        add_video(sqlite_clip.store, sqlite_clip.project.id, "empty")


def test_one_person_at_a_time_holds_a_video(clip, clock):
    store, video = clip.store, clip.video
    with pytest.raises(ConflictError, match="held by somebody else"):
        take_video(store, video.id, clip.bob)
    with pytest.raises(ConflictError, match="held by somebody else"):
        add_track(store, video.id, user_id=clip.bob)
    assert not take_video(store, video.id, clip.ann).is_new
    clock.advance(hours=1)
    assert video_lease_of(store, video.id) is None
    assert take_video(store, video.id, clip.bob).is_new
    with pytest.raises(ConflictError):
        check_video_holder(store, video.id, clip.ann)
    give_video_back(store, video.id, clip.bob)
    with pytest.raises(ConflictError, match="held by nobody"):
        add_track(store, video.id, user_id=clip.bob)


def test_videos_go_with_their_project(clip):
    clip.show(clip.track(), 0, 100)
    delete_project(clip.store, clip.project.id)
    with pytest.raises(MissingError):
        get_video(clip.store, clip.video.id)


def test_videos_are_for_members_of_their_project(clip, refusal):
    boss = create_user(clip.store, name="boss", role="admin")
    track = clip.track()
    bob = next(one for one in list_users(clip.store).items if one.id == clip.bob)
    things = {"video": clip.video.id, "track": track.id}
    assert all(may_see(clip.store, bob, what, key) for what, key in things.items())
    set_members(clip.store, clip.project.id, [clip.bob], user_id=boss.id)
    assert video_lease_of(clip.store, clip.video.id) is None  # ann is no member any more
    with refusal(RoleError, "'ann' is not a member"):
        take_video(clip.store, clip.video.id, clip.ann)
    set_members(clip.store, clip.project.id, [clip.ann], user_id=boss.id)
    assert not any(may_see(clip.store, bob, what, key) for what, key in things.items())
    assert all(may_see(clip.store, boss, what, key) for what, key in things.items())
