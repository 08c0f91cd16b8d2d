"""The client: the same masks and errors as a local predictor, whatever way the image goes."""

from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from samkit.errors import ConfigError, ImageError, PromptError, VideoError
from samkit.predict import Predictor
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.serving import (
    Client,
    EmbeddedImage,
    ServedModel,
    ServerError,
    ServingConfig,
    ThreadWorker,
    UnknownImageError,
    WorkerPool,
    create_app,
)
from samkit.video import VideoPredictor
from serving.conftest import HOST, draw, png
from stub_detector import StubDetector
from video.clips import write_clip

PROMPTS = {
    "a point": {"points": [[20, 10]], "labels": [1]},
    "points": {"points": np.array([[20.5, 10], [3, 4]]), "labels": np.array([1, 0])},
    "points of several": {
        "points": [[[20, 10], [1, 1]], [[5, 30], [2, 2]]],
        "labels": [[1, 0]] * 2,
    },
    "unequal points": {"points": [[[20, 10]], [[5, 30], [2, 2]]]},
    "a box": {"boxes": [4, 4, 30, 30], "multimask": False},
    "boxes": {"boxes": np.array([[4, 4, 30, 30], [0, 0, 50, 20]]), "points": [[[9, 9]], [[5, 5]]]},
    "a mask": {"mask_logits": np.arange(40 * 56).reshape(40, 56) % 7 > 3, "boxes": [4, 4, 30, 30]},
    "masks": {
        "mask_logits": np.arange(2 * 40 * 56).reshape(2, 1, 40, 56) % 7 > 3,
        "boxes": [[4, 4, 30, 30], [0, 0, 50, 20]],
    },
    "refined": {"points": [[20, 10]], "multimask": False, "refine": "best"},
    "fine": {"points": [[20, 10]], "fine": True},
}


@pytest.mark.parametrize("name", PROMPTS)
def test_masks_are_those_of_a_local_predictor(client, predictor, image, name):
    expected = predictor.predict(predictor.embed(image), **PROMPTS[name])
    answer = client.predict(image, **PROMPTS[name])
    np.testing.assert_array_equal(answer.masks, expected.masks)
    np.testing.assert_allclose(answer.iou_pred, expected.iou_pred, rtol=1e-5)
    np.testing.assert_array_equal(answer.best().masks, expected.best().masks)


def test_logits_of_an_answer_refine_the_next_one(client, predictor, image):
    embedding = predictor.embed(image)
    first = predictor.predict(embedding, points=[[20, 10]])
    asked = client.predict(image, points=[[20, 10]], logits=True)
    np.testing.assert_array_equal(asked.logits, first.logits)
    more = {"points": [[20, 10], [4, 4]], "labels": [1, 0], "multimask": False}
    expected = predictor.predict(embedding, mask_logits=first.best().logits, **more)
    answer = client.predict(image, mask_logits=asked.best().logits, **more)
    np.testing.assert_array_equal(answer.masks, expected.masks)


def test_an_image_is_sent_once_and_again_when_it_was_forgotten(client, http, monkeypatch, spec):
    bodies = []
    request = http.request
    monkeypatch.setattr(
        http, "request", lambda *args, **given: bodies.append(given) or request(*args, **given)
    )
    pixels = draw(5)
    first = client.predict(pixels, points=[[20, 10]])
    again = client.predict(pixels, points=[[20, 10]])
    np.testing.assert_array_equal(again.masks, first.masks)
    assert ["files" in body for body in bodies] == [True, False]
    for number in range(spec.embeddings_cached):  # these take its place in memory
        client.embed(draw(100 + number))
    for file in spec.cache_folder.iterdir():
        file.unlink()
    del bodies[:]
    again = client.predict(pixels, points=[[20, 10]])
    np.testing.assert_array_equal(again.masks, first.masks)
    assert ["files" in body for body in bodies] == [False, True]


def test_an_embedded_image_is_asked_by_its_hash(client, image):
    embedded = client.embed(image)
    assert embedded.size_hw == (40, 56)
    answer = client.predict(embedded, points=[[20, 10]])
    np.testing.assert_array_equal(answer.masks, client.predict(image, points=[[20, 10]]).masks)
    with pytest.raises(UnknownImageError):
        client.predict(EmbeddedImage(sha256="0" * 64, size_hw=(1, 1)), points=[[20, 10]])


def test_images_are_paths_bytes_or_pixels(client, image, tmp_path):
    (tmp_path / "image.png").write_bytes(png(image))
    same = {client.embed(one).size_hw for one in (tmp_path / "image.png", png(image), image)}
    assert same == {(40, 56)}
    with pytest.raises(ImageError, match=r"cannot read .*none\.png"):
        client.embed(tmp_path / "none.png")


def test_automatic_masks_are_those_of_a_local_masker(client, predictor, image):
    expected = AutoMasker(predictor, AutoMaskConfig(points_per_side=4)).generate(image)
    masks = client.auto(image, points_per_side=4)
    assert masks.rles == expected.rles
    np.testing.assert_array_equal(masks.boxes_xyxy, expected.boxes_xyxy)
    np.testing.assert_allclose(masks.scores, expected.scores, rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_objects_of_a_video_are_those_of_a_local_tracker(client, predictor, tmp_path, reverse):
    clip = tmp_path / "clip.mp4"
    write_clip(clip, [np.roll(draw(3, (64, 96)), shift, axis=1) for shift in range(4)])
    prompt = {"points": [[48, 32], [4, 4]], "labels": [1, 0]}
    with VideoPredictor(predictor).open(clip) as video:
        video.prompt(1, object_id=7, **prompt)
        if reverse:
            list(video.propagate(reverse=True))
        expected = list(video.propagate(start=0 if reverse else None))
    answers = list(client.track(clip, [{"frame": 1, "object_id": 7, **prompt}], reverse=reverse))
    assert [one.index for one in answers] == ([0] if reverse else []) + [1, 2, 3]
    for answer, own in zip(answers, expected, strict=True):
        assert (answer.object_ids, answer.states) == (own.object_ids, own.states)
        np.testing.assert_array_equal(answer.masks, own.masks)


@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        (PromptError, lambda client, image: client.predict(image, points=[[999, 10]])),
        (PromptError, lambda client, image: client.predict(image, points=[[1, 2, 3]])),
        (PromptError, lambda client, image: client.predict(image)),
        (ImageError, lambda client, image: client.predict(b"no image", points=[[1, 2]])),
        (ImageError, lambda client, image: client.auto(b"no image")),
        (ImageError, lambda client, image: client.embed(png(np.zeros((1100, 1000, 3), np.uint8)))),
        (ServerError, lambda client, image: client.auto(image, proposer="head.safetensors")),
        (PromptError, lambda client, image: client.predict(image, points=[[1, 2]], labels=[5])),
    ],
)
def test_errors_are_those_of_a_local_predictor(client, image, refusal, kind, ask):
    with refusal(kind):
        ask(client, image)


def test_words_are_answered_by_the_text_model(predictor, spec, image, tmp_path):
    seeing = Predictor(
        predictor.model,
        model_name="tiny",
        text_model=StubDetector(by_phrases=lambda phrases: [((4, 4, 30, 30), 0.9, phrases[0])]),
    )
    with_text = replace(spec, text_model="a detector", cache_folder=tmp_path)
    expected = seeing.predict_text(seeing.embed(image), ["a car"], image=image)
    with WorkerPool(lambda: ThreadWorker(lambda: ServedModel(seeing, with_text))) as pool:
        http = TestClient(create_app(pool, ServingConfig()), HOST)
        client = Client(HOST, http=http)
        for _ in range(2):  # by its hash, of which the detector sees nothing; then sent again
            answer = client.find_text(image, "a car")
            np.testing.assert_array_equal(answer.masks, expected.masks)
            assert answer.phrases == ("a car",) * 3


def test_videos_are_checked(client, tmp_path, refusal):
    with refusal(VideoError, "cannot read"):
        list(client.track(tmp_path / "none.mp4", [{"frame": 0, "points": [[1, 2]]}]))
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\nfile:///etc/passwd\n")
    with refusal(ServerError, "a video is an MP4"):
        list(client.track(playlist, [{"frame": 0, "points": [[1, 2]]}]))
    cut_off = tmp_path / "cut.mp4"
    write_clip(cut_off, [draw(3, (64, 96))])
    cut_off.write_bytes(cut_off.read_bytes()[:100])
    with refusal(VideoError, "the video"):
        list(client.track(cut_off, [{"frame": 0, "points": [[1, 2]]}]))


def test_a_server_that_is_not_there_is_named(refusal):
    with Client("http://127.0.0.1:9", timeout_s=5) as client, refusal(ServerError, "127.0.0.1:9"):
        client.describe()


def test_packages_are_asked_for(monkeypatch, refusal):
    monkeypatch.setattr("samkit.extras.find_spec", lambda name: None)
    with refusal(ConfigError, "httpx2", "[serving]"):
        Client(HOST)
