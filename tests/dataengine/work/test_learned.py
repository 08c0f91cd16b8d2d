"""Learned models in the store: versions, verdicts, what answers, and the way back."""

import pytest

from samkit.dataengine import (
    Learning,
    NewEvent,
    add_learned_model,
    add_model_version,
    delete_project,
    encoder_of_version,
    get_project,
    learned_from,
    list_learned_models,
    list_model_versions,
    list_projects,
    list_promotions,
    read_decoder,
    save_annotation,
    serve_version,
    serving_version,
    set_learning,
)
from samkit.errors import ConflictError, RoleError, StoreError


def learn(scene, number, parent_id, decoder=b"weights", **more):
    return add_learned_model(
        scene.store,
        scene.project.id,
        name=f"cells {number}",
        checksum=f"{number:064}",
        parent_id=parent_id,
        decoder=decoder,
        num_images=3,
        num_masks=40,
        num_finished=50,
        reason="fewer clicks",
        figures={"clicks": [2.5, 1.5]},
        **more,
    )


@pytest.fixture
def base(scene):
    return add_model_version(scene.store, name="mobile_sam", checksum="f" * 64, path="").id


def test_a_promoted_model_answers_from_then_on(scene, base):
    store, project = scene.store, scene.project.id
    assert serving_version(store, project) is None
    first = learn(scene, 1, base, b"one")
    assert (first.verdict, first.parent_id, first.figures) == (
        "promoted",
        base,
        {"clicks": [2.5, 1.5]},
    )
    assert serving_version(store, project) == first.version.id
    second = learn(scene, 2, first.version.id, b"two")
    assert serving_version(store, project) == second.version.id
    assert [read_decoder(store, one.version.id) for one in (first, second)] == [b"one", b"two"]
    assert read_decoder(store, base) is None
    assert list_learned_models(store, project) == (first, second)
    chosen = [one.model_version_id for one in list_promotions(store, project)]
    assert chosen == [base, first.version.id, second.version.id]


def test_a_version_has_the_servers_image_encoder_or_its_own(scene, base):
    store, project = scene.store, scene.project.id
    plain = learn(scene, 1, base)
    own = learn(scene, 2, plain.version.id, learns="lora", encoder_checksum="a" * 64)
    assert [one.learns for one in list_learned_models(store, project)] == ["decoder", "lora"]
    assert encoder_of_version(store, plain.version.id) is None
    assert encoder_of_version(store, own.version.id) == "a" * 64
    assert encoder_of_version(store, base) is None
    child = learn(scene, 3, own.version.id, encoder_checksum="a" * 64)
    assert child.learns == "decoder"
    assert learned_from(store, project, learns="lora") == own.num_finished


def test_a_rejected_model_leaves_its_figures_only(scene, base):
    rejected = learn(scene, 1, base, decoder=None)
    assert (rejected.verdict, rejected.reason) == ("rejected", "fewer clicks")
    assert serving_version(scene.store, scene.project.id) is None
    assert read_decoder(scene.store, rejected.version.id) is None
    assert list_learned_models(scene.store, scene.project.id) == (rejected,)


def test_a_model_of_a_parent_that_no_longer_answers_is_refused(scene, base):
    learn(scene, 1, base)
    with pytest.raises(ConflictError, match="learn again"):
        learn(scene, 2, base)
    assert len(list_learned_models(scene.store, scene.project.id)) == 1
    # A rejected one changes nothing, whatever answers.
    assert learn(scene, 2, base, decoder=None).verdict == "rejected"


def test_an_earlier_version_answers_again(scene, base):
    store, project = scene.store, scene.project.id
    first = learn(scene, 1, base)
    for version in (base, first.version.id, first.version.id):
        serve_version(store, project, version, user_id=scene.rev)
        assert serving_version(store, project) == version
    people = [one.user_id for one in list_promotions(store, project)]
    assert people == [None, None, scene.rev, scene.rev]
    with pytest.raises(RoleError):
        serve_version(store, project, base, user_id=scene.ann)
    rejected = learn(scene, 2, first.version.id, decoder=None)
    with pytest.raises(StoreError, match="never answered in 'cells'"):
        serve_version(store, project, rejected.version.id, user_id=scene.rev)


def test_settings_of_learning_stay(scene):
    assert get_project(scene.store, scene.project.id).learning == Learning()
    chosen = Learning(every_masks=50, prefill=True, target_precision=0.8, lora=True)
    set_learning(scene.store, scene.project.id, chosen)
    assert list_projects(scene.store).items[0].learning == chosen
    wrong = {"every_masks": -1, "target_precision": 1.5, "max_clicks": 0, "away_minutes": 0}
    for name, value in wrong.items():
        with pytest.raises(StoreError, match=name):
            Learning(**{name: value})


def test_a_deleted_project_takes_its_models_with_it(scene, base, rle_of):
    first = learn(scene, 1, base)
    second = learn(scene, 2, first.version.id)
    event = NewEvent(kind="point", data={}, model_version_id=second.version.id)
    image = scene.hold(scene.ann)
    save_annotation(
        scene.store, image_id=image, user_id=scene.ann, rle=rle_of(1, 1, 5, 5), events=[event]
    )
    delete_project(scene.store, scene.project.id)
    assert [one.id for one in list_model_versions(scene.store)] == [base]
    assert read_decoder(scene.store, second.version.id) is None
