"""Tracks of other programs: CVAT's shapes, MOT's lines, what is damaged."""

import numpy as np
import pytest

from samkit.annotations import detect_clip_format, open_clips
from samkit.errors import DataError
from samkit.geometry import decode_rle

CVAT = """<?xml version="1.0"?><annotations><version>1.1</version><meta><task><name>run</name>
<labels><label><name>car</name><attributes><attribute><name>speed</name><mutable>True</mutable>
<input_type>number</input_type></attribute></attributes></label></labels>
<original_size><width>20</width><height>10</height></original_size></task></meta>
<track id="0" label="car" source="manual">
<box frame="0" keyframe="1" outside="0" occluded="0" xtl="2" ytl="3" xbr="6" ybr="8" z_order="0">
<attribute name="speed">3</attribute></box>
<box frame="1" keyframe="0" outside="0" occluded="1" xtl="3" ytl="3" xbr="7" ybr="8" z_order="0">
<attribute name="speed">3</attribute></box>
<box frame="2" keyframe="1" outside="1" occluded="0" xtl="3" ytl="3" xbr="7" ybr="8" z_order="0"/>
</track><track id="1" label="car"><polygon frame="4" keyframe="1" outside="0" occluded="0"
points="0,0;10,0;10,10;0,10" z_order="0"/></track></annotations>"""


def read(path, sizes=None):
    return list(open_clips(path, sizes or {}))


def box(x0, y0, x1, y1):
    mask = np.zeros((10, 20), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_cvats_boxes_and_polygons_are_masks_of_tracks(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT)
    (clip,) = read(path)
    assert (clip.name, clip.size_hw) == ("run", (10, 20))
    car, other = clip.tracks
    assert np.array_equal(decode_rle(car.frames[0].rle), box(2, 3, 6, 8))
    assert [(at, one.state, one.kind) for at, one in car.frames.items()] == [
        (0, "present", "confirmed"),
        (1, "present", "imported"),
        (2, "absent", "confirmed"),
    ]
    assert car.attributes == {0: {"speed": 3.0}, 1: {"speed": 3.0, "occluded": True}}
    assert np.array_equal(decode_rle(other.frames[4].rle), box(0, 0, 10, 10))


def test_mots_lines_are_boxes_of_the_video_with_this_name(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("1,7,3,4,4,5,1,-1,-1,-1\n2,7,4,4,4,5,0.5,-1,-1,-1\n3,7,0,0,9,9,0,1,1\n")
    (clip,) = read(path, {"run": (10, 20)})
    (track,) = clip.tracks
    assert (track.number, track.class_name, sorted(track.frames)) == (7, None, [0, 1])
    assert np.array_equal(decode_rle(track.frames[1].rle), box(4, 4, 8, 9))
    with pytest.raises(DataError, match=r"no video 'run', and no seqinfo\.ini"):
        read(path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", "1,1,x", "line 1: expected frame,id,x,y,w,h"),
        ("a.json", "[]", 'no "videos"'),
        ("a.json", '{"videos": [{"id": 1}]}', "damaged"),
        ("a.xml", "<annotations></annotations>", "no tracks"),
        ("a.xml", "<other/>", "no tracks of a video"),
        ("a.png", "", "no tracks of a video"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        read(path, {"a": (10, 20)})
    assert "\n" not in str(caught.value)


def test_formats_are_told_by_what_is_there(tmp_path):
    (tmp_path / "davis/Annotations/480p/run").mkdir(parents=True)
    (tmp_path / "mot/run/gt").mkdir(parents=True)
    (tmp_path / "mot/run/gt/gt.txt").write_text("")
    assert detect_clip_format(tmp_path / "davis") == "davis"
    assert detect_clip_format(tmp_path / "mot") == "mot"
