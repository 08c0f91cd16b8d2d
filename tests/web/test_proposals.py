"""Masks of everything, of what is alike and of what words name, streamed as lines of JSON."""

import json
from dataclasses import replace
from time import monotonic, sleep

import pytest

from samkit.dataengine import read_stored_image
from samkit.geometry import rle_area
from samkit.proposals import AutoMasker, ClassMasker, quick_config, similarity
from samkit.text import load_text_model

from .conftest import run_server


def ready(server):
    """Wait until the server's model is loaded."""
    until = monotonic() + 60
    while server.studio.embedder.model is None and monotonic() < until:
        sleep(0.01)


def test_masks_are_streamed_line_by_line(sqlite_server):
    ready(sqlite_server)
    image_id = sqlite_server.scene.images[0].id
    answer = sqlite_server.ann.get(f"/api/images/{image_id}/proposals")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1] == {"done": True}
    version = sqlite_server.studio.embedder.model.id
    for line in lines[:-1]:
        assert (line["rle"]["size"], line["model_version_id"]) == ([12, 16], version)
        assert rle_area(line["rle"]) > 0
    assert sqlite_server.ann.get("/api/images/99/proposals").status_code == 404


def test_what_goes_wrong_on_the_way_is_the_last_line(sqlite_server, monkeypatch):
    ready(sqlite_server)

    def broken(predictor, embedding):
        raise RuntimeError(f"no {predictor} {embedding}")
        yield

    monkeypatch.setattr("samkit.proposals.stream_masks", broken)
    image_id = sqlite_server.scene.images[0].id
    answer = sqlite_server.ann.get(f"/api/images/{image_id}/proposals")
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {"error": "the masks could not be computed: see the server's log"}
    ]


def lines_of(answer):
    assert answer.status_code == 200
    *lines, last = [json.loads(line) for line in answer.text.splitlines()]
    assert last == {"done": True}
    return lines


def test_likeness_to_saved_masks_is_told(sqlite_server, rle_of):
    ready(sqlite_server)
    image_id = sqlite_server.scene.images[0].id
    path, ann = f"/api/images/{image_id}", sqlite_server.ann
    ann.post(f"{path}/lease")
    made = ann.post(f"{path}/annotations", json={"rle": rle_of(2, 3, 9, 8)}).json()
    lines = lines_of(ann.get(f"{path}/proposals", params={"example": [made["id"]]}))
    assert [line["rle"] for line in lines] == [
        line["rle"] for line in lines_of(ann.get(f"{path}/proposals"))
    ]
    image = sqlite_server.scene.images[0]
    embedding = sqlite_server.studio.embedder.ask(image).result().embedding
    pixels = read_stored_image(sqlite_server.scene.store, image, max_pixels=10**6)
    alike = similarity(embedding, pixels, [made["rle"]], [line["rle"] for line in lines])
    expected = alike * [line["score"] for line in lines]
    assert [line["similarity"] for line in lines] == pytest.approx(list(expected), abs=2e-4)


def test_examples_must_be_masks_of_the_image(sqlite_server):
    ready(sqlite_server)
    path = f"/api/images/{sqlite_server.scene.images[0].id}/proposals"
    answer = sqlite_server.ann.get(path, params={"example": [7]})
    assert (answer.status_code, answer.json()) == (404, {"detail": "image 1 has no mask 7"})
    both = sqlite_server.ann.get(path, params={"example": [7], "words": "car"})
    assert (both.status_code, both.json()["detail"]) == (422, "give example or words, not both")


def test_words_need_a_text_model(sqlite_server):
    ready(sqlite_server)
    assert sqlite_server.ann.get("/api/status").json()["words"] is False
    path = f"/api/images/{sqlite_server.scene.images[0].id}/proposals"
    answer = sqlite_server.ann.get(path, params={"words": "car"})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("start it with --text-model")


def test_what_words_name_is_found(sqlite_scene, config, tiny_predictor, clip_folder):
    """By a CLIP of random weights: the server gives what the library does."""
    clip = load_text_model(clip_folder)
    with_text = replace(config, text_model=str(clip_folder))
    for server in run_server(sqlite_scene, with_text, tiny_predictor):
        ready(server)
        image = server.scene.images[0]
        assert server.ann.get("/api/status").json()["words"] is True
        answer = server.ann.get(f"/api/images/{image.id}/proposals", params={"words": "a car"})
        everything = AutoMasker(tiny_predictor, quick_config(tiny_predictor))
        pixels = read_stored_image(server.scene.store, image, max_pixels=10**6)
        expected = ClassMasker(everything, ["a car"], clip).generate(pixels)
        lines = lines_of(answer)
        assert [line["rle"] for line in lines] == list(expected.rles)
        scores = [round(float(one), 4) for one in expected.phrase_scores]
        assert [line["score"] for line in lines] == scores
