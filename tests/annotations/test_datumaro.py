"""datumaro's JSON files."""

import json

import numpy as np
import pytest

from samkit.annotations import ImageNames, ReadOptions, open_annotations
from samkit.errors import DataError

SIZE = (20, 30)
RECTANGLE = {"type": "polygon", "points": [4, 5, 10, 5, 10, 9, 4, 9], "label_id": 1, "group": 0}


@pytest.fixture
def write(tmp_path):
    def write(*annotations, name="sub/b", image=None):
        labels = [{"name": "cat", "parent": ""}, {"name": "dog", "parent": ""}, None]
        document = {
            "dm_format_version": "1.0",
            "categories": {"label": {"labels": labels}},
            "items": [
                {"id": name, "annotations": list(annotations), "image": image or {"path": ""}}
            ],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / "train.json").write_text(json.dumps(document))
        return tmp_path

    return write


def test_masks_and_polygons(write, read, rectangle):
    rle = {"size": [20, 30], "counts": [85, 4, 16, 4, 491]}
    found = read(write({"type": "mask", "rle": rle, "label_id": None, "group": 0}, RECTANGLE), SIZE)
    (none, mask), (name, polygon) = found.masks["sub/b"]
    assert (found.format_name, none, name, found.faults) == ("datumaro", None, "dog", [])
    np.testing.assert_array_equal(mask, rectangle(4, 5, 6, 9))
    np.testing.assert_array_equal(polygon, rectangle(4, 5, 10, 9))


def test_groups_are_one_mask(write, read, rectangle):
    other = {**RECTANGLE, "points": [12, 5, 16, 5, 16, 9, 12, 9]}
    found = read(write(*({**one, "group": 2} for one in (RECTANGLE, other)), RECTANGLE), SIZE)
    (_, joined), (_, alone) = found.masks["sub/b"]
    np.testing.assert_array_equal(joined, rectangle(4, 5, 10, 9) | rectangle(12, 5, 16, 9))
    assert (alone.sum(), found.num_joined, found.num_annotations) == (24, 1, 3)


def test_broken_part_of_a_group_leaves_the_others(write, read, rectangle):
    broken = {**RECTANGLE, "group": 2, "points": [1, 2]}
    found = read(write({**RECTANGLE, "group": 2}, broken), SIZE)
    ((_, mask),) = found.masks["sub/b"]
    np.testing.assert_array_equal(mask, rectangle(4, 5, 10, 9))
    assert [one.num_annotations for one in found.faults] == [1]
    assert "1 of 2 parts are broken: a polygon must be" in found.faults[0].text


def test_boxes_are_masks_only_where_asked_for(write, read, rectangle):
    boxes = [
        {"type": "bbox", "bbox": [4, 5, 6, 4], "label_id": 0},
        {"type": "rotated_bbox", "points": [7, 7, 4, 6, 90], "label_id": 0},
    ]
    assert [one.num_annotations for one in read(write(*boxes), SIZE).faults] == [1, 1]
    for _, mask in read(write(*boxes), SIZE, ReadOptions(boxes=True)).masks["sub/b"]:
        np.testing.assert_array_equal(mask, rectangle(4, 5, 10, 9))


def test_ellipses_are_in_their_boxes(write, read):
    shape = {"type": "ellipse", "points": [5, 5, 25, 15], "label_id": 0}
    ((_, mask),) = read(write(shape), SIZE).masks["sub/b"]
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 14, 5, 24)
    assert abs(mask.sum() - np.pi * 50) < 5


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"type": "label", "label_id": 0}, "'label' is not a mask"),
        ({"type": "points", "points": [1, 2]}, "'points' is not a mask"),
        ({**RECTANGLE, "label_id": 3}, "its label 3 is not listed"),
        ({**RECTANGLE, "label_id": 2}, "its label 2 is not listed"),
        ({**RECTANGLE, "label_id": -1}, "its label -1 is not listed"),
        ({**RECTANGLE, "label_id": "x"}, "is broken"),
        ({**RECTANGLE, "points": None}, "is broken"),
        ({"type": "mask", "rle": {"size": [9, 9], "counts": [81]}}, "the image's size"),
        ({"type": "mask"}, "is broken"),
        (7, "not an annotation"),
    ],
)
def test_broken_annotation_leaves_the_others(write, read, annotation, reason):
    found = read(write(annotation, RECTANGLE), SIZE)
    assert len(found.masks["sub/b"]) == 1
    (fault,) = found.faults
    assert fault.text.startswith("annotation 1")
    assert reason in fault.text


def test_images_are_found_by_id_and_in_the_export(write):
    found = open_annotations(write(RECTANGLE)).read(0)
    for image in ("sub/b.png", "images/train/sub_b.png", "images/train/sub/b.png"):
        names = ImageNames([image, "images/val/sub_b.png", "images/train/b.png", "b.png"])
        assert names.find(found.name, folder=found.folder, has_suffix=False) == image


@pytest.mark.parametrize(
    ("path", "name", "has_suffix"),
    [
        ("a.png", "a.png", True),
        ("/there/cats/a.png", "/there/cats/a.png", True),
        ("frame_1.png", "sub/frame_1", False),
        ("sub/frame_1.png", "sub/frame_1", False),  # its copy may have another suffix
        ("sub_frame_1.png", "sub/frame_1", False),
        ("", "sub/frame_1", False),
        (7, "sub/frame_1", False),
    ],
)
def test_images_are_found_by_their_paths(write, path, name, has_suffix):
    root = write(RECTANGLE, name="sub/frame_1", image={"path": path, "size": [20, 30]})
    found = open_annotations(root).read(0)
    assert (found.name, found.has_suffix) == (name, has_suffix)


def test_other_files_are_refused(tmp_path, write, read, refusal):
    path = tmp_path / "a.json"
    path.write_text("{}")
    with refusal(DataError, "is not datumaro's"):
        open_annotations(path, "datumaro")
    found = read(write(RECTANGLE, name=7), SIZE)
    assert (found.masks, [one.num_annotations for one in found.faults]) == ({}, [1])
    image = {"path": "", "size": [-1, 5]}
    assert read(write(RECTANGLE, RECTANGLE, image=image), SIZE).num_left_out == 2
