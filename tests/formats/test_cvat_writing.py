"""CVAT's XML; `tests/interop` reads it with CVAT's own package and datumaro."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from samkit.formats import cvat_writer
from samkit.types import Masks


def test_masks_are_runs_of_their_boxes_row_by_row(tmp_path):
    mask = np.zeros((5, 7), bool)
    mask[1, 2:5] = mask[2, 3] = True
    masks = Masks.from_arrays(np.stack([mask, np.zeros((5, 7), bool)]), [1, 1])
    with cvat_writer(tmp_path / "a.xml", lambda: ['<"b">', "c"]) as writer:
        writer.add_image("deep/a&b.png", masks, ['<"b">', "c"], ["auto", "manual"])
        writer.add_image("none.png", masks[:0], [], [])
    root = ET.parse(tmp_path / "a.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [one.text for one in root.iterfind("meta/task/labels/label/name")] == ['<"b">', "c"]
    first, second = root.iter("image")
    assert first.attrib == {"id": "0", "name": "deep/a&b.png", "width": "7", "height": "5"}
    (one,) = first  # the other mask is empty
    assert one.attrib == {
        "label": '<"b">',
        "source": "auto",
        "occluded": "0",
        "rle": "0, 3, 1, 1, 1",
        "left": "2",
        "top": "1",
        "width": "3",
        "height": "2",
        "z_order": "0",
    }
    assert list(second) == []


def test_on_an_error_nothing_is_written(tmp_path):
    with pytest.raises(KeyError), cvat_writer(tmp_path / "a.xml", list):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
