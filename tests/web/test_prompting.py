"""The prompt socket: the library's answers, clicks before previews, bad messages, access."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from conftest import randomise_weights
from samkit import Predictor
from samkit.dataengine import (
    Store,
    add_images,
    close_sign_in,
    create_project,
    create_user,
    list_images,
)
from samkit.geometry import decode_rle, encode_rle
from samkit.models import CONFIGS, Sam
from samkit.web import WebConfig, create_app, prompting

from .conftest import HOST, Browser, TestClient


class Page:
    """What the page does with a connection."""

    def __init__(self, socket):
        self.socket = socket
        self.ready = None

    def wait_until_ready(self):
        assert self.socket.receive_json()["type"] == "state"
        self.ready = self.socket.receive_json()
        assert self.ready["type"] == "ready"
        return self

    def send(self, **message):
        self.socket.send_text(json.dumps(message))

    def wait_until_read(self):
        """Wait for the answer to a malformed message, which does not queue."""
        self.socket.send_text("read?")
        assert self.socket.receive_json()["type"] == "error"

    def ask(self, number=1, kind="prompt", **message):
        self.send(type=kind, id=number, **message)
        return self.socket.receive_json()


def connect(browser, image_id, **headers):
    path = f"/api/images/{image_id}/prompt"
    return browser.websocket_connect(path, headers={"Origin": HOST, **headers})


@pytest.fixture
def image(shared_server):
    return shared_server.scene.images[1]


@pytest.fixture
def page(shared_server, image):
    with connect(shared_server.ann, image.id) as socket:
        yield Page(socket).wait_until_ready()


class BusyThreads:
    """All threads for prompts, held until `let_go`."""

    def __init__(self, pool, num_threads, monkeypatch):
        self._gate, self._taken = threading.Event(), threading.Event()
        started = threading.Barrier(num_threads + 1)
        self._work = [pool.submit(0, lambda: self._hold(started)) for _ in range(num_threads)]
        started.wait(10)
        submit = pool.submit

        def note_and_submit(*args, **kwargs):
            future = submit(*args, **kwargs)
            self._taken.set()
            return future

        monkeypatch.setattr(pool, "submit", note_and_submit)

    def _hold(self, started):
        started.wait(10)
        return self._gate.wait(60)

    def wait_until_taken(self):
        """Wait until a prompt is with the threads; that it was read does not say so."""
        assert self._taken.wait(10)

    def let_go(self):
        self._gate.set()
        assert all(one.result(10) for one in self._work)


@pytest.fixture
def busy(shared_server, page, monkeypatch):
    studio = shared_server.studio
    threads = BusyThreads(studio.prompts, studio.config.prompt_threads, monkeypatch)
    yield threads
    threads.let_go()


@pytest.fixture
def expected(shared_server, image, tiny_predictor):
    """What the library answers to the same prompt on the same image."""
    pixels = np.full((*image.size_hw, 3), 20, np.uint8)
    embedding = tiny_predictor.embed(pixels)
    return lambda **prompt: tiny_predictor.predict(embedding, **prompt)


def rles(prediction):
    return [encode_rle(mask) for mask in prediction.masks]


def test_answers_are_those_of_the_library(page, expected):
    answer = page.ask(points=[[3, 4], [9, 2]], labels=[1, 0])
    library = expected(points=[[3, 4], [9, 2]], labels=[1, 0])
    assert answer["id"] == 1
    assert [one["rle"] for one in answer["masks"]] == rles(library)
    assert [one["iou_pred"] for one in answer["masks"]] == library.iou_pred.tolist()
    assert answer["best"] == library.iou_pred.argmax()
    assert [0 <= one["stability"] <= 1 for one in answer["masks"]] == [True] * 3


def test_box_and_single_mask(page, expected):
    answer = page.ask(box=[2, 2, 10, 9], multimask=False)
    library = expected(boxes=[2, 2, 10, 9], multimask=False)
    assert [one["rle"] for one in answer["masks"]] == rles(library)
    both = page.ask(box=[2, 2, 10, 9], points=[[4, 4]], labels=[0])
    library = expected(boxes=[2, 2, 10, 9], points=[[4, 4]], labels=[0])
    assert [one["rle"] for one in both["masks"]] == rles(library)


def test_prompt_goes_on_from_an_earlier_answer(page, expected):
    page.ask(7, points=[[3, 4]], labels=[1])
    more = {"points": [[3, 4], [8, 8]], "labels": [1, 0], "multimask": False}
    answer = page.ask(8, continue_from={"id": 7, "candidate": 2}, **more)
    first = expected(points=[[3, 4]], labels=[1])
    library = expected(mask_logits=first.logits[2], **more)
    assert [one["rle"] for one in answer["masks"]] == rles(library)
    beyond = page.ask(9, continue_from={"id": 8, "candidate": 1}, **more)
    assert beyond["detail"] == "continue_from must be a mask of a recent answer"


def test_only_recent_answers_are_cached(page):
    for number in range(prompting.ANSWERS_CACHED + 1):
        page.ask(number, points=[[3, 4]], labels=[1])
    for number, kind in ((0, "error"), (1, "masks")):
        body = {"points": [[3, 4]], "labels": [1], "continue_from": {"id": number, "candidate": 0}}
        assert page.ask(99, **body)["type"] == kind


def test_preview_is_the_best_mask_and_small(shared_server, page, expected):
    answer = page.ask(5, "preview", points=[[3, 4]], labels=[1])
    best = expected(points=[[3, 4]], labels=[1]).best()
    assert answer == {
        "type": "preview",
        "id": 5,
        "model_version_id": shared_server.studio.embedder.model.id,
        "mask": {"rle": rles(best)[0]},
        "box": [0, 0, *best.masks.shape[:0:-1]],
    }


def test_each_answer_names_the_model_version_that_made_it(sqlite_server):
    """A page that stays open while the model is swapped gets answers of two versions."""
    image, embedder = sqlite_server.scene.images[1], sqlite_server.studio.embedder
    click = {"points": [[3, 4]], "labels": [1]}
    with connect(sqlite_server.ann, image.id) as socket:
        page = Page(socket).wait_until_ready()
        before = page.ask(1, **click)["model_version_id"]
        served = embedder.served()
        assert before == served.version.id
        embedder._served = replace(served, version=replace(served.version, id=before + 1))
        assert page.ask(2, **click)["model_version_id"] == before + 1
        assert page.ask(3, "preview", **click)["model_version_id"] == before + 1


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ('{"type": "sing"}', "tag 'sing'"),
        ('{"type": "prompt"}', "id: Field required"),
        ('{"type": "prompt", "id": 1}', "a prompt needs text, points"),
        ('{"type": "prompt", "id": 1, "points": [[1, 2]]}', "must agree in number"),
        ('{"type": "prompt", "id": 1, "points": [[1, 99]], "labels": [1]}', "lies outside"),
        ('{"type": "prompt", "id": 1, "points": [[1, NaN]], "labels": [1]}', "finite"),
        ('{"type": "prompt", "id": 1, "points": [[1]], "labels": [1]}', "points.0.1: Field req"),
        ('{"type": "prompt", "id": 1, "points": [[1, 2]], "labels": [7]}', "labels.0"),
        ('{"type": "prompt", "id": 1, "box": [5, 5, 1, 1]}', "a box is x0, y0, x1, y1"),
        ('{"type": "prompt", "id": 1, "box": [1e999, 5, 1, 1]}', "finite"),
        ('{"type": "prompt", "id": -1, "box": [1, 1, 2, 2]}', "id"),
        (
            '{"type": "prompt", "id": 1, "continue_from": {"id": 5, "candidate": 0}}',
            "must be a mask",
        ),
        ('{"type": "preview", "id": 1, "box": [1, 1, 2, 2]}', "box"),
        ("[" * 50_000, "JSON"),
        (json.dumps({"type": "prompt", "id": 1, "points": [[1, 1]] * 300}), "at most 64 items"),
    ],
)
def test_bad_messages_are_told_and_the_connection_stays(text, part, page):
    page.socket.send_text(text)
    answer = page.socket.receive_json()
    assert (answer["type"], part in answer["detail"]) == ("error", True), answer
    assert len(answer["detail"].splitlines()) == 1
    assert page.ask(points=[[3, 4]], labels=[1])["type"] == "masks"


def test_bytes_are_told_too(page):
    page.socket.send_bytes(b"\x00\xff")
    assert page.socket.receive_json()["type"] == "error"
    assert page.ask(points=[[3, 4]], labels=[1])["type"] == "masks"


def test_clicks_go_first_and_old_previews_are_dropped(busy, page):
    """While all threads are busy, previews and then a click come in."""
    page.send(type="preview", id=1, points=[[1, 4]], labels=[1])
    busy.wait_until_taken()
    for number in range(2, 6):
        page.send(type="preview", id=number, points=[[number, 4]], labels=[1])
    page.send(type="prompt", id=6, points=[[3, 4]], labels=[1])
    page.wait_until_read()
    busy.let_go()
    answers = [page.socket.receive_json()["id"] for _ in range(3)]
    # The first preview was taken at once; of the others the newest is left, after the click.
    assert answers == [1, 6, 5]


def test_too_many_prompts_are_refused(busy, page):
    page.send(type="prompt", id=99, points=[[3, 4]], labels=[1])
    busy.wait_until_taken()
    for number in range(prompting.MAX_WAITING + 1):
        page.send(type="prompt", id=number, points=[[3, 4]], labels=[1])
    refused = page.socket.receive_json()
    assert (refused["id"], refused["detail"]) == (
        prompting.MAX_WAITING,
        "too many prompts are waiting for an answer",
    )


def closing_code(socket):
    with pytest.raises(WebSocketDisconnect) as caught:
        socket.receive_json()
    return caught.value.code


def test_who_may_not_is_told_by_the_closing_code(shared_server, image):
    for browser, image_id, headers, code in (
        (shared_server.stranger, image.id, {}, 4401),
        (shared_server.ann, image.id, {"Origin": "http://evil.example"}, 4403),
        (shared_server.ann, image.id, {"Origin": "null"}, 4403),
        (shared_server.ann, 99, {}, 4404),
        (shared_server.ann, 2**80, {}, 4404),
    ):
        with connect(browser, image_id, **headers) as socket:
            assert closing_code(socket) == code


def test_request_without_an_origin_is_refused(shared_server, image):
    browser = Browser(shared_server.app, shared_server.scene.ann)
    del browser.headers["Origin"]
    with browser.websocket_connect(f"/api/images/{image.id}/prompt") as socket:
        assert closing_code(socket) == 4403


def test_session_that_ends_elsewhere_ends_the_connection(sqlite_server, monkeypatch):
    image = sqlite_server.scene.images[1]
    with connect(sqlite_server.ann, image.id) as socket:
        page = Page(socket).wait_until_ready()
        close_sign_in(sqlite_server.scene.store, sqlite_server.ann.cookies["samkit_session"])
        assert page.ask(points=[[3, 4]], labels=[1])["type"] == "masks"  # checked a moment ago
        monkeypatch.setattr(prompting, "CHECK_EVERY_S", 0.0)
        page.send(type="prompt", id=2, points=[[3, 4]], labels=[1])
        assert closing_code(socket) == 4401


def test_image_that_cannot_be_encoded_is_told(shared_server, image_folder):
    image = shared_server.scene.images[0]
    path = image_folder / image.path
    content = path.read_bytes()
    path.write_bytes(content + b"changed")
    try:
        with connect(shared_server.ann, image.id) as socket:
            assert socket.receive_json()["type"] == "state"
            message = socket.receive_json()
            assert message["type"] == "unreadable"
            assert "has changed since it was added" in message["detail"]
            assert closing_code(socket) == 4422
    finally:
        path.write_bytes(content)


def test_error_that_nobody_has_foreseen_is_told(sqlite_server, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(sqlite_server.studio.embedder, "_encode", fail)
    with connect(sqlite_server.ann, sqlite_server.scene.images[1].id) as socket:
        assert socket.receive_json()["type"] == "state"
        assert socket.receive_json()["detail"] == "something went wrong on the server"
        assert closing_code(socket) == 1011
    assert "a secret of the server" in caplog.text


def test_connection_that_is_gone_waits_for_no_image(sqlite_server, monkeypatch):
    embedder, begun, gate = sqlite_server.studio.embedder, threading.Event(), threading.Event()
    embedder._pool.submit(0, lambda: begun.set() or gate.wait(30))
    assert begun.wait(60)
    image = sqlite_server.scene.images[1]
    with connect(sqlite_server.ann, image.id) as socket:
        assert socket.receive_json() == {"type": "state", "encoded": False}
    with connect(sqlite_server.ann, sqlite_server.scene.images[2].id) as socket:
        assert socket.receive_json()["type"] == "state"
        gate.set()
        assert socket.receive_json()["type"] == "ready"
    assert not any(image.pixels_key in key for key in embedder._cached)


def test_embedded_model_answers_as_the_library_does(tmp_path):
    """End to end with the default weights, on an image larger than the model space."""
    from PIL import Image
    from skimage import data

    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(data.coffee()).resize((1500, 1000)).save(folder / "coffee.png")
    predictor = Predictor.load(backend="torch", precision="float32")
    library = predictor.predict(
        predictor.embed(folder / "coffee.png"), points=[[700, 500]], labels=[1]
    )
    with Store.open(tmp_path / "store.db") as store:
        project = create_project(store, name="p", root=folder)
        add_images(store, project.id)
        user = create_user(store, name="u")
        (image,) = list_images(store, project.id).items
        app = create_app(
            store,
            load_predictor=lambda: predictor,
            config=WebConfig(cache_folder=tmp_path / "embeddings"),
        )
        with TestClient(app), connect(Browser(app, user.id), image.id) as socket:
            answer = Page(socket).wait_until_ready().ask(points=[[700, 500]], labels=[1])
    for mine, mask in zip(answer["masks"], library.masks, strict=True):
        assert (decode_rle(mine["rle"]) == mask).all()
    assert 0.01 < library.best().masks.mean() < 0.9


@pytest.mark.parametrize("refine", ["fast", "best"])
def test_a_server_refines_answers_as_the_library_does(tmp_path, refine):
    """Also of an image whose embedding is read from disk, so that its pixels are not known yet."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    model = Sam(CONFIGS["tiny"])
    randomise_weights(model)
    config = WebConfig(cache_folder=tmp_path / "embeddings", refine=refine)
    clicks = {"points": [[150, 140], [160, 150], [30, 20]], "labels": [1, 1, 0]}
    with Store.open(tmp_path / "store.db") as store:
        project = create_project(store, name="p", root=folder)
        add_images(store, project.id)
        user = create_user(store, name="u")
        (image,) = list_images(store, project.id).items
        for _ in range(2):  # the second one finds the embedding on disk
            predictor = small_disc(Predictor(model, model_name="tiny"))
            app = create_app(store, load_predictor=lambda: predictor, config=config)  # noqa: B023
            with TestClient(app), connect(Browser(app, user.id), image.id) as socket:
                page = Page(socket).wait_until_ready()
                answers = [page.ask(1, **clicks, multimask=False)]
                more = {"continue_from": {"id": 1, "candidate": 0}, "multimask": False}
                answers.append(page.ask(2, **clicks, **more))
            embedding = predictor.embed(pixels)
            first = predictor.predict(embedding, **clicks, multimask=False, refine=refine)
            second = predictor.predict(
                embedding, **clicks, multimask=False, refine=refine, mask_logits=first.logits[0]
            )
            for answer, library in zip(answers, (first, second), strict=True):
                assert (library.details is not None) == (refine == "best")
                assert [one["rle"] for one in answer["masks"]] == list(library.rles())
                stability = answer["masks"][0]["stability"]
                assert stability == pytest.approx(library.stability()[0])


def small_disc(predictor):
    """A predictor that sees a small disc in an image of 400 x 300 pixels, and crops as it does."""
    y, x = np.mgrid[:32, :32]
    disc = (4 * (3 - np.hypot(x - 12, y - 11))).astype(np.float32)
    decode = predictor.decoder.decode

    def answer(embedding, prompts, *, multimask):
        found = decode(embedding, prompts, multimask=multimask)
        if embedding.coords.original_hw != (300, 400):
            return found
        return replace(found, logits=np.broadcast_to(disc, found.logits.shape).copy())

    predictor.decoder.decode = answer
    return predictor
