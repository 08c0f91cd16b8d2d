"""From one sample to what a batch takes of it: what workers do."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samkit.datasets.sample import Sample
from samkit.training.data.augment import Placement, draw_placement, place_image, plain_placement
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.embeddings import EmbeddedSample
from samkit.training.data.filters import usable_masks
from samkit.training.data.truth import place_mask

# What random numbers are drawn for, so that no two purposes share theirs.
AUGMENTATION = 201
NO_MASK = "no usable mask"


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """One image of a batch.

    Attributes:
        key: of the sample.
        image: pixels (3, S, S), or kept features (C, G, G).
        is_embedded: which of them.
        masks: (M, T, T) bool.
        phrases: what each mask is called; empty where nothing is.
        text_embeds: (M, D) what CLIP made of one crop of each mask, where crops are kept.
        faults: of annotations that were left out.
    """

    key: str
    image: Tensor
    is_embedded: bool
    masks: Tensor
    phrases: tuple[str, ...] = ()
    text_embeds: Tensor | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skip:
    """An image that is left out.

    Attributes:
        key: of the sample.
        reason: one of few.
        message: the whole story, one line.
        faults: of annotations that were left out.
    """

    key: str
    reason: str
    message: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Preparer:
    """Places images and masks into the coordinate spaces of the model and of the truth.

    Attributes:
        recipe: filters and augmentation.
        model_size: side S of the model space.
        truth_size: side T of the target space.
        seed: of all random numbers, besides the epoch's and the sample's number.
        with_masks: else images are all that is wanted, with masks or without.
    """

    recipe: DataRecipe
    model_size: int
    truth_size: int
    seed: int
    with_masks: bool

    def prepare(self, sample: Sample, epoch: int, number: int) -> Prepared | Skip:
        """Prepare a sample.

        Args:
            sample: image and masks.
            epoch: from 0.
            number: tells samples apart; the same in every run.
        """
        rng = np.random.default_rng([AUGMENTATION, self.seed, epoch, number])
        height, width = sample.image.shape[:2]
        placement = draw_placement(
            (height, width),
            self.model_size,
            rng,
            scale_jitter=self.recipe.scale_jitter,
            flip=self.recipe.flip,
        )
        chosen, masks = self._masks(sample, placement, rng)
        if self.with_masks and placement.is_cropped and not len(masks):
            # A part of the image where there is nothing: the whole of it, rather than none.
            placement = plain_placement((height, width), self.model_size)
            chosen, masks = self._masks(sample, placement, rng)
        if self.with_masks and not len(masks):
            message = f"none of its {len(sample.rles)} masks can be used"
            return Skip(key=sample.key, reason=NO_MASK, message=message, faults=sample.faults)
        return Prepared(
            key=sample.key,
            image=(
                sample.features.float()
                if isinstance(sample, EmbeddedSample)
                else place_image(sample.image, placement)
            ),
            is_embedded=isinstance(sample, EmbeddedSample),
            masks=masks,
            phrases=tuple(sample.phrases[index] for index in chosen if sample.phrases),
            text_embeds=draw_embeds(sample, chosen, rng),
            faults=sample.faults,
        )

    def _masks(
        self, sample: Sample, placement: Placement, rng: np.random.Generator
    ) -> tuple[list[int], Tensor]:
        """Numbers of the chosen masks, ascending, and the masks (M, T, T)."""
        recipe = self.recipe
        chosen: dict[int, npt.NDArray[np.bool_]] = {}
        usable = usable_masks(
            sample.rles if self.with_masks else (),
            placement.original_hw,
            min_area_px=recipe.min_area_px,
            max_area_fraction=recipe.max_area_fraction,
        )
        # Placed one by one until there are enough: some may have been cropped away.
        for index in rng.permutation(usable).tolist():
            if len(chosen) == recipe.max_masks_per_image:
                break
            mask = place_mask(
                sample.rles[index],
                placement,
                self.truth_size,
                min_area_px=recipe.min_area_px,
                max_area_fraction=recipe.max_area_fraction,
            )
            if mask is not None:
                chosen[index] = mask
        if not chosen:
            return [], torch.zeros(0, self.truth_size, self.truth_size, dtype=torch.bool)
        numbers = sorted(chosen)
        return numbers, torch.from_numpy(np.stack([chosen[index] for index in numbers]))


def draw_embeds(sample: Sample, chosen: list[int], rng: np.random.Generator) -> Tensor | None:
    """What CLIP made of one crop of each chosen mask (M, D), drawn anew; None without crops."""
    if sample.crop_embeds is None:
        return None
    variants = rng.integers(sample.crop_embeds.shape[1], size=len(chosen))
    return torch.from_numpy(sample.crop_embeds[chosen, variants].astype(np.float32))
