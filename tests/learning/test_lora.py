"""Rounds that train the image encoder, too: what is stored, embeddings, judge, resume, way back."""

import copy
import json
import logging
import shutil
import time

import numpy as np
import pytest
import torch

from conftest import randomise_weights
from samkit.cli.main import main
from samkit.dataengine import (
    encoder_of_version,
    learned_from,
    list_learned_models,
    read_decoder,
    serve_version,
    serving_version,
)
from samkit.errors import ConfigError, WeightsError
from samkit.learning import (
    Learner,
    LearnRecipe,
    embed_waiting,
    learn_recipe,
    open_decoder,
    pack_decoder,
    unpack_decoder,
)
from samkit.learning import learner as learner_module
from samkit.learning.decoders import MAX_RANK, corrected, joined, scaled
from samkit.learning.examples import is_held_out
from samkit.models.sam import build_encoder
from samkit.models.tiny_vit import TinyViTConfig
from samkit.predict import EmbeddingCache, Predictor
from samkit.training import takes_lora
from samkit.training.sam.lora import add_lora, merge_lora, read_corrections
from samkit.weights import save_checkpoint, weights_sha256

from .test_learner import few_steps, judged, verdict  # noqa: F401 - fixtures

logger = logging.getLogger(__name__)


@pytest.fixture
def lora(make_learner):
    return lambda **changes: make_learner(learns="lora", **changes)


def corrections_of(encoder, seed=0, scale=0.05):
    """Corrections with random values, and the encoder that has them merged."""
    torch.manual_seed(seed)
    other = copy.deepcopy(encoder)
    add_lora(other, rank=4, alpha=8.0)
    for name, value in other.named_parameters():
        if name.endswith("lora_b"):
            torch.nn.init.normal_(value, std=scale)
    found = read_corrections(other)
    merge_lora(other)
    return found, other


def other_encoder(learner, seed=0):
    """A predictor of a version with an encoder of its own, and its bytes."""
    corrections = joined(corrections_of(learner.base.model.image_encoder, seed)[0])
    network = copy.deepcopy(learner.base.model)
    network.image_encoder = corrected(learner.base.model.image_encoder, corrections)
    content = pack_decoder(network, corrections)
    return open_decoder(content, learner.base, model_name="scenes 1"), content


@pytest.mark.parametrize("kind", ["vit", "tiny_vit"])
def test_stored_corrections_do_what_the_trained_ones_did(kind, tiny):
    encoder = tiny.model.image_encoder
    if kind == "tiny_vit":
        encoder = build_encoder(
            TinyViTConfig(
                embed_dims=(8, 8, 16, 16),
                depths=(1, 1, 2, 1),
                num_heads=(1, 2, 2, 4),
                window_sizes=(3, 3, 4, 3),
                image_size=80,
                out_channels=8,
            )
        )
        randomise_weights(encoder)
        encoder.eval()
    assert takes_lora(encoder)
    (first, after_first), (second, _) = (corrections_of(encoder, seed) for seed in (1, 2))
    side = 80 if kind == "tiny_vit" else 128
    pixels = torch.randn(1, 3, side, side)
    with torch.no_grad():
        merged = corrected(encoder, joined(first))
        torch.testing.assert_close(merged(pixels), after_first(pixels), rtol=0, atol=0.02)
        assert (after_first(pixels) - encoder(pixels)).abs().max() > 0.2
        # Both rounds' together: those of the second apply to what the first has made.
        both = corrected(encoder, joined(joined(first), second))
        one_by_one = corrected(after_first, joined(second))
        torch.testing.assert_close(both(pixels), one_by_one(pixels), rtol=0, atol=0.02)
    # The encoder itself is as it was, and weights without corrections are not there twice.
    own, copied = dict(encoder.named_parameters()), dict(merged.named_parameters())
    shared = [name for name in own if copied[name] is own[name]]
    assert own.keys() - set(shared) == {
        name.removesuffix(".lora_a") + ".weight" for name in first if name.endswith("a")
    }


def test_corrections_of_many_rounds_stay_small(tiny):
    encoder = tiny.model.image_encoder
    parts = [corrections_of(encoder, seed)[0] for seed in range(10)]
    found = joined(*parts)
    assert {one.shape[0] for name, one in found.items() if name.endswith("a")} == {MAX_RANK}
    assert all(one.dtype == torch.float16 for one in found.values())
    # Equally large factors lose nothing to float16, however small the corrections are.
    small, _ = corrections_of(encoder, scale=1e-6)
    name = next(iter(small)).removesuffix(".lora_a")
    exact = small[f"{name}.lora_b"].double() @ small[f"{name}.lora_a"].double()
    stored = joined(small)
    product = stored[f"{name}.lora_b"].double() @ stored[f"{name}.lora_a"].double()
    assert (product - exact).norm() < 2e-3 * exact.norm()


def test_a_share_of_corrections_corrects_as_much_less(tiny):
    full, _ = corrections_of(tiny.model.image_encoder)
    half = scaled(full, 0.5)
    names = {name.removesuffix(".lora_a") for name in full if name.endswith("a")}
    assert names
    for name in names:
        product = half[f"{name}.lora_b"].double() @ half[f"{name}.lora_a"].double()
        whole = full[f"{name}.lora_b"].double() @ full[f"{name}.lora_a"].double()
        assert torch.allclose(product, whole / 2, rtol=1e-3, atol=1e-8)


def test_packed_versions_with_corrections(make_learner):
    learner = make_learner()
    opened, content = other_encoder(learner)
    assert opened.encoder_checksum != learner.base.encoder_checksum
    assert len(content) < len(pack_decoder(learner.base.model)) + 100_000
    again = unpack_decoder(content, learner.base.model)
    assert weights_sha256(again) == weights_sha256(opened.model)
    # Versions share encoders: of the base, or of each other.
    torch.manual_seed(5)
    other = copy.deepcopy(opened.model)
    other.mask_decoder.requires_grad_(False)
    for value in other.mask_decoder.parameters():
        value.add_(0.01)
    later = pack_decoder(other, corrections_in_bytes(content))
    child = open_decoder(later, learner.base, (opened,), model_name="scenes 2")
    assert child.model.image_encoder is opened.model.image_encoder
    alone = open_decoder(later, learner.base, model_name="scenes 2")
    assert weights_sha256(alone.model) == weights_sha256(child.model)
    plain = open_decoder(pack_decoder(learner.base.model), learner.base, model_name="x")
    assert plain.model.image_encoder is learner.base.model.image_encoder
    embedding = opened.embed(np.zeros((40, 50, 3), np.uint8))
    child.check_embedding(embedding)


def corrections_in_bytes(content):
    from samkit.learning.decoders import corrections_in, read_state

    return corrections_in(read_state(content))


def test_corrections_of_another_model_are_refused(make_learner):
    learner = make_learner()
    _, content = other_encoder(learner)
    stranger = copy.deepcopy(learner.base.model)
    for value in stranger.image_encoder.parameters():
        value.data.mul_(1.01)
    with pytest.raises(WeightsError, match="damaged, or of another model"):
        unpack_decoder(content, stranger)
    base = Predictor(stranger, model_name="tiny")
    with pytest.raises(WeightsError, match="another image encoder"):
        open_decoder(pack_decoder(learner.base.model), base, model_name="x")
    corrections = joined(corrections_of(learner.base.model.image_encoder)[0])
    first = next(iter(corrections))
    with pytest.raises(WeightsError, match=f"do not fit {first}"):
        corrected(learner.base.model.image_encoder, {first: corrections[first][:, :5]})


def test_a_round_trains_the_encoder_and_the_next_goes_on_from_it(
    team,
    make_learner,
    lora,
    judged,  # noqa: F811
    monkeypatch,
):
    """Embeddings are always those of the encoder that is asked."""
    early, late = team.halves()
    team.finish(early)
    learner = lora()
    seen = []

    def judge(own, _project, held_out, before, after):
        for predictor in (before, after):
            embedding = own.embed(held_out[0], predictor)
            assert embedding.encoder_checksum == predictor.encoder_checksum
        trial = own._on_trial
        seen.append((before, after, None if trial is None else trial[1].images(trial[0])))
        return verdict(is_better=True)

    monkeypatch.setattr(learner_module.Learner, "judge", judge)
    first = learner.learn(team.project.id)
    assert (first.learns, first.verdict) == ("lora", "promoted")
    model, version = learner.serving(team.project.id)
    assert version == first.version.id
    assert weights_sha256(model.model) == first.version.checksum
    assert model.encoder_checksum == encoder_of_version(team.store, version)
    assert model.encoder_checksum not in (None, learner.base.encoder_checksum)
    assert len(read_decoder(team.store, version)) < len(pack_decoder(learner.base.model)) + 50_000
    # What the judge has encoded serves from now on.
    assert len(seen[0][2]) == 1
    assert learner.cache.images(model.encoder_checksum) == seen[0][2]
    assert not list((learner.folder / f"project-{team.project.id}").glob("*"))

    # A round of the decoder alone has the same encoder, stored with it.
    team.finish(late)
    again = make_learner()
    second = again.learn(team.project.id)
    assert (second.learns, second.parent_id) == ("decoder", version)
    assert encoder_of_version(team.store, second.version.id) == model.encoder_checksum
    before, after, on_trial = seen[1]
    assert after.model.image_encoder is before.model.image_encoder
    assert on_trial is None
    served, _ = make_learner().serving(team.project.id)
    assert weights_sha256(served.model) == second.version.checksum
    assert len(again.cache.images(model.encoder_checksum)) > 6
    assert learned_from(team.store, team.project.id, learns="lora") == first.num_finished
    assert learned_from(team.store, team.project.id) == second.num_finished

    # And back: embeddings of the first model are where they were.
    serve_version(team.store, team.project.id, learner.base_version.id, user_id=team.robot)
    assert make_learner().serving(team.project.id)[0] is learner.base


def test_a_rejected_encoder_leaves_nothing(team, lora, judged, monkeypatch):  # noqa: F811
    team.finish(team.images)

    def judge(own, _project, held_out, _before, after):
        own.embed(held_out[0], after)
        return verdict(is_better=False)

    monkeypatch.setattr(learner_module.Learner, "judge", judge)
    learner = lora()
    learned = learner.learn(team.project.id)
    assert (learned.learns, learned.verdict) == ("lora", "rejected")
    assert read_decoder(team.store, learned.version.id) is None
    encoders = {path.name.split("-")[1][:64] for path in learner.cache.folder.iterdir()}
    assert encoders <= {learner.base.encoder_checksum}


def test_of_an_encoder_that_forgets_a_part_is_taken(team, lora, judged, tiny):  # noqa: F811
    learner, (verdicts, seen) = lora(), judged
    team.finish(team.images)
    verdicts += ["forgets", True]
    learned = learner.learn(team.project.id)
    assert learned.reason == "as the test says; 50% of what it learned, mixed"
    whole, half = (after.model.image_encoder.state_dict() for _, _, after in seen)
    old = tiny.model.image_encoder.state_dict()
    changed = [name for name in old if not torch.equal(whole[name], old[name])]
    assert changed
    for name in changed:
        assert torch.allclose(half[name] - old[name], (whole[name] - old[name]) / 2, atol=1e-4)
    opened = learner.open_version(learned.version.id).model.image_encoder.state_dict()
    assert all(torch.equal(opened[name], half[name]) for name in old)


def test_a_stopped_round_goes_on_with_the_masks_that_it_began_with(
    team,
    make_learner,
    lora,
    judged,  # noqa: F811
    monkeypatch,
):
    """People come back, finish other images, and leave: the night's work is not lost."""
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 8)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 8)
    early, late = team.halves()
    team.finish(early)
    elsewhere = lora()
    elsewhere.folder = elsewhere.folder.with_name("elsewhere")
    in_one_go = elsewhere.learn(team.project.id)
    serve_version(team.store, team.project.id, elsewhere.base_version.id, user_id=team.robot)

    def stop(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    # Signals let a step end and save; here the last checkpoint is what is left.
    learner = lora()
    training = type(learner.recipe).training
    monkeypatch.setattr(
        type(learner.recipe),
        "training",
        lambda *a, **k: with_saves(training(*a, **k)),
    )
    with pytest.raises(KeyboardInterrupt):
        learner.learn(team.project.id, on_step=stop)
    team.finish(late)
    # Nor does a round of the decoder in between harm it, if it is rejected.
    verdicts, _ = judged
    verdicts += [False]
    assert make_learner().learn(team.project.id).verdict == "rejected"
    steps = []
    resumed = lora().learn(team.project.id, on_step=lambda one: steps.append(one.step))
    assert steps == [5, 6, 7, 8]
    assert resumed.version.checksum == in_one_go.version.checksum
    assert (
        resumed.num_finished
        == in_one_go.num_finished
        < sum(len(team.scenes[int(image.path[:2])].rles) for image in team.images)
    )
    assert len(list_learned_models(team.store, team.project.id)) == 3


def with_saves(recipe):
    from dataclasses import replace

    return replace(recipe, run=replace(recipe.run, save_every=2))


def test_a_stopped_round_begins_anew_when_an_image_is_gone(team, lora):
    from samkit.learning.lessons import Lessons, read_lessons

    learner = lora()
    team.finish(team.images[:12])
    examples = learner.examples(team.project.id).learned
    assert read_lessons(learner.files, learner.folder) is None
    Lessons(learner.folder, examples, 7).save()
    again = read_lessons(learner.files, learner.folder)
    assert again.num_finished == 7
    assert len(again.images) == len(examples)
    for index in range(len(examples)):
        one, other = examples[index], again.images[index]
        assert one.rles == other.rles
        assert one.rejected == other.rejected
        assert one.given == other.given
        assert (one.image == other.image).all()
    text = (learner.folder / "lessons.json").read_text()
    key = examples.images[0].pixels_key
    (learner.folder / "lessons.json").write_text(text.replace(key, "0" * 64))
    assert read_lessons(learner.files, learner.folder) is None


def test_encoders_without_attention_say_so(team, lora, monkeypatch):
    monkeypatch.setattr(learner_module, "takes_lora", lambda _: False)
    with pytest.raises(ConfigError, match=r"image encoder of tiny has no attention .* without it"):
        lora().learn(team.project.id)
    assert not takes_lora(torch.nn.Conv2d(1, 1, 1))


def test_waiting_images_are_encoded_once_in_the_queues_order(team, make_learner, monkeypatch):
    learner = make_learner()
    opened, _ = other_encoder(learner)
    monkeypatch.setattr(type(learner), "serving", lambda *_: (opened, 7))
    team.finish(team.images[:2])
    waiting = [image.pixels_key for image in team.images[2:]]
    counts = []
    report = embed_waiting(
        learner, team.project.id, limit=3, on_image=lambda *count: counts.append(count)
    )
    assert (report.num_encoded, report.num_known, report.faults) == (3, 0, ())
    assert counts == [(1, 3), (2, 3), (3, 3)]
    assert learner.cache.images(opened.encoder_checksum) == set(waiting[:3])
    report = embed_waiting(learner, team.project.id, limit=5)
    assert (report.num_encoded, report.num_known) == (2, 3)
    assert learner.cache.images(opened.encoder_checksum) == set(waiting[:5])
    assert learner.cache.images(learner.base.encoder_checksum) == set()


def test_unreadable_images_are_named(team, make_learner, tmp_path):
    from samkit.dataengine import move_project

    copied = tmp_path / "copy"
    shutil.copytree(team.project.root, copied)
    move_project(team.store, team.project.id, copied)
    (copied / team.images[1].path).write_bytes(b"no image")
    report = embed_waiting(make_learner(), team.project.id, limit=2)
    assert report.num_encoded == 1
    assert len(report.faults) == 1
    assert report.faults[0].startswith(team.images[1].path)


def test_commands(team, tiny, tmp_path, monkeypatch, capsys, judged):  # noqa: F811
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny.model, model, name="tiny")
    team.finish(team.images[:-2])
    place = ["--store", str(tmp_path / "store.db"), "--project", "scenes"]
    options = [*place, "--model", str(model), "--backend", "torch"]

    def run(*command):
        capsys.readouterr()
        assert main(["engine", *command]) == 0
        return capsys.readouterr().out

    assert "scenes 1 is promoted" in run("learn", "--lora", *options)
    assert "masks, image encoder too  promoted" in run("versions", *place)
    found = [json.loads(run("embed", *options, "--json")) for _ in range(2)]
    assert [(one["encoded"], one["known"]) for one in found] == [(2, 0), (0, 2)]
    assert json.loads(run("versions", *place, "--json"))["learned"][0]["learns"] == "lora"
    run("versions", *place, "--serve", "1")
    assert serving_version(team.store, team.project.id) == 1


@pytest.mark.slow
def test_the_embedded_model_takes_lora(team, tmp_path, monkeypatch):
    """MobileSAM's TinyViT, whose batch norms are folded: trained, stored, loaded; no judge."""
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 2)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 2)
    team.finish([image for image in team.images if not is_held_out(image.sha256)][:2])
    base = Predictor.load(backend="torch", precision="float32")

    def make(**changes):
        return Learner(
            team.store,
            base,
            EmbeddingCache(tmp_path / "embeddings"),
            tmp_path / "learning",
            recipe=LearnRecipe(general=None, judged=False, **changes),
            max_pixels=10**6,
        )

    at = [time.process_time()]
    learned = make(learns="lora").learn(
        team.project.id, on_step=lambda _: at.append(time.process_time())
    )
    logger.info("seconds of processor a step: %s", np.diff(at[1:]).round(1).tolist())
    content = read_decoder(team.store, learned.version.id)
    assert 150_000 < len(content) - len(pack_decoder(base.model)) < 250_000
    served, version = make().serving(team.project.id)
    assert version == learned.version.id
    assert weights_sha256(served.model) == learned.version.checksum
    image = team.scenes[0].image
    embedding, other = served.embed(image), base.embed(image)
    assert embedding.encoder_checksum == encoder_of_version(team.store, version)
    difference = (embedding.features.grid - other.features.grid).abs().max()
    assert 0 < difference < 0.5
