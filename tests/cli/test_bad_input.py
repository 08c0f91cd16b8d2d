"""Bad input: one clear line, exit code 2, nothing written."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main


def bomb_png(width, height):
    """A PNG whose header claims a size, with hardly any data."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
    image.save(tmp_path / "image.jpg")
    (tmp_path / "truncated.jpg").write_bytes((tmp_path / "image.jpg").read_bytes()[:700])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "bomb.png").write_bytes(bomb_png(60_000, 60_000))
    (tmp_path / "file").write_text("")
    (tmp_path / "weights.safetensors").write_bytes(b"\0" * 100)
    np.save(tmp_path / "small.npy", np.zeros((64, 64), np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "prompts.json").write_text(json.dumps({"image.jpg": {"poinds": [[1, 1]]}}))
    (tmp_path / "labels.json").write_text(
        json.dumps({"image.jpg": {"points": [[1, 1]], "labels": [2]}})
    )
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "nested.json").write_text("[" * 100_000)
    (tmp_path / "sub").mkdir()
    image.save(tmp_path / "sub" / "image.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


POINT = ["--point", "10,10"]
CASES = {
    "missing file": (["none.jpg", *POINT], "no such file: none.jpg"),
    "text named jpg": (["text.jpg", *POINT], "not an image"),
    "truncated jpeg": (["truncated.jpg", *POINT], "truncated"),
    "zero bytes": (["empty.jpg", *POINT], "empty (0 bytes)"),
    "bomb": (["bomb.png", *POINT], "too large"),
    "folder as image": (["sub", *POINT], "sub cannot be read: Is a directory"),
    "point outside": (["image.jpg", "--point", "80,10"], "outside of the image of width 80"),
    "point below zero": (["image.jpg", "--point=-1,10"], "outside of the image"),
    "inverted box": (["image.jpg", "--box", "50,10,20,40"], "x0 < x1"),
    "empty box": (["image.jpg", "--box", "20,10,20,40"], "x0 < x1"),
    "box outside": (["image.jpg", "--box", "100,10,120,40"], "outside of the image"),
    "nan": (["image.jpg", "--point", "nan,3"], "must be finite"),
    "infinite box": (["image.jpg", "--box", "1,1,inf,3"], "must be finite"),
    "half a point": (["image.jpg", "--point", "5"], "expected x,y in pixels; got '5'"),
    "words for a point": (["image.jpg", "--point", "a,b"], "expected x,y in pixels"),
    "label 2": (["--prompts", "labels.json"], "labels must be 1 (foreground), 0"),
    "unknown key": (
        ["--prompts", "prompts.json"],
        "an object of box, labels, mask, points, text; got poinds",
    ),
    "prompts not json": (["--prompts", "broken.json"], "is not JSON"),
    "prompts nested too deeply": (["--prompts", "nested.json"], "is not JSON"),
    "prompts missing": (["--prompts", "none.json"], "cannot read none.json"),
    "image not in prompts": (["sub/image.png", "--prompts", "labels.json"], "has no prompt for"),
    "wrong mask shape": (["image.jpg", "--mask", "small.npy"], "must be (256, 256)"),
    "mask of objects": (["image.jpg", "--mask", "objects.npy"], "not a .npy file of mask logits"),
    "mask missing": (["image.jpg", "--mask", "none.npy"], "no such file: none.npy"),
    "mask not an image": (["image.jpg", "--mask", "text.jpg"], "text.jpg cannot be read"),
    "coloured mask": (["image.jpg", "--mask", "image.jpg"], "must have one number at each pixel"),
    "unknown model": (["image.jpg", *POINT, "--model", "sam_vit_x"], "known are mobile_sam"),
    "damaged model": (["image.jpg", *POINT, "--model", "weights.safetensors"], "damaged"),
    "unknown device": (["image.jpg", *POINT, "--device", "quantum"], "cannot be used"),
    "unwritable output": (["image.jpg", *POINT, "-o", "file/out"], "is not a folder"),
    "named as the data set": (
        ["image.jpg", "coco.jpg", *POINT, "--format", "json", "--format", "coco"],
        "coco.json and coco.jpg would write the same files",
    ),
    "same names": (["image.jpg", "sub/image.png", *POINT], "would write the same files"),
    "no image": (POINT, "at least one image"),
    "no prompt": (["image.jpg"], "give a prompt"),
    "boxes and point": (
        ["image.jpg", *POINT, "--box", "1,1,9,9", "--box", "2,2,9,9"],
        "several boxes",
    ),
    "unknown option": (["image.jpg", "--pont", "1,1"], "--pont"),
    "unknown format": (["image.jpg", *POINT, "--format", "bmp"], "'bmp' is not one of"),
}


@pytest.mark.parametrize(("args", "message"), CASES.values(), ids=CASES.keys())
def test_one_line_and_exit_code_2(args, message, folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main(["segment", *args]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before


def test_nothing_is_left_when_writing_fails(folder, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert main(["segment", "image.jpg", *POINT, "-o", "out"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list((folder / "out").iterdir()) == []


def test_interrupt_is_told(folder, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("samkit.predict.Predictor.load", interrupt)
    assert main(["segment", "image.jpg", *POINT]) == 130
    assert "stopped" in capsys.readouterr().err
