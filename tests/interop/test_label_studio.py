"""What Label Studio reads, by its own converter."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from other_programs import load

brush = load("label_studio_sdk.converter.brush")
pytestmark = pytest.mark.filterwarnings("ignore")
URL = re.compile(r"/data/local-files/\?d=images/all/(.*)")


def test_brushes_are_the_masks(exported, assert_same):
    out = exported.export("label-studio")
    found = {}
    for task in json.loads((out / "all.json").read_text()):
        masks = []
        for region in task["annotations"][0]["result"]:
            size = (region["original_height"], region["original_width"])
            pixels = brush.decode_rle(region["value"]["rle"]).reshape(*size, 4)
            masks.append((region["value"]["brushlabels"][0], pixels[:, :, 3] > 0))
        found[task["meta"]["samkit"]["file_name"]] = masks
    assert_same(found, exported.masks)


def test_its_encoder_gives_the_same_bytes(exported):
    from samkit.formats.label_studio_writing import brush_rle

    for masks in exported.masks.values():
        for _, mask in masks:
            theirs = brush.mask2rle(mask.astype(np.uint8) * 255)
            np.testing.assert_array_equal(
                brush.decode_rle(brush_rle(mask)), brush.decode_rle(theirs)
            )


def test_its_converter_knows_interface_and_images(exported, tmp_path):
    from urllib.parse import unquote

    converter = load("label_studio_sdk.converter")
    out = exported.export("label-studio")
    tasks = json.loads((out / "all.json").read_text())
    paths = {unquote(URL.fullmatch(task["data"]["image"])[1]) for task in tasks}
    assert paths == exported.masks.keys()
    config = (out / "config.xml").read_text(encoding="utf-8")
    program = converter.Converter(config, str(tmp_path), download_resources=False)
    program.convert(str(out / "all.json"), str(tmp_path), "BRUSH_TO_PNG", is_dir=False)
    pictures = [np.asarray(Image.open(path)) > 0 for path in tmp_path.glob("*.png")]
    expected = [mask for masks in exported.masks.values() for _, mask in masks]
    assert sorted(one.tobytes() for one in pictures) == sorted(one.tobytes() for one in expected)
