"""LabelMe's and X-AnyLabeling's files."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from samkit.annotations import draw_image, open_annotations
from samkit.annotations.labelme import read_labelme
from samkit.annotations.model import ReadOptions
from samkit.geometry import decode_rle

SIZE_HW = (20, 30)
BOX = [[2, 2], [6, 2], [6, 5], [2, 5]]


def shape(points, kind="polygon", **more):
    return {"label": "p", "points": points, "shape_type": kind, "group_id": None} | more


@pytest.fixture
def read(tmp_path):
    """Labels and masks of shapes, their faults, and the image."""

    def write_and_read(*shapes, size_hw=SIZE_HW, **more):
        document = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 30, "shapes": shapes}
        (tmp_path / "a.json").write_text(json.dumps(document | more))
        image = read_labelme(tmp_path / "a.json", tmp_path, ReadOptions())
        drawn = draw_image(image, size_hw, 1)
        assert image.num_annotations == len(shapes)
        labels = [mask.class_name for mask in drawn.masks]
        faults = [fault.text for fault in drawn.faults]
        return labels, [decode_rle(rle) for rle in drawn.rles], faults, image

    return write_and_read


def box():
    expected = np.zeros(SIZE_HW, bool)
    expected[2:6, 2:7] = True
    return expected


def test_shapes_are_drawn_with_their_outlines(read):
    labels, (polygon, circle), faults, image = read(
        shape(BOX), shape([[15, 10], [18, 10]], "circle", label="c")
    )
    np.testing.assert_array_equal(polygon, box())
    assert circle[10, 12:19].all()
    assert circle.sum(axis=0).max() == 7
    assert (labels, image.size_hw, faults) == (["p", "c"], SIZE_HW, [])


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("rectangle", [[2, 2], [6, 5]]),
        ("rectangle", [[6, 5], [2, 2]]),
        ("rectangle", BOX),  # X-AnyLabeling
        ("rotation", BOX),
        ("quadrilateral", BOX),
        ("oriented_rectangle", BOX),
        (None, BOX),
    ],
)
def test_rectangles_of_all_programs(kind, points, read):
    _, masks, faults, _ = read(shape(points, kind))
    np.testing.assert_array_equal(masks, [box()])
    assert faults == []


@pytest.mark.parametrize("label", [None, ""])
def test_no_label_is_no_class(label, read):
    assert read(shape(BOX, label=label))[0] == [None]


def test_shapes_of_a_label_and_group_are_one_mask(read):
    labels, masks, _, image = read(
        shape(BOX, group_id=1),
        shape([[10, 8], [11, 9]], "rectangle", group_id=1),
        shape(BOX, group_id=1, label="other"),
        shape(BOX),
    )
    assert labels == ["p", "other", "p"]
    assert masks[0].sum() == box().sum() + 4
    assert [mask.num_annotations for mask in image.masks] == [2, 1, 1]


def test_size_may_be_missing(read):
    _, masks, _, image = read(shape(BOX), imageHeight=None, imageWidth=None)
    assert image.size_hw is None
    np.testing.assert_array_equal(masks, [box()])


def test_other_size_of_the_same_proportions_is_scaled(read):
    _, (mask,), _, _ = read(shape(BOX), size_hw=(40, 60))
    expected = np.zeros((40, 60), bool)
    expected[4:11, 4:13] = True  # corners at twice their place, outline included
    np.testing.assert_array_equal(mask, expected)


def test_mask_is_pasted_into_its_box(read):
    patch = np.array([[1, 0, 1], [0, 1, 0]], bool)
    stream = io.BytesIO()
    Image.fromarray(patch).save(stream, format="PNG")
    png = base64.b64encode(stream.getvalue()).decode()
    pasted = shape([[4, 7], [6, 8]], "mask", mask=png)
    (mask,) = read(pasted)[1]
    expected = np.zeros(SIZE_HW, bool)
    expected[7:9, 4:7] = patch
    np.testing.assert_array_equal(mask, expected)
    for points in ([[4, 7], [7, 8]], [[28, 7], [30, 8]], [[-1, 7], [1, 8]]):
        assert "does not fit" in read(pasted | {"points": points})[2][0]
    assert "shape 1: its PNG cannot be read" in read(pasted | {"mask": "no base64"})[2][0]


@pytest.mark.parametrize(
    "broken",
    [
        7,
        {},
        shape([[0, 0], [1, 1]]),
        shape([[0, 0], [1, 1]], "line"),
        shape([[0, 0]], "point"),
        shape([[0, 0], [1e9, 1], [1, 1]]),
        shape([[0, 0], [float("nan"), 1], [1, 1]]),
        shape([[0, 0], [10**400, 1], [1, 1]]),
        shape([[0, 0], ["x", 1], [1, 1]]),
        shape(BOX, "mask"),
    ],
)
def test_broken_shape_leaves_the_others(broken, read):
    _, masks, faults, _ = read(broken, shape(BOX))
    np.testing.assert_array_equal(masks, [box()])
    (fault,) = faults
    assert fault.startswith("shape 1")


def test_text_of_windows_programs_is_read(tmp_path):
    document = {"imagePath": "子\\图.png", "imageHeight": 20, "imageWidth": 30}
    document["shapes"] = [shape(BOX, label="目标图片")]
    text = json.dumps(document, ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode("gb18030"))
    image = open_annotations(tmp_path).read(0)
    assert (image.name, image.masks[0].class_name) == ("子\\图.png", "目标图片")


def test_other_files_are_faults_of_theirs(read, tmp_path):
    assert "is not the size of an image" in read(shape(BOX), imageHeight="tall")[2][0]
    (tmp_path / "half.json").write_text('{"imagePath": ')
    (tmp_path / "list.json").write_text("[]")
    found = open_annotations(tmp_path, "labelme")
    images = {found.key(index): found.read(index) for index in range(len(found))}
    assert images["half.json"].faults[0].text.startswith(f"{tmp_path}/half.json is not JSON")
    assert images["list.json"].faults[0].text == (
        f"{tmp_path}/list.json is not a LabelMe file: it has no list of shapes"
    )
    assert all(image.name == "" for key, image in images.items() if key != "a.json")


@pytest.mark.parametrize("group", ["", None, False])
def test_groups_that_are_none_join_nothing(group, read):
    assert len(read(shape(BOX, group_id=group), shape(BOX, group_id=group))[1]) == 2


def test_groups_are_compared_by_value(read):
    assert len(read(shape(BOX, group_id=1), shape(BOX, group_id=1.0))[1]) == 1
