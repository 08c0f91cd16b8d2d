"""What axe finds on each page, in the light and in the dark theme, on a phone and on a desk.

Rules are those of WCAG 2.1, levels A and AA, by the package axe-playwright-python.
"""

import pytest
from playwright.sync_api import expect

from samkit.dataengine import Store, add_track, list_users, mark_absent, set_keyframe, take_video
from samkit.geometry import encode_rle

from .conftest import serving
from .test_habits import open_image, paint
from .test_videos import add_clip, disc

pytestmark = pytest.mark.slow
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 720}
# By what is there when a page is shown.
PAGES = {
    "/": ".card.project",
    "/project/1": ".image-card",
    "/project/1/videos": ".cards.videos .card",
    "/project/1/statistics": ".statistics table",
    "/project/1/classes": ".content input",
    "/project/1/model": ".statistics h2",
    "/project/1/team": ".statistics .table-card >> nth=5",
    "/project/1/review": "h1",
    "/users": "caption",
    "/audit": "h1",
}


@pytest.fixture(scope="module")
def hall(tmp_path_factory, plain_backend):
    """A server for this module."""
    with serving(tmp_path_factory.mktemp("hall"), add_followed_clip) as server:
        yield server


def add_followed_clip(server):
    """A clip with a track that is seen in its first frames."""
    add_clip(server)
    with Store.open(server.where) as store:
        ann = next(one.id for one in list_users(store).items if one.name == "ann")
        take_video(store, 1, ann)
        track = add_track(store, 1, user_id=ann)
        for frame in (0, 1):
            set_keyframe(store, track.id, frame, user_id=ann, rle=encode_rle(disc(frame)[1]))
        mark_absent(store, track.id, user_id=ann, first=2, last=4)


def violations(page):
    """What is wrong, a line for each kind with the first place and why."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=RULES).response["violations"]
    places = [(one["id"], one["impact"], one["nodes"][0]) for one in found]
    return [
        f"{rule} ({impact}): {where['html'][:200]}: {where['failureSummary'][:300]}"
        for rule, impact, where in places
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages(person, hall, scheme, size):
    ada = person("ada", on=hall, color_scheme=scheme, viewport=size).page
    faults = {}
    for path, there in PAGES.items():
        ada.goto(f"{hall.url}/#{path}")
        ada.wait_for_selector(there)
        faults[path] = violations(ada)
    assert faults == {path: [] for path in PAGES}


def test_pages_in_chinese(person, hall):
    ada = person("ada", on=hall, color_scheme="light", viewport=PHONE, locale="zh-CN")
    faults = {}
    for path in ("/", "/project/1", "/project/1/classes", "/project/1/team"):
        ada.page.goto(f"{hall.url}/#{path}")
        ada.page.wait_for_selector(f"html[lang=zh-CN] {PAGES[path]}")
        faults[path] = violations(ada.page)
    open_image(ada, 2)
    faults["studio"] = violations(ada.page)
    assert faults == {path: [] for path in faults}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_studio_at_work(person, hall, scheme, size):
    ann = person("ann", on=hall, color_scheme=scheme, viewport=size)
    open_image(ann, 1)
    assert violations(ann.page) == []
    paint(ann, (60, 60), (90, 60))
    expect(ann.page.locator(".workbar").first).to_be_visible()
    assert violations(ann.page) == []
    ann.accept()
    ann.press("?")
    ann.page.wait_for_selector("dialog[open]")
    assert violations(ann.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_video_at_work_and_submitted(person, hall, scheme, size):
    page = person("ann", on=hall, color_scheme=scheme, viewport=size).page
    page.goto(f"{hall.url}/#/video/1")
    page.wait_for_selector(".studio.video[data-shown] .lane")
    page.keyboard.press("b")
    if size == PHONE:
        page.keyboard.press("m")
    expect(page.locator(".track-row")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Control+Enter")
    back = page.get_by_role("button", name="Take it back")
    expect(back).to_be_visible()
    assert violations(page) == []
    back.click()
    expect(back).to_have_count(0)


def test_signing_in(chromium, hall):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(hall.url)
    page.wait_for_selector("form.sign-in")
    assert violations(page) == []
    context.close()
