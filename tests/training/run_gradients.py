"""Gradients of one step of a SAM on this process's part of four images; run by a test.

Alone, the process has all four. Boxes without noise leave nothing to chance.
"""

import os
import sys
from pathlib import Path

import torch

from samkit.files import write_tensors
from samkit.training.distributed import launch
from samkit.training.sam.prompts import PromptRecipe
from samkit.training.sam.task import InteractiveRecipe, InteractiveTask
from samkit.training.sam.trainable import ModelRecipe, build_trainable
from samkit.training.settings import OptimRecipe, RunRecipe
from samkit.training.task import Batch
from samkit.training.trainer import Trainer

IMAGES, MASKS = 4, (1, 3, 2, 2)  # as many masks in no two processes


def make_batch(images):
    every = torch.randn(IMAGES, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    index = torch.repeat_interleave(torch.arange(IMAGES), torch.tensor(MASKS))
    masks = torch.zeros(len(index), 32, 32, dtype=torch.bool)
    for number in range(len(masks)):
        masks[number, number : number + 9, 2 * number : 2 * number + 5] = True
    mine = torch.isin(index, torch.tensor(images))
    return Batch(
        pixels=every[images],
        features=None,
        masks=masks[mine],
        image_index=torch.searchsorted(torch.tensor(images), index[mine]),
        keys=tuple(map(str, images)),
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    run = RunRecipe(
        steps=1, accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto"
    )
    torch.manual_seed(0)
    model = ModelRecipe(config="tiny", weights=None, learns="all")
    prompts = PromptRecipe(box_probability=1, box_noise=0, corrections=0)
    task = InteractiveTask(build_trainable(model), InteractiveRecipe(prompts=prompts))
    images = list(range(IMAGES)) if world == 1 else [2 * rank, 2 * rank + 1]
    trainer = Trainer(task, optim=OptimRecipe(), run=run, folder=path.parent, fabric=launch(run))
    trainer.module.train()
    trainer.accumulate([make_batch(images)])
    gradients = {
        name: parameter.grad
        for name, parameter in task.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    write_tensors(path, gradients, {})
