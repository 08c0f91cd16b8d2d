import torch

from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.loader import held_out_batches

RECIPE = DataRecipe(
    train="scenes:count=9,size=64,seed=0",
    val="scenes:count=5,size=64,seed=1",
    images_per_batch=2,
    scale_jitter=(0.1, 2.0),
    flip=True,
)
PLAIN = DataRecipe(train="scenes:count=5,size=64,seed=1", images_per_batch=2)


def keys_of(recipe: DataRecipe, images: int) -> list[str]:
    batches = held_out_batches(recipe, 64, 16, images=images, with_masks=True)
    return [key for batch in batches for key in batch.keys]


def test_the_same_images_come_each_time_in_whole_batches_and_no_more_than_there_are() -> None:
    assert keys_of(RECIPE, 3) == keys_of(RECIPE, 3)
    assert len(keys_of(RECIPE, 3)) == 4
    assert len(keys_of(RECIPE, 100)) == 6  # five, and one again to fill the last batch
    assert len(set(keys_of(RECIPE, 100))) == 5


def test_they_are_of_val_or_else_of_the_training_data() -> None:
    assert all(key.startswith("scene-1-") for key in keys_of(RECIPE, 5))
    assert all(key.startswith("scene-1-") for key in keys_of(PLAIN, 5))


def test_they_are_as_in_prediction() -> None:
    given = held_out_batches(RECIPE, 64, 16, images=4, with_masks=True)
    plain = held_out_batches(PLAIN, 64, 16, images=4, with_masks=True)
    for one, other in zip(given, plain, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.masks, other.masks)
