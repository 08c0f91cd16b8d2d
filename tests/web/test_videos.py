"""Videos by REST: frames, prompts, following, what is refused."""

import io
import os
import re
from itertools import count
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from dataengine.video.conftest import LEVELS, NUM_FRAMES, SIZE_HW, frame_of, truth, write_frames
from samkit.batch import follow_next
from samkit.dataengine import Store, add_class
from samkit.geometry import decode_rle, encode_rle
from samkit.video import VideoPredictor
from video.stub_tracker import StubTracker
from web.conftest import Scene, run_server, settings


class InThread:
    """Follows tracks on a thread, by the stub tracker, in place of another process."""

    process_id = None

    def __init__(self, store, options=()):
        self.store, self.tracker = store, VideoPredictor(None, StubTracker())
        self.thread = None

    def check(self):
        if self.thread is None or not self.thread.is_alive():
            self.thread = Thread(target=self.work)
            self.thread.start()

    def work(self):
        while follow_next(self.store, self.tracker, worker="thread") is not None:
            pass

    def stop(self):
        if self.thread is not None:
            self.thread.join()


class Clip:
    """A server's project with a video that `ann` holds."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        write_frames(folder / "clip")
        made = server.adm.post("/api/projects", json={"name": folder.name, "root": str(folder)})
        self.project = made.json()["id"]
        path = f"/api/projects/{self.project}/videos"
        added = server.adm.post(path, json={"path": "clip"})
        assert added.status_code == 201, added.text
        self.video = added.json()
        self.url = f"/api/videos/{self.video['id']}"
        assert server.ann.post(f"{self.url}/lease").status_code == 200

    def track(self, **body):
        made = self.server.ann.post(f"{self.url}/tracks", json=body)
        assert made.status_code == 201, made.text
        return made.json()

    def draw(self, track, frame, level):
        rle = encode_rle(truth(frame, level))
        path = f"/api/tracks/{track['id']}/frames/{frame}/mask"
        answer = self.server.ann.put(path, json={"rle": rle})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def prompt(self, track, frame, **body):
        return self.server.ann.put(f"/api/tracks/{track['id']}/frames/{frame}/prompt", json=body)

    def masks(self, first, last):
        found = self.server.bob.get(f"{self.url}/masks", params={"first": first, "last": last})
        return {(one["track_id"], one["frame"]): one for one in found.json()["items"]}

    def follow(self, **body):
        asked = self.server.ann.post(f"{self.url}/follow", json=body)
        assert asked.status_code == 202, asked.text
        self.server.studio.background.submit(0, lambda: None).result()
        self.server.studio.followers.stop()
        return self.server.ann.get(f"{self.url}/follow").json()


@pytest.fixture(scope="module")
def clip_server(tmp_path_factory, image_folder, tiny_predictor):
    folder = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch, Store.open(folder / "store.db") as store:
        patch.setattr("samkit.web.app.FollowerProcess", InThread)
        yield from run_server(Scene(store, image_folder), settings(folder), tiny_predictor)


NUMBERS = count()


@pytest.fixture
def clip(clip_server):
    """A project of each test's own."""
    (allowed,) = clip_server.studio.config.allowed_roots
    return Clip(clip_server, allowed / f"videos-{next(NUMBERS)}")


def test_frames_are_read_when_asked_for(clip):
    bob = clip.server.bob
    (listed,) = bob.get(f"/api/projects/{clip.project}/videos").json()["items"]
    assert listed == clip.video
    answer = bob.get(f"{clip.url}/frames/7")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.abs(shown.astype(int) - frame_of(7)).mean() < 2
    again = bob.get(f"{clip.url}/frames/7", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    beyond = bob.get(f"{clip.url}/frames/{NUM_FRAMES}")
    assert (beyond.status_code, beyond.json()["detail"]) == (422, "clip has frames 0 to 19; got 20")


def test_a_damaged_frame_is_told_without_the_servers_folder(clip):
    path = clip.folder / "clip" / "00005.png"
    content = path.read_bytes()
    state = path.stat()
    path.write_bytes(content[:40] + b"\0" * (len(content) - 40))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    answer = clip.server.bob.get(f"{clip.url}/frames/5")
    assert answer.status_code == 422
    assert "frame 5" in answer.json()["detail"]
    assert str(clip.folder) not in answer.json()["detail"]


def test_a_click_is_answered_corrected_and_taken_back(clip):
    track = clip.track()
    first = clip.prompt(track, 3, points=[[20, 8]], labels=[1])
    assert first.status_code == 200, first.text
    first = first.json()
    assert (first["kind"], first["points"], first["labels"]) == ("prompted", [[20, 8]], [1])
    assert decode_rle(first["rle"]).any()
    both = clip.prompt(track, 3, points=[[20, 8], [40, 30]], labels=[1, 0]).json()
    assert both["points"] == [[20, 8], [40, 30]]
    # What is asked with the same prompts has the same answer, whatever was asked between.
    assert clip.prompt(track, 3, points=[[20, 8]], labels=[1]).json()["rle"] == first["rle"]
    boxed = clip.prompt(track, 3, box=[10, 2, 40, 30]).json()
    assert (boxed["points"], boxed["box"]) == ([], [10, 2, 40, 30])
    gone = clip.server.ann.delete(f"/api/tracks/{track['id']}/frames?first=3&last=3")
    assert gone.json()["items"] == []
    assert clip.masks(0, 19) == {}


def test_a_point_corrects_the_mask_that_was_followed_there(clip):
    track = clip.track()
    clip.draw(track, 0, LEVELS[0])
    clip.follow(start=0)
    before = clip.masks(6, 6)[track["id"], 6]
    prompted = clip.prompt(track, 6, points=[[50, 40]], labels=[1]).json()
    assert prompted["kind"] == "prompted"
    assert clip.masks(7, 7)[track["id"], 7]["stale"]
    gone = clip.server.ann.delete(f"/api/tracks/{track['id']}/frames?first=6&last=6").json()
    assert [one["rle"] for one in gone["items"]] == [before["rle"]]


def test_objects_are_followed_corrected_and_stopped(clip):
    tracks = [clip.track() for _ in LEVELS]
    for track, level in zip(tracks, LEVELS, strict=True):
        clip.draw(track, 8, level)
    assert clip.server.ann.get(f"{clip.url}/follow").json() == {"job": None, "at": None}
    done = clip.follow(start=8)
    assert (done["job"]["state"], done["at"]) == ("done", NUM_FRAMES)
    assert clip.follow(start=8, reverse=True)["at"] == -1
    found = clip.masks(0, 19)
    for track, level in zip(tracks, LEVELS, strict=True):
        for frame in range(NUM_FRAMES):
            mask = decode_rle(found[track["id"], frame]["rle"])
            assert np.array_equal(mask, truth(frame, level))
    (listed, *_) = clip.server.bob.get(f"{clip.url}/tracks").json()["items"]
    assert [(run["first"], run["last"], run["kind"]) for run in listed["runs"]] == [
        (0, 7, "propagated"),
        (8, 8, "confirmed"),
        (9, 19, "propagated"),
    ]
    stopped = clip.server.ann.post(f"{clip.url}/follow/stop").json()
    assert stopped["job"]["state"] == "done"


def test_masks_between_two_keyframes(clip):
    track = clip.track()
    for frame in (0, 6):
        clip.draw(track, frame, LEVELS[0])
    path = f"/api/tracks/{track['id']}/interpolate"
    asked = clip.server.ann.post(path, json={"frame": 3, "by": "box"})
    assert asked.json() == {"num_frames": 5}
    for frame in range(7):
        mask = decode_rle(clip.masks(frame, frame)[track["id"], frame]["rle"])
        assert np.array_equal(mask, truth(frame, LEVELS[0]))  # a box that moves in a straight line
    by_flow = clip.server.ann.post(path, json={"frame": 3}).json()
    assert by_flow == {"num_frames": 5}
    mask, true = decode_rle(clip.masks(3, 3)[track["id"], 3]["rle"]), truth(3, LEVELS[0])
    assert (mask & true).sum() / (mask | true).sum() > 0.7
    refused = clip.server.ann.post(path, json={"frame": 9})
    assert (refused.status_code, "between two keyframes" in refused.text) == (422, True)


def test_tracks_change_by_their_version(clip):
    ann = clip.server.ann
    car = add_class(clip.server.studio.store, clip.project, "car").id
    track = clip.track(request_id="one")
    assert clip.track(request_id="one")["id"] == track["id"]
    path = f"/api/tracks/{track['id']}"
    changed = ann.patch(path, json={"version": track["version"], "class_id": car}).json()
    assert changed["class_id"] == car
    assert ann.patch(path, json={"version": track["version"]}).status_code == 409
    body = {"version": changed["version"], "frame": 4, "attributes": {"occluded": True}}
    changed = ann.patch(path, json=body).json()
    assert changed["attributes"] == [{"frame": 4, "values": {"occluded": True}}]
    for frame in (2, 9):
        clip.draw(track, frame, LEVELS[0])
    split = ann.post(f"{path}/split", json={"version": changed["version"], "frame": 9}).json()
    assert split["after"]["attributes"] == [{"frame": 9, "values": {"occluded": True}}]
    body = {
        "version": split["before"]["version"],
        "other_id": split["after"]["id"],
        "other_version": split["after"]["version"],
    }
    merged = ann.post(f"{path}/merge", json=body).json()
    assert [run["first"] for run in merged["runs"]] == [2, 9]
    absent = ann.post(f"{path}/absent", json={"first": 10, "last": 19}).json()
    assert absent["runs"][-1] == {
        "first": 10,
        "last": 19,
        "kind": "confirmed",
        "state": "absent",
        "stale": False,
    }
    gone = ann.delete(f"{path}?version={merged['version']}").json()
    assert ann.get(f"{clip.url}/tracks").json()["items"] == []
    back = ann.post(f"{path}/restore", json={"version": gone["version"]}).json()
    assert back["deleted"] is False


def test_who_does_not_hold_a_video_cannot_change_it(clip):
    bob, track = clip.server.bob, clip.track()
    path = f"/api/tracks/{track['id']}"
    refused = (
        bob.post(f"{clip.url}/lease"),
        bob.post(f"{clip.url}/tracks", json={}),
        bob.put(f"{path}/frames/0/prompt", json={"points": [[1, 1]], "labels": [1]}),
        bob.put(f"{path}/frames/0/mask", json={"rle": encode_rle(truth(0, 100))}),
        bob.post(f"{path}/absent", json={"first": 0, "last": 1}),
        bob.post(f"{clip.url}/follow", json={"start": 0}),
        bob.post(f"{clip.url}/follow/stop"),
        bob.delete(f"{path}?version=1"),
    )
    assert [one.status_code for one in refused] == [409] * len(refused)
    holder = bob.get(f"{clip.url}/lease").json()["holder"]
    assert holder["user_name"] == "ann"
    assert clip.server.ann.delete(f"{clip.url}/lease").status_code == 204
    assert bob.post(f"{clip.url}/lease").status_code == 200


def test_roles_and_strangers(clip):
    server, path = clip.server, f"/api/projects/{clip.project}/videos"
    assert server.rev.post(path, json={"path": "clip"}).status_code == 403
    assert server.rev.post(f"{path}/scan").status_code == 403
    assert server.adm.post(f"{path}/scan").json() == {"num_added": 0, "num_known": 0, "faults": []}
    assert server.adm.post(path, json={"path": "../../etc"}).status_code == 422
    for url in (path, clip.url, f"{clip.url}/frames/0", f"{clip.url}/tracks", f"{clip.url}/follow"):
        assert server.stranger.get(url).status_code == 401
    assert server.stranger.post(f"{clip.url}/follow", json={"start": 0}).status_code == 401


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "give a point or a box"),
        ({"points": [[1, 1]]}, "a label for each point"),
        ({"points": [[999, 1]], "labels": [1]}, "outside|inside|within"),
        ({"points": [[1, 1]], "labels": [2]}, "labels"),
    ],
)
def test_prompts_that_are_none_are_refused(clip, body, detail):
    answer = clip.prompt(clip.track(), 0, **body)
    assert answer.status_code == 422
    assert re.search(detail, answer.json()["detail"]), answer.json()


def test_too_many_masks_at_once_are_refused(clip):
    answer = clip.server.ann.get(f"{clip.url}/masks?first=0&last=64")
    assert (answer.status_code, "1 to 64 frames" in answer.text) == (422, True)
    assert tuple(clip.video["size_hw"]) == SIZE_HW


@pytest.mark.parametrize("file_format", ["coco-video", "cvat-video", "davis", "mot"])
def test_tracks_are_exported_and_imported(clip, file_format):
    server = clip.server
    track = clip.track()
    for frame in (0, 3):
        clip.draw(track, frame, LEVELS[0])
    path = f"/api/projects/{clip.project}/videos"
    assert server.ann.get(f"{path}/export?format={file_format}").status_code == 403
    packed = server.rev.get(f"{path}/export?format={file_format}")
    assert packed.headers["content-type"] == "application/zip"
    version = server.ann.get(f"{clip.url}/tracks").json()["items"][0]["version"]
    server.ann.delete(f"/api/tracks/{track['id']}?version={version}")
    held = server.adm.post(
        f"{path}/import", content=packed.content, headers={"Content-Type": "application/zip"}
    ).json()
    assert "import it again later" in held["faults"][0]
    server.ann.delete(f"{clip.url}/lease")
    report = server.adm.post(
        f"{path}/import", content=packed.content, headers={"Content-Type": "application/zip"}
    ).json()
    assert (report["num_videos"], report["num_added"], report["faults"]) == (1, 1, [])
    (made,) = server.ann.get(f"{clip.url}/tracks").json()["items"]
    assert [run["first"] for run in made["runs"] if run["state"] == "present"] == [0, 3]
    refused = server.adm.post(f"{path}/import", content=b"x", headers={"Content-Type": "a/b"})
    assert refused.status_code == 415


def test_what_is_drawn_stays_and_clearing_brings_back_what_was_there(clip):
    track = clip.track()
    clip.draw(track, 0, LEVELS[0])
    assert clip.follow(start=0)["job"]["state"] == "done"
    followed = clip.masks(5, 5)[track["id"], 5]
    assert followed["kind"] == "propagated"
    for level in LEVELS[1:]:  # a stroke upon a stroke
        drawn = clip.draw(track, 5, level)
        assert (drawn["kind"], drawn["points"]) == ("confirmed", [])
    clip.follow(start=0)
    assert clip.masks(5, 5)[track["id"], 5]["rle"] == drawn["rle"]
    frames = f"/api/tracks/{track['id']}/frames"
    (left,) = clip.server.ann.delete(frames, params={"first": 5, "last": 5}).json()["items"]
    assert (left["kind"], left["rle"]) == ("propagated", followed["rle"])


def test_a_stroke_over_a_prompted_mask_is_undone_by_its_prompts(clip):
    track = clip.track()
    prompt = {"points": [[20, 8]], "labels": [1]}
    first = clip.prompt(track, 3, **prompt).json()
    clip.draw(track, 3, LEVELS[1])
    frames = f"/api/tracks/{track['id']}/frames"
    assert clip.server.ann.delete(frames, params={"first": 3, "last": 3}).json()["items"] == []
    again = clip.prompt(track, 3, undo=True, **prompt).json()
    assert (again["kind"], again["rle"]) == ("prompted", first["rle"])


def test_a_video_is_submitted_returned_and_accepted(clip):
    ann, bob, rev = clip.server.ann, clip.server.bob, clip.server.rev
    track = clip.track()
    path = f"/api/tracks/{track['id']}/frames/0/mask"
    rle = encode_rle(truth(0, LEVELS[0]))
    assert ann.put(path, json={"rle": rle, "duration_ms": 2500}).status_code == 200
    assert ann.put(path, json={"rle": rle, "undo": True}).status_code == 200
    assert ann.put(path, json={"duration_ms": 500}).status_code == 200
    submitted = ann.post(f"{clip.url}/submit", params={"duration_ms": 1000}).json()
    assert submitted["review"] == "submitted"
    assert bob.post(f"{clip.url}/lease").status_code == 403
    listed = rev.get(f"/api/projects/{clip.project}/videos", params={"review": "submitted"})
    assert [one["id"] for one in listed.json()["items"]] == [clip.video["id"]]
    body = {"version": submitted["version"], "comment": "Its edge."}
    returned = rev.post(f"{clip.url}/return", json=body).json()
    assert (returned["review"], returned["comment"]) == ("returned", "Its edge.")
    assert rev.post(f"{clip.url}/return", json=body).status_code == 422
    ann.post(f"{clip.url}/lease")
    ann.post(f"{clip.url}/submit")
    assert ann.post(f"{clip.url}/take_back").json()["video"]["review"] == "returned"
    again = ann.post(f"{clip.url}/submit").json()
    assert rev.post(f"{clip.url}/accept", json={"version": 1}).status_code == 409
    accepted = rev.post(f"{clip.url}/accept", json={"version": again["version"]}).json()
    assert accepted["review"] == "accepted"
    assert ann.post(f"{clip.url}/take_back").status_code == 409
    found = bob.get(f"{clip.url}/reviews").json()["items"]
    assert [one["verdict"] for one in found] == [
        "submitted",
        "returned",
        "submitted",
        "taken back",
        "submitted",
        "accepted",
    ]
    assert {one["user_name"] for one in found} == {"ann", "rev"}
    project = f"/api/projects/{clip.project}"
    states = bob.get(f"{project}/statistics").json()["videos"]
    assert (states["none"], states["accepted"]) == (0, 1)
    counts = bob.get(f"{project}/videos/statistics").json()["states"]
    assert counts["none"]["num_videos"] == 0
    assert counts["accepted"] == {
        "num_videos": 1,
        "num_frames": NUM_FRAMES,
        "num_masked_frames": 1,
        "num_tracks": 1,
        "num_masks": 1,
        "num_clicks": 1,
        "duration_ms": 4000,
        "seconds_per_track": 4.0,
        "clicks_per_track": 1.0,
    }
