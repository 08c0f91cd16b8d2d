"""The learner: what it learns from, what it holds back, and what becomes of its models."""

import json
import math
from dataclasses import replace

import pytest
import torch

from samkit.dataengine import (
    NewEvent,
    add_learned_model,
    delete_annotation,
    list_learned_models,
    list_model_versions,
    read_decoder,
    save_annotation,
    serve_version,
    serving_version,
    submit_image,
    take_image,
)
from samkit.errors import ConfigError, ConflictError, OutputError, StoreError, WeightsError
from samkit.files import hold
from samkit.learning import learn_recipe, pack_decoder, unpack_decoder
from samkit.learning import learner as learner_module
from samkit.learning.examples import is_held_out
from samkit.learning.judge import Judgement
from samkit.learning.lesson_images import Lesson
from samkit.learning.lessons import fingerprint
from samkit.types import GivenPrompts
from samkit.weights import weights_sha256

from .conftest import shifted


def verdict(*, is_better, forgets=False):
    return Judgement(
        is_better=is_better,
        forgets=forgets,
        reason="as the test says",
        num_images=3,
        num_masks=9,
        clicks=(3.0, 2.0),
        clicks90=(4.0, 3.0),
        iou_1=(0.5, 0.6),
        difference=(-1.5, -0.5),
        general_iou_1=None,
    )


@pytest.fixture
def judged(monkeypatch):
    """Replaces the judge: its next verdicts, and the data that it saw."""
    verdicts, seen = [], []

    def judge(_learner, _project, held_out, before, after):
        seen.append((held_out, before, after))
        said = verdicts.pop(0) if verdicts else True
        return verdict(is_better=said is True, forgets=said == "forgets")

    monkeypatch.setattr(learner_module.Learner, "judge", judge)
    return verdicts, seen


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 3)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 3)


def test_images_are_held_back_by_their_content(team, make_learner):
    learner = make_learner()
    team.finish(team.images)
    split = learner.examples(team.project.id)
    held_out = {one.key for one in split.held_out.images}
    assert held_out == {one.path for one in team.images if is_held_out(one.sha256)}
    assert 6 <= len(held_out) <= 12
    assert len(split.learned) + len(split.held_out) == len(team.images)
    sample = split.learned[0]
    assert sample.rles == team.scenes[int(sample.key[:2])].rles
    assert sample.embedding_key == split.learned.images[0].pixels_key


def test_examples_have_the_prompts_that_people_gave(team, make_learner):
    image = team.images[0]
    take_image(team.store, image.id, team.robot)
    rles = team.scenes[0].rles
    histories = (
        [("point", {"xy": [5, 6], "label": 1}), ("point", {"xy": [9, 9], "label": 1})],
        [("point", {"xy": [1, 1], "label": 0}), ("point", {"xy": [30.5, 8], "label": 1})],
        [("box", {"xyxy": [1, 2, 3, 4]}), ("point", {"xy": [9, 9], "label": 0})],
    )
    for rle, events in zip(rles, histories, strict=False):
        made = [NewEvent(kind=kind, data=data) for kind, data in events]
        save_annotation(team.store, image_id=image.id, user_id=team.robot, rle=rle, events=made)
    submit_image(team.store, image.id, team.robot)
    sides = make_learner().examples(team.project.id)
    (sample,) = [side[0] for side in sides if len(side)]
    assert [one.first_xy for one in sample.given] == [(5, 6), (30.5, 8), None]
    assert [one.corrections for one in sample.given] == [((9, 9, 1),), ((1, 1, 0),), ((9, 9, 0),)]
    assert [one.box_xyxy for one in sample.given] == [None, None, (1, 2, 3, 4)]


def test_examples_have_the_masks_that_people_rejected(team, make_learner):
    """A mask that was there and was deleted is a lesson; it makes another training."""
    learner = make_learner()
    image = next(one for one in team.images if not is_held_out(one.sha256))
    team.finish([image])
    before = learner.examples(team.project.id).learned
    assert before[0].rejected == ()
    take_image(team.store, image.id, team.robot)
    wrong = shifted(team.scenes[int(image.path[:2])].rles[0], 20)
    made = save_annotation(
        team.store,
        image_id=image.id,
        user_id=team.robot,
        rle=wrong,
        score=0.9,
        stage="fully-automatic",
    )
    delete_annotation(team.store, made.id, user_id=team.robot, version=1)
    submit_image(team.store, image.id, team.robot)
    after = learner.examples(team.project.id).learned
    assert after[0].rejected == (wrong,)
    assert after[0].rles == before[0].rles
    prints = {fingerprint(one, 1, learner.recipe) for one in (before, after)}
    assert len(prints) == 2
    training = learner.recipe.training(team.project.root, learner.cache, config="tiny", num_masks=9)
    assert training.session.loss.rejected == 1.0


def test_only_finished_images_are_examples(team, make_learner):
    team.finish(team.images[:5])
    split = make_learner().examples(team.project.id)
    assert {one.key for side in split for one in side.images} == {
        one.path for one in team.images[:5]
    }


def test_a_better_model_is_promoted_and_the_next_begins_from_it(team, make_learner, judged):
    learner, (_, seen) = make_learner(), judged
    early, late = team.halves()
    team.finish(early)
    first = learner.learn(team.project.id)
    assert first.verdict == "promoted"
    assert serving_version(team.store, team.project.id) == first.version.id
    assert first.parent_id == learner.base_version.id
    model, version = learner.serving(team.project.id)
    assert version == first.version.id
    assert weights_sha256(model.model) == first.version.checksum
    # It has learned something, and its image encoder is the base model's.
    held_out, before, after = seen[0]
    assert before is learner.base
    assert after.encoder_checksum == learner.base.encoder_checksum
    assert weights_sha256(after.model) != weights_sha256(learner.base.model)
    assert all(is_held_out(image.group) for image in held_out.images)

    team.finish(late)
    second = learner.learn(team.project.id)
    assert second.parent_id == first.version.id
    assert second.num_masks > first.num_masks
    assert weights_sha256(seen[1][1].model) == first.version.checksum
    assert [one.version.name for one in list_learned_models(team.store, team.project.id)] == [
        "scenes 1",
        "scenes 2",
    ]
    assert not list((learner.folder / f"project-{team.project.id}").glob("*/*"))


def test_a_rejected_model_answers_nobody(team, make_learner, judged):
    learner, (verdicts, _) = make_learner(), judged
    team.finish(team.images)
    verdicts += [False]
    learned = learner.learn(team.project.id)
    assert (learned.verdict, learned.reason) == ("rejected", "as the test says")
    assert learned.figures["clicks"] == [3.0, 2.0]
    assert serving_version(team.store, team.project.id) is None
    assert read_decoder(team.store, learned.version.id) is None
    assert learner.serving(team.project.id) == (learner.base, learner.base_version.id)


def test_of_a_model_that_forgets_a_part_is_taken(team, make_learner, judged, tiny):
    """Decoders between the one before and the new one often forget less and are still better."""
    learner, (verdicts, seen) = make_learner(), judged
    team.finish(team.images)
    verdicts += ["forgets", True]
    learned = learner.learn(team.project.id)
    assert learned.verdict == "promoted"
    assert learned.reason == "as the test says; 50% of what it learned, mixed"
    whole, half = (after.model.state_dict() for _, _, after in seen)
    old = tiny.model.state_dict()
    name = "mask_decoder.iou_prediction_head.layers.2.bias"
    assert not torch.equal(whole[name], old[name])
    assert torch.allclose(half[name], (whole[name] + old[name]) / 2, atol=2e-3)
    assert learner.open_version(learned.version.id).model.state_dict()[name].equal(half[name])


def test_a_model_that_forgets_in_any_share_is_rejected(team, make_learner, judged):
    learner, (verdicts, seen) = make_learner(), judged
    team.finish(team.images)
    verdicts += ["forgets"] * 3
    learned = learner.learn(team.project.id)
    assert learned.verdict == "rejected"
    assert learned.reason.endswith("25% of what it learned, mixed")
    assert len(seen) == 3
    assert [one.version.id for one in list_learned_models(team.store, team.project.id)] == [
        learned.version.id
    ]


def test_a_model_that_is_no_better_is_not_tried_in_parts(team, make_learner, judged):
    learner, (verdicts, seen) = make_learner(), judged
    team.finish(team.images)
    verdicts += [False]
    assert learner.learn(team.project.id).verdict == "rejected"
    assert len(seen) == 1


def test_too_few_images_say_so(team, make_learner):
    learner = make_learner()
    with pytest.raises(StoreError, match="learning needs 1 and 6"):
        learner.learn(team.project.id)
    team.finish([one for one in team.images if not is_held_out(one.sha256)])
    with pytest.raises(StoreError, match="0 to judge by"):
        learner.learn(team.project.id)


def test_one_learner_at_a_time(team, make_learner):
    """A server that is killed leaves its learner behind; the next server starts another one."""
    learner = make_learner()
    place = learner.folder / f"project-{team.project.id}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as lock:
        hold(lock, place)
        with pytest.raises(OutputError, match=r"another run is writing to .*project-1\.lock"):
            learner.learn(team.project.id)
    with pytest.raises(StoreError, match="learning needs 1 and 6"):
        learner.learn(team.project.id)


def test_a_version_chosen_meanwhile_wins(team, make_learner, judged, monkeypatch):
    learner = make_learner()
    team.finish(team.images)
    first = learner.learn(team.project.id)
    judge = learner_module.Learner.judge

    def go_back(*arguments):
        serve_version(team.store, team.project.id, learner.base_version.id, user_id=team.robot)
        return judge(*arguments)

    monkeypatch.setattr(learner_module.Learner, "judge", go_back)
    with pytest.raises(ConflictError, match="learn again"):
        learner.learn(team.project.id)
    assert list_learned_models(team.store, team.project.id) == (first,)
    assert serving_version(team.store, team.project.id) == learner.base_version.id


def stop_at_30(progress):
    if progress.step == 30:
        raise KeyboardInterrupt


def test_a_stopped_training_is_resumed(team, make_learner, judged, monkeypatch):
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 60)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 60)
    team.finish(team.images)

    with pytest.raises(KeyboardInterrupt):
        make_learner().learn(team.project.id, on_step=stop_at_30)
    assert list_learned_models(team.store, team.project.id) == ()
    steps = []
    resumed = make_learner().learn(team.project.id, on_step=lambda one: steps.append(one.step))
    assert steps[0] > 25
    assert steps[-1] == 60
    # The same as in one go.
    other = make_learner()
    folder = other.folder.with_name("elsewhere")
    other.folder = folder
    serve_version(team.store, team.project.id, other.base_version.id, user_id=team.robot)
    again = other.learn(team.project.id)
    assert again.version.checksum == resumed.version.checksum


def test_a_training_that_another_release_began_starts_anew(team, make_learner, judged, monkeypatch):
    """Its number of steps was another one: it cannot be resumed, and must not stop all rounds."""
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 40)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 40)
    team.finish(team.images)

    with pytest.raises(KeyboardInterrupt):
        make_learner().learn(team.project.id, on_step=stop_at_30)
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 6)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 6)
    steps = []
    make_learner().learn(team.project.id, on_step=lambda one: steps.append(one.step))
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_stopped_training_survives_other_faults(team, make_learner, judged, monkeypatch):
    """Such as a process that has no room for its threads: what is trained is not thrown away."""
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 40)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 40)
    team.finish(team.images)
    with pytest.raises(KeyboardInterrupt):
        make_learner().learn(team.project.id, on_step=stop_at_30)

    def refuse(*_, **__):
        raise ConfigError("this run cannot start here")

    with monkeypatch.context() as patch:
        patch.setattr(learner_module, "train", refuse)
        with pytest.raises(ConfigError, match="cannot start here"):
            make_learner().learn(team.project.id)
    steps = []
    make_learner().learn(team.project.id, on_step=lambda one: steps.append(one.step))
    assert steps[0] > 25
    assert steps[-1] == 40


def test_other_masks_start_another_training(team, make_learner, judged):
    early, late = team.halves()
    team.finish(early)

    def stop(_progress):
        raise KeyboardInterrupt

    learner = make_learner()
    with pytest.raises(KeyboardInterrupt):
        learner.learn(team.project.id, on_step=stop)
    team.finish(late)
    steps = []
    learner.learn(team.project.id, on_step=lambda one: steps.append(one.step))
    assert steps[0] == 1


def test_a_version_that_is_not_in_the_store_cannot_answer(team, make_learner):
    learner = make_learner()
    with pytest.raises(StoreError, match="no decoder of model version 99"):
        learner.open_version(99)


def test_packed_decoders(tiny):
    packed = pack_decoder(tiny.model)
    again = unpack_decoder(packed, tiny.model)
    for name, value in tiny.model.state_dict().items():
        rounded = value if name.startswith("image_encoder.") else value.half().float()
        assert torch.equal(again.state_dict()[name], rounded)
    assert len(packed) < 20_000 + 2 * sum(
        value.numel()
        for name, value in tiny.model.state_dict().items()
        if not name.startswith("image_encoder.")
    )
    with pytest.raises(WeightsError, match="damaged"):
        unpack_decoder(packed[:-10], tiny.model)
    with pytest.raises(WeightsError, match="damaged"):
        unpack_decoder(b"nothing", tiny.model)


def test_the_base_model_is_registered_once(team, make_learner):
    first, second = make_learner(), make_learner()
    assert first.base_version == second.base_version
    assert list_model_versions(team.store) == (first.base_version,)


def test_the_judge_sees_wrong_masks_as_no_gain(team, make_learner):
    """The whole way, judged for real: masks that are wrong teach nothing."""
    team.finish(team.images, shift=30)
    learner = make_learner(general="scenes:count=3,size=64,seed=9")
    learned = learner.learn(team.project.id)
    assert learned.verdict == "rejected"
    assert learned.figures["general_iou_1"] is not None
    assert learned.figures["num_images"] >= 6


def test_steps_grow_with_the_masks(monkeypatch):
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 40)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 300)
    recipe = learn_recipe.LearnRecipe()
    assert [recipe.steps(masks) for masks in (1, 400, 10_000)] == [40, 100, 300]
    assert replace(recipe, images_per_batch=8).steps(400) == 50


def test_a_promotion_needs_its_parent(team, make_learner, tiny):
    learner = make_learner()
    with pytest.raises(StoreError, match="no model version 77"):
        add_learned_model(
            team.store,
            team.project.id,
            name="x",
            checksum="0" * 64,
            parent_id=77,
            decoder=pack_decoder(learner.base.model),
            num_images=1,
            num_masks=1,
            num_finished=1,
            reason="",
            figures={},
        )


def test_lessons_that_an_earlier_release_began_have_the_first_clicks():
    before = {"rles": ["a", "b"], "clicks": [[5.0, 6.0], [math.nan, math.nan]], "rejected": ["c"]}
    lesson = Lesson.of(json.loads(json.dumps(before)))
    assert lesson == (("a", "b"), (GivenPrompts(((5.0, 6.0, 1),)), GivenPrompts()), ("c",))
    assert Lesson.of(json.loads(json.dumps(lesson._asdict()))) == lesson
