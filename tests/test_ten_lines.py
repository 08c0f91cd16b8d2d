"""Fine-tuning as docs/training.md says, on the shipped weights."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from safetensors.torch import load_file

import samkit
from read_log import read_log
from samkit.cli.main import main
from samkit.geometry import encode_rle

PAGE = Path(__file__).parent.parent / "docs/training.md"
# Evaluated before, between and after steps of the moving average.
SHORT = ["run.steps=4", "run.evaluate_every=2", "data.images_per_batch=2", "data.workers=0"]


def write_coco(path, images):
    """A COCO file with one disc an image, beside its images."""
    entries, annotations = [], []
    for number, pixels in enumerate(images):
        height, width = pixels.shape[:2]
        name = f"{path.stem}_{number}.png"
        Image.fromarray(pixels).save(path.parent / name)
        y, x = np.mgrid[:height, :width]
        mask = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 4) ** 2
        box = [width / 2 - height / 4, height / 4, height / 2, height / 2]
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": encode_rle(mask),
                "area": int(mask.sum()),
                "bbox": box,
            }
        )
    document = {
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "disc"}],
    }
    path.write_text(json.dumps(document))


def test_the_ten_lines_of_the_page_run_on_the_shipped_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coffee, cat = skimage.data.coffee(), skimage.data.chelsea()
    write_coco(tmp_path / "train.json", [coffee[:200, :300], cat[:200, :300]])
    write_coco(tmp_path / "val.json", [coffee[200:, 300:]])
    Image.fromarray(coffee).save("image.jpg")
    before = samkit.Predictor.load("mobile_sam")
    embedding = before.embed(coffee)

    page = PAGE.read_text(encoding="utf-8")
    block = re.search(r"in ten lines\n.*?```bash\n(.*?)```", page, re.DOTALL)[1]
    commands = [shlex.split(line) for line in block.splitlines() if line.startswith("samkit ")]
    assert [command[1] for command in commands] == ["train", "evaluate", "segment"]
    for command in commands:
        settings = SHORT if command[1] == "train" else []
        assert main([*command[1:], *settings]) == 0

    assert [row["step"] for row in read_log(Path("mine/scores.csv"))] == [0, 2, 4]
    tuned, old = load_file("mine/last.safetensors"), before.model.state_dict()
    changed = {name for name, value in tuned.items() if not value.equal(old[name])}
    assert any(name.startswith("mask_decoder") for name in changed)
    assert not any(name.startswith("image_encoder") for name in changed)
    # What was embedded before the training is answered by the new decoder.
    after = samkit.Predictor.load("mine/last.safetensors")
    point = {"points": [[300, 200]], "labels": [1]}
    answers = [predictor.predict(embedding, **point) for predictor in (before, after)]
    assert not np.array_equal(answers[0].logits, answers[1].logits)
