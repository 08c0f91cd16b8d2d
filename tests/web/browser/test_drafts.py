"""What is drawn but not saved survives crashes of the page and of the browser."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from playwright.sync_api import expect

from samkit.dataengine import Store, replace_annotation, take_image

from .conftest import ARGS, CHROMIUM, PASSWORD, Person
from .test_habits import (  # noqa: F401 - fixtures
    ann,
    day,
    masks_of,
    open_image,
    paint,
    steps,
    wait_for_image,
)
from .test_shapes import pixels

pytestmark = pytest.mark.slow

COUNT_DRAFTS = """() => new Promise((resolve) => {
  const request = indexedDB.open('samkit', 1);
  request.onsuccess = () => {
    const drafts = request.result.transaction('drafts').objectStore('drafts');
    drafts.getAll().onsuccess = ({ target }) => {
      request.result.close();
      resolve(target.result.map((one) => one.draft?.past.length ?? one.corners.points.length));
    };
  };
})"""
BACK = ".notice:has-text('What was not saved is back')"


def wait_for_drafts(one, expected):
    """Wait until the browser has stored drafts of so many steps."""
    deadline = time.monotonic() + 60
    while (found := one.page.evaluate(COUNT_DRAFTS)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def crash(one):
    """Crash the page, and open another one in the same browser."""
    from playwright.sync_api import Error

    with contextlib.suppress(Error):
        one.page.goto("chrome://crash", timeout=5000)
    page = one.page.context.new_page()
    page.set_default_timeout(60_000)
    one.page.close()
    return Person(page, one.server)


def test_strokes_are_back_after_a_crash(ann, day):  # noqa: F811
    open_image(ann, 5)
    paint(ann, (60, 60), (120, 60))
    ann.drag((60, 100), (120, 100))
    ann.press("c")
    ann.page.keyboard.type("star")
    ann.press("Enter")
    wait_for_drafts(ann, [2])
    again = crash(ann)
    open_image(again, 6)  # another image has no draft
    expect(again.page.locator(BACK)).to_have_count(0)
    open_image(again, 5)
    again.page.wait_for_selector(BACK)
    assert steps(again) == "2 steps"
    again.press("Control+z")
    assert steps(again) == "1 step"
    again.press("Control+y")
    again.accept()
    [mask], [annotation] = pixels(day, 5), masks_of(day, 5)
    assert mask[60, 90]
    assert mask[100, 90]
    assert annotation.class_id == 2
    wait_for_drafts(again, [])
    again.page.reload()
    wait_for_image(again, 5)
    assert again.page.locator(".workbar:not(.proposals)").is_hidden()


def test_corners_are_back_and_can_be_thrown_away(ann, day):  # noqa: F811
    open_image(ann, 7)
    ann.press("p")
    for place in ((100, 100), (150, 100), (150, 150)):
        ann.page.mouse.click(*ann.at(*place))
    wait_for_drafts(ann, [3])
    again = crash(ann)
    open_image(again, 7)
    again.page.wait_for_selector(BACK)
    assert again.page.locator(".work-title").inner_text() == "Polygon, 3 corners"
    again.page.click(f"{BACK} button:has-text('Throw away')")
    again.page.wait_for_selector(".workbar", state="hidden")
    wait_for_drafts(again, [])
    # So does Esc; what it cancelled and Ctrl+Z brought back is stored again.
    paint(again, (60, 60), (120, 60))
    wait_for_drafts(again, [1])
    again.press("Escape")
    wait_for_drafts(again, [])
    again.press("Control+z")
    wait_for_drafts(again, [1])
    # Going elsewhere keeps it, in the same tab, too.
    again.page.evaluate("location.hash = '#/image/8'")
    again.page.click("dialog button:has-text('Leave')")
    wait_for_image(again, 8)
    again.page.evaluate("location.hash = '#/image/7'")
    again.page.wait_for_selector(BACK)
    assert steps(again) == "1 step"
    again.press("Escape")


def test_answers_are_back_and_are_continued(person, server, masks):
    ann = person("ann")  # noqa: F811
    before = len(masks(9))  # of other tests on the same server
    ann.open_image(9)
    ann.press("q")
    ann.click(160, 160)
    ann.press("2")
    wait_for_drafts(ann, [2])
    again = crash(ann)
    again.open_image(9)
    again.page.wait_for_selector(BACK)
    expect(again.page.locator(".candidate")).to_have_count(3)
    assert again.page.get_attribute("[data-key=candidate-1]", "aria-pressed") == "true"
    again.click(40, 40, button="right")
    assert again.page.get_attribute(".workbar", "data-prompts") == "2"
    again.accept()
    [*others, (mask, annotation)] = masks(9)
    assert len(others) == before
    assert mask.any()
    assert annotation.num_clicks == 2


def test_corrections_of_a_saved_mask(ann, day):  # noqa: F811
    open_image(ann, 8)
    for y in (60, 120):
        paint(ann, (60, y), (120, y))
        ann.accept()
    for change in (False, True):
        before = len(masks_of(day, 8))
        ann.press("n" if not change else "Shift+n")
        paint(ann, (200, 200), (220, 200))
        wait_for_drafts(ann, [1])
        if change:  # in another place, meanwhile
            with Store.open(day.where) as store:
                [*_, last] = masks_of(day, 8)
                user = last.user_id
                take_image(store, 8, user)
                replace_annotation(
                    store,
                    last.id,
                    rle=last.rle,
                    class_id=1,
                    events=[],
                    user_id=user,
                    version=last.version,
                )
        ann = crash(ann)
        open_image(ann, 8)
        ann.page.wait_for_selector(BACK)
        title = ann.page.locator(".work-title")
        assert title.inner_text().startswith("New mask" if change else "Mask ")
        ann.accept()
        found = pixels(day, 8)
        assert len(found) == before + change
        assert sum(mask[200, 210] for mask in found) == 1 + change
        wait_for_drafts(ann, [])


def test_another_tab_leaves_the_draft_at_work_alone(ann, day):  # noqa: F811
    open_image(ann, 10)
    paint(ann, (60, 60), (120, 60))
    wait_for_drafts(ann, [1])
    other = Person(ann.page.context.new_page(), day)
    open_image(other, 10)
    assert other.page.locator(".workbar:not(.proposals)").is_hidden()
    paint(other, (60, 160), (120, 160))
    wait_for_drafts(other, [1, 1])
    other.accept()
    wait_for_drafts(ann, [1])
    ann.press("Escape")


@pytest.fixture
def browser(tmp_path):
    """Chromium with a folder of its own, as a process that can be killed."""
    started = []

    def start(kind):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            CHROMIUM,
            *ARGS,
            "--headless",
            f"--remote-debugging-port={port}",
            f"--user-data-dir={tmp_path}",
        ]
        log = (tmp_path / "log").open("ab")
        process = subprocess.Popen(command, stderr=log, start_new_session=True)
        log.close()
        started.append(process)
        return process, connect(kind, f"http://127.0.0.1:{port}")

    yield start
    for process in started:
        kill(process)


def connect(kind, url):
    """Connect to a browser as soon as it answers."""
    from playwright.sync_api import Error

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(Error):
            return kind.connect_over_cdp(url)
        time.sleep(0.2)
    raise AssertionError(url)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_browser_has_the_draft(browser, chromium, day):  # noqa: F811
    for turn in range(2):
        process, connected = browser(chromium.browser_type)
        context = connected.contexts[0]
        answer = context.request.post(
            f"{day.url}/api/session",
            data={"name": "ann", "password": PASSWORD},
            headers={"Origin": day.url},
        )
        assert answer.ok
        one = Person(context.new_page(), day)
        open_image(one, 11)
        if turn == 0:
            paint(one, (60, 60), (120, 60))
            one.drag((60, 100), (120, 100))
            wait_for_drafts(one, [2])
            kill(process)
        else:
            one.page.wait_for_selector(BACK)
            assert steps(one) == "2 steps"
            one.accept()
    [mask] = pixels(day, 11)
    assert mask[60, 90]
    assert mask[100, 90]
    assert np.count_nonzero(mask) > 2000
