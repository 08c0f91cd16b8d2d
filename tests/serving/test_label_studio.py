"""The backend for Label Studio, asked with what Label Studio 1.23 sends."""

import base64
import json

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from samkit.annotations import read_label_interface
from samkit.errors import ConfigError, DataError, ImageError, PromptError
from samkit.formats import brush_rle
from samkit.geometry import decode_rle
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.serving import (
    LabelStudioImages,
    ServerError,
    ServingConfig,
    add_key,
    create_app,
    read_keys,
)
from samkit.serving.label_studio import MAX_MASKS, prompts_of
from serving.conftest import HOST

STUDIO, KEY, PERSONAL = "http://studio:8080", "0123abcd", "head.body.sign"
IMAGE = '<Image name="img" value="$picture"/>'
LABELS = {name: f'<Label value="{name}"/>' for name in ("cup", "spoon")}
BRUSH = '<BrushLabels name="mask" toName="img">{}</BrushLabels>'
ONE_LABEL = f"<View>{IMAGE}{BRUSH.format(LABELS['cup'])}</View>"
TWO_LABELS = f"<View>{IMAGE}{BRUSH.format(''.join(LABELS.values()))}</View>"


class LabelStudio:
    """Its answers to who fetches images; `asked` has the requests."""

    def __init__(self, content):
        self.content, self.asked = content, []
        self.http = httpx2.Client(
            transport=httpx2.MockTransport(self.answer), follow_redirects=True
        )

    def answer(self, request):
        self.asked.append(request)
        where, given = request.url.path, request.headers.get("authorization")
        if request.url.host == "elsewhere":
            return httpx2.Response(200 if given is None else 400, content=self.content)
        if where == "/api/token/refresh":
            known = json.loads(request.content) == {"refresh": PERSONAL}
            return httpx2.Response(200 if known else 401, json={"access": "short"})
        if given not in (f"Token {KEY}", "Bearer short"):
            return httpx2.Response(401)
        if where == "/tasks/7/resolve/":
            coded = request.url.params["fileuri"]
            assert base64.urlsafe_b64decode(coded) == b"s3://bucket/a.png"
            return httpx2.Response(303, headers={"Location": "https://elsewhere/signed.png"})
        if where == "/data/upload/1/a.png":
            return httpx2.Response(200, content=self.content)
        return httpx2.Response(404)


@pytest.fixture
def studio(content):
    return LabelStudio(content)


def images_of(studio, key=KEY, max_mb=1, **settings):
    return LabelStudioImages(STUDIO, key, max_mb=max_mb, http=studio.http, **settings)


@pytest.fixture
def backend(pool, config, studio):
    """The server, as Label Studio reaches it."""
    app = create_app(pool, config, label_studio=images_of(studio))
    with TestClient(app, f"{HOST}/label-studio", raise_server_exceptions=False) as running:
        yield running


def region(kind, value, **more):
    size = {"original_width": 56, "original_height": 40, "image_rotation": 0}
    return {"type": kind, "value": value, "from_name": "x", "to_name": "img", **size, **more}


def click(x, y, positive=True, label="cup"):
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]}
    return region("keypointlabels", value, is_positive=positive)


def ask(backend, *regions, url="/data/upload/1/a.png", config=ONE_LABEL):
    task = {"id": 7, "data": {"picture": url}, "annotations": [], "inner_id": 1}
    context = {"result": list(regions)} if regions else None
    params = {"login": None, "password": None, "context": context}
    asked = {"tasks": [task], "label_config": config, "project": "3.1", "params": params}
    answer = backend.post("/predict", json=asked)
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["results"]
    return found


def test_the_interface_is_checked_and_the_model_named(backend):
    assert backend.get("/health").json() == {"status": "UP", "model_class": "samkit tiny"}
    good = {"schema": ONE_LABEL, "hostname": STUDIO, "access_token": "x", "extra_params": None}
    assert backend.post("/setup", json=good).json() == {"model_version": "samkit tiny"}
    bad = backend.post("/setup", json=good | {"schema": f"<View>{IMAGE}</View>"})
    assert bad.status_code == 422
    assert "BrushLabels" in bad.json()["detail"]


def test_a_click_gets_the_best_mask(backend, predictor, image):
    found = ask(backend, click(50, 25, label="spoon"), config=TWO_LABELS)
    answer = predictor.predict(predictor.embed(image), points=[[28, 10]], labels=[1], refine="fast")
    best = int(np.argmax(answer.iou_pred))
    (one,) = found["result"]
    assert one["value"]["rle"] == brush_rle(answer.masks[best])
    assert one["value"]["brushlabels"] == ["spoon"]
    assert (one["type"], one["from_name"], one["to_name"]) == ("brushlabels", "mask", "img")
    assert (one["original_width"], one["original_height"]) == (56, 40)
    assert found["score"] == one["score"] == pytest.approx(float(answer.iou_pred[best]))


def test_clicks_and_a_box_are_one_prompt(backend, predictor, image):
    box = region("rectanglelabels", {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0})
    (one,) = ask(backend, box, click(50, 50), click(75, 25, positive=False))["result"]
    answer = predictor.predict(
        predictor.embed(image),
        points=[[28, 20], [42, 10]],
        labels=[1, 0],
        boxes=[14, 10, 42, 30],
        multimask=False,
        refine="fast",
    )
    assert one["value"]["rle"] == brush_rle(answer.masks[0])


def test_an_image_is_fetched_once_for_many_clicks(backend, studio):
    for x in (20, 40, 60):
        ask(backend, click(x, 50))
    assert [str(one.url) for one in studio.asked] == [f"{STUDIO}/data/upload/1/a.png"]


def test_what_is_no_prompt_gets_no_mask(backend, studio):
    stroke = region("brushlabels", {"format": "rle", "rle": [], "brushlabels": ["cup"]})
    assert ask(backend, stroke) == {"model_version": "samkit tiny", "score": 0, "result": []}
    assert studio.asked == []


@pytest.mark.parametrize(("interface", "labels"), [(ONE_LABEL, ["cup"]), (TWO_LABELS, [])])
def test_without_a_drawing_everything_is_masked(
    backend, predictor, image, interface, labels, monkeypatch
):
    config = AutoMaskConfig(points_per_side=4, iou_thresh=0, stability_thresh=0)
    monkeypatch.setattr("samkit.serving.model.quick_config", lambda _: config)
    found = ask(backend, config=interface)
    expected = AutoMasker(predictor, config).generate(image)
    order = np.argsort(-expected.scores, kind="stable")[:MAX_MASKS]
    assert len(order) > 0
    codes = [brush_rle(decode_rle(expected.rles[at])) for at in order]
    assert [one["value"]["rle"] for one in found["result"]] == codes
    assert all(one["value"]["brushlabels"] == labels for one in found["result"])
    ids = {one["id"] for one in found["result"]}
    assert len(ids) == len(found["result"])


def test_a_fault_names_its_task(backend):
    asked = {"tasks": [{"id": 7, "data": {"other": "a"}}], "label_config": ONE_LABEL}
    answer = backend.post("/predict", json=asked)
    assert answer.status_code == 422
    assert "task 7 has no image as 'picture'" in answer.json()["detail"]
    asked["tasks"][0]["data"] = {"picture": "/data/upload/1/lost.png"}
    answer = backend.post("/predict", json=asked)
    assert answer.status_code == 422
    assert "task 7: cannot fetch" in answer.json()["detail"]


def test_its_password_is_the_key(pool, config, studio, tmp_path):
    key = add_key(tmp_path / "keys", "label-studio")
    closed = ServingConfig(limits=config.limits, keys=read_keys(tmp_path / "keys"))
    app = create_app(pool, closed, label_studio=images_of(studio))
    with TestClient(app, f"{HOST}/label-studio") as running:
        assert running.get("/health").status_code == 401
        assert running.get("/health", auth=("samkit", "wrong")).status_code == 401
        assert running.get("/health", auth=("samkit", key)).status_code == 200
        bad = running.get("/health", headers={"Authorization": "Basic %%"})
        assert bad.status_code == 401


def test_without_label_studio_there_is_no_backend(http):
    assert http.get("/label-studio/health").status_code == 404


@pytest.mark.parametrize("key", [KEY, PERSONAL])
@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/1/a.png",
        f"{STUDIO}/data/upload/1/a.png",
        "s3://bucket/a.png",
        "https://elsewhere/images/a.png",
    ],
)
def test_images_are_fetched_from_where_they_are(studio, content, key, url):
    images = images_of(studio, key, prefixes=("https://elsewhere/images/",))
    found = images.fetch(url, 7)
    assert found.content == content
    assert images.known(url).sha256 == found.sha256
    assert images.known("other") is None


@pytest.mark.parametrize("url", ["http://elsewhere/a.png", "https://elsewhere/images-of-others"])
def test_other_servers_are_not_asked(studio, refusal, url):
    images = images_of(studio, prefixes=("https://elsewhere/images/",))
    with refusal(ImageError, url, "--label-studio-images"):
        images.fetch(url, 7)
    assert studio.asked == []


def test_faults_of_fetching_have_a_way_out(studio, refusal):
    with refusal(ServerError, "refuses the API key"):
        images_of(studio, "other").fetch("/data/upload/1/a.png", 7)
    with refusal(ServerError, "make a new one"):
        images_of(studio, "a.b.c").fetch("/data/upload/1/a.png", 7)
    with refusal(ImageError, "status 404"):
        images_of(studio).fetch("/data/upload/1/lost.png", 7)
    studio.content = bytes(2**20 + 1)
    with refusal(ImageError, "larger than 1 MB", "--max-image-mb"):
        images_of(studio).fetch("/data/upload/1/a.png", 7)
    with refusal(ConfigError, "begins with http://"):
        LabelStudioImages("studio:8080", KEY, max_mb=1, http=studio.http)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (click(1, 1) | {"image_rotation": 90}, "rotate them back"),
        (region("keypointlabels", {"x": 3}), "has no 'y'"),
        (region("rectanglelabels", {"x": 3, "y": 4, "width": 5}), "has no 'height'"),
    ],
)
def test_broken_regions_are_refused(refusal, broken, message):
    with refusal(PromptError, message):
        prompts_of([broken])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<View>", "is not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "document type"),
        ("<View/>", "needs an Image"),
        (TWO_LABELS.replace('toName="img"', 'toName="other"'), "needs an Image"),
    ],
)
def test_interfaces_without_a_brush_are_refused(refusal, text, message):
    with refusal(DataError, message):
        read_label_interface(text)


def test_the_brush_and_its_labels_are_found():
    found = read_label_interface(TWO_LABELS)
    assert (found.image, found.key, found.brush) == ("img", "picture", "mask")
    assert found.labels == ("cup", "spoon")
