"""The `edges` protocol: mask boundaries as a zero-shot edge map, measured as in BSDS500.

A grid of 16 x 16 points, each answered with three masks and no filters; of masks whose boxes have
an IoU over 0.7 only the one with the highest predicted IoU is kept. A mask's edge is the Sobel
gradient of its probability map, zero away from its boundary. The edge map is the maximum over all
masks, scaled to 0..1, at pixels that are a ridge along the direction of the gradient.

Towards the image's border edges fade out over 5 pixels, since masks that continue to the border end
slightly before it. The paper only mentions edge non-maximum suppression; the common implementation,
from structured edges, fades the border.

Deviations: that implementation multiplies the factors of both borders in a corner, here the smaller
one counts; it keeps edges that are up to 1% weaker than beside them, here a ridge is at least as
strong. Void pixels are not left out: the ground truth is boundaries, not masks.

Source: arXiv:2304.02643, section 7.2 and appendix D.2; arXiv:1406.5549 for the border. The
benchmark is in `boundaries`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import Logits
from samkit.checks import check_number
from samkit.datasets import Sample
from samkit.evaluation.annotators import ONE_ANNOTATOR, Annotators, count_masks
from samkit.evaluation.boundaries import (
    MAX_DISTANCE,
    THRESHOLDS,
    BoundaryCounts,
    add_counts,
    boundary_scores,
    count_human_matches,
    count_matches,
    f_measure,
    region_boundaries,
)
from samkit.evaluation.protocol import Curve, Result, Summary
from samkit.evaluation.thinning import suppress_non_maxima
from samkit.geometry import (
    MASK_THRESHOLD,
    CoordMap,
    boxes_from_masks,
    cut_patch,
    decode_rle,
    logits_to_original,
    nms,
    patch_to_original,
)
from samkit.proposals import grid_points
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

POINTS_AT_ONCE = 64
# Logits are cut off at -OFFSET, a probability of 0.2%, below which no mask has its boundary.
OFFSET = 6.0
BORDER_PX = 5
# Settings whose defaults are the published ones.
PUBLISHED = ("points_per_side", "box_nms_thresh", "border_px", "thresholds", "max_distance")
NEIGHBOURHOOD = np.ones((3, 3), np.uint8)

Patch = tuple[Logits, tuple[int, int]]


def find_edges(
    predictor: Predictor,
    embedding: ImageEmbedding,
    *,
    points_per_side: int = 16,
    box_nms_thresh: float = 0.7,
    border_px: int = BORDER_PX,
) -> npt.NDArray[np.float32]:
    """Thin edge map (H, W) of an image, from 0 to 1.

    Args:
        box_nms_thresh: masks whose boxes have a larger IoU are duplicates.
        border_px: width over which edges fade out towards the image's border; 0 for none.
    """
    coords = embedding.coords
    points = grid_points(points_per_side) * coords.original_hw[::-1]
    patches: list[Patch] = []
    boxes, iou_pred = [], []
    for start in range(0, len(points), POINTS_AT_ONCE):
        some = points[start : start + POINTS_AT_ONCE]
        answer = predictor.decode_points(embedding, some, iou_thresh=-np.inf)
        for logits, iou in zip(answer.logits, answer.iou_pred.tolist(), strict=True):
            patch, corner = cut_patch(logits, coords, OFFSET)
            box = _box(patch, corner, coords)
            if box is not None:
                patches.append((patch.copy(), corner))
                boxes.append(box)
                iou_pred.append(iou)
    order = np.argsort(-np.array(iou_pred), kind="stable")
    distinct = nms(np.array(boxes, np.int64).reshape(-1, 4), order, box_nms_thresh)
    masks = [_upsample(patches[number], coords) for number in distinct]
    edges = join_edges(masks, coords.original_hw)
    return fade_border(edges, border_px)


def _box(patch: Logits, corner: tuple[int, int], coords: CoordMap) -> list[int] | None:
    """A mask's tight box at the image's size, or None if the mask is empty there."""
    if not patch.size:
        return None
    logits, (x, y) = patch_to_original(patch, corner, coords)
    box = boxes_from_masks((logits > MASK_THRESHOLD)[None])[0] + (x, y, x, y)
    return box.tolist() if (box[2:] > box[:2]).all() else None


def _upsample(placed: Patch, coords: CoordMap) -> Logits:
    """A mask's logits (H, W) at the image's size."""
    patch, (x, y) = placed
    logits = np.full((coords.logits_size, coords.logits_size), -OFFSET, np.float32)
    logits[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return logits_to_original(logits, coords)


def join_edges(masks: Sequence[Logits], size_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Thin edge map (H, W), from 0 to 1, of the strongest edges of masks' logits (H, W)."""
    strength = np.zeros(size_hw, np.float32)
    gradient = np.zeros((*size_hw, 2), np.float32)
    for logits in masks:
        own_strength, own_gradient = mask_edge(logits)
        stronger = own_strength > strength
        strength[stronger] = own_strength[stronger]
        gradient[stronger] = own_gradient[stronger]
    span = float(strength.max() - strength.min())
    if span > 0:
        strength = (strength - strength.min()) / np.float32(span)
    return suppress_non_maxima(strength, gradient)


def fade_border(edges: npt.NDArray[np.float32], border_px: int) -> npt.NDArray[np.float32]:
    """Scale edges (H, W) by their distance to the border, up to 1 at `border_px`."""
    height, width = edges.shape
    y, x = np.arange(height), np.arange(width)
    if border_px == 0:
        return edges
    distance = np.minimum.outer(np.minimum(y, y[::-1]), np.minimum(x, x[::-1]))
    return (edges * np.minimum(distance / border_px, 1)).astype(np.float32)


def mask_edge(logits: Logits) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Edge strength and gradient of one mask's logits (H, W).

    Returns:
        the gradient's length (H, W), zero except for pixels on both sides of the mask's boundary;
        the gradient (H, W, 2) in xy.
    """
    probability = 1 / (1 + np.exp(-logits.clip(-30, 30)))
    gradient = np.stack(
        [
            cv2.Sobel(probability, cv2.CV_32F, 1, 0, ksize=3),
            cv2.Sobel(probability, cv2.CV_32F, 0, 1, ksize=3),
        ],
        axis=-1,
    )
    mask = (logits > MASK_THRESHOLD).view(np.uint8)
    boundary = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, NEIGHBOURHOOD)
    strength = np.hypot(gradient[..., 0], gradient[..., 1]) * boundary
    return strength.astype(np.float32), gradient


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The `edges` protocol.

    Attributes:
        box_nms_thresh: masks whose boxes have a larger IoU are duplicates.
        border_px: width over which edges fade out towards the image's border; 0 for none.
        thresholds: number of thresholds at which the edge map is cut.
        max_distance: largest distance of matched pixels as a fraction of the image's diagonal.
        annotators: who drew which masks.
    """

    points_per_side: int = 16
    box_nms_thresh: float = 0.7
    border_px: int = BORDER_PX
    thresholds: int = THRESHOLDS
    max_distance: float = MAX_DISTANCE
    annotators: Annotators = ONE_ANNOTATOR

    def __post_init__(self) -> None:
        check_number("points_per_side", self.points_per_side, int, 1, 512)
        check_number("box_nms_thresh", self.box_nms_thresh, float, 0, 1)
        check_number("border_px", self.border_px, int, 0, 100)
        check_number("thresholds", self.thresholds, int, 1, 999)
        check_number("max_distance", self.max_distance, float, 0, 1)

    @property
    def name(self) -> str:
        return "edges"

    def settings(self) -> dict[str, Any]:
        return {
            "points_per_side": self.points_per_side,
            "box_nms_thresh": self.box_nms_thresh,
            "border_px": self.border_px,
            "thresholds": self.thresholds,
            "max_distance": self.max_distance,
            "annotators": self.annotators.checksum,
        }

    def differences(self) -> tuple[str, ...]:
        published = Edges()
        values = [(name, getattr(self, name), getattr(published, name)) for name in PUBLISHED]
        return tuple(
            f"{name} {own:g} instead of {other:g}" for name, own, other in values if own != other
        )

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        groups = self.annotators.of(sample)
        size_hw = embedding.coords.original_hw
        truths = [region_boundaries([decode_rle(rle) for rle in own], size_hw) for own in groups]
        edges = find_edges(
            predictor,
            embedding,
            points_per_side=self.points_per_side,
            box_nms_thresh=self.box_nms_thresh,
            border_px=self.border_px,
        )
        counts = count_matches(
            edges, truths, thresholds=self.thresholds, max_distance=self.max_distance
        )
        result: Result = {"masks": count_masks(groups), "counts": _to_json(counts)}
        if len(truths) > 1:
            result["human"] = _to_json(count_human_matches(truths, max_distance=self.max_distance))
        return result

    def summarise(self, results: Sequence[Result]) -> Summary:
        if not results:
            return Summary(metrics={})
        scores = boundary_scores([_from_json(result["counts"]) for result in results])
        metrics = {
            "edge_ods": scores.ods,
            "edge_ois": scores.ois,
            "edge_ap": scores.ap,
            "edge_r50": scores.r50,
        }
        human = [_from_json(result["human"]) for result in results if "human" in result]
        if human:
            together = add_counts(human)
            metrics["edge_human_f"] = float(f_measure(together.precision, together.recall)[0])
        curve = Curve(x=tuple(scores.recall.tolist()), y=tuple(scores.precision.tolist()))
        return Summary(metrics=metrics, curves={"edge_precision_by_recall": curve})


COUNTS = ("found", "found_matched", "truth", "truth_matched")


def _to_json(counts: BoundaryCounts) -> dict[str, list[int]]:
    return {name: getattr(counts, name).tolist() for name in COUNTS}


def _from_json(record: dict[str, list[int]]) -> BoundaryCounts:
    return BoundaryCounts(**{name: np.array(record[name], np.int64) for name in COUNTS})
