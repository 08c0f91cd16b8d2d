"""General images: which ones judge, which ones are learned, and that a learner sees them."""

import math

import pytest

from samkit.datasets import PickedData, open_data
from samkit.learning import general as general_module
from samkit.learning import learn_recipe
from samkit.learning import learner as learner_module
from samkit.learning.general import REHEARSALS, open_general, with_rehearsal
from samkit.predict import pixels_sha256

SCENES = "scenes:count=24,size=64,seed=9"


def pixels(source):
    return [pixels_sha256(source[index].image) for index in range(len(source))]


def test_every_third_or_so_judges_and_none_is_on_both_sides():
    judges, rehearsed = open_general(SCENES)
    assert 4 <= len(judges) <= 12
    assert sorted(pixels(judges) + pixels(rehearsed)) == sorted(pixels(open_data(SCENES)))
    # The contents decide: an image stays on its side in a larger set.
    more = open_general(SCENES.replace("24", "30"))
    assert set(pixels(judges)) <= set(pixels(more.judges))


def test_scenes_that_are_drawn_by_default_judge_alone(monkeypatch):
    monkeypatch.setattr(general_module, "GENERAL", SCENES)
    monkeypatch.setattr(general_module, "REHEARSED", SCENES.replace("seed=9", "seed=10"))
    judges, rehearsed = open_general(SCENES)
    assert pixels(judges) == pixels(open_data(SCENES))
    assert not set(pixels(judges)) & set(pixels(rehearsed))


def test_a_single_image_judges():
    judges, rehearsed = open_general("scenes:count=1,size=64,seed=2")
    assert (len(judges), len(rehearsed)) == (1, 0)


@pytest.mark.parametrize(("own", "general"), [(9, 24), (9, 2), (1, 5)])
def test_a_third_as_many_are_learned_with_the_projects(own, general):
    images = open_data(f"scenes:count={own},size=64,seed=1")
    others = open_data(f"scenes:count={general},size=64,seed=2")
    joined = with_rehearsal(images, others)
    assert len(joined) == own + math.ceil(own * REHEARSALS)
    assert pixels(joined)[:own] == pixels(images)
    assert set(pixels(joined)[own:]) <= set(pixels(others))


def test_nothing_is_added_without_general_images():
    images = open_data("scenes:count=3,size=64,seed=1")
    assert with_rehearsal(images, PickedData(images, [])) is images


@pytest.mark.parametrize("learns", ["decoder", "lora"])
def test_a_learner_sees_them_with_the_projects(team, make_learner, monkeypatch, learns):
    seen = []
    original = learner_module.train

    def train(recipe, folder, *, source, **options):
        seen.extend(pixels(source))
        return original(recipe, folder, source=source, **options)

    monkeypatch.setattr(learner_module, "train", train)
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", 2)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", 2)
    team.finish(team.images)
    learner = make_learner(general=SCENES, judged=False, learns=learns)
    learner.learn(team.project.id)
    own = set(pixels(learner.examples(team.project.id).learned))
    rehearsed = set(pixels(open_general(SCENES).rehearsed))
    assert own < set(seen) <= own | rehearsed
