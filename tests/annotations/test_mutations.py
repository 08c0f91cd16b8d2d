"""Whatever a file holds, reading it raises no other errors than ours, and all is accounted for."""

import json
import random

import pytest

from damage import damaged_bytes, damaged_document
from samkit.errors import SamkitError

SIZE = (20, 30)
RLE = {"size": [20, 30], "counts": [85, 4, 16, 4, 491]}
POINTS = [[10, 10], [50, 10], [50, 60]]
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/1a2b3c4d-a.png", "more": ["x/b.png"]},
        "annotations": [
            {
                "id": 2,
                "was_cancelled": False,
                "updated_at": "2026",
                "result": [
                    {
                        "id": "r",
                        "type": "polygonlabels",
                        "to_name": "image",
                        "original_width": 30,
                        "original_height": 20,
                        "image_rotation": 0,
                        "value": {"points": POINTS, "polygonlabels": ["cat"]},
                    },
                    {
                        "id": "s",
                        "type": "brushlabels",
                        "to_name": "image",
                        "original_width": 3,
                        "original_height": 2,
                        "value": {"rle": [0, 0, 0, 24, 57, 27, 255, 1, 128, 35], "brushlabels": []},
                    },
                ],
            }
        ],
        "predictions": [{"result": [{}]}],
    }
]
SHORT = [{"image": "a.png", "annotation_id": 1, "annotator": 1, "p": [{"points": POINTS}]}]
DATUMARO = {
    "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}},
    "items": [
        {
            "id": "a",
            "image": {"path": "a.png", "size": [20, 30]},
            "annotations": [
                {"type": "mask", "rle": RLE, "label_id": 0, "group": 1},
                {"type": "polygon", "points": [1, 1, 9, 1, 9, 9], "label_id": 1, "group": 0},
                {"type": "ellipse", "points": [1, 1, 9, 9], "label_id": 1, "group": 0},
                {"type": "rotated_bbox", "points": [5, 5, 3, 3, 10]},
            ],
        }
    ],
}
LABELME = {
    "imagePath": "a.png",
    "imageHeight": 20,
    "imageWidth": 30,
    "shapes": [
        {"label": "x", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"},
        {"label": "x", "points": [[9, 9], [12, 9]], "shape_type": "circle", "group_id": 1},
    ],
}
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": RLE, "iscrowd": 1},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]},
    ],
}
DOCUMENTS = {
    "coco": COCO,
    "datumaro": DATUMARO,
    "label-studio": LABEL_STUDIO,
    "labelme": LABELME,
    "short": SHORT,
}

CVAT = """<annotations><image id="0" name="a.png" width="30" height="20">
<mask label="cat" rle="1, 2, 1, 2" left="5" top="6" width="3" height="2" group_id="1"/>
<polygon label="dog" points="4.00,5.00;10.00,5.00;10.00,9.00" group_id="1"/>
<ellipse label="x" cx="15" cy="10" rx="10" ry="5" rotation="30"/>
<box label="x" xtl="1" ytl="1" xbr="5" ybr="5"/></image>
<track id="1"><box/></track></annotations>"""
VOC = """<annotation><size><width>30</width><height>20</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>
<polygon><x1>3</x1><y1>4</y1><x2>8</x2><y2>4</y2><x3>8</x3><y3>9</y3></polygon></object>
<object><name>dog</name><polygon><pt><x>1</x><y>2</y></pt><pt><x>9</x><y>2</y></pt>
<pt><x>9</x><y>9</y></pt></polygon></object></annotation>"""
YOLO = "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.1 0.1\n\n0 0.2 0.2 0.3 0.3 0.4 0.1 0.1 0.1\n"
SETTINGS = "path: .\ntrain: images/train\nval: [a, b]\nnames:\n  0: cat\n  1: dog\nnc: 2\n"
COLORS = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ndog:::\n"


def check(read, path, format_name):
    """`read` itself checks that annotations are masks or faults."""
    try:
        found = read(path, SIZE, format_name=format_name)
    except SamkitError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        return
    assert all(fault.text and fault.num_annotations >= 0 for fault in found.faults)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_changed_documents(tmp_path, read, kind):
    rng = random.Random(kind)
    format_name = "label-studio" if kind == "short" else kind
    path = tmp_path / "a.json"
    for _ in range(400):
        path.write_text(json.dumps(damaged_document(DOCUMENTS[kind], rng)))
        check(read, path, format_name)


@pytest.mark.parametrize(("format_name", "text"), [("cvat", CVAT), ("voc", VOC), ("yolo", YOLO)])
def test_changed_texts(tmp_path, read, format_name, text):
    rng = random.Random(format_name)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    path = tmp_path / f"a.{'txt' if format_name == 'yolo' else 'xml'}"
    for _ in range(400):
        path.write_bytes(damaged_bytes(text.encode(), rng))
        check(read, path, format_name)


@pytest.mark.parametrize(
    ("format_name", "name", "text"),
    [("yolo", "data.yaml", SETTINGS), ("voc", "labelmap.txt", COLORS)],
)
def test_changed_settings(tmp_path, read, format_name, name, text):
    rng = random.Random(name)
    for folder, file, content in (("labels", "a.txt", YOLO), ("Annotations", "a.xml", VOC)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(content)
    for _ in range(300):
        (tmp_path / name).write_bytes(damaged_bytes(text.encode(), rng))
        check(read, tmp_path, format_name)


def test_unchanged_files_are_read(tmp_path, read):
    """So that the changed ones are not all refused for one reason."""
    for kind, count in (("coco", 2), ("datumaro", 3), ("label-studio", 1), ("labelme", 2)):
        (tmp_path / "a.json").write_text(json.dumps(DOCUMENTS[kind]))
        found = read(tmp_path / "a.json", SIZE)
        assert (found.format_name, sum(map(len, found.masks.values()))) == (kind, count)
    for format_name, text, count in (("cvat", CVAT, 3), ("voc", VOC, 2)):
        (tmp_path / "a.xml").write_text(text)
        found = read(tmp_path / "a.xml", SIZE)
        assert (found.format_name, sum(map(len, found.masks.values()))) == (format_name, count)
