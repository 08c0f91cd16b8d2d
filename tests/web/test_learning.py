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
    Prelabelling,
    add_images,
    add_learned_model,
    add_model_version,
    create_project,
    create_user,
    get_image,
    list_images,
    prefill_outcomes,
    save_annotation,
    serve_version,
    set_learning,
    set_next_images,
    submit_image,
    take_image,
)
from samkit.datasets import open_data
from samkit.learning import TileFolder, pack_decoder
from samkit.learning.decoders import corrected, joined
from samkit.models import CONFIGS, Sam
from samkit.web import WebConfig, create_app
from samkit.web import learning as web_learning
from samkit.web.activity import Activity
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


def promote(server, model):
    base = server.studio.embedder.model.id
    version = record_promotion(server.scene, base, pack_decoder(model), weights_sha256(model))
    server.studio.models.refresh()
    return version


def record_promotion(scene, parent_id, decoder, checksum, **more):
    one = add_learned_model(
        scene.store,
        scene.project.id,
        name="cells 1",
        checksum=checksum,
        parent_id=parent_id,
        decoder=decoder,
        num_images=2,
        num_masks=30,
        num_finished=0,
        reason="better",
        figures={"clicks": [2.0, 1.0]},
        **more,
    )
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


@pytest.fixture
def with_encoder(tiny_predictor):
    """A version with another decoder and corrections of the image encoder: its bytes."""
    torch.manual_seed(2)
    encoder = tiny_predictor.model.image_encoder
    qkv = encoder.get_submodule("blocks.0.attn.qkv").weight
    factors = {"a": torch.randn(2, qkv.shape[1]), "b": torch.randn(qkv.shape[0], 2)}
    corrections = joined({f"blocks.0.attn.qkv.lora_{k}": one for k, one in factors.items()})
    model = copy.deepcopy(tiny_predictor.model)
    randomise_weights(model)
    model.image_encoder = corrected(encoder, corrections)
    return pack_decoder(model, corrections), weights_sha256(model.image_encoder)


def promote_with_encoder(server, with_encoder, parent=None):
    content, checksum = with_encoder
    version = record_promotion(
        server.scene,
        parent or server.studio.embedder.model.id,
        content,
        "e" * 64,
        learns="lora",
        encoder_checksum=checksum,
    )
    server.studio.models.refresh()
    return version


def test_a_version_with_its_own_encoder_has_its_own_embeddings(sqlite_server, with_encoder):
    server = sqlite_server
    base = wait_for_model(server)
    image = server.scene.images[1]
    with connect(server.ann, image.id) as socket:
        page = Page(socket).wait_until_ready()
        first = page.ask(1, **CLICK)
        version = promote_with_encoder(server, with_encoder)
        # The draft goes on with the version and the embedding that it began with.
        draft = page.ask(2, continue_from={"id": 1, "candidate": 0}, **CLICK)
        new = page.ask(3, **CLICK)
        preview = page.ask(4, "preview", **CLICK)
        assert [one["model_version_id"] for one in (first, draft, new, preview)] == [
            base,
            base,
            version,
            version,
        ]
        served = server.studio.models.served(server.scene.project.id)
        assert served.predictor.encoder_checksum == with_encoder[1]
        expected = served.predictor.predict(
            server.studio.embedder.ask(image, served).result(60).embedding,
            points=CLICK["points"],
            labels=CLICK["labels"],
        )
        assert [one["rle"]["counts"] for one in new["masks"]] == [
            one["counts"] for one in expected.rles()
        ]
        cache = served.cache
        assert cache.images(with_encoder[1]) == {image.pixels_key}
        url = f"/api/projects/{server.scene.project.id}/learning/embed"
        assert server.ann.post(url).status_code == 403
        assert server.rev.post(url).status_code == 202
        # Back: the embedding is there, and the answer the same.
        serve_version(server.scene.store, server.scene.project.id, base, user_id=server.scene.rev)
        server.studio.models.refresh()
        assert page.ask(5, **CLICK)["masks"] == first["masks"]
        assert server.rev.post(url).status_code == 409
    # A page that opens an image now, and those that come next, too.
    serve_version(server.scene.store, server.scene.project.id, version, user_id=server.scene.rev)
    server.studio.models.refresh()
    with connect(server.ann, server.scene.images[2].id) as socket:
        Page(socket).wait_until_ready()
    server.ann.post(f"/api/projects/{server.scene.project.id}/next")
    server.studio.embedder._pool.submit(9, lambda: None).result(60)
    held_first = {one.pixels_key for one in server.scene.images[1:]}
    assert held_first <= cache.images(with_encoder[1])


def test_versions_share_an_image_encoder(sqlite_server, with_encoder):
    server = sqlite_server
    wait_for_model(server)
    first = promote_with_encoder(server, with_encoder)
    one = server.studio.models.served(server.scene.project.id)
    second = record_promotion(
        server.scene, first, with_encoder[0], "f" * 64, encoder_checksum=with_encoder[1]
    )
    server.studio.models.refresh()
    other = server.studio.models.served(server.scene.project.id)
    assert other.version.id == second
    assert other.predictor.model.image_encoder is one.predictor.model.image_encoder


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


def test_late_precision_counts_masks_that_were_left_as_they_were(scene, rle_of):
    from samkit.dataengine import (
        add_class,
        delete_annotation,
        list_annotations,
        reopen_image,
        replace_annotation,
        skip_image,
    )

    image = scene.hold(scene.ann, 0)
    for number in range(4):
        save_annotation(
            scene.store,
            image_id=image,
            user_id=scene.ann,
            rle=rle_of(number, 1, number + 3, 5),
            stage="fully-automatic",
        )
    deleted, corrected, named, _ = list_annotations(scene.store, image)
    delete_annotation(scene.store, deleted.id, user_id=scene.ann, version=1)
    change = {"user_id": scene.ann, "version": 1}
    cells = add_class(scene.store, scene.project.id, "cell").id
    replace_annotation(scene.store, corrected.id, rle=rle_of(1, 1, 9, 9), class_id=None, **change)
    replace_annotation(scene.store, named.id, rle=named.rle, class_id=cells, **change)
    # Shown, and neither submitted nor anything that people said the masks were right by.
    outcomes = [prefill_outcomes(scene.store, scene.project.id)]
    skip_image(scene.store, image, scene.ann, reason="too dark")
    outcomes.append(prefill_outcomes(scene.store, scene.project.id))
    assert outcomes == [(0, 0)] * 2
    reopen_image(
        scene.store, image, user_id=scene.rev, version=get_image(scene.store, image).version
    )
    scene.hold(scene.ann, 0)
    submit_image(scene.store, image, scene.ann)
    assert prefill_outcomes(scene.store, scene.project.id) == (2, 4)


WAITS = 1000  # of a process that runs until it is interrupted


@pytest.fixture
def started(monkeypatch):
    """Commands that were started, as processes that end as their number in `codes` says."""
    commands = []
    popen = web_learning.subprocess.Popen

    def start(command, **options):
        commands.append(command[3:])
        assert options["env"]["SAMKIT_STORE"].startswith("sqlite")
        code = started_codes.pop(0) if started_codes else 0
        how = f"exit({code})"
        if code == WAITS:
            how = "import time; time.sleep(60)"
        elif code < 0:
            how = f"import os; os.kill(os.getpid(), {-code})"
        return popen([sys.executable, "-c", how])

    started_codes = []
    monkeypatch.setattr(web_learning.subprocess, "Popen", start)
    return commands, started_codes


def check_until_idle(learners, most=3000):  # children have the lowest priority
    for _ in range(most):
        learners.check()
        if learners._child is None:
            return
        time.sleep(0.05)
    raise AssertionError("the processes do not end")


def test_a_learner_starts_when_enough_masks_are_new(sqlite_scene, rle_of, started):
    scene, (commands, _) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ("--model", "tiny"))
    set_learning(scene.store, scene.project.id, Learning(every_masks=3))
    finish(scene, rle_of, 0)
    learners.check()
    assert commands == []
    finish(scene, rle_of, 1)
    check_until_idle(learners)
    project = ["engine", "learn", "--project", str(scene.project.id)]
    options = ["--background", "--model", "tiny"]
    assert commands == [[*project, *options]]  # and not again: it has tried with these masks
    finish(scene, rle_of, 2, masks=3)
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["learn", "learn"]


def test_all_waiting_images_are_prefilled_once_for_each_state(
    sqlite_scene, rle_of, started, monkeypatch
):
    scene, (commands, codes) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ("--model", "tiny"))
    base = add_model_version(scene.store, name="tiny", checksum="0" * 64, path="").id

    def kinds():
        check_until_idle(learners)
        return [one[1] for one in commands]

    set_learning(scene.store, scene.project.id, Learning(prefill=True))
    assert kinds() == ["prefill"]
    options = ["--project", str(scene.project.id), "--background", "--model", "tiny"]
    assert commands[0] == ["engine", "prefill", *options]  # of all images
    assert kinds() == ["prefill"]
    # A learner may have made it possible; another version or precision makes other masks.
    learners.ask(scene.project.id)
    assert kinds() == ["prefill", "learn", "prefill"]
    record_promotion(scene, base, b"decoder", "1" * 64)
    assert kinds()[3:] == ["prefill"]
    serve_version(scene.store, scene.project.id, base, user_id=scene.rev)
    codes += [2]
    set_learning(scene.store, scene.project.id, Learning(prefill=True, target_precision=0.8))
    assert kinds()[4:] == ["prefill"]
    # It has failed: again when there are more masks to be sure by.
    monkeypatch.setattr(web_learning, "RETRY_MASKS", 4)
    assert kinds()[5:] == []
    finish(scene, rle_of, 0, masks=3)
    assert kinds()[5:] == []
    finish(scene, rle_of, 1, masks=1)
    assert kinds()[5:] == ["prefill"]


def test_prefilling_gives_way_to_a_learner_and_goes_on(sqlite_scene, rle_of, started):
    scene, (commands, codes) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ())
    set_learning(scene.store, scene.project.id, Learning(prefill=True))
    codes += [WAITS]
    learners.check()
    learners.check()
    assert learners.working_on(scene.project.id) == "prefill"
    learners.ask(scene.project.id)
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["prefill", "learn", "prefill"]


def test_prefilling_ends_when_the_project_wants_it_no_more(sqlite_scene, started):
    scene, (commands, codes) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ())
    set_learning(scene.store, scene.project.id, Learning(prefill=True))
    codes += [WAITS]
    learners.check()
    set_learning(scene.store, scene.project.id, Learning())
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["prefill"]


class Away:
    """A clock of how long nobody has worked."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_the_encoder_learns_when_everybody_is_away(sqlite_scene, rle_of, started, monkeypatch):
    """It gives way to people who come back, and goes on when they have left again."""
    scene, (commands, codes) = sqlite_scene, started
    monkeypatch.setattr(web_learning, "LORA_MASKS", 2)
    away = Away()
    learners = LearnerProcesses(scene.store, ("--model", "tiny"), idle_s=away)
    finish(scene, rle_of, 0)
    away.seconds = 1e6
    check_until_idle(learners)
    assert commands == []  # off by default
    set_learning(scene.store, scene.project.id, Learning(lora=True, away_minutes=10))
    away.seconds = 599
    check_until_idle(learners)
    assert commands == []
    away.seconds = 600
    codes += [WAITS]
    learners.check()
    learners.check()
    assert learners.working_on(scene.project.id) == "lora"
    project = ["--project", str(scene.project.id), "--background", "--model", "tiny"]
    assert commands == [["engine", "learn", "--lora", *project]]
    away.seconds = 0
    check_until_idle(learners)
    assert len(commands) == 1
    away.seconds = 700
    check_until_idle(learners)
    check_until_idle(learners)
    assert len(commands) == 2  # it has ended, and there is nothing new
    finish(scene, rle_of, 1)
    check_until_idle(learners)
    assert len(commands) == 3


def test_a_learner_of_the_encoder_gives_way_to_one_that_is_asked_for(sqlite_scene, rle_of, started):
    scene, (commands, codes) = sqlite_scene, started
    away = Away()
    away.seconds = 1e6
    learners = LearnerProcesses(scene.store, (), idle_s=away)
    set_learning(scene.store, scene.project.id, Learning(lora=True, prefill=True, every_masks=3))
    finish(scene, rle_of, 0, masks=3)
    codes += [0, WAITS]
    while len(commands) < 2:
        learners.check()
        time.sleep(0.02)
    learners.ask(scene.project.id)
    check_until_idle(learners)
    for _ in range(2):
        check_until_idle(learners)
    assert [one[1:3] for one in commands] == [
        ["learn", "--project"],
        ["learn", "--lora"],
        ["learn", "--project"],
        ["learn", "--lora"],
        ["prefill", "--project"],
    ]


def test_waiting_images_are_encoded_for_a_new_encoder(sqlite_scene, rle_of, started):
    scene, (commands, codes) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, (), most_embedded=3)
    base = add_model_version(scene.store, name="tiny", checksum="0" * 64, path="").id
    set_learning(scene.store, scene.project.id, Learning(prefill=True))
    plain = record_promotion(scene, base, b"decoder", "1" * 64)
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["prefill"]  # embeddings are as they were
    own = record_promotion(scene, plain, b"decoder", "2" * 64, encoder_checksum="a" * 64)
    codes += [0, WAITS]
    while len(commands) < 3:
        learners.check()
        time.sleep(0.02)
    project = ["--project", str(scene.project.id)]
    assert commands[1][1] == "prefill"
    assert commands[2] == ["engine", "embed", *project, "--limit", "3", "--background"]
    known = {scene.images[0].pixels_key}
    asked = []

    def images_of(encoder):
        asked.append(encoder)
        return known

    assert learners.images_left(scene.project.id, images_of) == 2
    assert asked == ["a" * 64]
    # People stop it; another version needs others, and the first one none.
    learners.stop_work(scene.project.id)
    check_until_idle(learners)
    check_until_idle(learners)
    assert len(commands) == 3
    learners.ask_again("embed", scene.project.id)
    check_until_idle(learners)
    assert commands.pop() == commands[2]
    assert learners.images_left(scene.project.id, images_of) is None
    record_promotion(scene, own, b"decoder", "3" * 64, encoder_checksum="b" * 64)
    check_until_idle(learners)
    assert [one[1] for one in commands[3:]] == ["prefill", "embed"]
    serve_version(scene.store, scene.project.id, base, user_id=scene.rev)
    check_until_idle(learners)
    assert [one[1] for one in commands[5:]] == ["prefill"]


def test_prompts_and_changes_are_work_and_open_pages_are_not(sqlite_server):
    server = sqlite_server
    wait_for_model(server)
    image = server.scene.images[0].id
    assert server.ann.post(f"/api/images/{image}/lease").status_code == 200
    now = [100.0]
    activity = Activity(lambda: now[0])
    server.studio.activity = activity
    now[0] = 150.0
    server.ann.post(f"/api/images/{image}/lease")  # renewed by a page that is open
    server.ann.get(f"/api/projects/{server.scene.project.id}/learning")
    assert activity.idle_s() == 50
    with connect(server.ann, image) as socket:
        page = Page(socket).wait_until_ready()
        assert activity.idle_s() == 50
        page.ask(1, "preview", **CLICK)
        assert activity.idle_s() == 0
    now[0] = 170.0
    settings = {"every_masks": 0, "prefill": False, "target_precision": 0.9}
    body = settings | {"lora": True, "away_minutes": 5}
    url = f"/api/projects/{server.scene.project.id}/learning"
    assert body.items() <= server.rev.put(url, json=body).json().items()
    assert activity.idle_s() == 0


def test_images_are_chosen_again_when_all_chosen_ones_are_done(sqlite_scene, rle_of, started):
    scene, (commands, _) = sqlite_scene, started
    learners = LearnerProcesses(scene.store, ())
    check_until_idle(learners)
    assert commands == []
    set_learning(scene.store, scene.project.id, Learning(choose_next=True))
    check_until_idle(learners)
    set_next_images(scene.store, scene.project.id, [scene.images[0].id])
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["choose"]
    finish(scene, rle_of, 0)
    check_until_idle(learners)
    check_until_idle(learners)
    assert [one[1] for one in commands] == ["choose"] * 2


def test_people_stop_what_is_done_and_go_on(sqlite_server, started):
    server, (commands, codes) = sqlite_server, started
    url = f"/api/projects/{server.scene.project.id}/learning"
    assert server.rev.post(f"{url}/prefill").status_code == 409  # not set so
    codes += [WAITS]
    settings = {"every_masks": 0, "prefill": True, "target_precision": 0.9}
    server.rev.put(url, json=settings)

    def wait_until(doing):
        deadline = time.monotonic() + 150
        while server.ann.get(url).json()["doing"] != doing and time.monotonic() < deadline:
            time.sleep(0.05)
        return server.ann.get(url).json()

    doing = wait_until("prefill")
    assert (doing["left"], doing["tiles"]) == (len(server.scene.images), None)
    # The tiles of the image that is at hand are counted, and not those of another one.
    scene = server.scene
    at_hand, other = scene.images[:2]
    run = Prelabelling(scene.store, scene.project.id, lambda _: None, user_id=scene.rev)
    assert run.claim(at_hand.id) == at_hand
    folder = TileFolder(server.studio.config.cache_folder, scene.store, scene.project.id)
    folder.begin(other, "").report(5, 9)
    assert server.ann.get(url).json()["tiles"] is None
    folder.begin(at_hand, "").report(3, 256)
    assert server.ann.get(url).json()["tiles"] == [3, 256]
    assert server.ann.post(f"{url}/stop").status_code == 403
    assert server.rev.post(f"{url}/stop").status_code == 202
    stopped = wait_until(None)
    assert (stopped["left"], stopped["tiles"]) == (None, None)
    time.sleep(2.5)  # longer than between two checks
    assert len(commands) == 1
    assert server.rev.post(f"{url}/prefill").status_code == 202
    deadline = time.monotonic() + 150
    while len(commands) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert commands[1][:2] == ["engine", "prefill"]


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
    deadline = time.monotonic() + 150
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
