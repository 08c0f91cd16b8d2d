"""Training steps to be timed, run by the real training loop."""

import tempfile
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from samkit.benchmark.turns import Subject
from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.predict import normalise, resize_image
from samkit.training import (
    Batch,
    InteractiveRecipe,
    InteractiveTask,
    ModelRecipe,
    OptimRecipe,
    Parts,
    PromptRecipe,
    RunRecipe,
    Trainer,
    build_trainable,
    launch,
)

IMAGES, MASKS_PER_IMAGE = 2, 4
MODEL_SIZE, TRUTH_SIZE = 1024, 256
Precision = Literal["32-true", "bf16-mixed"]
VARIANTS: dict[str, tuple[Parts, Precision]] = {
    "decoder, cached embeddings, float32": ("decoder", "32-true"),
    "decoder, cached embeddings, bfloat16": ("decoder", "bf16-mixed"),
    "LoRA, bfloat16": ("lora", "bf16-mixed"),
    "everything, bfloat16": ("all", "bf16-mixed"),
}


def training_subjects(image: npt.NDArray[np.uint8]) -> dict[str, Subject]:
    """A training step of each variant, with a first prompt and one correction."""
    return {name: step_subject(image, *variant) for name, variant in VARIANTS.items()}


def step_subject(image: npt.NDArray[np.uint8], learns: Parts, precision: Precision) -> Subject:
    """Function that runs one training step of a variant."""
    prompts = PromptRecipe(corrections=1, mask_only_between=False, mask_only_last=False)
    recipe = InteractiveRecipe(prompts=prompts, checkpoint_iterations=False)
    task = InteractiveTask(build_trainable(ModelRecipe(learns=learns)), recipe)
    run = RunRecipe(steps=10**6, precision=precision, accelerator="cpu")
    with tempfile.TemporaryDirectory() as folder:  # nothing is written into it
        trainer = Trainer(
            task, optim=OptimRecipe(lr=1e-6), run=run, folder=Path(folder), fabric=launch(run)
        )
    batches = repeat(make_batch(image, with_pixels=learns != "decoder"))
    return lambda: trainer.advance(batches)


def make_batch(image: npt.NDArray[np.uint8], *, with_pixels: bool) -> Batch:
    """A batch of the same image twice, as pixels or random features, with boxes as masks."""
    spec = ImageSpec(size=MODEL_SIZE)
    coords = CoordMap.of((image.shape[0], image.shape[1]), spec)
    pixels = normalise(resize_image(image, coords), spec).repeat(IMAGES, 1, 1, 1)
    masks = torch.zeros(IMAGES * MASKS_PER_IMAGE, TRUTH_SIZE, TRUTH_SIZE, dtype=torch.bool)
    for number, mask in enumerate(masks):
        mask[20 : 60 + 10 * number, 20 : 120 - 10 * number] = True
    return Batch(
        pixels=pixels if with_pixels else None,
        features=None if with_pixels else torch.randn(IMAGES, 256, 64, 64),
        masks=masks,
        image_index=torch.arange(IMAGES).repeat_interleave(MASKS_PER_IMAGE),
        keys=tuple(map(str, range(IMAGES))),
    )
