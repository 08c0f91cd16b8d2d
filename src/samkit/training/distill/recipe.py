"""Recipes of `samkit distill`: settings of a distillation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from samkit.errors import ConfigError
from samkit.models import CONFIGS
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.settings import OptimRecipe, RunRecipe, check_range

MOBILE_IMAGES = 100_000  # a hundredth of SA-1B, as in MobileSAM's training; arXiv:2306.14289
MOBILE_BATCH, MOBILE_EPOCHS = 8, 8


@dataclass(frozen=True, kw_only=True)
class DistillRecipe:
    """Settings of a distillation: a student learns a teacher's image features.

    Attributes:
        teacher: a model's name or a checkpoint.
        student: architecture, a name in `samkit.models.CONFIGS` with the teacher's image size,
            features and decoder.
        student_weights: a checkpoint with the student's initial image encoder; None for random
            weights.
        held_out_images: number of images of `data.val` in an evaluation.
        data: training images; evaluation images also need masks, from which prompts are drawn.
        optim: optimiser and schedule.
        run: length, precision and hardware.
    """

    teacher: str
    student: str
    student_weights: str | None = None
    held_out_images: int = 32
    data: DataRecipe
    optim: OptimRecipe
    run: RunRecipe

    def __post_init__(self) -> None:
        if self.student not in CONFIGS:
            raise ConfigError(f"unknown model {self.student!r}; known are {', '.join(CONFIGS)}")
        check_range("held_out_images", self.held_out_images, 1)


def scenes() -> DistillRecipe:
    """Distil the tiny model into a tiny TinyViT on synthetic scenes: two minutes on a CPU.

    The teacher is the result of `samkit train scenes`.
    """
    return DistillRecipe(
        teacher="samkit-training/best.safetensors",
        student="tiny_mobile",
        data=DataRecipe(
            train="scenes:count=4000,size=128,seed=0",
            val="scenes:count=64,size=128,seed=1",
            images_per_batch=8,
            max_masks_per_image=6,
            min_area_px=60,
        ),
        optim=OptimRecipe(lr=3e-3, weight_decay=0.05, warmup_steps=50, schedule="cosine"),
        run=RunRecipe(steps=500, evaluate_every=50, save_every=100),
    )


def mobile_sam() -> DistillRecipe:
    """Distil SAM ViT-H into MobileSAM on a hundredth of SA-1B, on one GPU.

    `data.train=...` must name the images; their number is the authors'. Optimiser and rate are
    TinyViT's (arXiv:2207.10666); batch, epochs and warm-up are ours.
    """
    return DistillRecipe(
        teacher="sam_vit_h",
        student="mobile_sam",
        data=DataRecipe(images_per_batch=MOBILE_BATCH, max_masks_per_image=8, workers=4),
        optim=OptimRecipe(
            lr=1e-3, weight_decay=0.05, warmup_steps=1000, schedule="cosine", clip_norm=5.0
        ),
        run=RunRecipe(
            steps=MOBILE_EPOCHS * MOBILE_IMAGES // MOBILE_BATCH,
            precision="auto",
            log_every=50,
            evaluate_every=5000,
            save_every=1000,
        ),
    )


DISTILL_RECIPES: Mapping[str, Callable[[], DistillRecipe]] = MappingProxyType(
    {"scenes": scenes, "mobile_sam": mobile_sam}
)
