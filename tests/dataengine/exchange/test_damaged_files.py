"""Imports of 2,000 damaged files of all formats: no other errors than ours, and every sum is right.

What a file holds is counted here without the readers.
"""

import faulthandler
import io
import json
import random
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from damage import damaged_bytes, damaged_document
from samkit.annotations import FORMATS
from samkit.dataengine import Store, add_images, create_project, create_user, import_masks
from samkit.errors import SamkitError

SIZE = (20, 30)
NUM_FILES = 250  # of each format
TOO_LONG_S = 60  # a hang ends the process, with a traceback of where it was
POLYGON = [[1, 1, 9, 1, 9, 9]]
RLE = {"size": [20, 30], "counts": [85, 4, 16, 4, 491]}
LABELS = np.zeros(SIZE, np.uint8)
LABELS[2:8, 3:9], LABELS[10:15, 12:20], LABELS[1, 25] = 1, 2, 7


def png():
    stream = io.BytesIO()
    Image.fromarray(LABELS).save(stream, "PNG")
    return stream.getvalue()


COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 30, "height": 20},
        {"id": 2, "file_name": "b.png", "width": 30, "height": 20},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": RLE, "iscrowd": 1},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": POLYGON, "iscrowd": 0},
        {"id": 3, "image_id": 2, "category_id": 1, "segmentation": POLYGON, "score": 0.5},
    ],
}
SA1B = {
    "image": {"file_name": "a.png", "width": 30, "height": 20},
    "annotations": [
        {"id": 1, "segmentation": RLE, "predicted_iou": 0.9, "stability_score": 0.9},
        {"id": 2, "segmentation": POLYGON},
    ],
}
LABELME = {
    "imagePath": "a.png",
    "imageHeight": 20,
    "imageWidth": 30,
    "shapes": [
        {"label": "x", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"},
        {"label": "x", "points": [[9, 9], [12, 9]], "shape_type": "circle", "group_id": 1},
        {"label": "x", "points": [[1, 9], [4, 12]], "shape_type": "rectangle", "group_id": 1},
        {"label": "y", "points": [[1, 9]], "shape_type": "point"},
    ],
}
DATUMARO = {
    "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}},
    "items": [
        {
            "id": "a",
            "image": {"path": "a.png", "size": [20, 30]},
            "annotations": [
                {"type": "mask", "rle": RLE, "label_id": 0, "group": 1},
                {"type": "polygon", "points": [1, 1, 9, 1, 9, 9], "label_id": 1, "group": 0},
                {"type": "label", "label_id": 1},
            ],
        }
    ],
}
REGION = {
    "id": "r",
    "type": "polygonlabels",
    "to_name": "image",
    "original_width": 30,
    "original_height": 20,
    "value": {"points": [[10, 10], [50, 10], [50, 60]], "polygonlabels": ["cat"]},
}
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/1a2b3c4d-a.png"},
        "annotations": [{"id": 2, "result": [REGION, REGION | {"id": "s"}]}],
    }
]
CVAT = """<annotations><image id="0" name="a.png" width="30" height="20">
<mask label="cat" rle="1, 2, 1, 2" left="5" top="6" width="3" height="2"/>
<polygon label="dog" points="4.00,5.00;10.00,5.00;10.00,9.00"/>
<ellipse label="x" cx="15" cy="10" rx="10" ry="5" rotation="30"/>
<box label="x" xtl="1" ytl="1" xbr="5" ybr="5"/></image></annotations>"""
VOC = """<annotation><filename>a.png</filename><size><width>30</width><height>20</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>
</object>
<object><name>dog</name><polygon><x1>3</x1><y1>4</y1><x2>8</x2><y2>4</y2><x3>8</x3><y3>9</y3>
</polygon></object></annotation>"""
YOLO = "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.1 0.1\n\n0 0.2 0.2 0.3 0.3 0.4 0.1 0.1 0.1\n"


def length(entries):
    if not isinstance(entries, list):
        raise TypeError
    return len(entries)


# Format: file, its content, and how many annotations a document holds.
CASES = {
    "coco": ("a.json", COCO, lambda at: length(at["annotations"])),
    "sa1b": ("a.json", SA1B, lambda at: length(at["annotations"])),
    "labelme": ("a.json", LABELME, lambda at: length(at["shapes"])),
    "datumaro": (
        "a.json",
        DATUMARO,
        lambda at: sum(length(one["annotations"]) for one in at["items"]),
    ),
    "label-studio": ("a.json", LABEL_STUDIO, None),
    "cvat": ("a.xml", CVAT, lambda at: sum(len(one) for one in at.iter("image"))),
    "voc": ("a.xml", VOC, lambda at: len(at.findall("object"))),
    "yolo": ("a.txt", YOLO, lambda at: sum(bool(line.strip()) for line in at.splitlines())),
    "png": ("a.png", png(), None),
}
WORDS = ["nan", "-1", "1e999", "9" * 30, "", "x", "0", "1", "31", "0.5", "\u00e9"]


def damaged_words(text, rng):
    for _ in range(rng.randint(1, 2)):
        word = rng.choice(list(re.finditer(r"[\w.]+", text)))
        text = text[: word.start()] + rng.choice(WORDS) + text[word.end() :]
    return text


def damaged(content, rng):
    if rng.random() < 0.7:
        if isinstance(content, dict | list):
            return json.dumps(damaged_document(content, rng)).encode()
        if isinstance(content, str):
            return damaged_words(content, rng).encode()
    content = json.dumps(content) if isinstance(content, dict | list) else content
    return damaged_bytes(content.encode() if isinstance(content, str) else content, rng)


def count(name, data, counter):
    """Annotations in a file, if it is still one that the counter understands; else None."""
    try:
        if name.endswith(".json"):
            document = json.loads(data)
        else:
            text = data.decode()
            document = ET.fromstring(text) if name.endswith(".xml") else text
        return counter(document)
    except (ValueError, KeyError, TypeError, AttributeError, ET.ParseError):
        return None


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", SIZE[::-1], color).save(root / name)
    with Store.open(tmp_path / "p.db") as store:
        project_id = create_project(store, name="p", root=root).id
        add_images(store, project_id)
        yield store, project_id, create_user(store, name="ada", role="admin").id


def test_all_formats_are_damaged():
    assert set(CASES) == set(FORMATS)
    assert NUM_FILES * len(CASES) >= 2000


@pytest.mark.slow
@pytest.mark.parametrize("file_format", CASES)
def test_every_annotation_of_a_damaged_file_is_accounted_for(file_format, project, tmp_path):
    store, project_id, user_id = project
    name, content, counter = CASES[file_format]
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "classes.txt").write_text("cat\ndog\n")
    rng = random.Random(file_format)
    counted = imported = 0
    for _ in range(NUM_FILES):
        data = damaged(content, rng)
        (folder / name).write_bytes(data)
        faulthandler.dump_traceback_later(TOO_LONG_S, exit=True)
        try:
            report = import_masks(
                store, project_id, folder / name, file_format=file_format, user_id=user_id
            )
        except SamkitError as error:
            assert len(str(error).splitlines()) == 1, data  # noqa: PT017 - or none
            continue
        finally:
            faulthandler.cancel_dump_traceback_later()
        parts = report.num_added, report.num_known, report.num_joined, report.num_left_out
        assert sum(parts) == report.num_annotations, (data, report)
        assert all(len(fault.splitlines()) == 1 for fault in report.faults), (data, report)
        assert report.faults or not report.num_left_out, data
        imported += report.num_added + report.num_known
        held = None if counter is None else count(name, data, counter)
        readable = not any(fault.startswith(str(folder / name)) for fault in report.faults)
        if held is not None and readable:
            assert report.num_annotations == held, (data, report)
            counted += 1
    assert imported > NUM_FILES / 20
    assert counted > NUM_FILES / 10 or counter is None
