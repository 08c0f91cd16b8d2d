"""What LabelMe reads, by its own reader and the drawing of its shapes."""

import sys
from unittest import mock

import numpy as np
import pytest

from other_programs import load

# LabelMe's window and models, which reading files does not need, and which want a screen.
WINDOW = (
    "osam",
    "osam.apis",
    "osam.types",
    "PyQt5",
    "PyQt5.QtCore",
    "PyQt5.QtGui",
    "PyQt5.QtWidgets",
)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def labelme():
    with pytest.MonkeyPatch.context() as patch:
        for name in WINDOW:
            if name not in sys.modules:
                patch.setitem(sys.modules, name, mock.MagicMock())
        label_file = load("labelme._label_file")
        shape = load("labelme.utils.shape")
        yield label_file, shape


def test_instances_are_the_masks(labelme, exported, assert_same):
    label_file, drawing = labelme
    out = exported.export("labelme") / "all"
    found = {}
    for path in exported.masks:
        file = (out / path).with_suffix(".json")
        content = label_file.read_label_file(str(file))  # refuses images of another size
        assert content.image_path == path.rpartition("/")[2]
        parts = {}
        for number, shape in enumerate(content.shapes):
            group = shape["group_id"]
            key = (shape["label"], ("alone", number) if group is None else group)
            mask = drawing.shape_to_mask((48, 64), shape["points"], shape["shape_type"])
            parts[key] = parts.get(key, False) | mask
        found[path] = [(label, mask) for (label, _), mask in parts.items()]
    assert_same(found, exported.masks)


def test_label_images_have_all_classes(labelme, exported):
    label_file, drawing = labelme
    content = label_file.read_label_file(str(exported.export("labelme") / "all/a.json"))
    classes, _ = drawing.shapes_to_label(
        (48, 64), content.shapes, {"cell": 1, "кот 😀": 2, "object": 3}
    )
    assert np.unique(classes).tolist() == [0, 1, 2, 3]
    assert content.other_data["samkit"]["review"] == "submitted"
