"""What the judge does not promote, for real: the embedded model learns from drawn scenes.

A round takes minutes on a core.
"""

import numpy as np
import pytest

from samkit.dataengine import Store
from samkit.learning import Learner, LearnRecipe, learn_recipe
from samkit.predict import EmbeddingCache, Predictor

from .conftest import Team

pytestmark = pytest.mark.slow

STEPS = 24
RANDOM_SHARE = 0.2


@pytest.fixture(scope="module")
def embedded():
    return Predictor.load()


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    return EmbeddingCache(tmp_path_factory.mktemp("cache") / "embeddings")


@pytest.fixture
def learn(tmp_path, scene_folder, scenes, embedded, embeddings, monkeypatch):
    """Finish all images with masks that a function makes of the true ones; return the verdict."""
    monkeypatch.setattr(learn_recipe, "MIN_STEPS", STEPS)
    monkeypatch.setattr(learn_recipe, "MAX_STEPS", STEPS)

    def run(change):
        with Store.open(tmp_path / "store.db") as store:
            team = Team(store, scene_folder, scenes)
            random = np.random.default_rng(0)
            team.finish(team.images, change=lambda mask: change(mask, random))
            recipe = LearnRecipe(
                images_per_batch=2,
                masks_per_image=2,
                corrections=1,
                general="scenes:count=8,size=64,seed=7,things=3",
            )
            learner = Learner(
                store,
                embedded,
                embeddings,
                tmp_path / "learning",
                recipe=recipe,
                max_pixels=10**6,
            )
            return learner.learn(team.project.id)

    return run


def test_a_fifth_of_random_masks_is_not_promoted(learn):
    """Careless or hostile: boxes anywhere in place of every fifth mask.

    They cost the same with both models, so that the judge sees a smaller gain among more noise. No
    rule looks for such masks: a model that makes the others cheaper beyond chance is promoted.
    """

    def sometimes_random(mask, random):
        if random.random() >= RANDOM_SHARE:
            return mask
        height, width = mask.shape
        x, y = random.integers(width - 8), random.integers(height - 8)
        box = np.zeros_like(mask)
        box[y : y + random.integers(6, 24), x : x + random.integers(6, 24)] = True
        return box

    learned = learn(sometimes_random)
    assert learned.verdict == "rejected"
    assert learned.figures["num_images"] >= 6
