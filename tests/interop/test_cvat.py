"""CVAT's masks, by its own package; datumaro reads the whole file in `test_datumaro`."""

from xml.etree import ElementTree as ET

import pytest

from other_programs import load

masks = load("cvat_sdk.masks")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_runs_are_those_of_cvat(exported, assert_same):
    root = ET.parse(exported.export("cvat") / "all.xml").getroot()
    found = {}
    for image in root.iter("image"):
        found[image.get("name")] = []
        for one in image.iter("mask"):
            runs = [int(text) for text in one.get("rle").split(", ")]
            left, top, width, height = (int(one.get(k)) for k in ("left", "top", "width", "height"))
            encoded = [*runs, left, top, left + width - 1, top + height - 1]
            mask = masks.decode_mask(encoded, image_width=64, image_height=48)
            assert masks.encode_mask(mask) == encoded
            found[image.get("name")].append((one.get("label"), mask))
    assert_same(found, exported.masks)
    assert [label.text for label in root.iterfind("meta/task/labels/label/name")] == [
        "cell",
        "кот 😀",
        "object",
    ]
