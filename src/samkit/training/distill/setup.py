"""Setup of a distillation: student, teacher, data, and their comparison before and after."""

from dataclasses import dataclass
from pathlib import Path

import torch

from samkit.training.data.loader import BatchLoader, held_out_batches
from samkit.training.distill.agreement import TeacherAgreement, agreement
from samkit.training.distill.recipe import DistillRecipe
from samkit.training.distill.task import DistillTask, build_student
from samkit.training.distributed import rank0_broadcast
from samkit.training.loop import Trained
from samkit.training.oom_hints import oom_hints
from samkit.training.setup import Context, Setup
from samkit.weights import load_model


@dataclass(frozen=True, kw_only=True)
class Distilled(Trained):
    """Result of a distillation: the student's weights.

    Attributes:
        before: agreement with the teacher before the first step, on held-out images.
        after: agreement of the exported last weights.
    """

    before: TeacherAgreement
    after: TeacherAgreement


def build_distillation(recipe: DistillRecipe) -> DistillTask:
    """Load the teacher of a recipe and build the student; random weights come from the run's seed.

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


def set_up_distillation(recipe: DistillRecipe, context: Context) -> Setup[DistillTask]:
    """Prepare a distillation, and compare student and teacher before it.

    Raises:
        ConfigError, DataError, WeightsError: student, teacher and data do not fit.
    """
    fabric = context.fabric
    source = context.open_data(recipe.data.train, seed=recipe.run.seed)
    task = build_distillation(recipe)
    loader = BatchLoader(
        source,
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

    def compare_exported(path: Path) -> TeacherAgreement:
        # The task's own weights may be sharded, or not be the averaged ones.
        student = load_model(path, name=recipe.student).model
        teacher = load_model(recipe.teacher).model
        exported = DistillTask(student, teacher, model_name=recipe.student)
        return compare(exported.to(fabric.device).eval(), recipe)

    def finish(trained: Trained) -> Distilled:
        after = rank0_broadcast(fabric, lambda: compare_exported(trained.last))
        return Distilled(**vars(trained), before=before, after=after)

    return Setup(
        task=task,
        loader=loader,
        evaluate=lambda task: compare(task, recipe).scores(),
        finish=finish,
    )


def compare(task: DistillTask, recipe: DistillRecipe) -> TeacherAgreement:
    """Compare student and teacher on held-out images.

    Raises:
        DataError: they have no masks to draw prompts from.
    """
    batches = held_out_batches(
        recipe.data,
        task.student.config.image_size,
        truth_size(task),
        images=recipe.held_out_images,
        with_masks=True,
    )
    return agreement(task, batches)


def truth_size(task: DistillTask) -> int:
    """Side of the masks that prompts are drawn from: that of the logits, four times the grid's."""
    return 4 * task.student.config.encoder.grid_size
