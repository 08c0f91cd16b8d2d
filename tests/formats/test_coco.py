"""Writing COCO data sets, which COCO's own tools read."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from samkit.formats import coco_dataset, coco_writer, write_coco, write_coco_records


@pytest.fixture
def read_coco(capsys):
    def read(path):
        coco = COCO(str(path))
        capsys.readouterr()  # it prints
        return coco

    return read


def test_pycocotools_reads_all_images(masks, no_masks, arrays, tmp_path, read_coco):
    images = [("a.jpg", masks), ("empty.jpg", no_masks), ("b/c.png", masks.select([2, 0]))]
    path = write_coco(tmp_path / "coco.json", iter(images))
    coco = read_coco(path)
    assert [image["file_name"] for image in coco.loadImgs([1, 2, 3])] == [
        "a.jpg",
        "empty.jpg",
        "b/c.png",
    ]
    assert [(image["height"], image["width"]) for image in coco.loadImgs([2])] == [(60, 90)]
    assert coco.getAnnIds() == [1, 2, 3, 4, 5, 6, 7]
    assert coco.getAnnIds(imgIds=[3]) == [6, 7]
    expected = [*arrays, arrays[2], arrays[0]]
    for annotation, mask in zip(coco.loadAnns(coco.getAnnIds()), expected, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        assert annotation["category_id"] == coco.getCatIds()[0]
        assert annotation["iscrowd"] == 0
    assert coco.loadAnns([2])[0]["score"] == pytest.approx(0.93)
    assert coco.loadAnns([2])[0]["stability_score"] == pytest.approx(0.96)


def test_no_images(tmp_path, read_coco):
    assert read_coco(write_coco(tmp_path / "coco.json", [])).getImgIds() == []


def test_file_is_written_whole_or_not_at_all(masks, tmp_path):
    def images():
        yield "a.jpg", masks
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_coco(tmp_path / "coco.json", images())
    assert list(tmp_path.iterdir()) == []


def test_records_of_the_command_line_give_the_same_data_set(masks, tmp_path):
    fields = [
        {"predicted_iou" if key == "score" else key: value for key, value in one.items()}
        for one in masks.to_coco()
    ]
    record = {"image": "a.jpg", "width": 90, "height": 60, "masks": fields}
    dataset = coco_dataset([record, record])
    written = write_coco(tmp_path / "coco.json", [("a.jpg", masks), ("a.jpg", masks)])
    expected = json.loads(written.read_text())
    for annotation in expected["annotations"]:
        del annotation["stability_score"]
    assert json.loads(json.dumps(dataset)) == expected
    path = write_coco_records(tmp_path / "records.json", [record, record])
    assert json.loads(path.read_text()) == expected


def test_writer_numbers_images_and_annotations_and_takes_fields_of_others(tmp_path):
    categories = [{"id": 1, "name": "cell"}]
    with coco_writer(tmp_path / "a.json", lambda: categories) as writer:
        writer.add_image("a.png", (2, 3), [{"score": 0.5}, {}], stage="auto")
        writer.add_image("b.png", (4, 5), [])
        writer.add_image("c.png", (6, 7), [{}])
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "annotations": [
            {"id": 1, "image_id": 1, "score": 0.5},
            {"id": 2, "image_id": 1},
            {"id": 3, "image_id": 3},
        ],
        "images": [
            {"id": 1, "file_name": "a.png", "width": 3, "height": 2, "stage": "auto"},
            {"id": 2, "file_name": "b.png", "width": 5, "height": 4},
            {"id": 3, "file_name": "c.png", "width": 7, "height": 6},
        ],
        "categories": categories,
    }


def test_what_masks_are_called_are_categories(named, masks, tmp_path, read_coco):
    coco = read_coco(write_coco(tmp_path / "coco.json", [("a.jpg", masks), ("b.jpg", named)]))
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    assert names == {1: "object", 2: "car", 3: "tree"}
    own = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert [names[one["category_id"]] for one in own] == ["car", "tree", "object", "car", "tree"]
    expected = [0.9, 0.8, named.scores[2], 0.7, 0.6]  # the third has no name
    np.testing.assert_allclose([one["score"] for one in own], expected, rtol=1e-6)
    np.testing.assert_allclose([one["predicted_iou"] for one in own], named.scores)
    of_cars = coco.getAnnIds(catIds=[2])
    assert of_cars == [6, 9]


def test_records_with_phrases_have_categories(named):
    fields = [
        {"predicted_iou" if key == "score" else key: value for key, value in one.items()}
        | {"phrase_score": 0.5}
        for one in named.to_coco()
    ]
    dataset = coco_dataset([{"image": "a.jpg", "width": 90, "height": 60, "masks": fields}])
    assert [one["name"] for one in dataset["categories"]] == ["car", "tree", "object"]
    assert [one["category_id"] for one in dataset["annotations"]] == [1, 2, 3, 1, 2]
    assert [one["score"] for one in dataset["annotations"]] == [
        0.5,
        0.5,
        pytest.approx(float(named.scores[2])),
        0.5,
        0.5,
    ]


def test_known_classes_have_the_same_numbers_in_every_file(named, no_masks, tmp_path, read_coco):
    classes = ("bus", "tree", "car")
    for images in ([("a.jpg", named)], [("b.jpg", no_masks)]):
        coco = read_coco(write_coco(tmp_path / "coco.json", images, classes=classes))
        names = [one["name"] for one in coco.loadCats(coco.getCatIds())]
        assert names[:3] == list(classes)
