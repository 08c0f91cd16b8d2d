"""Attributes and tags in exports and imports: nothing of them is lost without a word."""

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from samkit.dataengine import (
    Attribute,
    Labelling,
    Store,
    add_images,
    create_project,
    create_user,
    export_history,
    export_project,
    get_labelling,
    import_masks,
    list_annotations,
    list_images,
    save_annotation,
    set_labelling,
    set_tags,
    submit_image,
)

LABELLING = Labelling(
    attributes=(
        Attribute(name="colour", kind="choice", choices=("red", "deep blue")),
        Attribute(name="age", kind="number"),
        Attribute(name="note", kind="text"),
        Attribute(name="mitotic", kind="flag"),
    ),
    tags=("blurred", "night"),
)
VALUES = [
    {"crowd": True, "occluded": True, "age": 3},
    {"colour": "deep blue", "note": 'torn <&> "left"', "mitotic": True, "age": 2.5},
    {"truncated": True, "difficult": True},
    {},
]
# Format, its place below the export, and whether it has tags.
HOLDING = [
    ("coco", "all.json", True),
    ("cvat", "all.xml", True),
    ("datumaro", ".", True),
    ("label-studio", "all.json", True),
    ("labelme", ".", True),
    ("png", "all/masks", True),
    ("roboflow", ".", True),
    ("sa1b", ".", True),
    ("voc", ".", False),
]


@pytest.fixture
def labelled(sqlite_scene, rle_of):
    """Image 0 has masks with attributes, and tags; image 1 is empty and has a tag."""
    scene = sqlite_scene
    set_labelling(scene.store, scene.project.id, LABELLING)
    for index, tags in enumerate((["blurred", "night"], ["night"])):
        image_id = scene.hold(scene.ann, index)
        for number, values in enumerate(VALUES if index == 0 else ()):
            save_annotation(
                scene.store,
                image_id=image_id,
                user_id=scene.ann,
                rle=rle_of(1 + 3 * number, 2, 3 + 3 * number, 9),
                attributes=values,
            )
        set_tags(scene.store, image_id, user_id=scene.ann, version=0, tags=tags)
        submit_image(scene.store, image_id, scene.ann)
    return scene


def export(scene, folder, file_format):
    return export_project(scene.store, scene.project.id, folder, file_format=file_format)


@pytest.fixture
def read_back(image_folder, tmp_path):
    """Imports an export into a new project; returns the report, values, tags, and what is asked."""
    number = 0

    def read(place, file_format, labelling=None):
        nonlocal number
        number += 1
        with Store.open(tmp_path / f"{number}.db") as store:
            project = create_project(store, name="copy", root=image_folder).id
            add_images(store, project)
            user = create_user(store, name="imp", role="admin").id
            if labelling is not None:
                set_labelling(store, project, labelling)
            for _ in range(2):  # importing again changes nothing
                report = import_masks(store, project, place, file_format=file_format, user_id=user)
            images = {one.path: one for one in list_images(store, project).items}
            masks = list_annotations(store, images["a.png"].id)
            values = {one.box_xyxy[0]: dict(one.attributes) for one in masks}
            tags = {path: one.tags for path, one in images.items() if one.tags}
            return report, values, tags, get_labelling(store, project)

    return read


@pytest.mark.parametrize(("file_format", "place", "has_tags"), HOLDING)
def test_attributes_and_tags_come_back(file_format, place, has_tags, labelled, read_back, tmp_path):
    report = export(labelled, tmp_path / "out", file_format)
    lost = "the tags of 2 images are not in the export: the format has no place for them"
    assert report.notes == (() if has_tags else (lost,))
    expected = {1 + 3 * number: values for number, values in enumerate(VALUES)}
    for labelling in (LABELLING, None):
        read_as = "coco" if file_format == "roboflow" else file_format
        found, values, tags, offered = read_back(tmp_path / "out" / place, read_as, labelling)
        assert (found.faults, found.num_added, found.num_known) == ((), 0, 4)
        if file_format == "voc" and labelling is None:  # all that it has are texts
            expected[1] = expected[1] | {"age": "3"}
            expected[4] = expected[4] | {"age": "2.5"}
        assert values == expected
        both = {"a.png": ("blurred", "night"), "b.png": ("night",)}
        assert tags == (both if has_tags else {})
        kinds = {one.name: one.kind for one in offered.attributes}
        if labelling is None:
            is_text = file_format == "voc"
            assert kinds == {
                "age": "text" if is_text else "number",
                "colour": "text",
                "note": "text",
                "mitotic": "flag",
            }
        else:
            assert offered == LABELLING


@pytest.mark.parametrize(("file_format", "count"), [("yolo", 2), ("voc", 1), ("geojson", 0)])
def test_what_a_format_cannot_hold_is_told(file_format, count, labelled, tmp_path):
    notes = export(labelled, tmp_path / "out", file_format).notes
    assert (
        notes
        == (
            "the attributes of 3 masks are not in the export: the format has no place for them",
            "the tags of 2 images are not in the export: the format has no place for them",
        )[2 - count :]
    )


def test_geojson_has_attributes_and_tags(labelled, tmp_path):
    export(labelled, tmp_path / "out", "geojson")
    document = json.loads((tmp_path / "out/all/a.geojson").read_text())
    assert [one["properties"]["attributes"] for one in document["features"]] == VALUES
    assert document["image"]["samkit"]["tags"] == ["blurred", "night"]


def test_coco_has_attributes_as_cvat_writes_them(labelled, tmp_path):
    export(labelled, tmp_path / "out", "coco")
    masks = json.loads((tmp_path / "out/all.json").read_text())["annotations"]
    assert [one["iscrowd"] for one in masks] == [1, 0, 0, 0]
    assert [one["attributes"] for one in masks] == [
        {"occluded": True, "age": 3},
        {"occluded": False, **VALUES[1]},
        {"occluded": False, **VALUES[2]},
        {"occluded": False},
    ]


def test_voc_has_its_flags_and_the_others_as_datumaro_writes_them(labelled, tmp_path):
    export(labelled, tmp_path / "out", "voc")
    objects = ET.parse(tmp_path / "out/Annotations/a.xml").findall("object")
    flags = [
        "".join(one.findtext(name) for name in ("truncated", "difficult", "occluded"))
        for one in objects
    ]
    assert flags == ["001", "000", "110", "000"]
    named = [
        {each.findtext("name"): each.findtext("value") for each in one.iter("attribute")}
        for one in objects
    ]
    assert named[0] == {"age": "3", "crowd": "true"}
    assert named[1] == {
        "age": "2.5",
        "colour": "deep blue",
        "mitotic": "true",
        "note": 'torn <&> "left"',
    }
    assert named[2:] == [{}, {}]


def test_cvat_says_what_its_attributes_are(labelled, tmp_path):
    export(labelled, tmp_path / "out", "cvat")
    root = ET.parse(tmp_path / "out/all.xml").getroot()
    labels = {one.findtext("name"): one for one in root.iterfind("meta/task/labels/label")}
    assert set(labels) == {"object", "blurred", "night"}
    kinds = {
        one.findtext("name"): (one.findtext("input_type"), one.findtext("values"))
        for one in labels["object"].iter("attribute")
    }
    assert kinds == {
        "colour": ("select", "red\ndeep blue"),
        "age": ("number", ""),
        "note": ("text", ""),
        "mitotic": ("checkbox", "false"),
        "crowd": ("checkbox", "false"),
        "difficult": ("checkbox", "false"),
        "truncated": ("checkbox", "false"),
    }
    first, second = root.findall("image")
    assert [one.get("occluded") for one in first.findall("mask")] == ["1", "0", "0", "0"]
    assert [one.get("label") for one in second.findall("tag")] == ["night"]


def test_label_studio_has_a_control_for_each_attribute(labelled, tmp_path):
    export(labelled, tmp_path / "out", "label-studio")
    view = ET.parse(tmp_path / "out/config.xml").getroot()
    controls = {one.get("name"): one for one in view}
    assert {name: one.tag for name, one in controls.items()} == {
        "image": "Image",
        "label": "BrushLabels",
        "flags": "Choices",
        "colour": "Choices",
        "age": "Number",
        "note": "TextArea",
        "tags": "Choices",
    }
    assert [one.get("value") for one in controls["flags"]] == [
        "mitotic",
        "crowd",
        "occluded",
        "difficult",
        "truncated",
    ]
    tasks = json.loads((tmp_path / "out/all.json").read_text())
    names = {one["from_name"] for task in tasks for one in task["annotations"][0]["result"]}
    assert names == set(controls) - {"image"}


def test_values_that_do_not_fit_are_told_once(labelled, read_back, tmp_path):
    export(labelled, tmp_path / "out", "coco")
    path = tmp_path / "out/all.json"
    document = json.loads(path.read_text())
    document["annotations"][1]["attributes"] = {"colour": "green", "age": "old", "size": [1]}
    document["annotations"][2]["attributes"] |= {"colour": "green", "rotation": 0.0}
    path.write_text(json.dumps(document))
    report, values, _, offered = read_back(path, "coco", LABELLING)
    assert sorted(report.faults) == [
        "the attribute 'age' is a number; got 'old': left out of 1 mask",
        "the attribute 'colour' is one of red, deep blue; got 'green': left out of 2 masks",
        "the attribute 'size' is a text; got [1]: left out of 1 mask",
    ]
    assert (values[4], values[7]) == ({}, VALUES[2])
    assert [one.name for one in offered.attributes] == ["colour", "age", "note", "mitotic", "size"]


def coco_of(tmp_path, *annotations):
    square = {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"id": at, **square, **one} for at, one in enumerate(annotations)],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    return path


def test_only_cocos_own_crowds_are_crowds(read_back, tmp_path):
    one = coco_of(tmp_path, {"iscrowd": 1})
    report, values, _, _ = read_back(one, "coco")
    assert (values, report.notes) == ({1: {"crowd": True}}, ())
    by_cvat = coco_of(tmp_path, {"iscrowd": 1, "attributes": {"occluded": True, "rotation": 0.0}})
    report, values, _, offered = read_back(by_cvat, "coco")
    assert (values, offered.attributes) == ({1: {"occluded": True}}, ())
    (note,) = report.notes
    assert note.startswith("a.png: 1 mask is marked iscrowd, as CVAT marks all")


def test_names_that_are_none_are_told(read_back, tmp_path):
    path = coco_of(tmp_path, {"attributes": {"a\nb": 1, "x" * 101: True, "fine": True}})
    report, values, _, offered = read_back(path, "coco")
    assert values == {1: {"fine": True}}
    assert [one.name for one in offered.attributes] == ["fine"]
    assert sum("must be one line of printable text" in one for one in report.faults) == 1
    assert sum("left out of 1 mask" in one for one in report.faults) == 2


def test_history_has_attributes_and_tags(labelled, tmp_path):
    export_history(labelled.store, labelled.project.id, tmp_path / "h.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert [one["attributes"] for one in lines] == VALUES
    assert [one["revisions"][0]["attributes"] for one in lines] == VALUES
    assert lines[0]["tags"] == ["blurred", "night"]


def test_tags_of_an_import_join_those_of_the_image(labelled, rle_of, tmp_path):
    scene = labelled
    export(scene, tmp_path / "out", "coco")
    path = tmp_path / "out/all.json"
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["samkit"]["tags"] = ["foggy"]
    path.write_text(json.dumps(document))
    report = import_masks(scene.store, scene.project.id, path, user_id=scene.adm)
    assert report.faults == ()
    images = list_images(scene.store, scene.project.id).items
    assert [one.tags for one in images[:2]] == [("blurred", "night", "foggy"), ("night", "foggy")]
    assert get_labelling(scene.store, scene.project.id).tags == ("blurred", "night", "foggy")
    assert np.all([one.review == "submitted" for one in images[:2]])
