"""Settings of a round, and the training that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samkit.dataengine import Learnt
from samkit.learning.general import GENERAL
from samkit.models import CONFIGS
from samkit.training import (
    DataRecipe,
    InteractiveRecipe,
    LossRecipe,
    ModelRecipe,
    OptimRecipe,
    PromptRecipe,
    RunRecipe,
    SamRecipe,
)

if TYPE_CHECKING:
    from samkit.predict import EmbeddingCache

TRUTH_SIZE = 256
MIN_STEPS, MAX_STEPS = 40, 300
PASSES = 2.0  # over all masks, if the steps allow


@dataclass(frozen=True, kw_only=True)
class LearnRecipe:
    """Settings of a round.

    Attributes:
        learns: "decoder"; or "lora", low-rank corrections of the image encoder with it.
        images_per_batch, masks_per_image: size of a batch, for the decoder alone.
        corrections: most corrections in a simulated session.
        lr: highest learning rate.
        rejected: weight of the predicted IoU where people rejected masks.
        general: data set of general images that must not be forgotten: some are learned with the
            project's, others judge; None for none.
        judged: False promotes every candidate, to compare what images teach with simulations that
            are too small for the judge.
        threads: threads of the training; None for all.
    """

    learns: Learnt = "decoder"
    images_per_batch: int = 4
    masks_per_image: int = 2
    corrections: int = 3
    lr: float = 2e-4
    rejected: float = 1.0
    general: str | None = GENERAL
    judged: bool = True
    threads: int | None = None

    def steps(self, num_masks: int) -> int:
        """Number of training steps for this many masks."""
        wanted = PASSES * num_masks / (self.images_per_batch * self.masks_per_image)
        return round(min(max(wanted, MIN_STEPS), MAX_STEPS))

    def training(
        self, weights: Path, cache: EmbeddingCache, *, config: str, num_masks: int
    ) -> SamRecipe:
        """The recipe of the training: on cached embeddings, or with LoRA on images.

        An image costs much more than a mask there, so that a batch has all its masks of one.
        """
        steps, batch = self.steps(num_masks), self.images_per_batch * self.masks_per_image
        with_encoder = self.learns == "lora"
        return SamRecipe(
            model=ModelRecipe(config=config, weights=str(weights), learns=self.learns),
            data=DataRecipe(
                images_per_batch=1 if with_encoder else self.images_per_batch,
                max_masks_per_image=batch if with_encoder else self.masks_per_image,
                flip=with_encoder,
            ),
            truth_size=min(TRUTH_SIZE, CONFIGS[config].image_size),
            embeddings=None if with_encoder else str(cache.folder),
            session=InteractiveRecipe(
                prompts=PromptRecipe(
                    box_probability=0.2,
                    single_box_probability=0.7,
                    box_noise=0.05,
                    center_probability=0.7,
                    given_probability=0.5,
                    corrections=self.corrections,
                    min_corrections=1,
                    mask_only_between=False,
                    mask_only_last=False,
                ),
                loss=LossRecipe(focal_alpha=0.5, iou=2.0, click=0.1, rejected=self.rejected),
                checkpoint_iterations=False,
            ),
            optim=OptimRecipe(
                lr=self.lr,
                weight_decay=0.01,
                warmup_steps=min(20, steps // 4),
                schedule="cosine",
                average_decay=0.95,
            ),
            run=RunRecipe(steps=steps, precision="auto", save_every=25),
        )
