"""Automatic mask generation: prompt a grid of points, then filter the candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.formats import ImageLike, RangeLike, read_image
from samkit.proposals.adaptive import Coverage
from samkit.proposals.candidates import Candidates, CropProposals, Proposals, select_candidates
from samkit.proposals.config import AutoMaskConfig
from samkit.proposals.filter import check_floors, filter_crop, merge_crops
from samkit.proposals.grid import Box, check_grids, coarse_to_fine, crop_boxes, grid_points
from samkit.proposals.sources import SourceLike
from samkit.proposals.tiles import TileConfig, generate_tiled
from samkit.types import ImageEmbedding, Masks

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import PointMasks

# Points decoded by one call; each yields up to three masks of 256 x 256 logits, 786 KB.
POINTS_AT_ONCE = 64

# Called with the numbers of finished and of all points.
Progress: TypeAlias = Callable[[int, int], None]


class PointPredictor(Protocol):
    """Embeds images and answers grids of points: the part of a `Predictor` that is used here."""

    @property
    def iou_thresh(self) -> float:
        """Predicted IoU from which a mask is taken for one; see `samkit.Predictor.iou_thresh`."""
        ...

    def embed(self, image: npt.NDArray[np.uint8], /) -> ImageEmbedding:
        """Embed an image, uint8 RGB (H, W, 3); see `samkit.Predictor.embed`."""
        ...

    def decode_points(
        self,
        embedding: ImageEmbedding,
        points_xy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """Answer points (P, 2), one prompt each; see `samkit.Predictor.decode_points`."""
        ...


class AutoMasker:
    """Generates masks of everything in an image.

        masks = samkit.AutoMasker(predictor).generate("image.jpg")

    `generate` is `filter(propose(image))`. Proposing takes nearly all of the time; to try stricter
    thresholds, propose once and filter often. Nothing is stored between calls.

    Attributes:
        predictor: answers the points; a `Predictor`, or what is like one.
        config: grid, crops and thresholds, with the model's own `iou_thresh` where none was given.
        point_grids: custom points instead of the regular grid: for each crop layer (P, 2) in xy as
            fractions of a crop's sides; None for the regular grid.
    """

    def __init__(
        self,
        predictor: PointPredictor,
        config: AutoMaskConfig | None = None,
        *,
        point_grids: Sequence[npt.ArrayLike] | None = None,
    ) -> None:
        """Create a masker.

        Raises:
            ConfigError: `point_grids` are not points in 0..1 for each crop layer, or are combined
                with adaptive grids.
        """
        self.predictor = predictor
        self.config = (config or AutoMaskConfig()).for_model(predictor.iou_thresh)
        self.point_grids = None if point_grids is None else check_grids(point_grids, self.config)

    def propose(
        self,
        image: ImageLike,
        *,
        value_range: RangeLike = "auto",
        on_progress: Progress | None = None,
    ) -> Proposals:
        """Find candidates: all stable and confident masks, including duplicates.

        Args:
            image: path, PIL image or array; see `samkit.formats.read_image`.
            value_range: which values become black and white, likewise.
            on_progress: called after each step with the points done and all points.

        Raises:
            ImageError: the image cannot be read.
        """
        pixels = read_image(image, value_range=value_range)
        return Proposals(
            size_hw=(pixels.shape[0], pixels.shape[1]),
            config=self.config,
            crops=tuple(self._propose_crops(pixels, on_progress)),
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
            masks sorted by predicted IoU, which is their score.

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
        on_progress: Progress | None = None,
    ) -> Masks:
        """Generate masks of everything; equals `filter(propose(image))` but takes less memory.

        Args:
            image: path, PIL image or array; see `samkit.formats.read_image`.
            value_range: which values become black and white, likewise.
            on_progress: called after each step with the points done and all points.

        Returns:
            masks sorted by predicted IoU, which is their score.

        Raises:
            ImageError: the image cannot be read.

        Source: arXiv:2304.02643, section 4 and appendix B. Deviations from the published code:
        masks at `iou_thresh` pass; boxes contain their last pixels, which may decide duplicates and
        borders of crops by a pixel; of equal predicted IoUs the first point's comes first;
        stability is estimated before it is measured, see `STABILITY_SLACK`.
        """
        pixels = read_image(image, value_range=value_range)
        size_hw = (pixels.shape[0], pixels.shape[1])
        crops = [
            filter_crop(crop, size_hw, self.config)
            for crop in self._propose_crops(pixels, on_progress)
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
        self, image: npt.NDArray[np.uint8], on_progress: Progress | None
    ) -> Iterator[CropProposals]:
        """Yield the candidates of the image, then of its crops, layer by layer."""
        size_hw = (image.shape[0], image.shape[1])
        config = self.config
        crops = [
            (crop, self._grid(layer))
            for layer in range(config.crop_layers + 1)
            for crop in crop_boxes(size_hw, layer, config.crop_overlap)
        ]
        total = sum(len(points) for _, points in crops)
        done = 0

        def report(points_left: int) -> None:
            if on_progress is not None:
                on_progress(done - points_left, total)

        for crop_xyxy, fractions in crops:
            x0, y0, x1, y1 = crop_xyxy
            embedding = self.predictor.embed(np.ascontiguousarray(image[y0:y1, x0:x1]))
            done += len(fractions)
            candidates = self._prompt(embedding, fractions, crop_xyxy, report)
            yield CropProposals(crop_xyxy=crop_xyxy, coords=embedding.coords, candidates=candidates)

    def _grid(self, layer: int) -> npt.NDArray[np.float64]:
        """Points (P, 2) of each crop of a layer, as fractions of its sides."""
        if self.point_grids is not None:
            return self.point_grids[layer]
        points_per_side = self.config.points_in_layer(layer)
        points = grid_points(points_per_side)
        return points[coarse_to_fine(points_per_side)] if self.config.adaptive else points

    def _prompt(
        self,
        embedding: ImageEmbedding,
        fractions: npt.NDArray[np.float64],
        crop_xyxy: Box,
        report: Callable[[int], None],
    ) -> Candidates:
        """Candidates of one crop; `report` is called with the number of points left."""
        coords, config = embedding.coords, self.config
        points = fractions * coords.original_hw[::-1]
        coverage = None
        if config.adaptive:
            coverage = Coverage(coords, points, stability_thresh=config.stability_thresh)
        left = np.arange(len(points))
        parts = []
        while len(left):
            batch, left = left[:POINTS_AT_ONCE], left[POINTS_AT_ONCE:]
            answer = self.predictor.decode_points(
                embedding, points[batch], iou_thresh=config.min_iou_pred
            )
            part = select_candidates(answer, points[batch] + crop_xyxy[:2], coords, config)
            parts.append(part)
            if coverage is not None:
                coverage.add(part)
                left = left[~coverage.covers(left)]
            report(len(left))
        return Candidates.concatenate(parts)
