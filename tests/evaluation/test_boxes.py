"""AP from boxes in cases with a known answer, and files of detections."""

import json

import numpy as np
import pytest

from evaluation.stub import StubPredictor, make_sample, rectangle
from samkit.errors import DataError
from samkit.evaluation import Annotators, BoxPrompts, read_detections
from samkit.geometry import encode_rle

LARGE, SMALL = rectangle(0, 0, 40, 40), rectangle(50, 50, 60, 60)


def fill(box, **_):
    """The whole box, of which the model is the surer the larger it is."""
    x0, y0, x1, y1 = (int(edge) for edge in box)
    return [rectangle(max(0, x0), max(0, y0), x1, y1)], [(x1 - x0) / 64]


def measure(protocol, *samples, answer=fill):
    predictor = StubPredictor(answer)
    results = [
        protocol.measure(predictor, predictor.embed(sample.image), sample) for sample in samples
    ]
    return predictor, protocol.summarise(results).metrics


def test_filled_boxes_of_rectangles_are_perfect():
    predictor, metrics = measure(BoxPrompts(), make_sample(LARGE, SMALL))
    assert metrics == pytest.approx(
        {
            "box_ap": 1,
            "box_ap50": 1,
            "box_ap75": 1,
            "box_ap_small": 1,
            "box_ap_medium": 1,
            "box_miou": 1,
            "box_miou_images": 1,
        }
    )
    (call,) = predictor.calls
    np.testing.assert_array_equal(call["boxes"], [[0, 0, 40, 40], [50, 50, 60, 60]])
    assert not call["multimask"]


def test_iou_and_ap_of_disks_in_filled_boxes():
    y, x = np.mgrid[:64, :64]
    disk = (x - 30) ** 2 + (y - 30) ** 2 <= 20**2
    _, metrics = measure(BoxPrompts(), make_sample(disk))
    iou = disk.sum() / 41**2  # 0.748: pi / 4 and a little less
    assert metrics["box_miou"] == pytest.approx(iou)
    assert metrics["box_ap50"] == pytest.approx(1)
    assert metrics["box_ap75"] == 0
    assert metrics["box_ap"] == pytest.approx(0.5)


def test_images_without_masks():
    predictor, metrics = measure(BoxPrompts(), make_sample())
    assert metrics == {}
    assert predictor.calls == []
    assert BoxPrompts().summarise([]).metrics == {}


def test_annotators_are_questions_of_their_own():
    rle = encode_rle(LARGE)
    twice = Annotators(segmentations={"image": [[rle], [rle]]})
    predictor, metrics = measure(BoxPrompts(annotators=twice), make_sample(LARGE))
    assert len(predictor.calls) == 2
    assert metrics["box_ap"] == pytest.approx(1)


@pytest.fixture
def detections(tmp_path):
    def write(*entries):
        path = tmp_path / "detections.json"
        path.write_text(json.dumps(entries))
        return path

    return write


def detection(image_id, bbox, score):
    return {"image_id": image_id, "category_id": 7, "bbox": bbox, "score": score}


def test_detections_are_prompts_and_their_scores_rank(detections):
    path = detections(
        detection("image", [0, 0, 40, 40], 0.3),
        detection("image", [50, 50, 10, 10], 0.9),
        detection("image", [20, 50, 10, 10], 0.8),  # nothing is there
        detection("image", [80, 80, 10, 10], 0.95),  # outside of the image
        detection("image", [10, 10, 0, 5], 0.9),  # no area
        detection("other", [0, 0, 5, 5], 0.9),
    )
    protocol = BoxPrompts(detections=read_detections(path))
    predictor, metrics = measure(protocol, make_sample(LARGE, SMALL))
    (call,) = predictor.calls
    np.testing.assert_array_equal(
        call["boxes"], [[50, 50, 60, 60], [20, 50, 30, 60], [0, 0, 40, 40]]
    )
    # Precision 1 up to recall 1/2 (51 of 101 samples), then 2/3.
    assert metrics["box_ap"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert "box_miou" not in metrics
    assert protocol.settings()["detections"] == read_detections(path).sha256


def test_images_without_detections_count(detections):
    path = detections(detection(1, [0, 0, 40, 40], 0.5))
    protocol = BoxPrompts(detections=read_detections(path, {"1": "a.jpg", "2": "b.jpg"}))
    samples = [make_sample(LARGE, key=key) for key in ("a.jpg", "b.jpg")]
    predictor, metrics = measure(protocol, *samples)
    assert len(predictor.calls) == 1
    assert metrics["box_ap"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}', "must be a list of detections"),
        ('[{"image_id": 1, "score": 1}]', "detection 0 must have image_id, bbox"),
        ('[{"image_id": 1, "bbox": [1, 2], "score": 1}]', "detection 0 must have"),
        ("[5]", "detection 0 must have"),
    ],
)
def test_bad_files_are_refused(content, message, tmp_path, refusal):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with refusal(DataError, message):
        read_detections(path)


def test_missing_file_is_refused(tmp_path, refusal):
    with refusal(DataError, "cannot read", "none.json"):
        read_detections(tmp_path / "none.json")
