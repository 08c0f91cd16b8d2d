"""Preparation of samples in data workers: choice of masks, placement of image and masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samkit.datasets import Sample
from samkit.geometry import Rle, rle_area
from samkit.image_spec import Fit
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.embeddings import EmbeddedSample
from samkit.training.data.given import place_given
from samkit.training.data.placement import (
    Placement,
    draw_placement,
    ignored_cells,
    place_image,
    place_mask,
    plain_placement,
)
from samkit.training.data.rejected import Rejected, place_rejected
from samkit.types import GivenPrompts

MOST_REJECTED = 2  # of an image, in each batch
# Purpose of random numbers, part of their seed, so that no two purposes share theirs.
AUGMENTATION = 201
NO_MASK = "no usable mask"

MERGES_TRIED = 8  # masks of the same image that one is tried to be joined with
TOUCHING = np.ones((5, 5), np.uint8)  # cells around a mask that touch it


@dataclass(frozen=True, kw_only=True, eq=False)
class NotEncoded:
    """An image that is not in the embedding cache.

    Attributes:
        image_sha256: key of its embedding in the cache.
        image: uint8 RGB (H, W, 3).
    """

    image_sha256: str
    image: npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A prepared image.

    Attributes:
        key: name of the sample in its data set.
        pixels: (3, S, S); None in a training on embeddings.
        features: levels (C_i, G_i, G_i), finest first, or an image to be encoded; None in a
            training on pixels.
        masks: (M, T, T) bool.
        ignored: (T, T) bool, cells without ground truth: padding and void pixels.
        phrases: name of each mask; empty if the data set has none.
        text_embeds: (M, D) CLIP embeddings of one crop of each mask; None without crops.
        given: prompts that people gave for each mask, in the model space; empty if nobody knows of
            any.
        rejected: masks that people rejected; None without any.
        faults: one line for each annotation that was left out.
    """

    key: str
    pixels: Tensor | None
    features: tuple[Tensor, ...] | NotEncoded | None
    masks: Tensor
    ignored: Tensor
    phrases: tuple[str, ...] = ()
    text_embeds: Tensor | None = None
    given: tuple[GivenPrompts, ...] = ()
    rejected: Rejected | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skip:
    """An image that is left out.

    Attributes:
        key: name of the sample in its data set.
        reason: category, by which skipped images are counted.
        message: details, one line.
        faults: one line for each annotation that was left out.
    """

    key: str
    reason: str
    message: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Preparer:
    """Prepares samples with one recipe.

    Attributes:
        recipe: filters and augmentation.
        model_size: side S of the model space.
        truth_size: side T of the target space.
        seed: seed of all random numbers, together with the epoch and the sample's number.
        with_masks: False prepares images only, including those without masks.
        fit: how images fill the model space; see `ImageSpec`.
    """

    recipe: DataRecipe
    model_size: int
    truth_size: int
    seed: int
    with_masks: bool
    fit: Fit = "pad"

    def prepare(self, sample: Sample, epoch: int, number: int) -> Prepared | Skip:
        """Prepare a sample.

        Args:
            sample: the sample to prepare.
            epoch: index of the epoch, from 0.
            number: identifies the sample; the same in every run.
        """
        rng = np.random.default_rng([AUGMENTATION, self.seed, epoch, number])
        height, width = sample.image.shape[:2]
        placement = draw_placement(
            (height, width),
            self.model_size,
            rng,
            scale_jitter=self.recipe.scale_jitter,
            flip=self.recipe.flip,
            fit=self.fit,
        )
        ignored = ignored_cells(sample.void, placement, self.truth_size)
        chosen, masks = self._masks(sample, placement, ignored, rng)
        if self.with_masks and placement.is_cropped and not len(masks):
            # The crop shows no usable mask: use the full image instead.
            placement = plain_placement((height, width), self.model_size, self.fit)
            ignored = ignored_cells(sample.void, placement, self.truth_size)
            chosen, masks = self._masks(sample, placement, ignored, rng)
        if self.with_masks and not len(masks):
            message = f"none of its {len(sample.rles)} masks can be used"
            return Skip(key=sample.key, reason=NO_MASK, message=message, faults=sample.faults)
        is_embedded = isinstance(sample, EmbeddedSample)
        return Prepared(
            key=sample.key,
            pixels=None if is_embedded else place_image(sample.image, placement),
            features=features_of(sample) if isinstance(sample, EmbeddedSample) else None,
            masks=masks,
            ignored=torch.from_numpy(ignored),
            phrases=tuple(sample.phrases[index] for index in chosen if sample.phrases),
            text_embeds=draw_embeds(sample, chosen, rng),
            given=tuple(
                place_given(sample.given[one], placement) for one in chosen if sample.given
            ),
            rejected=place_rejected(
                sample.rejected,
                sample.rles,
                placement,
                self.truth_size,
                ignored,
                rng=rng,
                most=MOST_REJECTED,
            ),
            faults=sample.faults,
        )

    def _masks(
        self,
        sample: Sample,
        placement: Placement,
        ignored: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> tuple[list[int], Tensor]:
        """Return the indices of the chosen masks, ascending, and the masks (M, T, T)."""
        recipe = self.recipe
        rles = sample.without_void(sample.rles) if self.with_masks else ()
        chosen: dict[int, npt.NDArray[np.bool_]] = {}
        usable = usable_masks(
            rles,
            placement.original_hw,
            min_area_px=recipe.min_area_px,
            max_area_fraction=recipe.max_area_fraction,
        )

        def place(index: int) -> npt.NDArray[np.bool_] | None:
            return place_mask(
                rles[index],
                placement,
                self.truth_size,
                min_area_px=recipe.min_area_px,
                max_area_fraction=recipe.max_area_fraction,
            )

        # Placed one by one until there are enough: some may be cropped away.
        for index in rng.permutation(usable).tolist():
            if len(chosen) == recipe.max_masks_per_image:
                break
            mask = place(index)
            if mask is not None and 0 < recipe.merge_probability > rng.random():
                others = [place(other) for other in rng.permutation(usable)[:MERGES_TRIED].tolist()]
                mask = merged(mask, others, recipe.max_area_fraction)
            # A thin mask may lie in cells that are void for the most part.
            if mask is not None and (mask := mask & ~ignored).any():
                chosen[index] = mask
        if not chosen:
            return [], torch.zeros(0, self.truth_size, self.truth_size, dtype=torch.bool)
        indices = sorted(chosen)
        return indices, torch.from_numpy(np.stack([chosen[index] for index in indices]))


def merged(
    mask: npt.NDArray[np.bool_],
    others: Sequence[npt.NDArray[np.bool_] | None],
    max_area_fraction: float,
) -> npt.NDArray[np.bool_]:
    """Join a mask (T, T) with the first of some others that touches it and adds to it, if any."""
    near = cv2.dilate(mask.view(np.uint8), TOUCHING).view(np.bool_)
    for other in others:
        if other is not None and (near & other).any() and (other & ~mask).any():
            joined = mask | other
            if joined.mean() <= max_area_fraction:
                return joined
    return mask


def usable_masks(
    rles: Sequence[Rle],
    size_hw: tuple[int, int],
    *,
    min_area_px: int,
    max_area_fraction: float,
) -> list[int]:
    """Return the indices of masks that are neither empty, too small nor almost the full image.

    Args:
        rles: masks of one image.
        size_hw: height and width of the image.
        min_area_px: masks of fewer image pixels are left out.
        max_area_fraction: masks of a larger fraction of the image are left out.

    Source: arXiv:2304.02643, appendix A: masks over 90% of the image are dropped.
    """
    # One by one: pycocotools 2.0.11 under NumPy 2 fails on lists of more than 255.
    areas = np.array([rle_area(rle) for rle in rles], np.int64)
    most = max_area_fraction * size_hw[0] * size_hw[1]
    usable: list[int] = np.flatnonzero((areas >= max(1, min_area_px)) & (areas <= most)).tolist()
    return usable


def features_of(sample: EmbeddedSample) -> tuple[Tensor, ...] | NotEncoded:
    """Return a sample's cached features, or its image to be encoded."""
    if sample.features is not None:
        return sample.features
    return NotEncoded(image_sha256=sample.image_sha256, image=sample.image)


def draw_embeds(sample: Sample, chosen: list[int], rng: np.random.Generator) -> Tensor | None:
    """CLIP embeddings (M, D) of one random crop of each chosen mask; None without crops."""
    if sample.crop_embeds is None:
        return None
    variants = rng.integers(sample.crop_embeds.shape[1], size=len(chosen))
    return torch.from_numpy(sample.crop_embeds[chosen, variants].astype(np.float32))
