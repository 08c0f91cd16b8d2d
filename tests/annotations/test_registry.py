"""Finding the format of files and folders."""

import json

import pytest
from PIL import Image

from samkit.annotations import FORMATS, detect_format, open_annotations
from samkit.errors import DataError

COCO = {"images": [], "annotations": [], "categories": []}
CVAT = '<annotations><image name="a.png"/></annotations>'
YOLO = "0 0.1 0.1 0.5 0.1 0.5 0.5\n"


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("coco", {"annotations/instances_train.json": json.dumps(COCO)}),
        ("coco", {"train/_annotations.coco.json": json.dumps(COCO), "data.yaml": "names: [a]"}),
        ("labelme", {"a.json": '{"shapes": []}'}),
        ("sa1b", {"a.json": '{"annotations": []}'}),
        ("png", {"masks/a.png": None}),
        ("datumaro", {"annotations/train.json": '{"items": [], "categories": {}}'}),
        ("label-studio", {"export.json": '[{"data": {}, "annotations": []}]'}),
        ("label-studio", {"export.json": '[{"annotation_id": 1, "annotator": 2}]'}),
        ("cvat", {"annotations.xml": CVAT, "images/a.png": None}),
        ("voc", {"a.xml": "<annotation/>", "a.png": None}),
        ("voc", {"SegmentationObject/a.png": None, "SegmentationClass/a.png": None}),
        ("voc", {"VOCdevkit/VOC2012/SegmentationObject/a.png": None}),
        ("yolo", {"data.yaml": "names: [a]", "labels/train/a.txt": YOLO}),
        ("yolo", {"classes.txt": "cat\n", "labels/a.txt": YOLO, "notes.json": "{}"}),
        ("yolo", {"obj.names": "cat\n", "obj_train_data/a.txt": YOLO}),
        ("yolo", {"a.txt": YOLO, "a.png": None}),
    ],
)
def test_folders_are_known_by_their_files(tmp_path, name, files):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            Image.new("L", (4, 4)).save(tmp_path / path)
        else:
            (tmp_path / path).write_text(text)
    assert detect_format(tmp_path) == name
    assert name in FORMATS


def test_zips_are_to_be_unpacked(tmp_path, refusal):
    (tmp_path / "a.zip").write_bytes(b"PK")
    with refusal(DataError, "is a zip: unpack it, and name the folder that it gives"):
        open_annotations(tmp_path / "a.zip")


def test_files_of_other_tasks_are_left_to_those_of_instances(tmp_path, read):
    entry = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    image = {"id": 1, "file_name": "a.png", "width": 30, "height": 20}
    names = [{"id": 1, "name": "cat"}]
    coco = {"images": [image], "annotations": [entry], "categories": names}
    files = ("instances_train", "person_keypoints_train", "captions_train", "stuff_val")
    for name in files:
        (tmp_path / f"{name}.json").write_text(json.dumps(coco))
    found = read(tmp_path, (20, 30))
    assert len(found.masks["a.png"]) == 2  # stuff_val has no file of instances beside it
    assert [one.num_annotations for one in found.faults] == [0, 0]


def test_copies_of_other_systems_and_folders_named_like_files_are_no_annotations(tmp_path):
    for name in ("masks/a.png", "masks/@eaDir/a.png/THUMB.png", "masks/b.png/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.new("L", (4, 4)).save(tmp_path / name)
    found = open_annotations(tmp_path / "masks")
    assert [found.key(index) for index in range(len(found))] == ["a.png"]
