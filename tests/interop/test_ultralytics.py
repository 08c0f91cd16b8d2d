"""What Ultralytics' YOLO reads: data.yaml from anywhere, label files, and masks drawn of them."""

from importlib import metadata
from pathlib import Path

import pytest

from other_programs import load

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ultralytics' module `data.utils`, which draws no random numbers and needs no network.

    It asks for torchvision's version, of which there is no build for every CPU, and uses nothing of
    it here.
    """
    folder = tmp_path_factory.mktemp("ultralytics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_CONFIG_DIR", str(folder))
        patch.setenv("YOLO_OFFLINE", "true")
        try:
            metadata.version("torchvision")
        except metadata.PackageNotFoundError:
            stub = folder / "torchvision-0.28.0.dist-info"
            stub.mkdir()
            (stub / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
            )
            patch.syspath_prepend(folder)
        yield load("ultralytics.data.utils")


def read(data, facts, split):
    """Classes and masks of each image of a split, by the image's path."""
    found = {}
    folder = Path(facts[split])
    images = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    for image, label in zip(images, data.img2label_paths(images), strict=True):
        answer = data.verify_image_label((image, label, "", False, facts["nc"], 0, 0, False))
        _, boxes, size_hw, segments, _, missing, _, _, corrupt, message = answer
        assert (missing, corrupt, message) == (0, 0, "")
        polygons = [segment * size_hw[::-1] for segment in segments]
        masks = [data.polygon2mask(size_hw, [polygon]) > 0 for polygon in polygons]
        names = [facts["names"][int(number)] for number in boxes[:, 0]]
        found[str(Path(image).relative_to(folder))] = list(zip(names, masks, strict=True))
    return found


def test_masks_are_read_from_any_folder(data, exported, assert_drawn, tmp_path, monkeypatch):
    out = exported.export("yolo", val_fraction=0.5)
    monkeypatch.chdir(tmp_path)
    facts = data.check_det_dataset(out / "data.yaml", autodownload=False)
    assert facts["names"] == {0: "cell", 1: "кот 😀", 2: "object"}
    found = read(data, facts, "train") | read(data, facts, "val")
    assert found.keys() == exported.masks.keys()
    for path, masks in exported.masks.items():
        assert_drawn(found[path], masks)


def test_no_split_is_a_folder_that_is_missing(data, exported):
    """Such as with a validation fraction so small that no image falls into it."""
    out = exported.export("yolo", val_fraction=1e-9)
    facts = data.check_det_dataset(out / "data.yaml", autodownload=False)
    assert facts["val"] == facts["train"] == str(out / "images/train")


def test_subfolders_called_images(data, exported):
    from samkit.formats import yolo_path

    assert yolo_path("images/images/a.png") == "images_/images_/a.png"
    image = f"/data/images/train/{yolo_path('images/a.png')}"
    assert data.img2label_paths([image]) == ["/data/labels/train/images_/a.txt"]
