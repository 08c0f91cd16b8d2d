"""Distillation task: a small image encoder learns a large one's features for the same decoder.

Source: MobileSAM, arXiv:2306.14289. Deviations: none known.

Shape legend: B images, C channels, G side of the embedding grid, S side of the model space.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samkit.errors import ConfigError
from samkit.models import CONFIGS, Sam, build_sam
from samkit.training.encoder_weights import load_encoder
from samkit.training.task import Batch, StepResult, Task
from samkit.weights import TextEncoder, model_config, save_checkpoint

TEACHER_KEY = re.compile(r"(^|\.)teacher\.")


class DistillTask(Task):
    """A student encoder, and the teacher whose features are its targets.

    The teacher is not in the task's state dict: it does not change, and may be a hundred times
    larger than the student.

    Attributes:
        student: the model that is exported; its prompt encoder and mask decoder are the teacher's,
            and only its image encoder learns.
        teacher: frozen, always in evaluation mode.
        model_name: the student's key of `samkit.models.CONFIGS`.
        text_encoder: the CLIP of the teacher's text prompts, which the student inherits.
        holds_norms: whether batch norms keep their statistics, as they must if the student's
            initial weights have folded norms, as the embedded ones do.
    """

    def __init__(
        self,
        student: Sam,
        teacher: Sam,
        *,
        model_name: str,
        text_encoder: TextEncoder | None = None,
        holds_norms: bool = False,
    ) -> None:
        super().__init__()
        check_compatible(student, teacher)
        self.student, self.teacher = student, teacher
        self.model_name, self.text_encoder = model_name, text_encoder
        self.holds_norms = holds_norms
        for part in ("prompt_encoder", "mask_decoder"):
            getattr(student, part).load_state_dict(getattr(teacher, part).state_dict())
            getattr(student, part).requires_grad_(requires_grad=False)
        teacher.requires_grad_(requires_grad=False)
        self.register_state_dict_post_hook(_leave_teacher_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_ignore_missing_teacher)  # type: ignore[no-untyped-call]
        self.train(self.training)

    def train(self, mode: bool = True) -> "DistillTask":  # noqa: FBT001, FBT002
        """Switch the student's encoder to training mode; the rest stays in evaluation mode."""
        super().train(mode=False)
        self.training = mode
        self.student.image_encoder.train(mode)
        if self.holds_norms:
            for module in self.student.image_encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> StepResult:  # noqa: ARG002
        if batch.pixels is None:
            raise ConfigError("distillation needs images; got only cached embeddings")
        target = self.target(batch)
        error = (self.student.encode(batch.pixels).grid.float() - target).square().mean()
        # Relative to the variance of the target: 1 is as good as a constant.
        relative = error.detach() / target.var()
        return StepResult(error, {"relative_error": relative})

    def target(self, batch: Batch) -> Tensor:
        """Return the teacher's features (B, C, G, G) of a batch's images, cached if available."""
        if batch.features is not None:
            return batch.features
        assert batch.pixels is not None
        return self.teacher.encode(batch.pixels).grid.float()  # frozen: no graph is stored

    def weight(self, batch: Batch) -> int:
        """The loss is a mean over images."""
        return len(batch.keys)

    def export(self, path: Path) -> None:
        """Write a full SAM checkpoint: the student's encoder with the teacher's decoder.

        Raises:
            OutputError: the file cannot be written.
        """
        save_checkpoint(self.student, path, name=self.model_name, text_encoder=self.text_encoder)


def build_student(
    model_name: str, weights: str | None = None, *, text_dim: int | None = None
) -> Sam:
    """Build a student with random weights, or with the image encoder of a checkpoint.

    Args:
        model_name: key of `samkit.models.CONFIGS`.
        weights: checkpoint with a fitting image encoder; None for random weights.
        text_dim: dimension of the teacher's text prompts; None if it has none.

    Raises:
        ConfigError: unknown name.
        WeightsError: the file does not fit.
    """
    if model_name not in CONFIGS:
        raise ConfigError(f"unknown model {model_name!r}; known are {', '.join(CONFIGS)}")
    student = build_sam(model_config(model_name, text_dim))
    if weights is not None:
        load_encoder(student, weights)
    return student


def check_compatible(student: Sam, teacher: Sam) -> None:
    """Check that a teacher's decoder fits a student's features.

    Raises:
        ConfigError: image size, grid or decoder differ, or there are several levels of features.
    """
    ours, theirs = student.config, teacher.config
    if max(len(student.level_shapes), len(teacher.level_shapes)) > 1:
        raise ConfigError("distillation is of encoders with one level of features; SAM 2 has three")
    for what, own, expected in (
        ("image size", ours.image_size, theirs.image_size),
        ("embedding grid", ours.encoder.grid_size, theirs.encoder.grid_size),
        ("features", ours.encoder.out_channels, theirs.encoder.out_channels),
        ("decoder", ours.decoder, theirs.decoder),
    ):
        if own != expected:
            raise ConfigError(f"the student's {what} must be the teacher's, {expected}; got {own}")


def _leave_teacher_out(
    module: nn.Module,  # noqa: ARG001
    state: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],  # noqa: ARG001
) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}teacher.")]:
        del state[name]


def _ignore_missing_teacher(module: nn.Module, incompatible: Any) -> None:  # noqa: ARG001
    missing: list[str] = incompatible.missing_keys
    missing[:] = [name for name in missing if not TEACHER_KEY.search(name)]
