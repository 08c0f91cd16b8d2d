"""Recipes of `samkit pretrain`: settings of MAE pre-training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from samkit.errors import ConfigError
from samkit.models import CONFIGS, ViTConfig
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.mae.task import MaeConfig
from samkit.training.settings import OptimRecipe, RunRecipe, check_range

# The paper's pre-training, on ImageNet-1K. arXiv:2111.06377, appendix A.1
PAPER_IMAGES, PAPER_BATCH, PAPER_EPOCHS, PAPER_WARMUP_EPOCHS = 1_281_167, 4096, 800, 40
PAPER_RATE_PER_256 = 1.5e-4
PAPER_SIDE = 224
# Its random crops show down to a fifth of an image's area.
PAPER_ZOOM = math.sqrt(5)


@dataclass(frozen=True, kw_only=True)
class MaeRecipe:
    """Settings of an MAE pre-training.

    Attributes:
        model: the model whose image encoder is trained, a name in `samkit.models.CONFIGS`.
        image_size: side of the images in pre-training, a multiple of the patch size; position
            embeddings are interpolated when the weights are loaded into a model of another size.
        held_out_images: number of images of `data.val` in an evaluation.
        pictures: number of these images whose reconstruction each evaluation draws.
        mae: masking and decoder.
        data: images; masks are not needed.
        optim: optimiser and schedule.
        run: length, precision and hardware.
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
        """Configuration of the encoder, with the image size of pre-training."""
        if self.model not in CONFIGS:
            raise ConfigError(f"unknown model {self.model!r}; known are {', '.join(CONFIGS)}")
        config = CONFIGS[self.model].encoder
        if not isinstance(config, ViTConfig):
            raise ConfigError(
                f"MAE pre-training is for ViT encoders, which {self.model} does not have: train it"
                " from another model with samkit distill"
            )
        return replace(config, image_size=self.image_size)


def scenes() -> MaeRecipe:
    """Pre-train the tiny model on synthetic scenes: two minutes on a CPU."""
    return MaeRecipe(
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


def paper(model: str) -> MaeRecipe:
    """He et al.'s pre-training, for 64 processes with 64 images each.

    `data.train=...` must name the images; the paper's are ImageNet-1K, for 800 epochs.
    """
    steps_per_epoch = PAPER_IMAGES // PAPER_BATCH
    return MaeRecipe(
        model=model,
        image_size=PAPER_SIDE,
        data=DataRecipe(
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
            precision="auto",
            log_every=50,
            evaluate_every=10 * steps_per_epoch,
            save_every=1000,
        ),
    )


MAE_RECIPES: Mapping[str, Callable[[], MaeRecipe]] = MappingProxyType(
    {
        "scenes": scenes,
        "vit_b": partial(paper, "sam_vit_b"),
        "vit_l": partial(paper, "sam_vit_l"),
        "vit_h": partial(paper, "sam_vit_h"),
    }
)
