"""What finds prefilled masks: a grid, or a proposal head that a project's masks have taught."""

from dataclasses import replace

import numpy as np
import pytest

from samkit.dataengine import read_proposal_head, save_proposal_head
from samkit.errors import OutputError, StoreError, WeightsError
from samkit.files import hold
from samkit.learning import (
    TileFolder,
    known_confidence,
    learn_to_prefill,
    prefill,
    prefill_images,
    proposers,
)
from samkit.learning.prefill import ConfidentMasks
from samkit.weights import load_proposal_head

from .test_prefill import learned


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(proposers, "MIN_STEPS", 2)
    monkeypatch.setattr(proposers, "MAX_STEPS", 2)
    monkeypatch.setattr(proposers, "LEAST_IMAGES", 4)


@pytest.fixture
def taught(monkeypatch):
    """Replaces the training; lists what each one began from."""
    begun = []

    def teach(_learner, _project, _predictor, images, before):
        assert len(images)
        begun.append(before)
        return f"head {len(begun)}".encode()

    monkeypatch.setattr(proposers, "teach_head", teach)
    return begun


@pytest.fixture
def right(monkeypatch):
    """Number of right masks by the grid and by a head; sets what is learned."""
    found = {"grid": 5, "head": 9}

    def learn(_predictor, _images, _embed, config, *, target, on_image):
        assert target
        on_image()
        number = found["grid" if config.proposer == "grid" else "head"]
        return None if number is None else replace(learned(), num_right=number)

    monkeypatch.setattr(prefill, "learn_confidence", learn)
    return found


def stored_head(learner, team):
    return read_proposal_head(team.store, team.project.id, learner.base.encoder_checksum)


def names(learner, team, enough):
    project = team.project.id
    images = learner.examples(project).learned
    found = proposers.proposers(learner, project, learner.base, images, enough=enough)
    return [one.name for one in found]


def test_few_images_teach_no_head(team, make_learner, taught):
    team.finish(team.images[:3])
    assert names(make_learner(), team, 10) == ["grid"]
    assert taught == []


def test_a_head_is_taught_anew_when_many_more_masks_are_finished(team, make_learner, taught):
    learner = make_learner()
    team.finish(team.images)
    assert names(learner, team, 10) == ["grid", proposers.checksum(b"head 1")]
    checksum = learner.base.encoder_checksum
    save_proposal_head(team.store, team.project.id, checksum, b"head 1", num_finished=40)
    assert names(learner, team, 40) == ["grid", proposers.checksum(b"head 1")]
    assert taught == [None]  # it is used again
    assert names(learner, team, 41) == ["grid", proposers.checksum(b"head 2")]
    assert taught == [None, b"head 1"]  # and then goes on from what is there


def test_a_head_is_of_its_encoder_and_project(team, make_learner, taught):
    learner = make_learner()
    team.finish(team.images)
    save_proposal_head(team.store, team.project.id, "f" * 64, b"other", num_finished=10**6)
    assert stored_head(learner, team) is None
    assert names(learner, team, 10)[1] == proposers.checksum(b"head 1")
    assert taught == [None]


def test_what_finds_more_right_masks_is_used(team, make_learner, taught, right):
    learner = make_learner()
    team.finish(team.images)
    confidence = learn_to_prefill(learner, team.project.id, target=0.9)
    assert confidence.proposer == proposers.checksum(b"head 1")
    assert stored_head(learner, team).content == b"head 1"
    right["grid"] = 10
    assert learn_to_prefill(learner, team.project.id, target=0.9).proposer == "grid"


def test_a_head_that_is_no_better_is_not_stored(team, make_learner, taught, right):
    learner = make_learner()
    team.finish(team.images)
    right["head"] = 5
    assert learn_to_prefill(learner, team.project.id, target=0.9).proposer == "grid"
    right["head"] = None
    assert learn_to_prefill(learner, team.project.id, target=0.9).proposer == "grid"
    assert stored_head(learner, team) is None
    right["grid"] = None
    assert learn_to_prefill(learner, team.project.id, target=0.9) is None


def test_the_stored_confidence_holds_as_long_as_its_head(team, make_learner, taught, right):
    team.finish(team.images)
    first = known_confidence(make_learner(), team.project.id)
    assert first.proposer == proposers.checksum(b"head 1")
    assert known_confidence(make_learner(), team.project.id) == first
    assert len(taught) == 1
    learner = make_learner()
    checksum = learner.base.encoder_checksum
    save_proposal_head(team.store, team.project.id, checksum, b"newer", num_finished=10**6)
    assert known_confidence(learner, team.project.id).proposer == proposers.checksum(b"newer")
    with pytest.raises(StoreError, match="was replaced: prefill again"):
        prefill_images(learner, team.project.id, first, user_id=team.robot)


def test_a_taught_head_finds_masks(team, make_learner):
    learner = make_learner()
    team.finish(team.images[:20])
    project = team.project.id
    images = learner.examples(project).learned
    content = proposers.teach_head(learner, project, learner.base, images, None)
    again = proposers.teach_head(learner, project, learner.base, images, content)
    assert again != content
    chosen = proposers.by_file(learner, project, content)
    head = load_proposal_head(
        chosen.config.proposer, encoder_checksum=learner.base.encoder_checksum
    )
    assert head.config.in_channels == learner.base.model.config.encoder.out_channels
    with pytest.raises(WeightsError, match="belongs to another image encoder"):
        load_proposal_head(chosen.config.proposer, encoder_checksum="0" * 64)
    everything = replace(chosen.config, iou_thresh=0.0, stability_thresh=0.0, objectness_thresh=0.0)
    sure = replace(learned(), threshold=0.0)
    tiles = TileFolder(learner.cache.folder, learner.store, team.project.id)
    masks = ConfidentMasks(learner, learner.base, sure, everything, 0, tiles)(team.images[-1])
    assert len(masks)
    assert (np.diff(masks.boxes_xyxy[:, 0::2]) >= 0).all()


def test_a_stopped_teaching_goes_on(team, make_learner, monkeypatch):
    learner = make_learner()
    team.finish(team.images[:20])
    project, folders = team.project.id, []

    def stopped(_recipe, folder, **options):
        assert options["resume"]
        folder.mkdir(parents=True, exist_ok=True)
        folders.append(folder)
        raise KeyboardInterrupt

    images = learner.examples(project).learned
    with monkeypatch.context() as patch:
        patch.setattr(proposers, "train", stopped)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                proposers.teach_head(learner, project, learner.base, images, None)
    assert folders[0] == folders[1]
    assert folders[0].exists()
    proposers.teach_head(learner, project, learner.base, images, None)
    assert not folders[0].exists()


def test_two_processes_do_not_teach_at_once(team, make_learner):
    learner = make_learner()
    team.finish(team.images[:20])
    folder = learner.folder / f"project-{team.project.id}-heads"
    folder.mkdir(parents=True)
    images = learner.examples(team.project.id).learned
    with (folder / "teaching.lock").open("wb") as lock:
        hold(lock, folder)
        with pytest.raises(OutputError):
            proposers.teach_head(learner, team.project.id, learner.base, images, None)
