"""The Python blocks of docs/compat.md run unchanged, one after another."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from video.clips import write_clip

PAGE = Path(__file__).parents[2] / "docs" / "compat.md"
CHECKS = """
assert masks.shape == (2, 1, 400, 600)
assert refined.shape == (1, 400, 600)
assert {"segmentation", "bbox", "predicted_iou"} <= set(records[0])
assert losses[-1] < losses[0]
assert clicked.shape == (3, 400, 600)
assert sorted(followed) == [0, 1, 2]
assert all(masks[1].sum() > 1000 for masks in followed.values())
assert samkit.Predictor.load("mine.pth").model_name == "mobile_sam"
import onnxruntime
session = onnxruntime.InferenceSession("decoder.onnx")
assert [port.name for port in session.get_inputs()] == list(inputs)
answer = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
assert answer[0].shape == (1, 1, 400, 600)
"""


@pytest.mark.slow
def test_all_blocks_run(tmp_path):
    """In a process of its own: `install` would change the imports of other tests."""
    image = skimage.data.coffee()
    Image.fromarray(image).save(tmp_path / "image.jpg")
    write_clip(tmp_path / "clip.mp4", [np.roll(image, 4 * number, axis=1) for number in range(3)])
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 10
    program = tmp_path / "program.py"
    program.write_text("\n".join([*blocks, CHECKS]))
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
