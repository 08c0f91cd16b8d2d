"""COCO's matching of found with true masks, by pycocotools, image by image.

`COCOeval` matches within one image and then puts all images together. Here the first step is done
as soon as an image is, so that its outcome can be kept, and the second one on what was kept: the
numbers are those of one `COCOeval` over all images (`tests/evaluation/test_coco_matching.py`).
Classes play no part: all masks are of one.

Shape legend: D found masks, T = 10 IoU thresholds from 0.50 to 0.95, R recall thresholds, A areas,
M limits on the number of masks.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samkit.geometry import Rle
from samkit.geometry.rle import rle_area

FloatArray = npt.NDArray[np.float64]

AREAS = ("all", "small", "medium", "large")  # all; below 32 x 32 px, below 96 x 96 px, above
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
CATEGORY_ID = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Found masks of one image, compared with the true masks of one area range.

    Attributes:
        scores: (D,) descending.
        matched: (T, D) bool, whether each found mask has a true one of its own.
        ignored: (T, D) bool, whether it counts for nothing: its true mask, or if there is none the
            mask itself, is of another area.
        truths: number of true masks of this area.
    """

    scores: FloatArray
    matched: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    truths: int


def match_masks(
    found: Sequence[Rle], scores: npt.ArrayLike, truth: Sequence[Rle], *, max_masks: int
) -> list[Matches]:
    """Match found masks of an image with true ones, best scores first.

    Args:
        found: D masks.
        scores: (D,).
        truth: the true masks.
        max_masks: only so many found masks count, by score.

    Returns:
        the matches for each of `AREAS`.
    """
    score_list = np.asarray(scores, np.float64).tolist()
    true_annotations = [_annotation(number, rle) for number, rle in enumerate(truth, start=1)]
    annotations = [
        _annotation(number, rle) | {"score": score}
        for number, (rle, score) in enumerate(zip(found, score_list, strict=True), start=1)
    ]
    with redirect_stdout(io.StringIO()):  # pycocotools prints what it does
        evaluation = COCOeval(_coco(true_annotations), _coco(annotations), "segm")
        evaluation.params.maxDets = [max_masks]
        evaluation.params.useCats = 0
        evaluation.evaluate()
    return [_matches(outcome) for outcome in evaluation.evalImgs]


def _annotation(number: int, rle: Rle) -> dict[str, Any]:
    where = {"id": number, "image_id": 1, "category_id": CATEGORY_ID, "iscrowd": 0}
    return where | {"segmentation": rle, "area": rle_area(rle)}


def _coco(annotations: list[dict[str, Any]]) -> Any:
    size_hw = annotations[0]["segmentation"]["size"] if annotations else (0, 0)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 1, "height": size_hw[0], "width": size_hw[1]}],
        "categories": [{"id": CATEGORY_ID, "name": "object"}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _matches(outcome: dict[str, Any] | None) -> Matches:
    """What `COCOeval.evaluateImg` gave, which is None without any masks."""
    if outcome is None:
        none = np.zeros((len(IOU_THRESHOLDS), 0), bool)
        return Matches(scores=np.zeros(0), matched=none, ignored=none, truths=0)
    return Matches(
        scores=np.array(outcome["dtScores"], np.float64),
        matched=np.asarray(outcome["dtMatches"]) > 0,
        ignored=np.asarray(outcome["dtIgnore"], bool),
        truths=int(np.count_nonzero(np.asarray(outcome["gtIgnore"]) == 0)),
    )


def found_truths(matches: Matches, limits: Sequence[int]) -> npt.NDArray[np.int64]:
    """How many true masks are found among the best-scored masks: (M, T).

    Args:
        matches: of an image.
        limits: so many of the best-scored masks count.
    """
    counted = matches.matched & ~matches.ignored
    return np.array([np.count_nonzero(counted[:, :limit], axis=1) for limit in limits], np.int64)


def mean_precision(images: Sequence[Sequence[Matches]], max_masks: int) -> FloatArray:
    """Interpolated precision over the matches of all images: (T, R, A); -1 without a true mask.

    Args:
        images: for each image the matches for each of `AREAS`.
        max_masks: with which they were matched.
    """
    evaluation = COCOeval(iouType="segm")
    params = evaluation.params
    params.imgIds, params.catIds, params.useCats = list(range(len(images))), [-1], 0
    params.maxDets = [max_masks]
    evaluation.evalImgs = [_outcome(image[area]) for area in range(len(AREAS)) for image in images]
    with redirect_stdout(io.StringIO()):
        # Of the evaluation that the matches come from, by which `accumulate` finds its way.
        evaluation._paramsEval = copy.deepcopy(params)  # noqa: SLF001
        evaluation.accumulate()
    precision: FloatArray = evaluation.eval["precision"][:, :, 0, :, 0]
    return precision


def _outcome(matches: Matches) -> dict[str, Any] | None:
    """The reverse of `_matches`."""
    if not matches.truths and not len(matches.scores):
        return None
    return {
        "dtScores": matches.scores.tolist(),
        "dtMatches": matches.matched.astype(np.float64),
        "dtIgnore": matches.ignored,
        "gtIgnore": np.zeros(matches.truths),
    }


def matches_to_json(matches: Matches) -> dict[str, Any]:
    """As JSON: for each threshold a line of 0 and 1."""
    return {
        "scores": matches.scores.tolist(),
        "matched": ["".join("01"[flag] for flag in row) for row in matches.matched.tolist()],
        "ignored": ["".join("01"[flag] for flag in row) for row in matches.ignored.tolist()],
        "truths": matches.truths,
    }


def matches_from_json(record: dict[str, Any]) -> Matches:
    """The reverse of `matches_to_json`."""
    flags = {
        name: np.array([[c == "1" for c in row] for row in record[name]], bool).reshape(
            len(IOU_THRESHOLDS), -1
        )
        for name in ("matched", "ignored")
    }
    return Matches(scores=np.array(record["scores"], np.float64), truths=record["truths"], **flags)
