"""Prefilled masks: which version made them, and how long what was learned about it holds."""

import json

import numpy as np
import pytest

from samkit.dataengine import (
    Learning,
    add_model_version,
    annotation_events,
    list_annotations,
    read_confidence,
    save_confidence,
    set_learning,
)
from samkit.learning import fit_confidence, known_confidence, prefill, prefill_images
from samkit.learning.confidence import Confidence, mask_features
from samkit.types import Masks


def learned(seed=0):
    """A confidence of masks that people accept the more often the higher their predicted IoU is."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0.3, 1, 200)
    features = mask_features(scores, random.uniform(0.6, 1, 200), random.uniform(0.01, 0.1, 200))
    return fit_confidence(features, random.random(200) < scores, np.arange(200) % 10, target=0.8)


@pytest.fixture
def lessons(monkeypatch):
    """Replaces the learning of confidences; lists the targets that were learned for."""
    targets = []

    def learn(_predictor, _images, _embed, _config, *, target, on_image):
        on_image()
        targets.append(target)
        return learned(len(targets))

    monkeypatch.setattr(prefill, "learn_confidence", learn)
    return targets


def test_a_confidence_survives_json():
    confidence = learned()
    content = json.loads(json.dumps(confidence.content()))
    assert Confidence.from_content(content) == confidence


def test_a_confidence_is_learned_once_and_stored(team, make_learner, lessons):
    team.finish(team.images[:4])
    first = known_confidence(make_learner(), team.project.id)
    assert known_confidence(make_learner(), team.project.id) == first  # another process
    assert lessons == [0.9]
    # Twelve masks; a quarter more are three.
    finished = sum(len(team.scenes[int(image.path[:2])].rles) for image in team.images[:4])
    stored = read_confidence(team.store, team.project.id, make_learner().base_version.id)
    assert (stored.num_finished, stored.target_precision) == (finished, 0.9)
    team.finish(team.images[4:6])
    assert known_confidence(make_learner(), team.project.id) != first
    assert lessons == [0.9, 0.9]


def test_few_new_masks_change_nothing(team, make_learner, lessons):
    team.finish(team.images[:20])
    known_confidence(make_learner(), team.project.id)
    team.finish(team.images[20:21])
    known_confidence(make_learner(), team.project.id)
    assert lessons == [0.9]


def test_another_version_or_precision_has_its_own(team, make_learner, lessons, monkeypatch):
    learner = make_learner()
    team.finish(team.images[:4])
    first = known_confidence(learner, team.project.id)
    # Asked for once, it does not replace the project's.
    known_confidence(learner, team.project.id, target=0.5)
    assert lessons == [0.9, 0.5]
    assert known_confidence(learner, team.project.id) == first
    set_learning(team.store, team.project.id, Learning(target_precision=0.7))
    known_confidence(learner, team.project.id)
    other = add_model_version(team.store, name="other", checksum="1" * 64, path="").id
    monkeypatch.setattr(type(learner), "serving", lambda *_: (learner.base, other))
    known_confidence(learner, team.project.id)
    known_confidence(learner, team.project.id)
    assert lessons == [0.9, 0.5, 0.7, 0.7]


def test_too_few_masks_are_looked_at_again(team, make_learner, monkeypatch):
    monkeypatch.setattr(prefill, "learn_confidence", lambda *_, **__: None)
    assert known_confidence(make_learner(), team.project.id) is None
    version = make_learner().base_version.id
    assert read_confidence(team.store, team.project.id, version) is None


def test_a_confidence_is_replaced_and_needs_its_project(team, make_learner):
    from samkit.errors import MissingError

    version = make_learner().base_version.id
    for finished in (3, 9):
        save_confidence(
            team.store,
            team.project.id,
            version,
            target_precision=0.9,
            num_finished=finished,
            content={},
        )
    assert read_confidence(team.store, team.project.id, version).num_finished == 9
    with pytest.raises(MissingError):
        save_confidence(team.store, 99, version, target_precision=0.9, num_finished=1, content={})


def test_prefilled_masks_name_the_version_that_made_them(team, make_learner, monkeypatch):
    learner = make_learner()

    def generate(_self, _image):
        mask = np.zeros((1, 64, 64), bool)
        mask[0, 5:20, 5:20] = True
        return Masks.from_arrays(mask, [0.9])

    monkeypatch.setattr(prefill.ConfidentMasks, "__call__", generate)
    report = prefill_images(learner, team.project.id, learned(), user_id=team.robot)
    assert (report.num_images, report.num_added) == (len(team.images), len(team.images))
    for image in team.images:
        (mask,) = list_annotations(team.store, image.id)
        (event,) = annotation_events(team.store, mask.id)
        assert (mask.stage, event.kind) == ("fully-automatic", "import")
        assert event.model_version_id == learner.base_version.id
