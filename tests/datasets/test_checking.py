"""What a check says about data sets whose faults are known."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.annotations import find_duplicates, find_suspicions
from samkit.datasets import check_data, find_shared, find_shared_with, open_data
from samkit.geometry import decode_rle, encode_rle


def mask(x0, y0, x1, y1, size_hw=(40, 60)):
    found = np.zeros(size_hw, bool)
    found[y0:y1, x0:x1] = True
    return encode_rle(found)


@pytest.fixture
def write(tmp_path):
    """Writes images of a colour each and the file of their annotations."""

    def write(colors, annotations, name="a.json", **document):
        for file_name, color in colors.items():
            (tmp_path / file_name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (60, 40), color).save(tmp_path / file_name)
        images = [
            {"id": number, "file_name": file_name, "width": 60, "height": 40}
            for number, file_name in enumerate(colors)
        ]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "Cat "}]
        document = {"images": images, "categories": categories, "annotations": []} | document
        document["annotations"] = [{"category_id": 1} | one for one in annotations]
        (tmp_path / name).write_text(json.dumps(document))
        return open_data(f"coco:{tmp_path / name},images={tmp_path}")

    return write


def test_everything_is_counted(write, tmp_path):
    big, small = mask(0, 0, 50, 38), mask(4, 4, 10, 8)
    data = write(
        {"a.png": "red", "b.png": "blue", "gone.png": "green"},
        [
            {"image_id": 0, "segmentation": big},
            {"image_id": 0, "segmentation": small},
            {"image_id": 1, "segmentation": mask(0, 0, 60, 40), "category_id": 2},
            {"image_id": 1, "segmentation": mask(0, 0, 3, 3)},
            {"image_id": 2, "segmentation": small},
            {"image_id": 9, "segmentation": small},
            {"image_id": 0, "segmentation": [[1, 1]]},
        ],
    )
    (tmp_path / "gone.png").unlink()
    Image.new("RGB", (60, 40), "red").save(tmp_path / "c.png")
    report = check_data(data)
    assert (report.num_images, report.num_found) == (3, 2)
    assert (report.num_annotations, report.num_masks, report.num_left_out) == (7, 4, 3)
    assert report.sizes_hw == {(40, 60): 2}
    assert report.classes == {"cat": 3, "Cat ": 1}
    assert report.masks_by_size == {"at most 9 px": 1, "small": 1, "medium": 2}
    assert report.unannotated == ["c.png"]
    assert report.num_overlapping == 2
    areas = [decode_rle(rle).sum() for rle in (big, small)]
    assert report.shared_pixels == (areas[1] + 9) / (sum(areas) + 60 * 40 + 9)
    faults = "\n".join(report.faults)
    for part in (
        "annotation no. 6: its image 9 is not listed",
        "gone.png: ",
        "a.png: annotation no. 7: a polygon must be",
    ):
        assert part in faults
    assert len(report.faults) == 3
    assert report.warnings == [
        "b.png: 1 mask over the full image",
        "classes that differ in case or spaces alone: 'Cat ', 'cat'",
    ]
    assert not report.is_complete


def test_images_of_the_same_content_are_found(write):
    data = write({"a.png": "red", "b.png": "red", "c.png": "blue"}, [])
    report = check_data(data)
    assert report.duplicates == [("a.png", "b.png")]
    assert report.is_complete


def test_splits_that_share_images_are_found(write, tmp_path):
    train = check_data(write({"t/a.png": "red", "t/b.png": "blue"}, [], "train.json"))
    val = check_data(write({"v/x.png": "red", "v/y.png": "green"}, [], "val.json"))
    (found,) = find_shared([train, val])
    assert found == (
        f"one image in several splits: {tmp_path}/t/a.png in {tmp_path}/train.json,"
        f" {tmp_path}/v/x.png in {tmp_path}/val.json"
    )
    assert find_shared([train]) == []


def test_splits_of_one_folder_that_share_images_are_found(tmp_path):
    for split, color in (("train", "red"), ("valid", "red"), ("test", "blue")):
        (tmp_path / split).mkdir()
        Image.new("RGB", (60, 40), color).save(tmp_path / split / f"{split}.png")
        entry = {"id": 0, "file_name": f"{split}.png", "width": 60, "height": 40}
        document = {"images": [entry], "annotations": [], "categories": []}
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(document))
    report = check_data(open_data(str(tmp_path)))
    assert report.num_found == 3
    (fault,) = report.faults
    assert "train.png in train" in fault
    assert "valid.png in valid" in fault


def test_what_is_repaired_is_without_faults(write, tmp_path):
    from samkit.formats import Categories, category_entries, coco_writer

    data = write(
        {"a.png": "red", "b.png": "blue"},
        [
            {"image_id": 0, "segmentation": mask(4, 4, 30, 30)},
            {"image_id": 0, "segmentation": mask(4, 4, 30, 30)},
            {"image_id": 0, "segmentation": mask(0, 0, 0, 0)},
            {"image_id": 7, "segmentation": mask(4, 4, 30, 30)},
            {"image_id": 1, "segmentation": mask(1, 1, 9, 9, (20, 30))},
        ],
    )
    categories = Categories()
    repaired = tmp_path / "repaired.json"
    with coco_writer(repaired, lambda: category_entries(categories)) as writer:
        check_data(
            data,
            on_checked=lambda one: writer.add_image(
                one.path, one.size_hw, one.annotations(categories.number)
            ),
        )
    report = check_data(open_data(f"coco:{repaired},images={tmp_path}"))
    assert (report.num_found, report.num_masks, report.faults, report.warnings) == (2, 1, [], [])


def test_soft_masks_read_as_instances_are_suspicious():
    specks = [mask(x, y, x + 2, y + 2) for x in range(0, 60, 6) for y in range(0, 12, 4)]
    (found,) = find_suspicions([*specks, mask(0, 20, 40, 40)], [None] * 31)
    assert found.startswith("30 of 31 masks have at most 9 pixels")
    assert find_suspicions(specks[:10], [None] * 10) == ()
    assert find_suspicions([], []) == ()


def test_masks_drawn_twice_are_those_of_one_class():
    one, nearly = mask(0, 0, 40, 30), mask(0, 0, 40, 29)
    other = mask(0, 0, 40, 20)
    assert find_duplicates([one, nearly, other], ["a", "a", "a"]) == (1,)
    assert find_duplicates([one, nearly], ["a", "b"]) == ()
    assert find_duplicates([one, one, one], [None] * 3) == (1, 2)


def test_check_reads_what_training_reads(write):
    """Faults of a check are those that samples tell."""
    data = write(
        {"a.png": "red"},
        [{"image_id": 0, "segmentation": [[1, 1]]}, {"image_id": 0, "segmentation": 5}],
    )
    report = check_data(data)
    assert [f"a.png: {fault}" for fault in data[0].faults] == report.faults


def test_an_image_in_two_splits_of_yolo_is_found(tmp_path):
    square = "0 0.1 0.1 0.5 0.1 0.5 0.5\n"
    for name in ("images/train/a.png", "images/val/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), "red").save(tmp_path / name)
    for split, name in (("train", "a"), ("val", "b")):
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / f"{name}.txt").write_text(square)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat]\n")
    (fault,) = check_data(open_data(f"yolo:{tmp_path}")).faults
    assert "a.png in train" in fault
    assert "b.png in val" in fault


def test_images_of_both_splits_are_told_before_a_training(write, tmp_path):
    train = write({"t/a.png": "red", "t/b.png": "blue"}, [], "train.json")
    val = write({"v/x.png": "red", "v/y.png": "green"}, [], "val.json")
    assert find_shared_with(train, val) == [f"{tmp_path}/t/a.png and {tmp_path}/v/x.png"]
    assert find_shared_with(train, open_data("scenes:count=2")) == []
    assert len(find_shared_with(train, train)) == 2


def test_names_that_imports_refuse_are_told(write):
    categories = [{"id": 1, "name": "a\nb"}]
    data = write(
        {"a.png": "red"},
        [{"image_id": 0, "segmentation": mask(4, 4, 10, 8)}],
        categories=categories,
    )
    assert check_data(data).warnings == ["the name of a class that imports refuse: 'a\\nb'"]
