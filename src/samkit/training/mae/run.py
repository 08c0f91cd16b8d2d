"""`samkit pretrain`: recipes of MAE pre-training, and how one is run."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from samkit.datasets.registry import open_data
from samkit.errors import ConfigError
from samkit.files import replacing
from samkit.models import CONFIGS
from samkit.models.vit import ViTConfig
from samkit.training.batch import Batch
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.loader import BatchLoader
from samkit.training.held_out import held_out_batches
from samkit.training.loop import Progress, Trained, launch, train
from samkit.training.mae.pictures import concatenate_panels, reconstruction_pictures
from samkit.training.mae.task import MaeConfig, MaeTask
from samkit.training.settings import OptimRecipe, RunRecipe, check_range, settings
from samkit.training.task import Task

PICTURES = "pictures"  # within the folder of a run
EVALUATION_SEED = 0  # the same patches are hidden in every evaluation
# The paper's pre-training, on ImageNet-1K. arXiv:2111.06377, appendix A.1
PAPER_IMAGES, PAPER_BATCH, PAPER_EPOCHS, PAPER_WARMUP_EPOCHS = 1_281_167, 4096, 800, 40
PAPER_RATE_PER_256 = 1.5e-4
PAPER_FRAME = 224
# Its random crops show down to a fifth of an image's area.
PAPER_ZOOM = math.sqrt(5)


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """MAE pre-training of one ViT encoder.

    Attributes:
        model: whose image encoder, a name in `samkit.models.CONFIGS`.
        image_size: side of the frame while pre-training, a multiple of the patch's side; position
            embeddings are interpolated when the weights go into a model of another frame.
        held_out_images: how many of `data.val` an evaluation sees.
        pictures: how many of them are drawn, each time.
        mae: what is hidden, and the decoder.
        data: images; masks are not needed.
        optim: optimiser and schedule.
        run: how long and on what.
    """

    model: str
    image_size: int
    held_out_images: int = 64
    pictures: int = 8
    mae: MaeConfig = field(default_factory=MaeConfig)
    data: DataRecipe
    optim: OptimRecipe
    run: RunRecipe

    def __post_init__(self) -> None:
        check_range("held_out_images", self.held_out_images, 1)
        check_range("pictures", self.pictures, 0)
        patch = self.encoder.patch_size
        if self.image_size < patch or self.image_size % patch:
            raise ConfigError(f"image_size must be a multiple of {patch}; got {self.image_size}")

    @property
    def encoder(self) -> ViTConfig:
        """The encoder, for the frame of pre-training."""
        if self.model not in CONFIGS:
            raise ConfigError(f"unknown model {self.model!r}; known are {', '.join(CONFIGS)}")
        config = CONFIGS[self.model].encoder
        if not isinstance(config, ViTConfig):
            raise ConfigError(
                f"MAE pre-training is for ViT encoders, which {self.model} has not: it learns from"
                " another model by samkit distill"
            )
        return replace(config, image_size=self.image_size)


def scenes() -> PretrainRecipe:
    """The tiny model on synthetic scenes: two minutes on a CPU."""
    return PretrainRecipe(
        model="tiny",
        image_size=128,
        mae=MaeConfig(decoder_dim=64, decoder_depth=2, decoder_heads=2),
        data=DataRecipe(
            train="scenes:count=4000,size=128,seed=0",
            val="scenes:count=64,size=128,seed=1",
            images_per_batch=16,
            scale_jitter=(1.0, PAPER_ZOOM),
            flip=True,
        ),
        optim=OptimRecipe(
            lr=1.5e-3, betas=(0.9, 0.95), weight_decay=0.05, warmup_steps=50, schedule="cosine"
        ),
        run=RunRecipe(steps=1200, evaluate_every=300, save_every=300),
    )


def paper(model: str) -> PretrainRecipe:
    """He et al.'s pre-training, for 64 processes with 64 images each.

    `data.train` names the images, for the paper those of ImageNet-1K, of which there are 800
    epochs.
    """
    steps_per_epoch = PAPER_IMAGES // PAPER_BATCH
    return PretrainRecipe(
        model=model,
        image_size=PAPER_FRAME,
        data=DataRecipe(
            train="shards:images",
            images_per_batch=64,
            scale_jitter=(1.0, PAPER_ZOOM),
            flip=True,
            workers=4,
        ),
        optim=OptimRecipe(
            lr=PAPER_RATE_PER_256 * PAPER_BATCH / 256,
            betas=(0.9, 0.95),
            weight_decay=0.05,
            warmup_steps=PAPER_WARMUP_EPOCHS * steps_per_epoch,
            schedule="cosine",
            clip_norm=None,
        ),
        run=RunRecipe(
            steps=PAPER_EPOCHS * steps_per_epoch,
            precision="bf16-mixed",
            log_every=50,
            evaluate_every=10 * steps_per_epoch,
            save_every=1000,
        ),
    )


PRETRAIN_RECIPES: Mapping[str, Callable[[], PretrainRecipe]] = MappingProxyType(
    {
        "scenes": scenes,
        "vit_b": partial(paper, "sam_vit_b"),
        "vit_l": partial(paper, "sam_vit_l"),
        "vit_h": partial(paper, "sam_vit_h"),
    }
)


def build_mae(recipe: PretrainRecipe) -> MaeTask:
    """The masked autoencoder of a recipe; its weights come from the run's seed."""
    torch.manual_seed(recipe.run.seed)
    return MaeTask(recipe.encoder, recipe.mae, model_name=recipe.model)


def pretrain(
    recipe: PretrainRecipe,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Trained:
    """Pre-train an encoder; write it, the logs and pictures of reconstructions to a folder.

    Pictures are `pictures/STEP.png`, of what is evaluated: the averaged encoder, if there is an
    average.

    Raises:
        As `samkit.training.loop.train`; DataError and ConfigError for what does not fit.
    """
    fabric = launch(recipe.run)
    task = build_mae(recipe)
    loader = BatchLoader(
        open_data(recipe.data.train, seed=recipe.run.seed),
        recipe.data,
        recipe.image_size,
        recipe.encoder.grid_size,  # of masks, which nobody looks at
        seed=recipe.run.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
        with_masks=False,
    )

    def draw(one: Task, step: int) -> None:
        assert isinstance(one, MaeTask)
        write_picture(one, recipe, folder / PICTURES / f"{step:06d}.png")

    with loader:
        return train(
            task,
            loader,
            optim=recipe.optim,
            run=recipe.run,
            folder=folder,
            settings=settings(recipe),
            evaluate=lambda one: evaluate_mae(one, recipe),
            on_evaluation=draw,
            on_step=on_step,
            resume=resume,
            fabric=fabric,
        )


@torch.no_grad()
def evaluate_mae(task: Task, recipe: PretrainRecipe) -> Mapping[str, float]:
    """The loss on held-out images, negative, since a score is higher for the better."""
    assert isinstance(task, MaeTask)
    device = task.encoder.pos_embed.device
    generator = torch.Generator(device).manual_seed(EVALUATION_SEED)
    total, images = 0.0, 0
    for batch in held_out(recipe, recipe.held_out_images):
        total += float(task(batch.to(device), generator).loss) * len(batch.keys)
        images += len(batch.keys)
    return {"negative_loss": -total / images}


def write_picture(task: MaeTask, recipe: PretrainRecipe, path: Path) -> None:
    """Draw held-out images: a row each, as `reconstruction_pictures` makes it.

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


def held_out(recipe: PretrainRecipe, images: int) -> Iterator[Batch]:
    """So many images to judge by, the same ones each time."""
    grid = recipe.encoder.grid_size
    return held_out_batches(recipe.data, recipe.image_size, grid, images=images, with_masks=False)
