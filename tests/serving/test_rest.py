"""REST and WebSocket as programs in any language use them."""

import asyncio
import base64
import io
import json
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from samkit.errors import ConfigError, DataError
from samkit.geometry import decode_rle
from samkit.serving import ServingConfig, add_key, create_app, read_keys
from samkit.types import ImageEmbedding
from serving.conftest import HOST, png

PROBLEM = "application/problem+json"
POINT = {"points": [[20, 10]]}


def is_problem(response, status, *parts):
    """Whether an answer is an RFC 9457 problem on one line."""
    problem = response.json()
    assert response.status_code == problem["status"] == status, problem
    assert response.headers["content-type"] == PROBLEM
    assert problem["type"].startswith("urn:samkit:error:")
    assert problem["title"]
    assert len(problem["detail"].splitlines()) == 1
    return all(part in problem["detail"] for part in parts)


def test_an_image_is_embedded_once(http, content):
    first = http.post("/v1/embed", content=content, headers={"Content-Type": "image/png"}).json()
    form = http.post("/v1/embed", files={"image": content}).json()
    named = http.post("/v1/embed", json={"image": first["image"]}).json()
    assert first["size_hw"] == [40, 56]
    assert form == named == first | {"cached": True}


def test_an_embedding_can_be_fetched(http, sha256, predictor, image, tmp_path):
    answer = http.get(f"/v1/embeddings/{sha256}")
    (tmp_path / "e.safetensors").write_bytes(answer.content)
    embedding = ImageEmbedding.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(embedding.features.grid, predictor.embed(image).features.grid)
    assert is_problem(http.get(f"/v1/embeddings/{'0' * 64}"), 404, "send the image")


def test_masks_come_as_rle_or_png(http, sha256):
    asked = {"image": sha256, **POINT}
    rles = http.post("/v1/predict", json=asked).json()["answers"][0]["masks"]
    pngs = http.post("/v1/predict", json={**asked, "mask_format": "png"}).json()
    for one, other in zip(rles, pngs["answers"][0]["masks"], strict=True):
        mask = decode_rle(one["segmentation"])
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(other["png"]))))
        np.testing.assert_array_equal(drawn, mask)
        assert one["area"] == other["area"] == mask.sum()
        assert "segmentation" not in other


def test_a_form_has_an_image_and_settings(http, content, sha256):
    form = http.post("/v1/predict", files={"image": content}, data={"request": json.dumps(POINT)})
    assert form.json() == http.post("/v1/predict", json={"image": sha256, **POINT}).json()


@pytest.mark.parametrize(
    ("status", "parts", "request_of"),
    [
        (404, ["send the image"], lambda _: {"json": {"image": "0" * 64, **POINT}}),
        (422, ["lies outside"], lambda sha: {"json": {"image": sha, "points": [[99, 1]]}}),
        (422, ["got neither"], lambda _: {"json": POINT}),
        (422, ["points must be"], lambda sha: {"json": {"image": sha, "points": [["a", "b"]]}}),
        (422, ["image:"], lambda _: {"json": {"image": "x", **POINT}}),
        (422, ["mode: Extra"], lambda sha: {"json": {"image": sha, **POINT, "mode": 1}}),
        (422, ["JSON"], lambda _: typed(b"{", "application/json")),
        (422, ["base64"], lambda sha: {"json": logits_of(sha, [1], "#")}),
        (422, ["4,000,000 bytes"], lambda sha: {"json": logits_of(sha, [1000, 1000], "AAAA")}),
        (422, ["40"], lambda sha: {"json": mask_of(sha, {"size": [8, 32], "counts": "PPY83"})}),
        (422, ["a form has"], lambda _: {"files": {"photo": b"x"}}),
        (413, ["too large"], lambda _: {"content": bytes(2**20 + 1)}),
        (400, ["boundary"], lambda _: typed(b"x", "multipart/form-data")),
    ],
)
def test_bad_requests_are_problems_on_one_line(http, sha256, status, parts, request_of):
    assert is_problem(http.post("/v1/predict", **request_of(sha256)), status, *parts)


def typed(content, kind):
    return {"content": content, "headers": {"Content-Type": kind}}


def logits_of(sha256, shape, data):
    return {"image": sha256, "mask_logits": {"shape": shape, "data": data}}


def mask_of(sha256, rle):
    return {"image": sha256, "masks": [rle]}


def test_a_body_is_not_read_beyond_its_limit(http):
    sent = []

    def chunks():
        for _ in range(100):
            sent.append(1)
            yield bytes(2**20)

    assert is_problem(http.post("/v1/embed", content=chunks()), 413, "too large")


def test_words_need_a_text_model(http, sha256):
    answer = http.post("/v1/text", json={"image": sha256, "text": ["a car"]})
    assert is_problem(answer, 501, "--text-model")


def test_automatic_masks_come_line_by_line(http, content):
    settings = {"points_per_side": 2, "mask_format": "png"}
    answer = http.post("/v1/auto", files={"image": content}, data={"request": json.dumps(settings)})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert lines[0]["type"] == "begin"
    assert lines[-1] == {"type": "end", "masks": len(lines) - 2}
    assert all(line["png"] for line in lines[1:-1])
    assert is_problem(http.post("/v1/auto", content=b"no image"), 422, "the image is not an image")


def test_health_model_and_metrics(http, sha256):
    assert http.get("/health/live").json() == {"status": "alive"}
    assert http.get("/health/ready").json() == {"status": "ready"}
    assert http.get("/v1/model").json()["description"]["model"] == "tiny"
    http.post("/v1/predict", json={"image": sha256, **POINT})
    counted = http.get("/metrics").text
    assert 'samkit_requests_total{route="/v1/predict",status="200"}' in counted
    assert 'samkit_embeddings_total{source="memory"}' in counted
    assert "samkit_workers_ready 1.0" in counted
    assert sha256 not in counted


def test_the_openapi_document_describes_bodies_and_answers(http):
    paths = http.get("/openapi.json").json()["paths"]
    assert {"/v1/embed", "/v1/predict", "/v1/text", "/v1/auto", "/v1/track"} < paths.keys()
    body = paths["/v1/predict"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"]["properties"].keys() >= {"points", "image", "boxes"}
    assert body["multipart/form-data"]["schema"]["properties"].keys() == {"image", "request"}
    assert "#/$defs" not in json.dumps(paths)


def test_requests_need_a_key(pool, tmp_path, sha256):
    key = add_key(tmp_path / "keys", "ann")
    keys = read_keys(tmp_path / "keys")
    assert list(keys.values()) == ["ann"]
    assert key not in (tmp_path / "keys").read_text()
    http = TestClient(create_app(pool, ServingConfig(keys=keys)), HOST)
    for headers in ({}, {"Authorization": f"Bearer {key}x"}, {"Authorization": key}):
        for path in ("/v1/model", "/metrics"):
            answer = http.get(path, headers=headers)
            assert is_problem(answer, 401, "Bearer KEY")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    allowed = {"Authorization": f"Bearer {key}"}
    assert http.get("/v1/model", headers=allowed).status_code == 200
    assert http.get("/health/ready").status_code == 200
    with http.websocket_connect(f"/v1/session?image={sha256}") as socket:
        assert socket.receive_json()["status"] == 401
    with http.websocket_connect(f"/v1/session?image={sha256}", headers=allowed) as socket:
        assert socket.receive_json()["type"] == "ready"


def test_keys_have_names_of_their_own(tmp_path, refusal):
    path = tmp_path / "keys"
    with refusal(DataError, "cannot read"):
        read_keys(path)
    add_key(path, "ann")
    add_key(path, "bob")
    assert sorted(read_keys(path).values()) == ["ann", "bob"]
    with refusal(ConfigError, "a key ann already"):
        add_key(path, "ann")
    with refusal(ConfigError, "a key's name"):
        add_key(path, "a b")
    path.write_text("ann secret\n")
    with refusal(ConfigError, "line 1"):
        read_keys(path)


def test_pages_of_other_sites_are_refused(http):
    assert is_problem(http.get("/v1/model", headers={"Origin": "https://evil.example"}), 403)
    assert http.get("/v1/model", headers={"Origin": HOST}).status_code == 200
    with http.websocket_connect("/v1/session", headers={"Origin": "https://evil"}) as socket:
        assert socket.receive_json()["status"] == 403


def test_a_local_server_answers_to_its_own_names(pool):
    app = create_app(pool, ServingConfig(local_only=True))
    assert TestClient(app, "http://evil.example").get("/health/live").status_code == 400
    assert TestClient(app, "http://localhost").get("/health/live").status_code == 200


def test_a_full_queue_is_429_and_nothing_is_lost(pool, config, http, sha256, monkeypatch):
    """Requests beyond the queue are told when to come back; all others are answered."""
    go = threading.Event()
    ask = pool.ask

    async def ask_later(job):
        await asyncio.to_thread(go.wait, 20)
        return await ask(job)

    monkeypatch.setattr(pool, "ask", ask_later)
    answers = []

    def request():
        own = TestClient(http.app, HOST)
        answers.append(own.post("/v1/predict", json={"image": sha256, **POINT}))

    places = config.limits.max_queue + 1
    threads = [threading.Thread(target=request) for _ in range(places + 4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(answers) == 4)
        for answer in answers:
            assert is_problem(answer, 429, "the queue is full")
            assert int(answer.headers["Retry-After"]) >= 1
    finally:
        go.set()
        for thread in threads:
            thread.join()
    assert [answer.status_code for answer in answers[4:]] == [200] * places


def wait_until(is_so):
    """Wait for a condition of another thread."""
    waiting = threading.Event()
    for _ in range(2000):
        if is_so():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not become so")


def test_a_session_is_an_image_session(http, sha256, content, predictor, image):
    own = predictor.session(image)
    for begin in (f"?image={sha256}", ""):
        own.reset()
        with http.websocket_connect(f"/v1/session{begin}") as socket:
            if not begin:
                socket.send_bytes(content)
            assert socket.receive_json() == {"type": "ready", "image": sha256, "size_hw": [40, 56]}

            def ask(**message):
                socket.send_json(message)
                return socket.receive_json()

            def best(answer):
                masks = answer["masks"]
                return decode_rle(max(masks, key=lambda one: one["score"])["segmentation"])

            own.click(20, 10)
            first = best(ask(type="click", x=20, y=10))
            np.testing.assert_array_equal(first, own.mask)
            own.click(4, 4, label=0)
            second = best(ask(type="click", x=4, y=4, label=0))
            np.testing.assert_array_equal(second, own.mask)
            problem = ask(type="click", x=400, y=4)
            assert (problem["type"], problem["status"]) == ("problem", 422)
            assert "lies outside" in problem["detail"]
            np.testing.assert_array_equal(best(ask(type="undo")), first)
            own.undo()
            own.choose(1)
            np.testing.assert_array_equal(best(ask(type="choose", candidate=1)), own.mask)
            own.box(2, 2, 30, 30)
            np.testing.assert_array_equal(best(ask(type="box", box=[2, 2, 30, 30])), own.mask)
            assert ask(type="reset")["masks"] == []
            assert ask(type="jump")["status"] == 422


def test_a_session_needs_an_image(http):
    with http.websocket_connect(f"/v1/session?image={'0' * 64}") as socket:
        assert socket.receive_json()["status"] == 404
    with http.websocket_connect("/v1/session") as socket:
        socket.send_bytes(b"no image")
        assert "not an image" in socket.receive_json()["detail"]


def test_another_image_has_another_hash(http, sha256):
    other = http.post("/v1/embed", content=png(np.zeros((8, 8, 3), np.uint8))).json()
    assert other["image"] != sha256
