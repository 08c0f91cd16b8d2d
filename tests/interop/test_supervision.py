"""What supervision reads."""

from pathlib import Path

import pytest

from other_programs import load

sv = load("supervision")
pytestmark = pytest.mark.filterwarnings("ignore")


def read(dataset, root):
    """Classes and masks of each image."""
    found = {}
    for path, _, detections in dataset:
        masks = [] if detections.mask is None else detections.mask
        names = [dataset.classes[number] for number in detections.class_id]
        found[str(Path(path).relative_to(root))] = list(zip(names, masks, strict=True))
    return found


def read_coco(root, file):
    return read(sv.DetectionDataset.from_coco(str(root), str(file), force_masks=True), root)


def test_coco(exported, assert_same):
    out = exported.export("coco")
    assert_same(read_coco(out / "all", out / "all.json"), exported.masks)


def test_roboflow_folders(exported, assert_same):
    out = exported.export("roboflow", val_fraction=0.5)
    parts = [
        read_coco(out / name, out / name / "_annotations.coco.json") for name in ("train", "valid")
    ]
    assert all(parts)
    assert_same(parts[0] | parts[1], exported.masks)


def test_labelme(exported, assert_same):
    out = exported.export("labelme") / "all"
    for folder, paths in ((out, ["a.png", "turned.jpg"]), (out / "deep", ["b c.jpg"])):
        dataset = sv.DetectionDataset.from_labelme(
            images_directory_path=str(folder), annotations_directory_path=str(folder)
        )
        found = read(dataset, folder)
        prefix = "" if folder == out else "deep/"
        for path in paths:
            assert_same({path: found[path]}, {path: exported.masks[prefix + path]})


def test_yolo(exported, assert_drawn):
    out = exported.export("yolo")
    for folder, prefix in (("all", ""), ("all/deep", "deep/")):
        root = out / "images" / folder
        dataset = sv.DetectionDataset.from_yolo(
            images_directory_path=str(root),
            annotations_directory_path=str(out / "labels" / folder),
            data_yaml_path=str(out / "data.yaml"),
            force_masks=True,
        )
        for path, masks in read(dataset, root).items():
            assert_drawn(masks, exported.masks[prefix + path])
