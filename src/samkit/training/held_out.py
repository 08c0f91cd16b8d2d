"""Images that a training is judged by: the same ones each time, as they are in prediction."""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace

from samkit.datasets.registry import open_data
from samkit.datasets.sample import Sample, SampleSource, SampleStream
from samkit.errors import DataError, ImageError
from samkit.training.batch import Batch
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.loader import BatchLoader

ORDER_SEED = 0

logger = logging.getLogger(__name__)


class Subset:
    """Some samples of a data set.

    Attributes:
        source: the data set.
        indices: of those samples.
    """

    def __init__(self, source: SampleSource, indices: list[int]) -> None:
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def key(self, index: int) -> str:
        return self.source.key(self.indices[index])

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.indices[index]]


def readable(source: SampleSource, images: int) -> Subset:
    """The first so many images, without those that are broken, which are logged."""
    indices = []
    for index in range(min(images, len(source))):
        try:
            source[index]
        except (DataError, ImageError) as error:  # noqa: PERF203 - the others are not affected
            logger.warning("skipped %s: %s", source.key(index), error)
        else:
            indices.append(index)
    return Subset(source, indices)


def held_out_batches(
    recipe: DataRecipe, model_size: int, truth_size: int, *, images: int, with_masks: bool
) -> Iterator[Batch]:
    """Batches of `recipe.val`, or of the training data where there is none.

    Args:
        recipe: of which augmentation is left out.
        model_size: side S of the model space.
        truth_size: side T of the target space.
        images: how many, rounded up to whole batches; fewer where the data set has fewer.
        with_masks: only images with masks.

    Raises:
        DataError: the data set is not what it should be.
    """
    spec = recipe.val or recipe.train
    plain = replace(recipe, train=spec, scale_jitter=None, flip=False, workers=0)
    source = open_data(spec)
    if not isinstance(source, SampleStream):
        images = min(images, len(source))
    loader = BatchLoader(
        source, plain, model_size, truth_size, seed=ORDER_SEED, with_masks=with_masks
    )
    for _ in range(math.ceil(images / plain.images_per_batch)):
        yield next(loader)
