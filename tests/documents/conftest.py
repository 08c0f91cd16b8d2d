"""A folder with the files that the documents name, and stubs for what is not on this disk."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file

import samkit.web
from samkit.backends.torch_backend import TorchBackend
from samkit.dataengine import work_once
from samkit.datasets.synthetic import NamedScenes
from samkit.geometry import encode_rle
from samkit.models import ImageFeatures
from samkit.predict import Predictor
from samkit.weights import weights_sha256
from stub_detector import StubDetector
from video.clips import write_clip

CAR = (100, 60, 500, 330)
# The discs in each image of a COCO file: the name, and the radius as a share of the image's height.
DISCS = {"car": 1 / 3, "tree": 1 / 4}


def write_coco(path: Path, images: list[np.ndarray]) -> None:
    """Write a COCO file with two discs in each image, and the images beside it."""
    entries, annotations = [], []
    for number, pixels in enumerate(images):
        height, width = pixels.shape[:2]
        name = f"{path.stem}_{number}.png"
        Image.fromarray(pixels).save(path.parent / name)
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        y, x = np.mgrid[:height, :width]
        for category, share in enumerate(DISCS.values(), 1):
            radius = height * share
            mask = (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": category,
                    "iscrowd": 0,
                    "segmentation": encode_rle(mask),
                    "area": int(mask.sum()),
                    "bbox": [width / 2 - radius, height / 2 - radius, 2 * radius, 2 * radius],
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(DISCS, 1)]
    document = {"images": entries, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(document))


def write_videos(folder: Path, image: np.ndarray) -> None:
    """Write a clip of three frames, the same as a folder, a mask, and a sequence as of DAVIS."""
    frames = [np.roll(image, 4 * number, axis=1) for number in range(3)]
    write_clip(folder / "clip.mp4", frames)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[100:300, 150:450] = 1
    Image.fromarray(mask).save(folder / "first.png")
    for where in ("frames", "davis/JPEGImages/cup", "davis/Annotations/cup"):
        (folder / where).mkdir(parents=True)
    for number, frame in enumerate(frames):
        for where in ("frames", "davis/JPEGImages/cup"):
            Image.fromarray(frame).save(folder / where / f"{number:05d}.jpg")
        Image.fromarray(mask).save(folder / "davis/Annotations/cup" / f"{number:05d}.png")


def write_files(root: Path) -> None:
    """Write the working folder, `work`, and what lies beside it."""
    coffee, cat = skimage.data.coffee(), skimage.data.chelsea()
    folder, data = root / "work", root / "shared" / "data" / "bsds500"
    (folder / "images" / "deep").mkdir(parents=True)
    data.mkdir(parents=True)
    for name in ("image.jpg", "a.jpg", "b.jpg", "c.jpg", "images/a.jpg"):
        Image.fromarray(coffee).save(folder / name)
    Image.fromarray(coffee[:, ::-1]).save(folder / "images" / "deep" / "b.png")
    Image.fromarray(np.tile(coffee, (1, 2, 1))[:300]).save(folder / "map.tif")
    pages = [Image.fromarray(coffee), Image.fromarray(coffee[::-1]), Image.fromarray(coffee)]
    (folder / "stacks").mkdir()
    for name, first, *others in (("stack.tif", *pages), ("stacks/a.tif", *pages)):
        first.save(folder / name, save_all=True, append_images=others)
    Image.fromarray(NamedScenes(count=1, size=64, seed=3)[0].image).save(folder / "scene.png")
    tuned = [folder / name for name in ("coco705", "voc632", "nuclei80")]
    for where in tuned:
        where.mkdir()
    for where in (folder, data, *tuned):
        write_coco(where / "train.json", [coffee[:256, :384], cat[:256, :384]])
        write_coco(where / "val.json", [coffee[144:, 216:]])
    write_videos(folder, coffee)
    prompts = {name: {"points": [[300, 200]]} for name in ("a.jpg", "b.jpg")}
    (folder / "prompts.json").write_text(json.dumps(prompts))
    np.save(folder / "b_logits.npy", np.full((256, 256), -8, np.float32))
    weights = Predictor.load("mobile_sam").model.state_dict()
    save_file(weights, folder / "tuned.safetensors")


@pytest.fixture(autouse=True, scope="session")
def encoded_once() -> Iterator[None]:
    """All documents have the same few images: each is encoded once with the same weights."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("encode", "encode_levels"):
            patch.setattr(TorchBackend, name, remembering(getattr(TorchBackend, name)))
        yield


def remembering(
    encode: Callable[[TorchBackend, torch.Tensor], ImageFeatures],
) -> Callable[[TorchBackend, torch.Tensor], ImageFeatures]:
    known: dict[tuple[bytes, str, str], ImageFeatures] = {}

    def encode_once(backend: TorchBackend, pixels: torch.Tensor) -> ImageFeatures:
        image = hashlib.sha256(pixels.numpy(force=True).tobytes()).digest()
        key = image, weights_sha256(backend.encoder), backend.info.precision
        if key not in known:
            known[key] = encode(backend, pixels)
        return known[key]

    return encode_once


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, plain_backend: None) -> Path:
    """All files that a document may name, to be copied for each page."""
    root = tmp_path_factory.mktemp("documents")
    write_files(root)
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_folder: Path, files: Path) -> Path:
    """The working folder; models of the hub are a tiny CLIP and a detector that sees a car."""
    from samkit.text import load_text_model

    def load(source: object, **options: object) -> object:
        # Only the default, which is a detector, is not a folder here.
        if Path(str(source)).is_dir():
            return load_text_model(str(source), **options)
        return StubDetector(by_phrases=lambda phrases: [(CAR, 0.9, phrases[0])])

    monkeypatch.setattr("samkit.text.load_text_model", load)
    monkeypatch.setattr("samkit.text.loading.find_cached", lambda name: None)
    monkeypatch.setattr("samkit.text.loading.fetch_text_model", lambda name: clip_folder)
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def serve_until_scanned(app: Any, **_options: object) -> None:
    """In the place of a server that runs until Ctrl-C: do the job that looks for images."""
    while work_once(app.state.studio.store) is not None:
        pass


@pytest.fixture
def server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samkit.web, "serve", serve_until_scanned)
    monkeypatch.setattr("samkit.cli.annotate.leave", lambda: None)
