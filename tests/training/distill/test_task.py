import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from samkit.errors import ConfigError, DataError
from samkit.models import CONFIGS, Sam, SamConfig
from samkit.models.tiny_vit import TinyViTConfig
from samkit.training.distill.agreement import agreement
from samkit.training.distill.task import DistillTask, build_student
from samkit.training.task import Batch
from samkit.weights.checkpoint import save_checkpoint
from samkit.weights.load import load_model

Refusal = Callable[..., AbstractContextManager[None]]
SIDE = 128
TINY_VIT = SamConfig(
    encoder=TinyViTConfig(
        embed_dims=(8, 8, 16, 16),
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 4),
        window_sizes=(3, 3, 4, 3),
        image_size=SIDE,
        out_channels=32,
    ),
    decoder=CONFIGS["tiny"].decoder,
)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(7)
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[0, 4:12, 4:20] = masks[1, 15:30, 8:16] = masks[2, 0:9, 20:31] = True
    return Batch(
        pixels=torch.randn(2, 3, SIDE, SIDE, generator=generator),
        features=None,
        masks=masks,
        image_index=torch.tensor([0, 0, 1]),
        keys=("a", "b"),
    )


@pytest.fixture
def task(tiny_sam: Sam) -> DistillTask:
    return DistillTask(Sam(TINY_VIT), tiny_sam, model_name="tiny")


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def take_steps(task: DistillTask, batch: Batch, steps: int) -> list[float]:
    learning = [parameter for parameter in task.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = task(batch, generator()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_loss_is_the_mean_squared_error_of_features(task: DistillTask, batch: Batch) -> None:
    task.eval()
    target = task.teacher.encode(batch.pixels).grid
    error = (task.student.encode(batch.pixels).grid - target).square().mean()
    result = task(batch, generator())
    torch.testing.assert_close(result.loss, error)
    torch.testing.assert_close(result.parts["relative_error"], (error / target.var()).detach())


def test_kept_features_take_the_teachers_place(task: DistillTask, batch: Batch) -> None:
    task.eval()
    kept = replace(batch, features=task.teacher.encode(batch.pixels).grid)
    expected = task(batch, generator()).loss
    del task.teacher.image_encoder  # it is not asked
    assert torch.equal(task(kept, generator()).loss, expected)


def test_a_student_equal_to_its_teacher_has_no_error(tiny_sam: Sam, batch: Batch) -> None:
    task = DistillTask(copy.deepcopy(tiny_sam), tiny_sam, model_name="tiny")
    assert task(batch, generator()).loss < 1e-10  # not 0: without gradients, torch sums otherwise
    result = agreement(task.eval(), [batch])
    assert result.embedding_error == result.relative_error == 0
    assert result.point_iou == result.box_iou == 1
    assert result.masks == 3


def test_only_the_students_encoder_learns(task: DistillTask, batch: Batch) -> None:
    teacher = state_of(task.teacher)
    prompts, decoder = state_of(task.student.prompt_encoder), state_of(task.student.mask_decoder)
    encoder = state_of(task.student.image_encoder)
    task.train()
    losses = take_steps(task, batch, 12)
    assert losses[-1] < 0.7 * losses[0]
    torch.testing.assert_close(state_of(task.teacher), teacher, rtol=0, atol=0)
    torch.testing.assert_close(state_of(task.student.prompt_encoder), prompts, rtol=0, atol=0)
    torch.testing.assert_close(state_of(task.student.mask_decoder), decoder, rtol=0, atol=0)
    changed = state_of(task.student.image_encoder)
    learned = [name for name, _ in task.student.image_encoder.named_parameters()]
    assert all(not torch.equal(changed[name], encoder[name]) for name in learned)


def test_only_the_students_encoder_is_ever_in_training_mode(task: DistillTask) -> None:
    for mode in (True, False, True):
        task.train(mode)
        modes = {name: module.training for name, module in task.named_modules() if name}
        encoder = "student.image_encoder"
        assert modes == {name: mode and name.startswith(encoder) for name in modes}
        assert task.training == mode


def test_norms_can_be_held(tiny_sam: Sam, batch: Batch) -> None:
    task = DistillTask(Sam(TINY_VIT), tiny_sam, model_name="tiny", holds_norms=True).train()
    norms = [m for m in task.student.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = [norm.running_mean.clone() for norm in norms]
    take_steps(task, batch, 1)
    assert all(torch.equal(norm.running_mean, b) for norm, b in zip(norms, before, strict=True))


def test_the_teacher_is_not_in_the_state_and_not_missed(task: DistillTask, tiny_sam: Sam) -> None:
    state = state_of(task)
    assert {name.split(".")[0] for name in state} == {"student"}
    other = DistillTask(Sam(TINY_VIT), tiny_sam, model_name="tiny")
    wrapper = nn.ModuleDict({"task": other})  # as training programs wrap it
    assert {name.split(".")[1] for name in wrapper.state_dict()} == {"student"}
    wrapper.load_state_dict({f"task.{name}": tensor for name, tensor in state.items()})
    torch.testing.assert_close(state_of(other), state, rtol=0, atol=0)
    del state["student.image_encoder.neck.0.weight"]
    with pytest.raises(RuntimeError, match=r"neck\.0\.weight"):
        other.load_state_dict(state)


def test_the_export_is_a_whole_model_with_the_teachers_decoder(
    tiny_sam: Sam, batch: Batch, tmp_path: Path
) -> None:
    task = DistillTask(Sam(CONFIGS["tiny"]), tiny_sam, model_name="tiny")
    task.export(tmp_path / "student.safetensors")
    loaded = load_model(tmp_path / "student.safetensors")
    assert loaded.name == "tiny"
    features = loaded.model.encode(batch.pixels).grid
    assert torch.equal(features, task.student.encode(batch.pixels).grid)
    torch.testing.assert_close(
        state_of(loaded.model.mask_decoder), state_of(tiny_sam.mask_decoder), rtol=0, atol=0
    )


def test_masks_agree_more_after_learning(task: DistillTask, batch: Batch) -> None:
    before = agreement(task.eval(), [batch])
    take_steps(task.train(), batch, 40)
    after = agreement(task.eval(), [batch])
    assert after.embedding_error < before.embedding_error
    assert after.point_iou + after.box_iou > before.point_iou + before.box_iou
    assert next(iter(after.scores())) == "explained"
    assert after.scores()["explained"] == 1 - after.relative_error


def test_agreement_is_the_same_every_time_and_whatever_the_batches(
    task: DistillTask, batch: Batch
) -> None:
    task.eval()
    assert agreement(task, [batch]) == agreement(task, [batch])
    assert agreement(task, [batch, batch]).masks == 6
    assert agreement(task, [batch, batch]).embedding_error == pytest.approx(
        agreement(task, [batch]).embedding_error
    )


def test_what_cannot_be_distilled_is_refused(
    task: DistillTask, tiny_sam: Sam, batch: Batch, refusal: Refusal
) -> None:
    with refusal(ConfigError, "student's image size must be the teacher's, 128; got 1024"):
        DistillTask(build_student("mobile_sam"), tiny_sam, model_name="mobile_sam")
    with refusal(ConfigError, "needs images"):
        task(replace(batch, pixels=None, features=torch.zeros(2, 32, 8, 8)), generator())
    with refusal(ConfigError, "unknown model 'no'", "tiny"):
        build_student("no")
    empty = replace(batch, masks=batch.masks[:0], image_index=batch.image_index[:0])
    with refusal(DataError, "no masks"):
        agreement(task.eval(), [empty])


def test_a_student_can_begin_with_weights(tiny_sam: Sam, tmp_path: Path) -> None:
    save_checkpoint(tiny_sam, tmp_path / "tiny.safetensors", name="tiny")
    student = build_student("tiny", str(tmp_path / "tiny.safetensors"))
    torch.testing.assert_close(state_of(student.image_encoder), state_of(tiny_sam.image_encoder))
