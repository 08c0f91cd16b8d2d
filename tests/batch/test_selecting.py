"""`samkit segment --from`: masks of a file selected by prompts."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main
from samkit.formats import write_sa1b
from samkit.geometry import decode_rle
from samkit.types import Masks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = np.zeros((30, 40, 3), np.uint8)
    Image.fromarray(image).save("a.png")
    arrays = np.zeros((2, 30, 40), bool)
    arrays[0, 5:20, 5:25], arrays[1, 8:12, 10:14] = True, True
    write_sa1b(tmp_path / "a.json", Masks.from_arrays(arrays, [0.9, 0.8]), file_name="a.png")
    return tmp_path


def test_a_point_selects_and_writes(folder, capsys):
    args = ["--from", "a.json", "--background", "35,25", "--point", "6,6", "-o", "out"]
    assert main(["segment", "a.png", *args]) == 0
    record = json.loads((folder / "out/a.json").read_text())
    (mask,) = record["masks"]
    assert mask["area"] == 15 * 20
    assert record["from"] == "a.json"
    with Image.open("out/a_mask.png") as mask, Image.open("out/a_overlay.png") as overlay:
        assert np.asarray(mask).sum() == 255 * 15 * 20
        assert overlay.size == (40, 30)
    assert "area 300 px" in capsys.readouterr().out


def test_boxes_select_a_mask_each(folder, capsys):
    args = ["--from", "a.json", "--box", "10,8,14,12", "--box", "5,5,25,20", "--json"]
    assert main(["segment", "a.png", *args, "--format", "coco", "-o", "out"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert [mask["area"] for mask in result["masks"]] == [16, 300]
    assert decode_rle(result["masks"][0]["segmentation"])[8:12, 10:14].all()
    assert len(json.loads((folder / "out/coco.json").read_text())["annotations"]) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a.png", "--from", "none.json", "--point", "1,1"], "none.json"),
        (["a.png", "--from", "a.json", "--point", "50,1"], "40 x 30"),
        (["a.png", "--from", "a.json", "--point", "1,1", "--fine"], "finished masks"),
        (["a.png", "--from", "a.json", "--point", "1,1", "--box", "1,1,2,2"], "points and boxes"),
        (["b.png", "--from", "a.json", "--point", "1,1"], "no masks of b.png"),
    ],
)
def test_what_cannot_be_selected_is_one_line(folder, capsys, args, message):
    shutil.copy("a.png", "b.png")
    assert main(["segment", *args]) == 2
    assert message in capsys.readouterr().err
