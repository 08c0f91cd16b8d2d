"""Automatic mask generation: prompt where a proposer says, then filter the candidates."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.errors import PromptError
from samkit.formats import ImageLike, RangeLike, read_image
from samkit.proposals.candidates import CropProposals, Proposals
from samkit.proposals.config import PRESETS, AutoMaskConfig
from samkit.proposals.filter import check_floors, filter_crop, merge_crops
from samkit.proposals.grid import crop_boxes
from samkit.proposals.proposers import Crop, PointPredictor, create_proposer
from samkit.proposals.sources import SourceLike
from samkit.proposals.tiles import TileConfig, generate_tiled
from samkit.types import ImageEmbedding, Masks

# Called with the numbers of finished and of all points.
Progress: TypeAlias = Callable[[int, int], None]


class AutoMasker:
    """Generates masks of everything in an image.

        masks = samkit.AutoMasker(predictor).generate("image.jpg")

    `generate` is `filter(propose(image))`. Proposing takes nearly all of the time; to try stricter
    thresholds, propose once and filter often. Nothing is stored between calls.

    Attributes:
        predictor: answers the prompts; a `Predictor`, or what is like one.
        config: prompts, crops and thresholds, with the model's own `iou_thresh` where none was
            given.
        proposer: says where to prompt.
    """

    def __init__(
        self,
        predictor: PointPredictor,
        config: AutoMaskConfig | None = None,
        *,
        proposer: str | os.PathLike[str] | None = None,
        point_grids: Sequence[npt.ArrayLike] | None = None,
    ) -> None:
        """Create a masker.

        Args:
            config: default: a grid of 32 x 32 points; with a learned proposer, the preset
                "instant".
            proposer: "grid", "learned" or a head's file, instead of the configuration's; see
                `AutoMaskConfig.proposer`.
            point_grids: custom points instead of the regular grid: for each crop layer (P, 2) in xy
                as fractions of a crop's sides.

        Raises:
            ConfigError: `point_grids` are not points in 0..1 for each crop layer, or are combined
                with adaptive grids or a learned proposer.
            WeightsError: there is no head for the predictor's image encoder, or its file is missing
                or damaged.
        """
        self.predictor = predictor
        chosen = with_proposer(config, None if proposer is None else os.fspath(proposer))
        self.config = chosen.for_model(predictor.iou_thresh)
        self.proposer = create_proposer(predictor, self.config, point_grids)

    def propose(
        self,
        image: ImageLike,
        *,
        value_range: RangeLike = "auto",
        embedding: ImageEmbedding | None = None,
        on_progress: Progress | None = None,
    ) -> Proposals:
        """Find candidates: all stable and confident masks, including duplicates.

        Args:
            image: path, PIL image or array; see `samkit.formats.read_image`.
            value_range: which values become black and white, likewise.
            embedding: the image's, by the masker's predictor, if it is there; crops have their own.
            on_progress: called after each step with the points done and all points.

        Raises:
            ImageError: the image cannot be read.
            PromptError: the embedding is of an image of another size.
        """
        pixels = read_image(image, value_range=value_range)
        return Proposals(
            size_hw=(pixels.shape[0], pixels.shape[1]),
            config=self.config,
            crops=tuple(self._propose_crops(pixels, embedding, on_progress)),
        )

    def filter(
        self,
        proposals: Proposals,
        *,
        iou_thresh: float | None = None,
        stability_thresh: float | None = None,
        box_nms_thresh: float | None = None,
        crop_nms_thresh: float | None = None,
        min_area_px: int | None = None,
        max_area_fraction: float | None = None,
    ) -> Masks:
        """Select masks among candidates; arguments override the masker's own settings.

        Args:
            proposals: result of `propose`.
            iou_thresh, stability_thresh: not lower than those of the proposals.
            box_nms_thresh, crop_nms_thresh, min_area_px, max_area_fraction: see `AutoMaskConfig`.

        Returns:
            masks sorted by score; see `generate`.

        Raises:
            ConfigError: a threshold is not a number, or is below that of the proposals.
        """
        given: dict[str, Any] = {
            "iou_thresh": iou_thresh,
            "stability_thresh": stability_thresh,
            "box_nms_thresh": box_nms_thresh,
            "crop_nms_thresh": crop_nms_thresh,
            "min_area_px": min_area_px,
            "max_area_fraction": max_area_fraction,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        config = replace(self.config, **changes)
        check_floors(config, proposals.config)
        crops = [filter_crop(crop, proposals.size_hw, config) for crop in proposals.crops]
        return merge_crops(crops, proposals.size_hw, config)

    def generate(
        self,
        image: ImageLike,
        *,
        value_range: RangeLike = "auto",
        embedding: ImageEmbedding | None = None,
        on_progress: Progress | None = None,
    ) -> Masks:
        """Generate masks of everything; equals `filter(propose(image))` but takes less memory.

        Args:
            image: path, PIL image or array; see `samkit.formats.read_image`.
            value_range: which values become black and white, likewise.
            embedding: the image's, by the masker's predictor, if it is there; crops have their own.
            on_progress: called after each step with the points done and all points.

        Returns:
            masks sorted by score: by predicted IoU; with a learned proposer, by this and
            objectness.

        Raises:
            ImageError: the image cannot be read.
            PromptError: the embedding is of an image of another size.

        Source: arXiv:2304.02643, section 4 and appendix B. Deviations from the published code:
        masks at `iou_thresh` pass; boxes contain their last pixels, which may decide duplicates and
        borders of crops by a pixel; of equal predicted IoUs the first point's comes first;
        stability is estimated before it is measured, see `STABILITY_SLACK`.
        """
        pixels = read_image(image, value_range=value_range)
        size_hw = (pixels.shape[0], pixels.shape[1])
        crops = [
            filter_crop(crop, size_hw, self.config)
            for crop in self._propose_crops(pixels, embedding, on_progress)
        ]
        return merge_crops(crops, size_hw, self.config)

    def generate_tiled(
        self,
        source: SourceLike,
        tiling: TileConfig | None = None,
        *,
        value_range: RangeLike = "auto",
        on_progress: Progress | None = None,
    ) -> Masks:
        """Generate masks of an image that is too large for one pass; see `generate_tiled`."""
        return generate_tiled(
            self, source, tiling, value_range=value_range, on_progress=on_progress
        )

    def _propose_crops(
        self,
        image: npt.NDArray[np.uint8],
        embedding: ImageEmbedding | None,
        on_progress: Progress | None,
    ) -> Iterator[CropProposals]:
        """Yield the candidates of the image, then of its crops, layer by layer."""
        size_hw = (image.shape[0], image.shape[1])
        check_embedding(embedding, size_hw)
        config = self.config
        crops = [
            Crop(layer=layer, box_xyxy=box)
            for layer in range(config.crop_layers + 1)
            for box in crop_boxes(size_hw, layer, config.crop_overlap)
        ]
        counts = [self.proposer.max_prompts(crop.layer, config) for crop in crops]
        done = 0

        def report(prompts_left: int) -> None:
            if on_progress is not None:
                on_progress(done - prompts_left, sum(counts))

        for crop, count in zip(crops, counts, strict=True):
            x0, y0, x1, y1 = crop.box_xyxy
            of_crop = embedding if crop.layer == 0 else None
            if of_crop is None:
                of_crop = self.predictor.embed(np.ascontiguousarray(image[y0:y1, x0:x1]))
            done += count
            candidates = self.proposer.candidates(of_crop, crop, config, report)
            yield CropProposals(
                crop_xyxy=crop.box_xyxy, coords=of_crop.coords, candidates=candidates
            )


def check_embedding(embedding: ImageEmbedding | None, size_hw: tuple[int, int]) -> None:
    """Raise PromptError if an embedding is of an image of another size."""
    if embedding is not None and embedding.coords.original_hw != size_hw:
        raise PromptError(
            f"the embedding is of an image of {embedding.coords.original_hw} pixels (height,"
            f" width), and this one has {size_hw}"
        )


def with_proposer(config: AutoMaskConfig | None, proposer: str | None) -> AutoMaskConfig:
    """A configuration with a proposer, if one is given; None is the proposer's own settings."""
    if config is None:
        config = AutoMaskConfig() if proposer in (None, "grid") else PRESETS["instant"]
    return config if proposer is None else replace(config, proposer=proposer)
