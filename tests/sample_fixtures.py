"""Small data sets of every kind with known masks, in the structure of the real ones."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from samkit.datasets import Sample
from samkit.datasets.synthetic import Scenes
from samkit.errors import DataError
from samkit.geometry import encode_rle
from samkit.training.data.data_recipe import DataRecipe

COLORS = np.array([[230, 30, 30], [30, 200, 40], [40, 60, 240], [240, 220, 40]], np.uint8)


def colored(size_hw=(40, 60), seed=0):
    """An image of up to four boxes, each of a colour of its own on grey, and their masks."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    labels = np.zeros(size_hw, np.uint8)
    for number in range(len(COLORS)):
        x0, y0 = int(rng.integers(0, width * 3 // 4)), int(rng.integers(0, height * 3 // 4))
        labels[y0 : y0 + height // 3, x0 : x0 + width // 3] = number + 1
    image = np.full((*size_hw, 3), 128, np.uint8)
    masks = []
    for number in np.unique(labels[labels > 0]):
        image[labels == number] = COLORS[number - 1]
        masks.append(labels == number)
    return image, masks


class ListSource:
    """Samples in a list; what is an error is raised."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def key(self, index):
        return f"{index}.png"

    def __getitem__(self, index):
        found = self.samples[index]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(scope="session")
def make_colored():
    return colored


@pytest.fixture
def make_sample():
    def make(seed=0, size_hw=(40, 60), key=None):
        image, masks = colored(size_hw, seed)
        rles = tuple(encode_rle(mask) for mask in masks)
        return Sample(key=key or f"{seed}.png", image=image, rles=rles)

    return make


@pytest.fixture
def make_source(make_sample):
    """A numbered data set; the numbers in `broken` cannot be read."""

    def make(count, broken=()):
        samples = [make_sample(index) for index in range(count)]
        for index in broken:
            samples[index] = DataError(f"{index}.png is broken")
        return ListSource(samples)

    return make


@pytest.fixture
def recipe():
    def make(**fields):
        return DataRecipe(**({"train": "scenes", "images_per_batch": 2} | fields))

    return make


@pytest.fixture(scope="session")
def scenes():
    return Scenes(count=12, size=48, seed=5)


def png_bytes(image, name="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, name)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def encode():
    return png_bytes


def annotations_of(masks):
    return [{"id": i, "segmentation": encode_rle(mask)} for i, mask in enumerate(masks)]


@pytest.fixture
def coco_folder(tmp_path):
    """Writes val.json, and the images into val/; returns the JSON's path and the document."""

    def write(count=3, folder="val"):
        (tmp_path / folder).mkdir(exist_ok=True)
        document = {"images": [], "annotations": []}
        for index in range(count):
            image, masks = colored(seed=index)
            Image.fromarray(image).save(tmp_path / folder / f"{index}.png")
            document["images"].append(
                {"id": index, "file_name": f"{index}.png", "width": 60, "height": 40}
            )
            document["annotations"] += [
                one | {"image_id": index, "iscrowd": 0} for one in annotations_of(masks)
            ]
        path = tmp_path / "val.json"
        path.write_text(json.dumps(document))
        return path, document

    return write


@pytest.fixture
def sa1b_files():
    """The two files of each image, by name."""

    def make(numbers):
        files = {}
        for index in numbers:
            image, masks = colored(seed=index)
            entry = {"image_id": index, "width": 60, "height": 40, "file_name": f"sa_{index}.png"}
            document = {"image": entry, "annotations": annotations_of(masks)}
            files[f"sa_{index}.png"] = png_bytes(image)
            files[f"sa_{index}.json"] = json.dumps(document).encode()
        return files

    return make


@pytest.fixture
def write_tar():
    def write(path, files):
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return write
