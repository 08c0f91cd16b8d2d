"""Automatic masks of a teacher in place of some ground truths."""

import copy

import pytest
import torch

from samkit.errors import ConfigError
from samkit.models import ImageFeatures, MaskAnswer
from samkit.training.sam.recipe import finetune
from samkit.training.sam.task import InteractiveRecipe, InteractiveTask
from samkit.training.sam.teacher import Teacher, TeacherRecipe
from samkit.training.sam.trainable import ModelRecipe, build_trainable
from samkit.training.settings import override
from samkit.training.task import Batch

SIDE = 32


@pytest.fixture
def teacher(monkeypatch):
    """A teacher whose second answer is always the left half, and the only confident one."""
    torch.manual_seed(0)
    sam = build_trainable(ModelRecipe(config="tiny", weights=None)).sam

    def upscale(attended, _context):
        count = len(attended.image)
        logits = torch.full((count, 3, SIDE, SIDE), -9.0)
        logits[:, 1, :, : SIDE // 2] = 9.0
        logits[:, 0] = logits[:, 2] = 0.5  # unstable
        return MaskAnswer(logits=logits, iou_pred=torch.tensor([[0.99, 0.9, 0.99]] * count))

    monkeypatch.setattr(sam, "upscale", upscale)
    return lambda **settings: Teacher(sam, TeacherRecipe(weights="tiny", **settings))


@pytest.fixture
def features():
    return ImageFeatures((torch.zeros(40, 32, 8, 8),))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def truths():
    masks = torch.zeros(40, SIDE, SIDE, dtype=torch.bool)
    masks[:, 4:9, 20:30] = True
    return masks


def test_some_ground_truths_become_confident_and_stable_answers(teacher, features):
    truth = truths()
    masks = teacher(probability=0.3).replace_some(truth, features, None, generator())
    half = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    half[:, : SIDE // 2] = True
    is_half, is_truth = (masks == half).flatten(1).all(1), (masks == truth).flatten(1).all(1)
    assert (is_half ^ is_truth).all()
    assert 5 <= int(is_half.sum()) <= 20
    assert (truth == truths()).all()


def test_no_mask_lies_in_ignored_cells(teacher, features):
    ignored = torch.zeros(40, SIDE, SIDE, dtype=torch.bool)
    ignored[:, 20:] = True
    masks = teacher(probability=1).replace_some(truths(), features, ignored, generator())
    assert masks[:, :20, : SIDE // 2].all()
    assert not (masks & ignored).any()


@pytest.mark.parametrize(
    "settings", [{"iou_thresh": 0.95, "stability_thresh": 0.9}, {"probability": 0}]
)
def test_ground_truths_stay_without_a_usable_answer(teacher, features, settings):
    recipe = {"probability": 1.0, **settings}
    masks = teacher(**recipe).replace_some(truths(), features, None, generator())
    assert (masks == truths()).all()


def drawn_left_halves(edge):
    """Masks whose right edge was drawn at column `edge`."""
    masks = torch.zeros(40, SIDE, SIDE, dtype=torch.bool)
    masks[:, :, :edge] = True
    return masks


@pytest.fixture
def outliner(teacher, monkeypatch):
    """A teacher whose answer to a box and a mask is always the left half."""

    def make(**settings):
        own = teacher(**settings)
        seen = []

        def decode(features, prompts, *, multimask):
            seen.append(prompts)
            logits = torch.full((len(features.grid), 1, SIDE, SIDE), -9.0)
            logits[..., : SIDE // 2] = 9.0
            return logits, torch.ones(len(logits), 1)

        monkeypatch.setattr(own._sam, "decode", decode)
        return own, seen

    return make


def test_some_drawn_masks_are_outlined_by_the_teacher(outliner, features):
    own, seen = outliner(outline_probability=0.5)
    drawn = drawn_left_halves(SIDE // 2 + 1)
    masks = own.outline_some(drawn, features, None, generator())
    changed = (masks == drawn_left_halves(SIDE // 2)).flatten(1).all(1)
    assert ((masks == drawn).flatten(1).all(1) ^ changed).all()
    assert 10 <= int(changed.sum()) <= 30
    # It was shown the drawn masks and their boxes, at the model's side of 128.
    assert seen[0].boxes_xyxy[0].tolist() == [0, 0, 4 * (SIDE // 2 + 1), 128]
    assert ((seen[0].mask_logits[0, 0] > 0) == drawn[0]).all()


def test_an_outline_of_something_else_is_not_taken(outliner, features):
    own, _ = outliner(outline_probability=1.0)
    drawn = drawn_left_halves(SIDE // 4)
    assert (own.outline_some(drawn, features, None, generator()) == drawn).all()


def test_no_outline_goes_into_ignored_cells(outliner, features):
    own, _ = outliner(outline_probability=1.0)
    ignored = torch.zeros(40, SIDE, SIDE, dtype=torch.bool)
    ignored[:, SIDE - 1] = True
    drawn = drawn_left_halves(SIDE // 2 + 1) & ~ignored
    masks = own.outline_some(drawn, features, ignored, generator())
    assert (masks == drawn_left_halves(SIDE // 2) & ~ignored).all()


def test_the_teacher_is_no_part_of_the_task(teacher):
    torch.manual_seed(0)
    trainable = build_trainable(ModelRecipe(config="tiny", weights=None, learns="decoder"))
    alone = InteractiveTask(trainable, InteractiveRecipe())
    taught = InteractiveTask(trainable, InteractiveRecipe(), teacher(probability=1))
    assert taught.state_dict().keys() == alone.state_dict().keys()
    batch = Batch(
        pixels=torch.randn(1, 3, 128, 128, generator=generator()),
        features=None,
        masks=truths()[:2],
        image_index=torch.tensor([0, 0]),
        keys=("a",),
    )
    before = copy.deepcopy(taught.teacher._sam.state_dict())
    first, second = taught(batch, generator()).loss, alone(batch, generator()).loss
    assert float(first.detach()) != float(second.detach())
    first.backward()
    after = taught.teacher._sam.state_dict()
    assert all((after[name] == value).all() for name, value in before.items())
    assert all(parameter.grad is None for parameter in taught.teacher._sam.parameters())


def test_a_teacher_needs_embeddings_that_do_not_change():
    with pytest.raises(ConfigError, match=r"model\.learns=decoder; got 'lora'"):
        override(finetune(), ["teacher.weights=mobile_sam", "embeddings=none", "model.learns=lora"])
    with pytest.raises(ConfigError, match="no text"):
        override(
            finetune(),
            [
                "teacher.weights=mobile_sam",
                "model.text_encoder=clip",
                "session.prompts.text_probability=0.5",
            ],
        )
