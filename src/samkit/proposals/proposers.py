"""Where a masker asks in a crop: proposers of prompts, and the candidates that answer them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError
from samkit.proposals.adaptive import Coverage
from samkit.proposals.candidates import Candidates, select_candidates
from samkit.proposals.config import AutoMaskConfig
from samkit.proposals.grid import Box, check_grids, coarse_to_fine, grid_points
from samkit.proposals.learned import mask_scores, propose_boxes
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.models import ProposalHead
    from samkit.predict import PointMasks

# Prompts decoded by one call; each yields up to three masks of 256 x 256 logits, 786 KB.
PROMPTS_AT_ONCE = 64


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


class BoxPredictor(Protocol):
    """Answers boxes: the part of a `Predictor` that a learned proposer uses."""

    def decode_boxes(
        self,
        embedding: ImageEmbedding,
        boxes_xyxy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """Answer boxes (P, 4), one mask each; see `samkit.Predictor.decode_boxes`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A part of an image.

    Attributes:
        layer: 0 for the full image; see `crop_boxes`.
        box_xyxy: the part in pixels of the image.
    """

    layer: int
    box_xyxy: Box


class Proposer(Protocol):
    """Finds the candidates of one crop."""

    def max_prompts(self, layer: int, config: AutoMaskConfig) -> int:
        """The most prompts that it asks in a crop of a layer."""
        ...

    def candidates(
        self,
        embedding: ImageEmbedding,
        crop: Crop,
        config: AutoMaskConfig,
        report: Callable[[int], None],
    ) -> Candidates:
        """Ask in one crop.

        Args:
            config: settings for a model.
            report: called after each step with the number of prompts left.
        """
        ...


class GridProposer:
    """Asks at a grid of points.

    Attributes:
        predictor: answers the points.
        point_grids: custom points for each layer; None for the regular grid.
    """

    def __init__(
        self,
        predictor: PointPredictor,
        point_grids: Sequence[npt.NDArray[np.float64]] | None = None,
    ) -> None:
        self.predictor, self.point_grids = predictor, point_grids

    def max_prompts(self, layer: int, config: AutoMaskConfig) -> int:
        """Number of points of each crop of a layer."""
        return len(self._grid(layer, config))

    def candidates(
        self,
        embedding: ImageEmbedding,
        crop: Crop,
        config: AutoMaskConfig,
        report: Callable[[int], None],
    ) -> Candidates:
        """Candidates of one crop; see `Proposer`."""
        coords = embedding.coords
        points = self._grid(crop.layer, config) * coords.original_hw[::-1]
        coverage = None
        if config.adaptive:
            coverage = Coverage(coords, points, stability_thresh=config.stability_thresh)
        left = np.arange(len(points))
        parts = []
        while len(left):
            batch, left = left[:PROMPTS_AT_ONCE], left[PROMPTS_AT_ONCE:]
            answer = self.predictor.decode_points(
                embedding, points[batch], iou_thresh=config.min_iou_pred
            )
            part = select_candidates(answer, points[batch] + crop.box_xyxy[:2], coords, config)
            parts.append(part)
            if coverage is not None:
                coverage.add(part)
                left = left[~coverage.covers(left)]
            report(len(left))
        return Candidates.concatenate(parts)

    def _grid(self, layer: int, config: AutoMaskConfig) -> npt.NDArray[np.float64]:
        """Points (P, 2) of each crop of a layer, as fractions of its sides."""
        if self.point_grids is not None:
            return self.point_grids[layer]
        points_per_side = config.points_in_layer(layer)
        points = grid_points(points_per_side)
        return points[coarse_to_fine(points_per_side)] if config.adaptive else points


class LearnedProposer:
    """Asks for the boxes that a proposal head finds in the image encoder's features.

    Attributes:
        predictor: answers the boxes.
        head: finds them.
    """

    def __init__(self, predictor: BoxPredictor, head: ProposalHead) -> None:
        self.predictor, self.head = predictor, head

    def max_prompts(self, layer: int, config: AutoMaskConfig) -> int:  # noqa: ARG002
        """The most boxes of a crop."""
        return config.max_proposals

    def candidates(
        self,
        embedding: ImageEmbedding,
        crop: Crop,
        config: AutoMaskConfig,
        report: Callable[[int], None],
    ) -> Candidates:
        """Candidates of one crop; see `Proposer`."""
        coords = embedding.coords
        height, width = coords.resized_hw
        boxes_model, objectness = propose_boxes(
            self.head,
            embedding.features.grid,
            (float(width), float(height)),
            config.max_proposals,
            thresh=config.objectness_thresh,
        )
        boxes = boxes_model / np.tile(coords.scale_xy, 2)
        parts = []
        for start in range(0, max(1, len(boxes)), PROMPTS_AT_ONCE):
            some = boxes[start : start + PROMPTS_AT_ONCE]
            answer = self.predictor.decode_boxes(embedding, some, iou_thresh=config.min_iou_pred)
            middles = (some[:, :2] + some[:, 2:]) / 2 + crop.box_xyxy[:2]
            scores = mask_scores(objectness[start + answer.point_index], answer.iou_pred)
            parts.append(select_candidates(answer, middles, coords, config, scores=scores))
            report(max(0, len(boxes) - start - len(some)))
        return Candidates.concatenate(parts)


def create_proposer(
    predictor: PointPredictor,
    config: AutoMaskConfig,
    point_grids: Sequence[npt.ArrayLike] | None = None,
) -> Proposer:
    """The proposer that a configuration names.

    Raises:
        ConfigError: the points are invalid or not for this proposer, or the predictor answers no
            boxes.
        WeightsError: there is no head for the predictor's image encoder, or its file is missing or
            damaged.
    """
    if config.proposer == "grid":
        grids = None if point_grids is None else check_grids(point_grids, config)
        return GridProposer(predictor, grids)
    if point_grids is not None:
        raise ConfigError('point_grids are for proposer="grid"')
    return LearnedProposer(as_box_predictor(predictor), load_head(predictor, config.proposer))


def load_head(predictor: PointPredictor, source: str | os.PathLike[str]) -> ProposalHead:
    """The head of a file, or for "learned" the one in this package, on the predictor's device.

    Raises:
        WeightsError: there is none for the predictor's image encoder.
    """
    from samkit.weights import find_proposal_head, load_proposal_head  # loads torch

    checksum: str = predictor.encoder_checksum  # type: ignore[attr-defined]
    device: str = predictor.backend.info.device  # type: ignore[attr-defined]
    if source == "learned":
        return find_proposal_head(checksum).to(device)
    return load_proposal_head(source, encoder_checksum=checksum).to(device)


def as_box_predictor(predictor: PointPredictor) -> BoxPredictor:
    """A predictor that also answers boxes.

    Raises:
        ConfigError: it does not.
    """
    if not hasattr(predictor, "decode_boxes"):
        raise ConfigError(
            "a learned proposer finds boxes: create the AutoMasker with a samkit.Predictor;"
            f" got {type(predictor).__name__}"
        )
    return predictor  # type: ignore[return-value]
