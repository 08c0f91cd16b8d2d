"""Matches stored image by image, against one evaluation of all images by pycocotools."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluation.stub import rectangle
from samkit.evaluation.coco_matching import (
    AREAS,
    IOU_THRESHOLDS,
    found_truths,
    match_masks,
    matches_from_json,
    matches_to_json,
    mean_precision,
)
from samkit.geometry import encode_rle
from samkit.geometry.rle import rle_area

LIMITS = (3, 10, 20)


def some_images():
    """Rectangles and shifted copies of them, in five images of 160 x 160, with random scores."""
    rng = np.random.default_rng(3)
    images = []
    for number in range(5):
        truth, found = [], []
        for _ in range(6 if number else 0):
            x, y, size = rng.integers(0, 60), rng.integers(0, 60), rng.integers(8, 100)
            truth.append(encode_rle(rectangle(x, y, x + size, y + size, 160)))
            for _ in range(3):
                dx, dy = rng.integers(0, 12, 2)
                found.append(
                    encode_rle(rectangle(x + dx, y + dy, x + dx + size, y + dy + size, 160))
                )
        images.append((found or [truth_rle() for _ in range(2)], truth))
    return [(found, rng.random(len(found)).round(2), truth) for found, truth in images]


def truth_rle():
    return encode_rle(rectangle(0, 0, 30, 30, 160))


def one_evaluation(images):
    """All images in one COCOeval, as its authors run it."""

    def coco(annotations):
        out = COCO()
        out.dataset = {
            "images": [{"id": n, "height": 160, "width": 160} for n in range(len(images))],
            "categories": [{"id": 1}],
            "annotations": [a | {"id": n} for n, a in enumerate(annotations, start=1)],
        }
        out.createIndex()
        return out

    def annotation(image, rle):
        return {
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": rle,
            "area": rle_area(rle),
        }

    truth = [annotation(n, rle) for n, (_, _, own) in enumerate(images) for rle in own]
    found = [
        annotation(n, rle) | {"score": score}
        for n, (own, scores, _) in enumerate(images)
        for rle, score in zip(own, scores, strict=True)
    ]
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truth), coco(found), "segm")
        evaluation.params.maxDets = list(LIMITS)
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval


def test_image_by_image_is_all_at_once(capsys):
    images = some_images()
    expected = one_evaluation(images)
    matches = [
        match_masks(found, scores, truth, max_masks=LIMITS[-1]) for found, scores, truth in images
    ]
    kept = [[matches_from_json(matches_to_json(one)) for one in image] for image in matches]
    precision = mean_precision(kept, LIMITS[-1])
    np.testing.assert_array_equal(precision, expected["precision"][:, :, 0, :, -1])
    assert 0.1 < precision[:, :, 0].mean() < 0.9
    for area in range(len(AREAS)):
        truths = sum(image[area].truths for image in kept)
        found = sum(found_truths(image[area], LIMITS) for image in kept)
        np.testing.assert_allclose(found / truths, expected["recall"][:, 0, area, :].T, rtol=1e-12)
    assert capsys.readouterr().out == ""


def test_hand_made_recall():
    truth = [rectangle(0, 0, 10, 10), rectangle(20, 0, 30, 10)]
    found = [truth[0], rectangle(20, 0, 30, 6), truth[0]]  # IoU 1, 0.6, and a double
    matches = match_masks(
        [encode_rle(mask) for mask in found],
        [0.5, 0.6, 0.9],
        [encode_rle(mask) for mask in truth],
        max_masks=100,
    )
    counts = found_truths(matches[0], (1, 2, 100))
    assert counts[0].tolist() == [1] * 10  # the double has the best score
    assert counts[1].tolist() == counts[2].tolist() == [2, 2, 2, *[1] * 7]
    assert matches[0].truths == matches[1].truths == 2  # all are small
    assert matches[3].truths == 0
    assert matches[0].scores.tolist() == pytest.approx([0.9, 0.6, 0.5])


def test_nothing_found_and_nothing_there():
    rle = encode_rle(rectangle(0, 0, 10, 10))
    (nothing, *_) = match_masks([], [], [rle], max_masks=10)
    assert (nothing.truths, len(nothing.scores)) == (1, 0)
    assert found_truths(nothing, (10,)).tolist() == [[0] * len(IOU_THRESHOLDS)]
    (alone, *_) = match_masks([rle], [0.5], [], max_masks=10)
    assert (alone.truths, alone.matched.any()) == (0, False)
    (empty, *_) = match_masks([], [], [], max_masks=10)
    assert (empty.truths, empty.matched.shape) == (0, (10, 0))
