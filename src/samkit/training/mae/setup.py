"""Setup of MAE pre-training: task, data, and the scores and pictures of evaluations."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from samkit.files import replacing
from samkit.training.data.loader import BatchLoader, held_out_batches
from samkit.training.mae.pictures import concatenate_panels, reconstruction_pictures
from samkit.training.mae.recipe import MaeRecipe
from samkit.training.mae.task import MaeTask
from samkit.training.setup import Context, Setup
from samkit.training.task import Batch

PICTURES = "pictures"  # within the folder of a run
EVALUATION_SEED = 0  # the same patches are hidden in every evaluation


def build_mae(recipe: MaeRecipe) -> MaeTask:
    """Build the masked autoencoder of a recipe; its weights come from the run's seed."""
    torch.manual_seed(recipe.run.seed)
    return MaeTask(recipe.encoder, recipe.mae, model_name=recipe.model)


def set_up_mae(recipe: MaeRecipe, context: Context) -> Setup[MaeTask]:
    """Prepare a pre-training.

    Each evaluation also draws reconstructions by the evaluated encoder (the averaged one, if there
    is an average) to `pictures/STEP.png`.

    Raises:
        ConfigError, DataError: the data set is missing or invalid.
    """
    task = build_mae(recipe)
    loader = BatchLoader(
        context.open_data(recipe.data.train, seed=recipe.run.seed),
        recipe.data,
        recipe.image_size,
        recipe.encoder.grid_size,  # size of masks, which are not used
        seed=recipe.run.seed,
        rank=context.fabric.global_rank,
        world=context.fabric.world_size,
        with_masks=False,
    )
    pictures = context.folder / PICTURES
    return Setup(
        task=task,
        loader=loader,
        evaluate=lambda task: evaluate_mae(task, recipe),
        on_evaluation=lambda task, step: write_picture(task, recipe, pictures / f"{step:06d}.png"),
    )


@torch.no_grad()
def evaluate_mae(task: MaeTask, recipe: MaeRecipe) -> Mapping[str, float]:
    """Compute the score: the negative loss on held-out images."""
    device = task.encoder.pos_embed.device
    generator = torch.Generator(device).manual_seed(EVALUATION_SEED)
    total, images = 0.0, 0
    for batch in held_out(recipe, recipe.held_out_images):
        total += float(task(batch.to(device), generator).loss) * len(batch.keys)
        images += len(batch.keys)
    return {"negative_loss": -total / images}


def write_picture(task: MaeTask, recipe: MaeRecipe, path: Path) -> None:
    """Draw reconstructions of held-out images, one row each.

    Raises:
        OutputError: the picture cannot be written.
    """
    if not recipe.pictures:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    device = task.encoder.pos_embed.device
    generator = torch.Generator(device).manual_seed(EVALUATION_SEED)
    rows: list[npt.NDArray[np.uint8]] = []
    for batch in held_out(recipe, recipe.pictures):
        assert batch.pixels is not None
        rows += reconstruction_pictures(task, batch.pixels.to(device), generator)
    sheet = concatenate_panels(rows[: recipe.pictures], axis=0)
    with replacing(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="png")


def held_out(recipe: MaeRecipe, images: int) -> Iterator[Batch]:
    """Iterate over batches of held-out images, the same ones each time."""
    grid = recipe.encoder.grid_size
    return held_out_batches(recipe.data, recipe.image_size, grid, images=images, with_masks=False)
