"""CVAT's XML files for images."""

import numpy as np
import pytest

from samkit.annotations import ReadOptions, open_annotations
from samkit.errors import DataError

SIZE = (20, 30)
MASK = '<mask label="cat" rle="1, 2, 1, 2" left="5" top="6" width="3" height="2"/>'
POLYGON = '<polygon label="dog" points="4.00,5.00;10.00,5.00;10.00,9.00;4.00,9.00"/>'


@pytest.fixture
def read_xml(tmp_path, read):
    def write_and_read(*shapes, options=None, attributes='width="30" height="20"', more=""):
        image = f'<image id="0" name="sub/a.png" {attributes}>{"".join(shapes)}</image>'
        text = f"<annotations><version>1.1</version>{image}{more}</annotations>"
        (tmp_path / "annotations.xml").write_text(text)
        return read(tmp_path / "annotations.xml", SIZE, options)

    return write_and_read


def test_masks_are_run_lengths_of_their_box_row_by_row(read_xml):
    found = read_xml(MASK)
    ((name, mask),) = found.masks["sub/a.png"]
    expected = np.zeros(SIZE, bool)
    expected[6, 6:8] = expected[7, 6:8] = True
    np.testing.assert_array_equal(mask, expected)
    assert (found.format_name, name, found.faults) == ("cvat", "cat", [])


def test_polygons_and_boxes_are_edges_of_pixels(read_xml, rectangle):
    box = '<box label="dog" xtl="4" ytl="5" xbr="10" ybr="9"/>'
    (_, polygon), (_, drawn) = read_xml(POLYGON, box, options=ReadOptions(boxes=True)).masks[
        "sub/a.png"
    ]
    np.testing.assert_array_equal(polygon, rectangle(4, 5, 10, 9))
    np.testing.assert_array_equal(drawn, polygon)
    assert [one.text[:14] for one in read_xml(box).faults] == ["shape 1 (box):"]


def test_points_may_have_blanks_and_a_last_semicolon(read_xml, rectangle):
    polygon = '<polygon label="dog" points=" 4, 5; 10, 5; 10, 9; 4, 9; "/>'
    found = read_xml(polygon)
    ((_, mask),) = found.masks["sub/a.png"]
    np.testing.assert_array_equal(mask, rectangle(4, 5, 10, 9))
    assert found.faults == []


def test_rotation_is_clockwise_about_the_centre(read_xml, rectangle):
    box = '<box label="dog" xtl="4" ytl="6" xbr="14" ybr="10" rotation="90"/>'
    ((_, mask),) = read_xml(box, options=ReadOptions(boxes=True)).masks["sub/a.png"]
    np.testing.assert_array_equal(mask, rectangle(7, 3, 11, 13))
    tilted = '<box label="dog" xtl="5" ytl="9" xbr="25" ybr="11" rotation="30"/>'
    ((_, mask),) = read_xml(tilted, options=ReadOptions(boxes=True)).masks["sub/a.png"]
    assert mask[14, 22]  # the right end goes down
    assert not mask[6, 22]


def test_ellipses_are_filled(read_xml):
    ((_, mask),) = read_xml('<ellipse label="x" cx="15" cy="10" rx="10" ry="5"/>').masks[
        "sub/a.png"
    ]
    rows, columns = np.mgrid[:20, :30] + 0.5
    expected = ((columns - 15) / 10) ** 2 + ((rows - 10) / 5) ** 2 <= 1
    assert (mask ^ expected).sum() <= 4
    assert abs(mask.sum() - np.pi * 50) < 5


def test_shapes_of_a_group_and_label_are_one_mask(read_xml, rectangle):
    one, other = (s.replace("/>", ' group_id="3"/>') for s in (POLYGON, POLYGON))
    other = other.replace("4.00,5", "12.00,5").replace("4.00,9", "12.00,9")
    other = other.replace("10.00", "16.00")
    alone = POLYGON.replace("/>", ' group_id="0"/>')
    found = read_xml(one, other, MASK.replace("/>", ' group_id="3"/>'), alone, alone)
    masks = found.masks["sub/a.png"]
    assert [name for name, _ in masks] == ["dog", "cat", "dog", "dog"]
    np.testing.assert_array_equal(masks[0][1], rectangle(4, 5, 10, 9) | rectangle(12, 5, 16, 9))
    assert (found.num_annotations, found.num_joined) == (5, 1)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ('<tag label="x"><attribute name="a">1</attribute></tag>', "attributes of tags are not"),
        ('<points label="x" points="1,1"/>', "it is not a mask"),
        ('<polyline label="x" points="1,1;2,2"/>', "it is not a mask"),
        ('<cuboid label="x"/>', "it is not a mask"),
        ('<skeleton label="x"><points points="1,1"/></skeleton>', "it is not a mask"),
        ("<news/>", "it is not a shape of CVAT"),
        (MASK.replace("1, 2, 1, 2", "1, 2, 1, 3"), "must cover the 6 pixels"),
        (MASK.replace("1, 2, 1, 2", "7, -1"), "the shortest of -1"),
        (MASK.replace("1, 2, 1, 2", ""), "whole numbers"),
        (MASK.replace('left="5"', 'left="28"'), "is not in the image"),
        (MASK.replace('left="5"', 'left="-1"'), "is not in the image"),
        (MASK.replace('left="5"', ""), "it has no left"),
        (MASK.replace('left="5"', 'left="x"'), "its left must be a number of pixels; got 'x'"),
        (MASK.replace('left="5"', 'left="5.5"'), "width and height must be whole numbers"),
        (POLYGON.replace("10.00", "nan"), "its x must be a number of pixels; got 'nan'"),
        (POLYGON.replace("10.00", "1e300"), "its x must be a number of pixels; got '1e300'"),
        (POLYGON.replace("10.00,9", "9"), "its points must be like 1,2;3,4;5,6; got '9.00'"),
        ('<polygon label="x"/>', "it has no points"),
        (POLYGON.replace("10.00", "1e8"), "far outside"),
        ('<polygon label="x" points="1,1;2,2"/>', "at least three points"),
        ('<polygon label="x" points=""/>', "at least three points"),
    ],
)
def test_what_is_not_a_mask_leaves_the_others(read_xml, shape, reason):
    found = read_xml(shape, MASK)
    assert len(found.masks["sub/a.png"]) == 1
    (fault,) = found.faults
    assert fault.text.startswith("shape 1 (")
    assert reason in fault.text


def test_attributes_and_tags_are_read(tmp_path):
    values = {"age": "3", "size": "3", "old": "true", "new": "false", "none": ""}
    inner = "".join(f'<attribute name="{name}">{text}</attribute>' for name, text in values.items())
    shape = MASK.replace("/>", f' occluded="1">{inner}</mask>')
    (tmp_path / "a.xml").write_text(
        "<annotations><meta><label><attributes><attribute><name>age</name>"
        "<input_type>number</input_type></attribute></attributes></label></meta>"
        f'<image name="a.png" width="30" height="20">{shape}<tag label="x"/></image></annotations>'
    )
    image = open_annotations(tmp_path / "a.xml").read(0)
    assert (image.tags, image.num_annotations, image.faults) == (("x",), 1, ())
    assert image.masks[0].attributes == {
        "age": 3.0,
        "size": "3",
        "old": True,
        "new": False,
        "occluded": True,
    }


def test_tracks_of_videos_are_counted(read_xml):
    track = '<track id="4" label="cat"><box frame="0"/><box frame="1"/></track>'
    found = read_xml(MASK, more=track)
    (fault,) = found.faults
    assert fault.num_annotations == 2
    assert fault.text.startswith("track 4 (cat): tracks of videos are not read")


def test_size_that_none_can_have_leaves_all_out(read_xml):
    found = read_xml(MASK, POLYGON, attributes='width="-1" height="20"')
    assert (found.masks["sub/a.png"], found.num_left_out) == ([], 2)


def test_masks_are_scaled_from_the_stated_size(tmp_path, read_xml):
    attributes = 'width="60" height="40"'
    ((_, mask),) = read_xml(POLYGON, attributes=attributes).masks["sub/a.png"]
    assert mask.sum() == 3 * 2


def test_broken_files_are_one_line(tmp_path, refusal, read):
    path = tmp_path / "a.xml"
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotations>&b;</annotations>'
    for text, reason in (
        ("<annotations><image", "is not XML"),
        (laughs, "has a document type"),
        ("<other/>", "is not CVAT's"),
        ("", "is not XML"),
    ):
        path.write_text(text)
        with refusal(DataError, reason):
            open_annotations(path, "cvat")
    (tmp_path / "b.xml").write_text(f'<annotations><image name="b">{MASK}</image></annotations>')
    path.write_text("<annotations><image")
    found = read(tmp_path, SIZE)
    assert len(found.masks["b"]) == 1
    assert [one.num_annotations for one in found.faults] == [0]


def test_text_of_other_encodings_is_read(tmp_path, read):
    image = f'<annotations><image name="\u4e2d.png">{MASK}</image></annotations>'
    for encoding, head in (
        ("gb18030", ""),
        ("utf-16", ""),
        ("latin-1", '<?xml version="1.0" encoding="latin-1"?>'),
    ):
        text = image.replace("\u4e2d", "\u00e4") if encoding == "latin-1" else image
        (tmp_path / "a.xml").write_bytes((head + text).encode(encoding))
        assert list(read(tmp_path / "a.xml", SIZE).masks) == [
            "\u00e4.png" if encoding == "latin-1" else "\u4e2d.png"
        ]
