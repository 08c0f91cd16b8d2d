"""Weights with which a memory begins, and that what is trained uses the memory."""

import pytest
import torch

from samkit.models import CONFIGS, Memory, RememberedFrame, RememberedPointer, build_sam
from samkit.training.sam.trainable import ModelRecipe, build_trainable
from samkit.training.task import Batch
from samkit.training.video import task as task_module
from samkit.training.video.likeness import begin_from_likeness
from samkit.training.video.losses import VideoLossRecipe
from samkit.training.video.prompts import Plan
from samkit.training.video.recipe import VideoSessionRecipe
from samkit.training.video.task import VideoTask

COLORS = ([2.0, -1, -1], [-1, 2.0, -1], [-1, -1, 2.0], [2.0, 2.0, -1])


def moving_squares(*, num_frames, num_objects=2):
    """Squares of different colours on noise, which change places, at 128 px; masks of 32 x 32."""
    torch.manual_seed(4)
    places = [(2, 2), (18, 3), (3, 19), (19, 18)]
    pixels = torch.randn(num_frames, 3, 128, 128) / 10
    masks = torch.zeros(num_objects, num_frames, 32, 32, dtype=torch.bool)
    for at in range(num_frames):
        for number in range(num_objects):
            x, y = places[(number + at) % len(places)]
            masks[number, at, y : y + 10, x : x + 10] = True
            inside = masks[number, at].repeat_interleave(4, 0).repeat_interleave(4, 1)
            pixels[at, :, inside] += torch.tensor(COLORS[number])[:, None]
    return pixels, masks


def found_in_memory(sam):
    """How far the memory of the first frame changes the last frame's cells: means in the object,
    in the other object, and elsewhere."""
    pixels, masks = moving_squares(num_frames=2)
    size = sam.config.image_size
    memory = sam.memory
    with torch.no_grad():
        grids = sam.encode(pixels).grid
        own = torch.nn.functional.interpolate(masks[:, :1].float(), (size, size))
        there = torch.ones(2, dtype=torch.bool)
        recalled = [
            memory.recall(
                memory.attention.begin(grids[1:]),
                [RememberedFrame(memory.encode(grids[:1], logits, there, binarise=False), 1)],
                [RememberedPointer(torch.zeros(2, sam.config.decoder.dim), 1)],
                span=4,
            )
            for logits in ((2 * own - 1) * 10, torch.full_like(own, -10))
        ]
    change = (recalled[0] - recalled[1]).norm(dim=1)  # (P, G, G)
    cells = torch.nn.functional.avg_pool2d(masks[:, 1].float(), 4) > 0.9
    free = torch.nn.functional.avg_pool2d(masks.any(0)[1:].float(), 4) == 0
    return [
        torch.stack([change[n][where].mean() for n, where in enumerate(two)]).mean()
        for two in ((cells[0], cells[1]), (cells[1], cells[0]), (free[0], free[0]))
    ]


@pytest.mark.parametrize("name", ["nano_sam2", "tiny_sam2"])
def test_before_any_training_the_mask_is_found_where_the_frame_looks_like_it(name):
    torch.manual_seed(0)
    sam = build_sam(CONFIGS[name]).eval()
    assert isinstance(sam.memory, Memory)
    own, other, elsewhere = found_in_memory(sam)
    assert own < 2 * other  # random weights do not know what they look for
    begin_from_likeness(sam)
    own, other, elsewhere = found_in_memory(sam)
    assert own > 2 * other
    assert own > 2 * elsewhere


@pytest.mark.slow
def test_what_is_trained_uses_the_memory(monkeypatch):
    """Two objects of one clip: with the memory of the other one, the other one is found."""
    num_frames = 4
    pixels, masks = moving_squares(num_frames=num_frames)
    batch = Batch(
        pixels=pixels,
        features=None,
        masks=masks.flatten(0, 1),
        image_index=torch.arange(num_frames).repeat(2),
        keys=tuple("abcd"),
        num_frames=num_frames,
    )
    monkeypatch.setattr(task_module, "draw_plan", lambda *_: Plan("mask", (0,), frozenset()))
    torch.manual_seed(0)
    trainable = build_trainable(ModelRecipe(config="nano_sam2", weights=None, learns="all"))
    task = VideoTask(
        trainable, VideoSessionRecipe(loss=VideoLossRecipe(focal_alpha=0.75, others=1))
    )
    begin_from_likeness(task.sam)
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-3)
    task.train()
    for _ in range(120):
        loss = task(batch, torch.Generator().manual_seed(0)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    task.eval()

    def mean_iou(truth):
        with torch.no_grad():
            answered = task(
                Batch(**vars(batch) | {"masks": truth.flatten(0, 1)}),
                torch.Generator().manual_seed(0),
            )
        return float(answered.parts["iou"])

    assert mean_iou(masks) > 0.8
    recall = task.sam.memory.recall

    def exchanged(begun, frames, pointers, *, span):
        return recall(
            begun,
            [RememberedFrame(one.map.flip(0), one.steps) for one in frames],
            [RememberedPointer(one.pointer.flip(0), one.distance) for one in pointers],
            span=span,
        )

    monkeypatch.setattr(task.sam.memory, "recall", exchanged)
    assert mean_iou(masks) < 0.2
