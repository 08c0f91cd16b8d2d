"""What datumaro reads, and CVAT, whose formats these are."""

import numpy as np
import pytest
from PIL import Image

from other_programs import load

dm = load("datumaro")
pytestmark = pytest.mark.filterwarnings("ignore")


def read(dataset):
    """Classes and masks of each image."""
    names = [label.name for label in dataset.categories()[dm.AnnotationType.label].items]
    return {
        item.id: [
            (names[one.label], np.asarray(one.image, bool))
            for one in item.annotations
            if one.type == dm.AnnotationType.mask
        ]
        for item in dataset
    }


def by_base(masks):
    return {path.rpartition(".")[0]: found for path, found in masks.items()}


@pytest.mark.parametrize("file_format", ["cvat", "datumaro"])
def test_masks_and_classes_are_those_of_the_project(file_format, exported, assert_same):
    out = exported.export(file_format)
    dataset = dm.Dataset.import_from(str(out), file_format)
    assert_same(read(dataset), by_base(exported.masks))
    assert {item.media.size for item in dataset} == {(48, 64)}
    assert all(item.media.data.shape[:2] == (48, 64) for item in dataset)


def test_datumaro_has_scores_and_stages_as_attributes(exported):
    dataset = dm.Dataset.import_from(str(exported.export("datumaro")), "datumaro")
    item = next(item for item in dataset if item.id == "a")
    assert item.attributes["review"] == "submitted"
    assert {one.attributes["stage"] for one in item.annotations} == {"assisted-manual"}


def test_roboflow_folders(exported, assert_same):
    out = exported.export("roboflow", val_fraction=0.5)
    dataset = dm.Dataset.import_from(str(out), "roboflow_coco")
    assert {item.subset for item in dataset} == {"train", "valid"}
    assert_same(read(dataset), by_base(exported.masks))


def test_voc_classes_and_instances(exported):
    out = exported.export("voc")
    dataset = dm.Dataset.import_from(str(out), "voc_segmentation")
    found = read(dataset)
    masks = exported.masks["a.png"]
    top = np.zeros((48, 64), int)
    order = sorted(range(len(masks)), key=lambda index: -masks[index][1].sum())
    for index in order:
        top[masks[index][1]] = index + 1
    visible = {(name, (top == index + 1).tobytes()) for index, (name, _) in enumerate(masks)}
    assert {(name, mask.tobytes()) for name, mask in found["a"]} == visible
    assert found["none"] == []
    with Image.open(out / "JPEGImages/turned.jpg") as copy:
        assert copy.size == (64, 48)
