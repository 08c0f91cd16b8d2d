"""Reading COCO data sets, also partly broken ones."""

import json

import pytest

from samkit.errors import DataError
from samkit.formats import coco_writer, read_coco, write_coco

IMAGE = {"id": 1, "file_name": "a.png"}


@pytest.fixture
def read(tmp_path):
    def read(**document):
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"images": [], "annotations": []} | document))
        return read_coco(path)

    return read


def test_written_data_set_comes_back(named, masks, no_masks, tmp_path):
    images = [("a.jpg", named), ("empty.jpg", no_masks), ("b/c.png", masks)]
    file = read_coco(write_coco(tmp_path / "coco.json", images))
    assert [image.file_name for image in file.images] == ["a.jpg", "empty.jpg", "b/c.png"]
    for image, (_, own) in zip(file.images, images, strict=True):
        assert tuple(one["segmentation"] for one in image.annotations) == own.rles
    names = [file.category_name(one) for one in file.images[0].annotations]
    assert names == [phrase or "object" for phrase in named.phrases]


def test_annotations_are_sorted_by_image(read):
    images = [IMAGE, {"id": "x", "file_name": "b.png"}]
    annotations = [
        {"image_id": "x", "n": 0},
        {"image_id": 1, "n": 1},
        {"image_id": "x", "n": 2},
        {"image_id": 1, "n": 3, "iscrowd": 1},
        {"image_id": 7, "n": 4},
        {"n": 5},
        None,
    ]
    file = read(images=images, annotations=annotations)
    assert [[one["n"] for one in image.annotations] for image in file.images] == [[1], [0, 2]]
    assert file.file_names() == {"1": "a.png", "x": "b.png"}


@pytest.mark.parametrize("entry", [7, None, {}, {"id": 5}, {"id": [1], "file_name": "a"}])
def test_broken_image_entry_leaves_the_others(entry, read, refusal):
    file = read(images=[entry, IMAGE], annotations=[{"image_id": 1}, {}])
    broken, good = file.images
    assert not broken.is_valid
    assert broken.annotations == []
    with refusal(DataError, "not an image's entry"):
        _ = broken.file_name
    assert (good.file_name, len(good.annotations)) == ("a.png", 1)
    assert file.file_names() == {"1": "a.png"}


def test_mark_tells_masks_without_a_class_from_a_class_called_object(tmp_path):
    categories = [
        {"id": 1, "name": "object"},
        {"id": 2, "name": "object", "samkit": {"unlabelled": True}},
    ]
    with coco_writer(tmp_path / "a.json", lambda: categories) as writer:
        writer.add_image("a.png", (1, 1), [{"category_id": number} for number in (1, 2, 3)])
    file = read_coco(tmp_path / "a.json")
    annotations = file.images[0].annotations
    assert [file.class_name(one) for one in annotations] == ["object", None, None]
    assert [file.category_name(one) for one in annotations] == ["object", "object", None]


@pytest.mark.parametrize("categories", [None, 5, [5, {"id": 1}, {"id": 1, "name": 7}]])
def test_broken_categories_are_no_names(categories, read):
    file = read(images=[IMAGE], categories=categories)
    assert file.category_name({"category_id": 1}) is None


@pytest.mark.parametrize("content", ["[]", '{"images": []}', '{"images": 1, "annotations": []}'])
def test_other_files_are_refused(content, tmp_path, refusal):
    (tmp_path / "a.json").write_text(content)
    with refusal(DataError, "a.json is not a COCO file"):
        read_coco(tmp_path / "a.json")
