"""Videos on the page: a clip is stepped through, prompted, corrected and followed."""

import re

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from samkit.dataengine import (
    Store,
    add_track,
    add_video,
    list_tracks,
    list_users,
    set_keyframe,
    take_video,
    track_frames,
)
from samkit.geometry import decode_rle, encode_rle
from web.browser.conftest import serving

pytestmark = pytest.mark.slow

SIZE_HW = (120, 160)
NUM_FRAMES = 5
RADIUS = 26


def disc(index):
    """A frame with a disc that moves, and its mask."""
    frame = np.full((*SIZE_HW, 3), (60, 110, 70), np.uint8)
    mask = np.zeros(SIZE_HW, np.uint8)
    place = (50 + 12 * index, 60)
    cv2.circle(mask, place, RADIUS, 1, -1)
    frame[mask > 0] = (40, 60, 220)
    return frame, mask > 0


def add_clip(server):
    folder = server.images / "discs"
    folder.mkdir()
    for index in range(NUM_FRAMES):
        cv2.imwrite(str(folder / f"{index}.png"), disc(index)[0])
    with Store.open(server.where) as store:
        add_video(store, 1, "discs")


@pytest.fixture(scope="module")
def clip_server(tmp_path_factory, plain_backend):
    with serving(tmp_path_factory.mktemp("clips"), add_clip) as server:
        yield server


@pytest.fixture
def clip(clip_server, person):
    """Somebody who has opened the clip, which has no tracks."""
    with Store.open(clip_server.where) as store, store.write() as session:
        for table in ("track_frames", "tracks", "video_reviews", "jobs"):
            session.execute(text(f"DELETE FROM {table}"))
        session.execute(
            text("UPDATE videos SET lease_user_id = NULL, review = 'none', num_clicks = 0")
        )
    ada = person("ada", clip_server)
    ada.page.goto(f"{clip_server.url}/#/video/1")
    ada.page.wait_for_selector(".studio.video[data-shown]")
    ada.page.wait_for_selector(".stage[data-view]")
    return ada


def stored(server, frame=None):
    with Store.open(server.where) as store:
        last = NUM_FRAMES - 1 if frame is None else frame
        return track_frames(store, 1, first=frame or 0, last=last)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def answered(person, act):
    """Do something that the server answers, and wait until it has."""
    with person.page.expect_response(lambda one: "/api/tracks/" in one.url, timeout=120_000):
        act()
    person.page.wait_for_selector(".studio.video:not([data-waits])")


def test_an_object_is_shown_by_a_box_corrected_and_taken_back(clip, clip_server):
    page = clip.page
    answered(clip, lambda: clip.drag((22, 32), (78, 88)))
    (one,) = stored(clip_server)
    assert (one.frame, one.kind) == (0, "prompted")
    assert iou(decode_rle(one.rle), disc(0)[1]) > 0.9
    expect(page.locator(".track-row")).to_contain_text("prompted")
    expect(page.locator(".run.key")).to_have_count(1)
    answered(clip, lambda: page.keyboard.press("Control+z"))
    assert stored(clip_server) == ()
    expect(page.locator(".run")).to_have_count(0)


def test_frames_are_stepped_played_and_sought(clip):
    page = clip.page
    shown = page.locator(".studio.video")
    for key, frame in (("ArrowRight", "1"), ("End", "4"), ("Shift+ArrowLeft", "0"), (".", "1")):
        page.keyboard.press(key)
        expect(shown).to_have_attribute("data-frame", frame)
    page.keyboard.press("Space")
    expect(shown).to_have_attribute("data-frame", "4", timeout=60_000)
    area = page.locator(".over-lanes").bounding_box()
    page.mouse.click(area["x"] + 0.5 * area["width"], area["y"] + 4)
    expect(shown).to_have_attribute("data-frame", "2")
    expect(page.locator(".frame-number")).to_have_text(re.compile("^2 / 4"))


def test_a_track_is_followed_and_lost_places_are_found(clip, clip_server):
    page = clip.page
    with Store.open(clip_server.where) as store:
        user = id_of_ada(store)
        take_video(store, 1, user)
        track = add_track(store, 1, user_id=user)
        set_keyframe(store, track.id, 0, user_id=user, rle=encode_rle(disc(0)[1]))
    page.reload()
    page.wait_for_selector(".track-row")
    page.keyboard.press("f")
    expect(page.locator(".run.propagated").first).to_be_visible(timeout=240_000)
    page.wait_for_selector("progress.following[hidden]", state="attached", timeout=240_000)
    masks = {one.frame: decode_rle(one.rle) for one in stored(clip_server)}
    assert sorted(masks) == list(range(NUM_FRAMES))
    assert np.mean([iou(masks[at], disc(at)[1]) for at in masks]) > 0.8
    page.keyboard.press("End")
    answered(clip, lambda: page.keyboard.press("a"))
    expect(page.locator(".run.confirmed.absent")).to_have_count(1)
    with Store.open(clip_server.where) as store:
        (found,) = list_tracks(store, 1)
    assert [(run.first, run.state) for run in found.runs][-1] == (NUM_FRAMES - 1, "absent")


def id_of_ada(store):
    return next(one.id for one in list_users(store).items if one.name == "ada")


def test_tracks_get_classes_and_attributes_and_come_back(clip, clip_server):
    page = clip.page
    page.keyboard.press("t")
    page.wait_for_selector(".track-row")
    answered(clip, lambda: page.keyboard.press("Shift+1"))
    expect(page.locator(".track-row")).to_contain_text("disc")
    page.keyboard.press("ArrowRight")
    answered(clip, lambda: page.locator("[data-key=attribute-occluded]").click())
    with Store.open(clip_server.where) as store:
        (track,) = list_tracks(store, 1)
    assert dict(track.attributes) == {1: {"occluded": True}}
    page.keyboard.press("Shift+Delete")
    expect(page.locator(".track-row")).to_have_count(0)
    page.locator(".notice button").click()
    expect(page.locator(".track-row")).to_have_count(1)


def test_others_look_on(clip, clip_server, person):
    rev = person("rev", clip_server)
    rev.page.goto(f"{clip_server.url}/#/video/1")
    expect(rev.page.locator(".banner")).to_contain_text("ada works on this video")
    rev.page.keyboard.press("t")
    expect(rev.page.locator(".track-row")).to_have_count(0)


def test_a_frame_is_painted_erased_and_undone(clip, clip_server):
    page = clip.page
    page.keyboard.press("b")
    answered(clip, lambda: clip.drag((40, 60), (60, 60)))  # begins a track
    (one,) = stored(clip_server)
    painted = decode_rle(one.rle)
    assert (one.frame, one.kind) == (0, "confirmed")
    assert painted[60, 40:61].all()
    assert painted.sum() < 300
    page.keyboard.press("}")
    expect(page.locator(".radius output")).to_have_text("3 px")
    answered(clip, lambda: clip.drag((50, 50), (50, 70)))
    more = decode_rle(stored(clip_server)[0].rle)
    assert more[painted].all()
    assert more[52:68, 50].all()
    page.keyboard.press("e")
    answered(clip, lambda: clip.drag((50, 50), (50, 70)))
    assert not decode_rle(stored(clip_server)[0].rle)[50:70, 50].any()
    answered(clip, lambda: page.keyboard.press("Control+z"))
    assert np.array_equal(decode_rle(stored(clip_server)[0].rle), more)
    answered(clip, lambda: page.keyboard.press("Delete"))  # what was there before the strokes
    assert stored(clip_server) == ()


def keyframe_of(server, frame=0):
    """Store a track with the true mask of a frame."""
    with Store.open(server.where) as store:
        user = id_of_ada(store)
        take_video(store, 1, user)
        track = add_track(store, 1, user_id=user)
        set_keyframe(store, track.id, frame, user_id=user, rle=encode_rle(disc(frame)[1]))
    return track


def hold_first(page, url):
    """Hold back the answer to the first request for a URL; returns how to let it go on."""
    held = []

    def hold(route):
        held.append(route)

    def let_go():
        (first,) = held
        first.continue_()

    page.route(url, hold, times=1)
    return let_go


def test_what_is_drawn_before_the_masks_are_there_is_added_to_them(clip, clip_server):
    keyframe_of(clip_server)
    page = clip.page
    let_go = hold_first(page, re.compile(r"/api/videos/1/masks\?first=0"))
    page.reload()
    page.wait_for_selector(".studio.video[data-shown]")
    page.wait_for_selector(".track-row")
    page.keyboard.press("b")

    def draw_and_let_masks_arrive():
        clip.drag((120, 60), (130, 60))
        let_go()

    answered(clip, draw_and_let_masks_arrive)
    (one,) = stored(clip_server, 0)
    mask = decode_rle(one.rle)
    assert mask[disc(0)[1]].all()
    assert mask[60, 120:131].all()


def test_quick_clicks_are_of_one_track(clip, clip_server):
    page = clip.page
    let_go = hold_first(page, "**/api/videos/1/tracks")

    def click_twice():
        page.mouse.click(*clip.at(50, 60))
        page.mouse.click(*clip.at(120, 100), button="right")
        page.wait_for_timeout(200)  # until a second track would have been begun
        let_go()

    answered(clip, click_twice)
    expect(page.locator(".track-row")).to_have_count(1)
    for _ in range(100):
        (one,) = stored(clip_server)
        if len(one.prompts["points"]) == 2:
            break
        page.wait_for_timeout(100)
    assert one.prompts["points"] == [[50, 60], [120, 100]]
    assert one.prompts["labels"] == [1, 0]


def test_what_is_cleared_or_marked_absent_comes_back(clip, clip_server):
    keyframe_of(clip_server)
    page = clip.page
    page.reload()
    page.wait_for_selector(".studio.video[data-shown]")
    page.wait_for_selector(".run.key")
    (drawn,) = stored(clip_server)
    for key, left in (("Delete", 0), ("a", 1), ("Shift+a", NUM_FRAMES)):
        answered(clip, lambda key=key: page.keyboard.press(key))
        assert len(stored(clip_server)) == left
        assert not any(one.area_px for one in stored(clip_server))
        answered(clip, lambda: page.keyboard.press("Control+z"))
        (back,) = stored(clip_server)
        assert (back.kind, back.rle) == (drawn.kind, drawn.rle)


def test_frames_are_filled_with_boxes(clip, clip_server):
    track = keyframe_of(clip_server)
    with Store.open(clip_server.where) as store:
        rle = encode_rle(disc(NUM_FRAMES - 1)[1])
        set_keyframe(store, track.id, NUM_FRAMES - 1, user_id=id_of_ada(store), rle=rle)
    page = clip.page
    page.reload()
    page.wait_for_selector(".studio.video[data-shown]")
    page.wait_for_selector(".run.key")
    page.keyboard.press("ArrowRight")
    answered(clip, lambda: page.get_by_role("button", name="With boxes").click())
    expect(page.locator(".run.interpolated")).to_have_count(1)
    (middle,) = stored(clip_server, 2)
    box = np.zeros(SIZE_HW, bool)
    box[60 - RADIUS : 61 + RADIUS, 74 - RADIUS : 75 + RADIUS] = True
    assert np.array_equal(decode_rle(middle.rle), box)
    page.keyboard.press("ArrowRight")
    answered(clip, lambda: page.keyboard.press("Enter"))  # right, as its neighbours are
    expect(page.locator(".run.interpolated.stale")).to_have_count(0)
    page.keyboard.press("b")
    answered(clip, lambda: clip.drag((20, 20), (30, 20)))
    expect(page.locator(".run.interpolated.stale")).to_have_count(2)
    answered(clip, lambda: page.keyboard.press("Shift+i"))
    expect(page.locator(".run.interpolated.stale")).to_have_count(1)


def test_a_video_is_submitted_looked_at_returned_and_accepted(clip, clip_server, person):
    page = clip.page
    page.keyboard.press("b")
    answered(clip, lambda: clip.drag((40, 60), (60, 60)))
    page.keyboard.press("Control+Enter")
    expect(page.locator(".banner")).to_contain_text("it waits for review")
    expect(page.locator(".rail")).to_be_hidden()
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator(".rail")).to_be_visible()
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".title .badge, .bar > .badge")).to_have_text("submitted")
    rev = person("rev", clip_server).page
    rev.goto(f"{clip_server.url}/#/project/1/videos")
    rev.get_by_role("link", name="Review").click()
    rev.wait_for_selector(".studio.video[data-shown]")
    expect(rev.locator(".rail")).to_be_hidden()  # read-only
    rev.keyboard.press("r")
    rev.get_by_role("textbox", name="Comment").fill("Its left edge.")
    rev.get_by_role("dialog").get_by_role("button", name="Return").click()
    expect(rev.locator(".cards.videos .badge")).to_have_text("returned")
    page.reload()
    expect(page.locator(".banner")).to_contain_text("Returned by rev: Its left edge.")
    page.keyboard.press("b")
    answered(clip, lambda: clip.drag((30, 60), (35, 60)))
    page.keyboard.press("Control+Enter")
    expect(page.locator(".banner")).to_contain_text("it waits for review")
    rev.goto(f"{clip_server.url}/#/video/1")
    rev.get_by_role("button", name="Fix").click()
    expect(rev.locator(".rail")).to_be_visible()
    rev.get_by_role("button", name="Accept").click()
    expect(rev.locator(".cards.videos .badge")).to_have_text("accepted")
    expect(rev.locator(".count")).to_have_count(0)
    rev.goto(f"{clip_server.url}/#/project/1/statistics")
    expect(rev.get_by_role("row", name=re.compile("^Accepted 1 5 1 1 1 2 "))).to_be_visible()


def test_the_list_of_videos(clip_server, person):
    ada = person("ada", clip_server)
    ada.page.goto(f"{clip_server.url}/#/project/1/videos")
    expect(ada.page.locator(".cards.videos h2")).to_have_text("discs")
    ada.page.get_by_role("button", name="Look for videos").click()
    expect(ada.page.locator(".notice").last).to_contain_text("0 videos added")
