"""`samkit distill`: recipes of distillation, and how one is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from samkit.datasets.registry import open_data
from samkit.errors import ConfigError
from samkit.models import CONFIGS
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.loader import BatchLoader
from samkit.training.distill.agreement import Agreement, agreement
from samkit.training.distill.task import DistillTask, build_student
from samkit.training.distributed import rank0_broadcast
from samkit.training.held_out import held_out_batches
from samkit.training.loop import Progress, Trained, launch, train
from samkit.training.oom_hints import oom_hints
from samkit.training.settings import OptimRecipe, RunRecipe, check_range, settings
from samkit.training.task import Task
from samkit.weights.load import load_model

MOBILE_IMAGES = 100_000  # a hundredth of SA-1B, as MobileSAM has learned from; arXiv:2306.14289
MOBILE_BATCH, MOBILE_EPOCHS = 8, 8


@dataclass(frozen=True, kw_only=True)
class DistillRecipe:
    """A student learns the features of a teacher's image encoder.

    Attributes:
        teacher: a model's name or a checkpoint.
        student: the student's kind, a name in `samkit.models.CONFIGS`; its frame, features and
            decoder are the teacher's.
        student_weights: a checkpoint whose image encoder the student begins with; None for fresh
            weights.
        held_out_images: how many of `data.val` an evaluation sees.
        data: images, and for evaluations masks to take prompts from.
        optim: optimiser and schedule.
        run: how long and on what.
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


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """What a distillation leaves.

    Attributes:
        trained: the student's files.
        before: how it agreed with its teacher before, on held-out images.
        after: ... and in the end, with its exported last weights.
    """

    trained: Trained
    before: Agreement
    after: Agreement


def scenes() -> DistillRecipe:
    """A tiny TinyViT learns from the tiny model on synthetic scenes: two minutes on a CPU.

    The teacher is what `samkit train scenes` leaves.
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
    """MobileSAM from SAM ViT-H on a hundredth of SA-1B, on one GPU.

    The images are as many as its authors'. Optimiser and rate are TinyViT's (arXiv:2207.10666);
    batch, epochs and warm-up are ours.
    """
    return DistillRecipe(
        teacher="sam_vit_h",
        student="mobile_sam",
        data=DataRecipe(
            train="shards:sa1b", images_per_batch=MOBILE_BATCH, max_masks_per_image=8, workers=4
        ),
        optim=OptimRecipe(
            lr=1e-3, weight_decay=0.05, warmup_steps=1000, schedule="cosine", clip_norm=5.0
        ),
        run=RunRecipe(
            steps=MOBILE_EPOCHS * MOBILE_IMAGES // MOBILE_BATCH,
            precision="bf16-mixed",
            log_every=50,
            evaluate_every=5000,
            save_every=1000,
        ),
    )


DISTILL_RECIPES: Mapping[str, Callable[[], DistillRecipe]] = MappingProxyType(
    {"scenes": scenes, "mobile_sam": mobile_sam}
)


def build_distillation(recipe: DistillRecipe) -> DistillTask:
    """Teacher and student of a recipe; fresh weights come from the run's seed.

    Raises:
        WeightsError: weights are missing, damaged or do not fit.
        ConfigError: student and teacher do not fit.
    """
    teacher = load_model(recipe.teacher)
    torch.manual_seed(recipe.run.seed)
    text_dim = teacher.model.config.text_dim
    student = build_student(recipe.student, recipe.student_weights, text_dim=text_dim)
    return DistillTask(
        student,
        teacher.model,
        model_name=recipe.student,
        text_encoder=teacher.text_encoder,
        holds_norms=recipe.student_weights is not None,
    )


def distill(
    recipe: DistillRecipe,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Distilled:
    """Train a student; write it, as a whole model, and the logs to a folder.

    Raises:
        As `samkit.training.loop.train`; DataError, WeightsError and ConfigError for what does not
        fit.
    """
    fabric = launch(recipe.run)
    task = build_distillation(recipe)
    loader = BatchLoader(
        open_data(recipe.data.train, seed=recipe.run.seed),
        recipe.data,
        task.student.config.image_size,
        truth_size(task),
        seed=recipe.run.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
        with_masks=False,
    )
    with oom_hints():
        before = rank0_broadcast(fabric, lambda: compare(task.to(fabric.device).eval(), recipe))
    with loader:
        trained = train(
            task,
            loader,
            optim=recipe.optim,
            run=recipe.run,
            folder=folder,
            settings=settings(recipe),
            evaluate=lambda one: compare(one, recipe).scores(),
            on_step=on_step,
            resume=resume,
            fabric=fabric,
        )

    def compare_exported() -> Agreement:
        # Not the task: its weights may be spread over processes, or not be the averaged ones.
        student = load_model(trained.last, name=recipe.student).model
        teacher = load_model(recipe.teacher).model
        exported = DistillTask(student, teacher, model_name=recipe.student)
        return compare(exported.to(fabric.device).eval(), recipe)

    return Distilled(
        trained=trained, before=before, after=rank0_broadcast(fabric, compare_exported)
    )


def compare(task: Task, recipe: DistillRecipe) -> Agreement:
    """Student and teacher on held-out images.

    Raises:
        DataError: they have no masks to take prompts from.
    """
    assert isinstance(task, DistillTask)
    batches = held_out_batches(
        recipe.data,
        task.student.config.image_size,
        truth_size(task),
        images=recipe.held_out_images,
        with_masks=True,
    )
    return agreement(task, batches)


def truth_size(task: DistillTask) -> int:
    """Side of the frame of masks that prompts are taken from: the logits', four times the grid."""
    return 4 * task.student.config.encoder.grid_size
