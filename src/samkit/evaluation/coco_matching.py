"""COCO's matching of found and true masks, by pycocotools, one image at a time.

`COCOeval` matches within each image and then accumulates over images. Here the first step runs as
soon as an image is done, so that its result can be stored, and the second runs on stored results.
The numbers equal those of one `COCOeval` over all images
(`tests/evaluation/test_coco_matching.py`). Classes play no part: all masks are of one class.

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

from samkit.arrays import FloatArray
from samkit.geometry import Rle, rle_area

AREAS = ("all", "small", "medium", "large")  # all; below 32 x 32 px, below 96 x 96 px, above
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
CATEGORY_ID = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Found masks of one image, matched with the true masks of one area range.

    Attributes:
        scores: (D,) descending.
        matched: (T, D) bool, whether each found mask is matched with a true one.
        ignored: (T, D) bool, whether it is not counted, because its true mask or, failing that, the
            found mask itself is outside the area range.
        truths: number of true masks in the area range.
    """

    scores: FloatArray
    matched: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    truths: int


def match_masks(
    found: Sequence[Rle], scores: npt.ArrayLike, truth: Sequence[Rle], *, max_masks: int
) -> list[Matches]:
    """Match found masks of an image with true ones, in descending order of score.

    Args:
        scores: (D,).
        max_masks: number of found masks that count, those with the highest scores.

    Returns:
        the matches for each of `AREAS`.
    """
    score_list = np.asarray(scores, np.float64).tolist()
    true_annotations = [_annotation(number, rle) for number, rle in enumerate(truth, start=1)]
    annotations = [
        _annotation(number, rle) | {"score": score}
        for number, (rle, score) in enumerate(zip(found, score_list, strict=True), start=1)
    ]
    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
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
    """Convert the result of `COCOeval.evaluateImg`, which is None if there are no masks."""
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
    """Numbers (M, T) of true masks found among the best-scored masks.

    Args:
        limits: M numbers of best-scored masks to count.
    """
    counted = matches.matched & ~matches.ignored
    return np.array([np.count_nonzero(counted[:, :limit], axis=1) for limit in limits], np.int64)


def mean_precision(images: Sequence[Sequence[Matches]], max_masks: int) -> FloatArray:
    """Interpolated precision (T, R, A) over the matches of all images; -1 without a true mask.

    Args:
        images: for each image, its matches for each of `AREAS`.
        max_masks: limit with which they were matched.
    """
    evaluation = COCOeval(iouType="segm")
    params = evaluation.params
    params.imgIds, params.catIds, params.useCats = list(range(len(images))), [-1], 0
    params.maxDets = [max_masks]
    evaluation.evalImgs = [_outcome(image[area]) for area in range(len(AREAS)) for image in images]
    with redirect_stdout(io.StringIO()):
        # `accumulate` looks up its results by the parameters of the evaluation they come from.
        evaluation._paramsEval = copy.deepcopy(params)  # noqa: SLF001
        evaluation.accumulate()
    precision: FloatArray = evaluation.eval["precision"][:, :, 0, :, 0]
    return precision


def _outcome(matches: Matches) -> dict[str, Any] | None:
    """The inverse of `_matches`."""
    if not matches.truths and not len(matches.scores):
        return None
    return {
        "dtScores": matches.scores.tolist(),
        "dtMatches": matches.matched.astype(np.float64),
        "dtIgnore": matches.ignored,
        "gtIgnore": np.zeros(matches.truths),
    }


def matches_to_json(matches: Matches) -> dict[str, Any]:
    """Convert to JSON, with one string of 0 and 1 per threshold."""
    return {
        "scores": matches.scores.tolist(),
        "matched": ["".join("01"[flag] for flag in row) for row in matches.matched.tolist()],
        "ignored": ["".join("01"[flag] for flag in row) for row in matches.ignored.tolist()],
        "truths": matches.truths,
    }


def matches_from_json(record: dict[str, Any]) -> Matches:
    """The inverse of `matches_to_json`."""
    flags = {
        name: np.array([[c == "1" for c in row] for row in record[name]], bool).reshape(
            len(IOU_THRESHOLDS), -1
        )
        for name in ("matched", "ignored")
    }
    return Matches(scores=np.array(record["scores"], np.float64), truths=record["truths"], **flags)
