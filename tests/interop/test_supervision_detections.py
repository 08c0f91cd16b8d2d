"""Masks as supervision's detections, and back; and what supervision makes of them."""

import numpy as np
import pytest

from other_programs import load
from samkit.errors import DataError
from samkit.geometry import encode_rle
from samkit.integrations import from_detections, to_detections
from samkit.types import Masks
from samkit.video import ObjectResult, VideoAnswer

sv = load("supervision")
pytestmark = pytest.mark.filterwarnings("ignore")


def discs():
    y, x = np.mgrid[:40, :60]
    return np.array([(x - 20) ** 2 + (y - 20) ** 2 < 100, (x - 45) ** 2 + (y - 12) ** 2 < 49])


@pytest.fixture
def masks():
    return Masks.from_arrays(discs(), [0.9, 0.6])


def test_there_and_back(masks):
    detections = to_detections(masks)
    assert isinstance(detections, sv.Detections)
    assert (detections.mask == discs()).all()
    assert detections.xyxy.tolist() == masks.boxes_xyxy.tolist()
    assert detections.area.tolist() == masks.areas.tolist()
    back = from_detections(detections)
    assert back.rles == masks.rles
    assert back.scores.tolist() == masks.scores.tolist()
    assert back.phrases is None


def test_words_are_class_names(masks):
    named = masks.with_columns(phrases=("cat", "dog"), phrase_scores=masks.scores)
    detections = to_detections(Masks.concatenate([named, named[0]]))
    assert detections.class_id.tolist() == [0, 1, 0]
    assert detections["class_name"].tolist() == ["cat", "dog", "cat"]
    assert from_detections(detections[detections.confidence > 0.7]).phrases == ("cat", "cat")


def test_no_masks_are_no_detections():
    empty = Masks.from_arrays(np.zeros((0, 40, 60), bool), [])
    assert len(to_detections(empty)) == 0
    assert len(from_detections(to_detections(empty))) == 0


def test_objects_of_a_video_have_tracker_ids():
    states = ("present", "absent", "uncertain")
    found = [discs()[0], np.zeros((40, 60), bool), discs()[1]]
    answer = VideoAnswer(
        index=3,
        object_ids=(7, 8, 9),
        results=tuple(
            ObjectResult(rle=encode_rle(mask), score=0.5, state=state)
            for mask, state in zip(found, states, strict=True)
        ),
        size_hw=(40, 60),
    )
    detections = to_detections(answer)
    assert detections.tracker_id.tolist() == [7, 9]
    assert (detections.mask == discs()).all()


def test_they_are_drawn_and_filtered(masks):
    detections = to_detections(masks)
    annotator = sv.MaskAnnotator(color_lookup=sv.ColorLookup.INDEX)  # there are no classes
    drawn = annotator.annotate(np.zeros((40, 60, 3), np.uint8), detections)
    assert (drawn.any(2) == discs().any(0)).all()
    inside = sv.PolygonZone(np.array([[0, 0], [35, 0], [35, 39], [0, 39]])).trigger(detections)
    assert inside.tolist() == [True, False]


def test_boxes_alone_are_refused(masks):
    with pytest.raises(DataError, match="have boxes alone: prompt with them"):
        from_detections(sv.Detections(xyxy=masks.boxes_xyxy.astype(np.float32)))
