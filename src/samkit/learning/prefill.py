"""Prefilled masks: confident automatic masks that are on an image when people open it.

The confidence is learned for each model version, on held-back images: there automatic masks, by a
grid and by a proposal head, are compared with the masks that people made, and what finds more masks
that are right is used. The store has it until another version answers, or many
more masks are finished. Images too large to be decoded whole are prefilled tile by tile, at the
scale at which people work on them. What people later do with prefilled masks on their images tells
the precision of late.
"""

from __future__ import annotations

import logging
import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pycocotools import mask as coco_mask

from samkit.batch import run_prelabelling
from samkit.dataengine import (
    Prelabelling,
    count_finished_masks,
    get_project,
    read_confidence,
    read_stored_image,
    save_confidence,
)
from samkit.datasets import Sample
from samkit.errors import StoreError
from samkit.geometry import place_rle, rle_area, rle_box_xyxy
from samkit.learning.confidence import Confidence, fit_confidence, mask_features
from samkit.learning.examples import finished_large_images
from samkit.learning.large_images import usual_level
from samkit.learning.proposers import Proposer, known_proposer, proposers, use_proposer
from samkit.learning.tile_masks import TileFolder
from samkit.proposals import AutoMaskConfig, AutoMasker, generate_tiled
from samkit.types import Masks
from samkit.weights import weights_sha256

if TYPE_CHECKING:  # torch takes seconds to import
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from samkit.arrays import RgbImage
    from samkit.dataengine import PrelabelReport, StoredImage
    from samkit.formats import Pyramid
    from samkit.geometry import Rle
    from samkit.learning.examples import FinishedImages
    from samkit.learning.judge import Embed
    from samkit.learning.learner import Learner
    from samkit.predict import Predictor

logger = logging.getLogger(__name__)

# A mask that people would leave as it is.
ACCEPTED_IOU = 0.85
MOST_SHARED = 0.5  # of two masks that are both shown, the part of the smaller one
MAX_IMAGES = 24  # to learn a confidence from: the latest ones
# A confidence is learned anew when this many times as many masks are finished.
ENOUGH_NEW = 1.25
# Called with the path of a large image, and the numbers of its tiles that are done and of all.
OnTile: TypeAlias = "Callable[[str, int, int], None]"

# Of a large image: with more of them, the page and the store would become slow.
MOST_ON_IMAGE = 5000


@dataclass(frozen=True)
class ConfidentMasks:
    """Generates the masks of an image that people will likely accept."""

    learner: Learner
    predictor: Predictor
    confidence: Confidence
    config: AutoMaskConfig
    level: int  # of the pyramids of large images, at which their masks are found
    tiles: TileFolder  # of these images
    on_tile: OnTile = lambda path, done, total: None  # noqa: ARG005

    def __call__(self, image: StoredImage) -> Masks:
        """Read an image, embed it unless that is cached, and generate its masks.

        Raises:
            ConfigError, OutputError: it is large, and there is no libvips or no room for its tiles.
            ImageError, StoreError: it cannot be read, or has changed since it was added.
        """
        learner = self.learner
        if math.prod(image.size_hw) > learner.max_pixels:
            return self._of_tiles(image)
        pixels = read_stored_image(learner.store, image, max_pixels=learner.max_pixels)
        sample = Sample(key=image.path, image=pixels, rles=(), embedding_key=image.pixels_key)
        embedding = learner.embed(sample, self.predictor)
        masks = AutoMasker(self.predictor, self.config).generate(pixels, embedding=embedding)
        return confident(masks, self.confidence)

    def generate(self, image: npt.NDArray[Any], /) -> Masks:
        """Generate the masks of a tile, which are judged by what the model sees: the tile.

        Its embedding is not cached: a large image has so many that they would drive out all others.
        """
        masks = AutoMasker(self.predictor, self.config).generate(image)
        return confident(masks, self.confidence).with_columns(points_xy=None, crops_xyxy=None)

    def _of_tiles(self, image: StoredImage) -> Masks:
        """The masks of a large image; one tile's pixels are in memory."""
        pyramid = self.learner.files.pyramid(image)
        level = min(self.level, len(pyramid.sizes_wh) - 1)
        record = self.tiles.begin(image, self._settings(level))

        def report(done: int, total: int) -> None:
            record.report(done, total)
            self.on_tile(image.path, done, total)

        found = generate_tiled(
            self, PyramidTiles(pyramid, level), record=record, on_progress=report
        )
        surest = np.argsort(-found.scores, kind="stable")[:MOST_ON_IMAGE]
        if len(found) > MOST_ON_IMAGE:
            logger.warning(
                "%s: the %d surest of %d masks are put on it", image.path, MOST_ON_IMAGE, len(found)
            )
        # Tiles that overlap may see an object differently.
        alone = without_overlap(found, surest, found.scores.astype(np.float64))
        return at_full_size(found.select(alone), image.size_hw, factor=1 << level)

    def _settings(self, level: int) -> str:
        """All that decides the masks of an image by tiles, besides its pixels."""
        model = weights_sha256(self.predictor.model)
        return f"{model} {self.confidence} {self.config} {level}"


class Prefilling(Prelabelling):
    """Pre-labelling with confident masks; tiles of images that have their masks are removed."""

    def __init__(
        self,
        generate: ConfidentMasks,
        project_id: int,
        *,
        user_id: int,
        model_version_id: int,
    ) -> None:
        super().__init__(
            generate.learner.store,
            project_id,
            generate,
            user_id=user_id,
            model_version_id=model_version_id,
        )
        self.tiles = generate.tiles
        self.tiles.remove_others(self.image_ids())

    def commit(self, image: StoredImage, masks: Masks) -> int | None:
        added = super().commit(image, masks)
        self.tiles.remove(image.id)
        return added


class PyramidTiles:
    """A level of a large image's pyramid, read window by window."""

    def __init__(self, pyramid: Pyramid, level: int) -> None:
        self._pyramid, self._level = pyramid, level

    @property
    def size_hw(self) -> tuple[int, int]:
        width, height = self._pyramid.sizes_wh[self._level]
        return height, width

    def read(self, box_xyxy: tuple[int, int, int, int]) -> RgbImage:
        return self._pyramid.read(self._level, box_xyxy)


def at_full_size(masks: Masks, size_hw: tuple[int, int], *, factor: int) -> Masks:
    """Masks of a level of an image's pyramid as masks of the image, with their scores.

    Args:
        size_hw: of the image.
        factor: pixels of the image along a side of each pixel of the level.
    """
    if factor == 1:
        return masks
    rles = [place_rle(rle, corner_xy=(0, 0), size_hw=size_hw, factor=factor) for rle in masks.rles]
    return Masks(
        rles=tuple(rles),
        boxes_xyxy=np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4),
        areas=np.array([rle_area(rle) for rle in rles], np.int64),
        scores=masks.scores,
        size_hw=size_hw,
        stability=masks.stability,
    )


def confident(masks: Masks, confidence: Confidence) -> Masks:
    """Choose the masks of an image that people will likely accept; scores become confidences."""
    values = confidence.of(features_of(masks))
    least = 1.0 if confidence.threshold is None else confidence.threshold
    chosen = without_overlap(masks, np.flatnonzero(values >= least), values)
    return masks.select(chosen).with_columns(scores=values[chosen].astype(np.float32))


def prefill_images(
    learner: Learner,
    project_id: int,
    confidence: Confidence,
    *,
    user_id: int,
    image_ids: Sequence[int] | None = None,
    limit: int | None = None,
    on_image: Callable[[int, int], None] | None = None,
    on_tile: OnTile = lambda path, done, total: None,  # noqa: ARG005
) -> PrelabelReport:
    """Prefill images that nobody has started.

    Of large images, tiles that an earlier run has finished are not repeated.

    Args:
        user_id: a reviewer or admin, to be recorded as the masks' author.
        image_ids: these only; None for all of the project.
        limit: how many of them, the first ones.
        on_image: called with the number of images done, and their total.
        on_tile: called with the path of a large image, the number of its tiles done, and their
            total.

    Raises:
        StoreError: no such project, its root does not exist, the user is not a reviewer, or the
            confidence is of a proposal head that is gone.
    """
    predictor, version = learner.serving(project_id)
    config = known_proposer(learner, project_id, predictor, confidence.proposer)
    if config is None:
        raise StoreError(
            "the proposal head that the confidence was learned with was replaced: prefill again"
        )
    level = usual_level(learner.store, finished_large_images(learner.files, project_id))
    tiles = TileFolder(learner.cache.folder, learner.store, project_id)
    generate = ConfidentMasks(learner, predictor, confidence, config, level, tiles, on_tile)
    steps = Prefilling(generate, project_id, user_id=user_id, model_version_id=version)
    chosen = None if image_ids is None else set(image_ids)
    ids = [one for one in steps.image_ids() if chosen is None or one in chosen][:limit]
    with closing(learner.files):
        return run_prelabelling(steps, ids, on_image=on_image)


def known_confidence(
    learner: Learner,
    project_id: int,
    *,
    target: float | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Confidence | None:
    """The confidence of the model that answers: as stored, or learned and stored.

    Args:
        target: precision that prefilled masks shall have; None for the project's. A confidence for
            another one is learned, and not stored.
        on_image: called after each image that it is learned from.

    Returns:
        the confidence; None if there are too few masks.

    Raises:
        StoreError: no such project.
    """
    store = learner.store
    predictor, version = learner.serving(project_id)
    own_target = get_project(store, project_id).learning.target_precision
    wanted = own_target if target is None else target
    num_finished = count_finished_masks(store, project_id)
    stored = read_confidence(store, project_id, version)
    if (
        stored is not None
        and stored.target_precision == wanted
        and num_finished < ENOUGH_NEW * stored.num_finished
    ):
        known = Confidence.from_content(stored.content)
        if known_proposer(learner, project_id, predictor, known.proposer) is not None:
            return known
    confidence = learn_to_prefill(learner, project_id, target=wanted, on_image=on_image)
    if confidence is not None and wanted == own_target:
        save_confidence(
            store,
            project_id,
            version,
            target_precision=wanted,
            num_finished=num_finished,
            content=confidence.content(),
        )
    return confidence


def learn_to_prefill(
    learner: Learner,
    project_id: int,
    *,
    target: float,
    on_image: Callable[[], None] = lambda: None,
) -> Confidence | None:
    """Learn how to prefill with the model that answers: what finds masks, and how sure to be.

    Args:
        target: precision that prefilled masks shall have.
        on_image: called after each image that a confidence is learned from.

    Returns:
        the confidence with which most masks are right; None if there are too few masks.
    """
    predictor, _ = learner.serving(project_id)
    num_finished = count_finished_masks(learner.store, project_id)
    split = learner.image_examples(project_id)
    best: tuple[Proposer, Confidence] | None = None
    enough = math.floor(num_finished / ENOUGH_NEW) + 1
    for proposer in proposers(learner, project_id, predictor, split.learned, enough=enough):
        confidence = learn_confidence(
            predictor,
            split.held_out,
            learner.embed,
            proposer.config,
            target=target,
            on_image=on_image,
        )
        if confidence is None:
            continue
        logger.info("%s: %d masks right", proposer.name[:8], confidence.num_right)
        if best is None or confidence.num_right > best[1].num_right:
            best = proposer, replace(confidence, proposer=proposer.name)
    if best is None:
        return None
    use_proposer(learner, project_id, predictor, best[0], num_finished=num_finished)
    return best[1]


def learn_confidence(
    predictor: Predictor,
    images: FinishedImages,
    embed: Embed,
    config: AutoMaskConfig,
    *,
    target: float,
    on_image: Callable[[], None] = lambda: None,
) -> Confidence | None:
    """Learn a confidence from what people made of images that the model has not learned from.

    Args:
        predictor: the model version.
        images: held-back images.
        embed: returns the embedding of a sample's image by a predictor's encoder.
        config: how masks are found.
        target: precision that prefilled masks shall have.

    Returns:
        the confidence; None if there are too few masks.
    """
    masker = AutoMasker(predictor, config)
    found: list[Masks] = []
    accepted: list[npt.NDArray[np.bool_]] = []
    for index in range(max(len(images) - MAX_IMAGES, 0), len(images)):
        sample = images[index]
        masks = masker.generate(sample.image, embedding=embed(sample, predictor))
        found.append(masks)
        accepted.append(are_accepted(masks.rles, sample.rles))
        on_image()
    if not found:
        return None
    ends = np.cumsum([len(masks) for masks in found])[:-1]

    def shown(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        parts = []
        for masks, own in zip(found, np.split(confidence, ends), strict=True):
            alone = np.zeros(len(masks), bool)
            alone[without_overlap(masks, np.arange(len(masks)), own)] = True
            parts.append(alone)
        return np.concatenate(parts)

    return fit_confidence(
        np.concatenate([features_of(masks) for masks in found]),
        np.concatenate(accepted),
        [index for index, masks in enumerate(found) for _ in range(len(masks))],
        target=target,
        shown=shown,
    )


def features_of(masks: Masks) -> npt.NDArray[np.float64]:
    """Features of automatic masks; see `mask_features`."""
    assert masks.stability is not None
    height, width = masks.size_hw
    return mask_features(masks.scores, masks.stability, masks.areas / (height * width))


def are_accepted(found: Sequence[Rle], made: Sequence[Rle]) -> npt.NDArray[np.bool_]:
    """Whether people have made each of the found masks (M,), or nearly."""
    if not found or not made:
        return np.zeros(len(found), bool)
    ious = coco_mask.iou(list(found), list(made), [0] * len(made))
    result: npt.NDArray[np.bool_] = ious.max(1) >= ACCEPTED_IOU
    return result


def without_overlap(
    masks: Masks, chosen: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Leave out masks that mostly cover a more confident one, or are covered by it; ascending."""
    order = chosen[np.argsort(-confidence[chosen], kind="stable")]
    boxes = masks.boxes_xyxy
    is_taken = np.zeros(len(masks), bool)
    for number in order:
        x0, y0, x1, y1 = boxes[number]
        across = (boxes[:, 0] < x1) & (boxes[:, 2] > x0)
        down = (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
        others = [masks.rles[one] for one in np.flatnonzero(is_taken & across & down)]
        if others:
            own = masks.rles[number]
            # The share of the smaller one that both cover.
            shared = coco_mask.iou([own], others, [1] * len(others))[0]
            back = coco_mask.iou(others, [own], [1])[:, 0]
            if np.maximum(shared, back).max() > MOST_SHARED:
                continue
        is_taken[number] = True
    return np.flatnonzero(is_taken)
