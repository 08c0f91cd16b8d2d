from __future__ import annotations

import json

import numpy as np
import pytest

from samkit.formats import TrackedMask, coco_video, frame_line, mot_lines
from samkit.geometry import decode_rle, encode_rle


def square(index, object_id, x, side=4, state="present"):
    mask = np.zeros((20, 30), bool)
    mask[5 : 5 + side, x : x + side] = True
    return TrackedMask(
        index=index, object_id=object_id, rle=encode_rle(mask), score=0.75, state=state
    )


MASKS = [square(0, 2, 3), square(1, 2, 6), square(2, 2, 0, side=0, state="absent"), square(1, 5, 9)]


def test_mot_counts_frames_from_one_and_leaves_out_what_is_not_seen():
    assert mot_lines(MASKS) == [
        "1,2,3,5,4,4,0.7500,-1,-1,-1",
        "2,2,6,5,4,4,0.7500,-1,-1,-1",
        "2,5,9,5,4,4,0.7500,-1,-1,-1",
    ]


def test_coco_video_has_a_list_over_frames_for_each_object():
    names = ["a.jpg", "b.jpg", "c.jpg"]
    document = json.loads(
        json.dumps(coco_video(MASKS, file_names=names, size_hw=(20, 30), name="clip.mp4"))
    )
    [video] = document["videos"]
    assert (video["length"], video["height"], video["width"]) == (3, 20, 30)
    assert video["file_names"] == names
    first, second = document["annotations"]
    assert (first["track_id"], second["track_id"]) == (2, 5)
    assert first["bboxes"] == [[3, 5, 4, 4], [6, 5, 4, 4], None]
    assert first["areas"] == [16, 16, None]
    assert second["segmentations"][0] is None
    assert decode_rle(second["segmentations"][1]).sum() == 16
    assert first["score"] == pytest.approx(0.75)


def test_lines_are_read_back_as_they_were():
    line = json.loads(json.dumps(frame_line(1, MASKS[1:2])))
    assert TrackedMask.from_json(line["frame"], line["objects"][0]) == MASKS[1]
