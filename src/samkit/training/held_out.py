"""Photos that a training is judged by: the same ones each time, as they are in prediction."""

import math
from collections.abc import Iterator
from dataclasses import replace

from samkit.training.batch import Batch
from samkit.training.data.loader import BatchLoader
from samkit.training.data.opening import open_data
from samkit.training.data.recipe import DataRecipe
from samkit.training.data.sample import SampleStream

ORDER_SEED = 0


def held_out_batches(
    recipe: DataRecipe, model_size: int, truth_size: int, *, photos: int, with_masks: bool
) -> Iterator[Batch]:
    """Batches of `recipe.val`, or of the training data where there is none.

    Args:
        recipe: of which augmentation is left out.
        model_size: side S of the model frame.
        truth_size: side T of the truth's frame.
        photos: how many, rounded up to whole batches; fewer where the data set has fewer.
        with_masks: only photos with masks.

    Raises:
        DataError: the data set is not what it should be.
    """
    spec = recipe.val or recipe.train
    plain = replace(recipe, train=spec, scale_jitter=None, flip=False, workers=0)
    source = open_data(spec)
    if not isinstance(source, SampleStream):
        photos = min(photos, len(source))
    loader = BatchLoader(
        source, plain, model_size, truth_size, seed=ORDER_SEED, with_masks=with_masks
    )
    for _ in range(math.ceil(photos / plain.photos_per_batch)):
        yield next(loader)
