"""Fixtures: Chromium on a server with the embedded weights, its users and images."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = os.environ.get("SAMKIT_TEST_BROWSER") == "required"
PASSWORD = "a long enough password"
NUM_IMAGES, SIDE = 12, 320
# Without background networking: a browser in a closed network would wait for its maker's hosts.
ARGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    lacking = None
    try:
        import playwright  # noqa: F401
    except ImportError:
        lacking = "playwright is not installed: pip install 'samkit[test]'"
    if not CHROMIUM.exists():
        lacking = f"there is no {CHROMIUM}: install Debian's package chromium"
    for item in items:
        if here in item.path.parents:
            # Beside other tests on two cores, Chromium is sometimes later than any reasonable wait.
            item.add_marker(pytest.mark.flaky(reruns=1))
            if lacking is not None and not REQUIRED:
                item.add_marker(pytest.mark.skip(reason=lacking))


servers = set()  # that have begun and not ended


class Server:
    """A server process on a store and a folder of images; it can be stopped and started again."""

    def __init__(self, folder, images, hint_s=30, max_megapixels=100, model="mobile_sam_tuned"):
        self.hint_s, self.max_megapixels, self.model = hint_s, max_megapixels, model
        # All servers of a test run show the same scenes, which are encoded once: folders of the
        # processes of pytest-xdist are in one of the run.
        run = folder.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else folder.parent
        self.cache = run / "embeddings"
        self.where, self.images = folder / "store.db", images
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        script = Path(__file__).with_name("server_process.py")
        paths = (script, self.where, self.images, self.cache)
        settings = (self.port, self.hint_s, self.max_megapixels, self.model)
        command = [sys.executable, *paths, *map(str, settings)]
        log = (self.where.parent / "server.log").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        log.close()
        assert self.process.stdout.readline().decode().startswith(self.url)
        servers.add(self)

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stdout.close()

    def end(self):
        servers.remove(self)
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)

    def remember(self):
        """Copy the store, for `put_back`."""
        with connect(self.where) as store, connect(self.copy) as copy:
            store.backup(copy)

    def put_back(self):
        """Serve the store again as it was when last remembered."""
        if self.process.poll() is None:
            self.stop()
        for part in ("", "-wal", "-shm"):
            self.where.with_name(self.where.name + part).unlink(missing_ok=True)
        self.copy.replace(self.where)
        self.start()

    @property
    def copy(self):
        return self.where.with_suffix(".copy")


def connect(path):
    return closing(sqlite3.connect(path))


def make_images(folder):
    from samkit.datasets.synthetic import Scenes

    folder.mkdir()
    scenes = Scenes(count=NUM_IMAGES, size=SIDE, seed=5)
    for i in range(NUM_IMAGES):
        path = folder / f"scene-{i:02}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(scenes[i].image[..., ::-1]))


def make_project(where, images, name="scenes"):
    from samkit.dataengine import Store, add_class, add_images, create_project, create_user

    with Store.open(where) as store:
        project = create_project(store, name=name, root=images)
        add_images(store, project.id)
        for one, role in (("ada", "admin"), ("ann", "annotator"), ("rev", "reviewer")):
            create_user(store, name=one, role=role, password=PASSWORD)
        for one in ("disc", "star"):
            add_class(store, project.id, one)


@contextmanager
def serving(folder, prepare=lambda _: None, **settings):
    """Serve a project of images and people of its own; `prepare` changes it before it is served."""
    make_images(folder / "images")
    server = Server(folder, folder / "images", **settings)
    make_project(server.where, server.images)
    prepare(server)
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory, plain_backend):
    """A server for the tests of one file, so that no file's tests find what another's have left."""
    with serving(tmp_path_factory.mktemp("studio")) as server:
        yield server


@pytest.fixture(autouse=True)
def as_the_first_time(request):
    """A test's second try finds what its first one found."""
    for server in servers:
        if request.node.execution_count > 1 and server.copy.exists():
            server.put_back()
        else:
            server.remember()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory, server):
    """A server that may be stopped."""
    own = Server(tmp_path_factory.mktemp("own"), server.images, hint_s=1)
    make_project(own.where, own.images)
    own.start()
    yield own
    own.end()


@pytest.fixture(scope="session")
def launch():
    """Start a Chromium, with arguments beside the usual ones; there is one Playwright only."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # on a busy machine
    with sync_playwright() as playwright:

        @contextmanager
        def launched(*args):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGS, *args])
            yield browser
            browser.close()

        yield launched


@pytest.fixture(scope="session")
def chromium(launch):
    with launch() as browser:
        yield browser


@pytest.fixture(scope="session")
def predictor():
    from samkit import Predictor

    return Predictor.load(backend="torch", precision="float32")


class Person:
    """Somebody at the page."""

    def __init__(self, page, server):
        self.page, self.server = page, server

    def open_image(self, number):
        """Open an image in the studio, and wait until it can be prompted."""
        self.page.goto(f"{self.server.url}/#/image/{number}")
        # Both say that it is open: the image is on the screen, the model is ready.
        self.page.wait_for_selector(".stage[data-view]")
        self.page.wait_for_selector(f".studio[data-image='{number}'][data-ready]")

    def view(self):
        """Where the image is on the stage: x, y, scale."""
        return [float(value) for value in self.page.get_attribute(".stage", "data-view").split()]

    def place_of(self, x, y):
        """The place in the image that is at a place on the screen."""
        left, top, scale = self.view()
        box = self.page.locator(".stage").bounding_box()
        return [(x - box["x"] - left) / scale, (y - box["y"] - top) / scale]

    def at(self, x, y):
        """The place on the screen of the middle of a pixel of the image."""
        left, top, scale = self.view()
        box = self.page.locator(".stage").bounding_box()
        return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale

    def click(self, x, y, **options):
        self.page.mouse.click(*self.at(x, y), **options)
        self.wait_for_answer()

    def drag(self, *places):
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=4)
        self.page.mouse.up()

    def wait_for_answer(self):
        self.page.wait_for_selector(".workbar:not([data-waits])")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def wait_until_saved(self):
        # Attached: narrow screens hide the words.
        self.page.wait_for_selector(".save-state:text-is('Saved')", state="attached")

    def accept(self):
        self.press("Enter")
        self.page.wait_for_selector(".workbar", state="hidden")
        self.wait_until_saved()


@pytest.fixture
def person(chromium, server):
    """Opens browsers of people, signed in; nothing may go wrong in a page unnoticed."""
    contexts, faults = [], []

    def sign_in(name, on=server, *, fresh=True, decoder="server", **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
        contexts.append(context)
        answer = context.request.post(
            f"{on.url}/api/session",
            data={"name": name, "password": PASSWORD},
            headers={"Origin": on.url},
        )
        assert answer.ok, answer.text()
        if fresh:  # without what an earlier test has set
            headers = {"Origin": on.url, "X-CSRF-Token": answer.json()["csrf_token"]}
            path = f"{on.url}/api/session/settings"
            # Masks are compared with the library's: the server gives exactly these.
            settings = {"decoder": decoder}
            assert context.request.put(path, data={"settings": settings}, headers=headers).ok
        page = context.new_page()
        page.set_default_timeout(60_000)  # on a busy machine
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda one: faults.append(one.text) if is_bad(one) else None)
        return Person(page, on)

    yield sign_in
    for context in contexts:
        context.close()
    assert faults == []


def is_bad(message):
    """Whether a message shows a bug, other than a refused request or a lost connection."""
    expected = re.search(r"Failed to load resource|WebSocket connection", message.text)
    return message.type in ("error", "warning") and not expected


@pytest.fixture
def masks(server):
    """What the store holds of an image: masks (H, W) with their annotations."""
    from pycocotools import mask as coco_mask

    from samkit.dataengine import Store, list_annotations

    def read(number, on=server):
        with Store.open(on.where) as store:
            found = list_annotations(store, number)
        return [(coco_mask.decode(one.rle).astype(bool), one) for one in found]

    return read


@pytest.fixture
def library(server, predictor):
    """The library on the same images."""

    def embed(number):
        return predictor.embed(server.images / f"scene-{number - 1:02}.png")

    return embed


@pytest.fixture
def disc():
    """Pixels whose middles are within a radius of places (N, 2), or of the lines between them."""

    def make(places, radius):
        ys, xs = np.mgrid[:SIDE, :SIDE] + 0.5
        covered = np.zeros((SIDE, SIDE), bool)
        for (ax, ay), (bx, by) in zip(places, [*places[1:], places[-1]], strict=True):
            length = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9)
            part = np.clip(((xs - ax) * (bx - ax) + (ys - ay) * (by - ay)) / length, 0, 1)
            near = np.hypot(xs - ax - part * (bx - ax), ys - ay - part * (by - ay)) <= radius
            covered |= near
        return covered

    return make
