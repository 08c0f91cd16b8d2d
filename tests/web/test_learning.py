"""Learned models on a running server: which one answers a draft, the way back, the learner."""

import copy
import sys
import time

import pytest
import torch
from PIL import Image

from conftest import randomise_weights
from samkit import Predictor
from samkit.dataengine import (
    Learning,
    add_images,
    add_learned_model,
    create_project,
    create_user,
    list_images,
    prefill_outcomes,
    save_annotation,
    serve_version,
    set_learning,
    submit_image,
    take_image,
)
from samkit.datasets import open_data
from samkit.learning import pack_decoder
from samkit.models import CONFIGS, Sam
from samkit.web import WebConfig, create_app
from samkit.web import learning as web_learning
from samkit.web.learning import LearnerProcesses
from samkit.weights import save_checkpoint, weights_sha256

from .conftest import HOST, Browser, TestClient
from .test_prompting import Page, connect

CLICK = {"points": [[5, 5]], "labels": [1]}


@pytest.fixture
def learned(tiny_predictor):
    """Another decoder for the server's image encoder."""
    torch.manual_seed(1)
    model = copy.deepcopy(tiny_predictor.model)
    encoder = copy.deepcopy(model.image_encoder)
    randomise_weights(model)
    model.image_encoder = encoder
    return model


def promote(server, model, number=1):
    base = server.studio.embedder.model
    one = add_learned_model(
        server.scene.store,
        server.scene.project.id,
        name=f"cells {number}",
        checksum=weights_sha256(model),
        parent_id=base.id,
        decoder=pack_decoder(model),
        num_images=2,
        num_masks=30,
        num_finished=40,
        reason="better",
        figures={"clicks": [2.0, 1.0]},
    )
    server.studio.models.refresh()
    return one.version.id


def wait_for_model(server):
    with connect(server.ann, server.scene.images[1].id) as socket:
        Page(socket).wait_until_ready()
    return server.studio.embedder.model.id


def test_a_draft_goes_on_with_the_model_that_it_began_with(sqlite_server, learned):
    server = sqlite_server
    base = wait_for_model(server)
    with connect(server.ann, server.scene.images[1].id) as socket:
        page = Page(socket).wait_until_ready()
        first = page.ask(1, **CLICK)
        version = promote(server, learned)
        draft = page.ask(2, continue_from={"id": 1, "candidate": 0}, **CLICK)
        new = page.ask(3, **CLICK)
        preview = page.ask(4, "preview", **CLICK)
        assert [one["model_version_id"] for one in (first, draft, new, preview)] == [
            base,
            base,
            version,
            version,
        ]
        assert first["masks"] != new["masks"]
        goes_on = page.ask(5, continue_from={"id": 3, "candidate": 0}, **CLICK)
        assert goes_on["model_version_id"] == version
        # Back again: the same page, the same answer as in the beginning.
        serve_version(server.scene.store, server.scene.project.id, base, user_id=server.scene.rev)
        server.studio.models.refresh()
        assert page.ask(6, **CLICK)["masks"] == first["masks"]


def test_answers_are_those_of_the_stored_decoder(sqlite_server, tiny_predictor, learned):
    server = sqlite_server
    wait_for_model(server)
    promote(server, learned)
    served = server.studio.models.served(server.scene.project.id)
    rounded = copy.deepcopy(learned)
    rounded.load_state_dict(
        {
            name: value if name.startswith("image_encoder.") else value.half().float()
            for name, value in learned.state_dict().items()
        }
    )
    for name, value in rounded.state_dict().items():
        torch.testing.assert_close(served.predictor.model.state_dict()[name], value)
    assert served.predictor.encoder_checksum == tiny_predictor.encoder_checksum


def test_another_project_has_the_servers_own_model(sqlite_server, learned):
    server = sqlite_server
    base = wait_for_model(server)
    promote(server, learned)
    assert server.studio.models.served(server.scene.project.id).version.id != base
    assert server.studio.models.served(server.scene.project.id + 1).version.id == base


def test_a_damaged_decoder_is_not_served(sqlite_server, learned, caplog):
    server = sqlite_server
    base = wait_for_model(server)
    add_learned_model(
        server.scene.store,
        server.scene.project.id,
        name="cells 1",
        checksum="a" * 64,
        parent_id=base,
        decoder=pack_decoder(learned)[:-100],
        num_images=2,
        num_masks=30,
        num_finished=40,
        reason="better",
        figures={},
    )
    server.studio.models.refresh()
    assert server.studio.models.served(server.scene.project.id).version.id == base
    assert "damaged" in caplog.text
    caplog.clear()
    server.studio.models.refresh()  # said once
    assert not caplog.text


def test_reviewers_see_versions_and_go_back(sqlite_server, learned):
    server = sqlite_server
    base = wait_for_model(server)
    version = promote(server, learned)
    url = f"/api/projects/{server.scene.project.id}/learning"
    shown = server.ann.get(url).json()
    assert (shown["serving"], shown["doing"]) == (version, None)
    assert [(one["version"]["id"], one["verdict"]) for one in shown["learned"]] == [
        (version, "promoted")
    ]
    body = {"model_version_id": base}
    assert server.ann.post(f"{url}/serve", json=body).status_code == 403
    assert server.rev.post(f"{url}/serve", json=body).json()["serving"] == base
    assert server.rev.post(f"{url}/serve", json={"model_version_id": 99}).status_code in (404, 422)
    settings = {"every_masks": 50, "prefill": True, "target_precision": 0.8}
    assert server.ann.put(url, json=settings).status_code == 403
    assert settings.items() <= server.rev.put(url, json=settings).json().items()
    assert settings.items() <= server.ann.get(url).json().items()


def finish(scene, rle_of, index, stage=None, masks=2):
    image = scene.hold(scene.ann, index)
    for number in range(masks):
        rle = rle_of(number, 1, number + 3, 5)
        save_annotation(scene.store, image_id=image, user_id=scene.ann, rle=rle, stage=stage)
    submit_image(scene.store, image, scene.ann)


def test_late_precision_counts_masks_that_were_left_as_they_were(sqlite_scene, rle_of):
    from samkit.dataengine import delete_annotation, list_annotations

    scene = sqlite_scene
    image = scene.hold(scene.ann, 0)
    for number in range(3):
        save_annotation(
            scene.store,
            image_id=image,
            user_id=scene.ann,
            rle=rle_of(number, 1, number + 3, 5),
            stage="fully-automatic",
        )
    one = list_annotations(scene.store, image)[0]
    delete_annotation(scene.store, one.id, user_id=scene.ann, version=1)
    assert prefill_outcomes(scene.store, scene.project.id) == (0, 0)  # shown, not submitted
    submit_image(scene.store, image, scene.ann)
    assert prefill_outcomes(scene.store, scene.project.id) == (2, 3)


@pytest.fixture
def started(monkeypatch):
    """Commands that were started, as processes that end as their number in `codes` says."""
    commands = []
    popen = web_learning.subprocess.Popen

    def start(command, **options):
        commands.append(command[3:])
        assert options["env"]["SAMKIT_STORE"].startswith("sqlite")
        code = started_codes.pop(0) if started_codes else 0
        how = f"import os, sys; os.kill(os.getpid(), {-code})" if code < 0 else f"exit({code})"
        return popen([sys.executable, "-c", how])

    started_codes = []
    monkeypatch.setattr(web_learning.subprocess, "Popen", start)
    return commands, started_codes


def check_until_idle(learners, most=400):
    for _ in range(most):
        learners.check()
        if learners._child is None:
            return
        time.sleep(0.05)
    raise AssertionError("the processes do not end")


def test_a_learner_starts_when_enough_masks_are_new(sqlite_scene, rle_of, started):
    scene, (commands, _) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ("--model", "tiny"))
    set_learning(scene.store, scene.project.id, Learning(every_masks=3, prefill=True))
    finish(scene, rle_of, 0)
    learners.check()
    assert commands == []
    finish(scene, rle_of, 1)
    check_until_idle(learners)
    project = ["engine", "learn", "--project", str(scene.project.id)]
    assert commands[0] == [*project, "--background", "--model", "tiny"]
    assert commands[1][:2] == ["engine", "prefill"]
    assert len(commands) == 2  # it has tried with these masks
    finish(scene, rle_of, 2, masks=3)
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["learn", "prefill", "learn", "prefill"]


def test_a_killed_learner_is_started_again(sqlite_scene, rle_of, started):
    scene, (commands, codes) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ())
    set_learning(scene.store, scene.project.id, Learning(every_masks=2))
    finish(scene, rle_of, 0)
    codes += [-9, -9, 1]
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["learn"] * 3


def test_a_learner_can_be_asked_for(sqlite_server, started):
    server, (commands, _) = sqlite_server, started
    url = f"/api/projects/{server.scene.project.id}/learning/learn"
    assert server.ann.post(url).status_code == 403
    answer = server.rev.post(url)
    assert answer.status_code == 202
    deadline = time.monotonic() + 20
    while not commands and time.monotonic() < deadline:
        time.sleep(0.05)
    assert commands[0][:2] == ["engine", "learn"]


@pytest.mark.slow
def test_a_real_learner_runs_beside_the_server(sqlite_store, tmp_path, monkeypatch):
    """The command that the server starts finds the store, the project and the model."""
    scenes = open_data("scenes:count=24,size=64,seed=3,things=3")
    root = tmp_path / "images"
    root.mkdir()
    for index in range(len(scenes)):
        Image.fromarray(scenes[index].image).save(root / f"{index:02}.png")
    project = create_project(sqlite_store, name="scenes", root=root)
    add_images(sqlite_store, project.id)
    admin = create_user(sqlite_store, name="ada", role="admin").id
    for image in list_images(sqlite_store, project.id).items:
        take_image(sqlite_store, image.id, admin)
        for rle in scenes[int(image.path[:2])].rles:
            save_annotation(sqlite_store, image_id=image.id, user_id=admin, rle=rle)
        submit_image(sqlite_store, image.id, admin)
    torch.manual_seed(0)
    network = Sam(copy.deepcopy(CONFIGS["tiny"]))
    randomise_weights(network)
    model = tmp_path / "tiny.safetensors"
    save_checkpoint(network, model, name="tiny")
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "cache"))
    config = WebConfig(
        cache_folder=tmp_path / "cache" / "embeddings", learner_options=("--model", str(model))
    )
    app = create_app(sqlite_store, load_predictor=lambda: Predictor.load(model), config=config)
    with TestClient(app, base_url=HOST):
        browser = Browser(app, admin)
        url = f"/api/projects/{project.id}/learning"
        settings = {"every_masks": 20, "prefill": False, "target_precision": 0.9}
        assert browser.put(url, json=settings).json()["finished_masks"] > 20
        seen = set()
        deadline = time.monotonic() + 400
        while not (shown := browser.get(url).json())["learned"] and time.monotonic() < deadline:
            seen.add(shown["doing"])
            time.sleep(0.2)
        assert "learn" in seen
        (learned,) = shown["learned"]
        assert learned["figures"]["num_images"] >= 6
        assert learned["num_masks"] > 20
        if learned["verdict"] == "promoted":
            assert shown["serving"] == learned["version"]["id"]
