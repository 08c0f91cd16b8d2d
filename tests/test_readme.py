"""The README's Python examples run as they stand."""

import re
from pathlib import Path

import skimage.data
from PIL import Image

from stub_detector import StubDetector

CAR = ((100, 60, 500, 330), 0.9, "a car")
README = Path(__file__).parent.parent / "README.md"


def test_python_examples_run(tmp_path, monkeypatch):
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    # In the place of the detector, which would have to be fetched.
    monkeypatch.setattr("samkit.text.load_text_model", lambda source, device: StubDetector(CAR))
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, README.name, "exec"), names)
    assert len(blocks) == 2
    assert names["result"].masks.shape == (3, 400, 600)
    assert names["cars"].phrases == ("a car",)
    assert names["cars"].best().masks.shape == (1, 1, 400, 600)
    assert names["boxes"].masks.shape == (2, 3, 400, 600)
    assert names["coco"][0]["area"] == names["refined"].masks.sum()
    assert (tmp_path / "image.emb.safetensors").exists()
