"""Attributes and tags in files that other programs wrote."""

import json

import pytest

from samkit.annotations import open_annotations

BRUSH_FREE = {"original_width": 30, "original_height": 20, "image_rotation": 0}
POINTS = [[10, 10], [50, 10], [50, 50], [10, 50]]


@pytest.fixture
def write(tmp_path):
    def as_json(document, name="a.json"):
        (tmp_path / name).write_text(json.dumps(document))
        return open_annotations(tmp_path / name).read(0)

    return as_json


def test_voc_has_flags_and_datumaros_attributes(tmp_path):
    (tmp_path / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>30</width><height>20</height></size>"
        "<object><name>cat</name><truncated>1</truncated><difficult>0</difficult>"
        "<polygon><x1>2</x1><y1>2</y1><x2>9</x2><y2>2</y2><x3>9</x3><y3>9</y3></polygon>"
        "<attributes><attribute><name>colour</name><value>red</value></attribute>"
        "<attribute><name>rotation</name><value>0.0</value></attribute>"
        "<attribute><name>wet</name><value>False</value></attribute></attributes>"
        "</object></annotation>"
    )
    (mask,) = open_annotations(tmp_path, "voc").read(0).masks
    assert mask.attributes == {"truncated": True, "colour": "red", "wet": False}


def test_label_studio_has_answers_about_regions_and_images(write):
    region = {"id": "r", "to_name": "image", **BRUSH_FREE}
    results = [
        {**region, "type": "polygonlabels", "from_name": "label"}
        | {"value": {"points": POINTS, "polygonlabels": ["cat"]}},
        {**region, "type": "choices", "from_name": "colour", "value": {"choices": ["red", "blue"]}},
        {**region, "type": "number", "from_name": "age", "value": {"number": 4}},
        {**region, "type": "textarea", "from_name": "note", "value": {"text": ["torn"]}},
        {**region, "type": "choices", "from_name": "flags", "value": {"choices": ["a", "b"]}},
        {"id": "t", "type": "choices", "from_name": "tags", "to_name": "image"}
        | {"value": {"choices": ["night", "wet"]}},
    ]
    task = {"id": 1, "data": {"image": "/data/a.png"}, "annotations": [{"result": results}]}
    image = write([task])
    (mask,) = image.masks
    assert mask.attributes == {"colour": "red", "age": 4, "note": "torn", "a": True, "b": True}
    assert (image.tags, mask.num_annotations) == (("night", "wet"), 5)
    (fault,) = image.faults
    assert fault.text.endswith("of the answers to 'colour' only the first is read")


def test_labelme_has_flags_and_x_anylabelings_attributes(write):
    shape = {"label": "cat", "points": POINTS, "shape_type": "polygon", "group_id": None}
    more = {"flags": {"occluded": True, "wet": False}, "attributes": {"colour": "red"}}
    document = {
        "shapes": [shape | more | {"difficult": True}, shape],
        "flags": {"night": True, "rain": False},
        "imagePath": "a.png",
        "imageHeight": 60,
        "imageWidth": 60,
    }
    image = write(document)
    assert image.tags == ("night",)
    assert [one.attributes for one in image.masks] == [
        {"occluded": True, "wet": False, "colour": "red", "difficult": True},
        {},
    ]


def test_datumaro_has_attributes_besides_ours(write):
    rle = {"size": [20, 30], "counts": [30, 40, 530]}
    mask = {"id": 0, "type": "mask", "group": 0, "label_id": 0, "rle": rle, "z_order": 0}
    values = {"is_crowd": True, "score": 0.5, "stage": "early", "rotation": 0.0, "wet": True}
    document = {
        "items": [
            {"id": "a", "annotations": [mask | {"attributes": values}], "attr": {"tags": ["x"]}}
        ],
        "categories": {"label": {"labels": [{"name": "cat"}]}},
        "infos": {},
    }
    image = write(document)
    assert image.tags == ("x",)
    assert image.masks[0].attributes == {"stage": "early", "wet": True, "crowd": True}
