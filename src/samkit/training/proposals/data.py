"""Batches of image embeddings with the boxes of masks, for the training of a proposal head.

Shape legend: B images, K objects, C channels, G side of the embedding grid.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from samkit.datasets import Sample, SampleSource
from samkit.errors import DataError, ImageError
from samkit.geometry import Rle, rle_area, rle_box_xyxy
from samkit.predict import pixels_sha256
from samkit.training.data.embeddings import CachingEncoder
from samkit.training.data.sampling import EpochSampler
from samkit.training.proposals.recipe import ProposalDataRecipe
from samkit.training.task import Batch

DUPLICATE_IOU = 0.5  # of an automatic mask with another one, from which it shows the same object

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class ProposalBatch(Batch):
    """A batch of embeddings with boxes; it has no masks.

    Attributes:
        boxes_xyxy: (K, 4) float32, in pixels of the model's input; those of one image are adjacent.
        weights: (K,) float32, how good a perfect box is to be called.
        visible_wh: (B, 2) float32, the size of each image in the model's input.
    """

    boxes_xyxy: Tensor
    weights: Tensor
    visible_wh: Tensor

    def to(self, device: torch.device) -> ProposalBatch:
        """Copy to a device."""
        moved = Batch.to(self, device)
        assert isinstance(moved, ProposalBatch)
        return replace(
            moved,
            boxes_xyxy=self.boxes_xyxy.to(device),
            weights=self.weights.to(device),
            visible_wh=self.visible_wh.to(device),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is to be proposed in an image.

    Attributes:
        image_sha256: key of the image's embedding.
        boxes_xyxy: (K, 4) in pixels of the model's input.
        weights: (K,).
        visible_wh: (2,).
    """

    image_sha256: str
    boxes_xyxy: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    visible_wh: npt.NDArray[np.float32]


class ProposalLoader:
    """Endless, resumable batches; each image is decoded when it is first used.

    Images that cannot be read are skipped and logged; images without masks are used: there, nothing
    is to be proposed.
    """

    def __init__(
        self,
        source: SampleSource,
        encoder: CachingEncoder,
        recipe: ProposalDataRecipe,
        *,
        automatic: SampleSource | None = None,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            encoder: the encoder, with the cache of its embeddings.
            automatic: automatic masks of images of the same file names.
            seed: seed of the order.
            rank: index of this process.
            world: number of processes.

        Raises:
            DataError: there are no images, or none of them has automatic masks.
        """
        if not len(source):
            raise DataError("the data set has no images")
        self.source, self.encoder, self.recipe = source, encoder, recipe
        self._sampler = EpochSampler(count=len(source), seed=seed, rank=rank, world=world)
        self._position = 0
        self._known: dict[int, Targets | None] = {}
        self._automatic, self._automatic_index = automatic, dict[str, int]()
        if automatic is not None:
            names = {file_name(source.key(index)) for index in range(len(source))}
            found = {file_name(automatic.key(index)): index for index in range(len(automatic))}
            self._automatic_index = {name: at for name, at in found.items() if name in names}
            if not self._automatic_index:
                raise DataError("data.automatic has no image of data.train, by their file names")

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> ProposalBatch:
        """The next batch.

        Raises:
            DataError: a full epoch has no image that can be read.
            OutputError: the embedding cache cannot be written.
        """
        chosen: list[tuple[int, Targets]] = []
        indices = self._sampler.indices(self._position)
        position, unusable = self._position, 0
        while len(chosen) < self.recipe.images_per_batch:
            _, index = next(indices)
            position += 1
            targets = self._targets(index)
            unusable = 0 if targets is not None else unusable + 1
            if unusable >= 2 * len(self.source):
                raise DataError("no image of a full epoch can be used")
            if targets is not None:
                chosen.append((index, targets))
        batch = self.batch(chosen)
        self._position = position
        return batch

    def batch(self, chosen: list[tuple[int, Targets]]) -> ProposalBatch:
        """Make a batch of images by index, with their targets."""
        features = [self._features(index, targets.image_sha256) for index, targets in chosen]
        counts = torch.tensor([len(targets.boxes_xyxy) for _, targets in chosen])
        parts = [targets for _, targets in chosen]
        return ProposalBatch(
            pixels=None,
            features=torch.stack(features),
            masks=torch.zeros(0, 1, 1, dtype=torch.bool),
            image_index=torch.repeat_interleave(torch.arange(len(chosen)), counts),
            keys=tuple(self.source.key(index) for index, _ in chosen),
            boxes_xyxy=torch.from_numpy(np.concatenate([one.boxes_xyxy for one in parts])),
            weights=torch.from_numpy(np.concatenate([one.weights for one in parts])),
            visible_wh=torch.from_numpy(np.stack([one.visible_wh for one in parts])),
        )

    def in_order(self, images: int) -> Iterator[tuple[int, Targets]]:
        """Iterate over the first images that can be read, by index, with their targets."""
        for index in range(min(images, len(self.source))):
            targets = self._targets(index)
            if targets is not None:
                yield index, targets

    def __enter__(self) -> ProposalLoader:  # noqa: PYI034 -- Self is of Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        """There are no worker processes to end."""

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._position = state["position"]

    def _targets(self, index: int) -> Targets | None:
        """Targets of an image, remembered; None if it cannot be read."""
        if index not in self._known:
            try:
                self._known[index] = self._read(self.source[index])
            except (DataError, ImageError) as error:
                logger.warning("skipped %s: %s", self.source.key(index), error)
                self._known[index] = None
        return self._known[index]

    def _read(self, sample: Sample) -> Targets:
        rles = [
            rle
            for rle in sample.without_void(sample.rles)
            if rle_area(rle) >= max(1, self.recipe.min_area_px)
        ]
        automatic = self._automatic_rles(sample, rles)
        coords = self.encoder.predictor.coord_map(sample.image)
        boxes = [rle_box_xyxy(rle) for rle in (*rles, *automatic)]
        weights = [1.0] * len(rles) + [self.recipe.automatic_weight] * len(automatic)
        boxes_xyxy = coords.boxes_to_model(np.array(boxes, np.float64).reshape(-1, 4))
        return Targets(
            image_sha256=sample.embedding_key or pixels_sha256(sample.image),
            boxes_xyxy=boxes_xyxy.astype(np.float32),
            weights=np.array(weights, np.float32),
            visible_wh=np.array(coords.resized_hw[::-1], np.float32),
        )

    def _automatic_rles(self, sample: Sample, rles: list[Rle]) -> list[Rle]:
        """Automatic masks of an image that duplicate none of its masks."""
        at = self._automatic_index.get(file_name(sample.key))
        if at is None or self._automatic is None:
            return []
        other = self._automatic[at]
        if other.image.shape != sample.image.shape:
            raise DataError(
                f"the image of its automatic masks is {other.image.shape[:2]} pixels, not"
                f" {sample.image.shape[:2]}"
            )
        large = [rle for rle in other.rles if rle_area(rle) >= max(1, self.recipe.min_area_px)]
        if not rles or not large:
            return large
        ious = [coco_mask.iou([rle], rles, [0] * len(rles)).max() for rle in large]
        return [rle for rle, iou in zip(large, ious, strict=True) if iou < DUPLICATE_IOU]

    def _features(self, index: int, image_sha256: str) -> Tensor:
        """The level that prompts attend to (C, G, G), cached or encoded now."""
        encoder = self.encoder
        cached = encoder.cache.get(image_sha256, encoder.predictor.encoder_checksum)
        if cached is not None:
            return cached.features.grid[0].cpu()
        return encoder.features(image_sha256, self.source[index].image)[-1]


def file_name(key: str) -> str:
    """The name of an image's file, without its folders."""
    return PurePosixPath(key).name
