"""SA-1B's JSON files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from samkit.errors import FormatError, OutputError
from samkit.formats import masks_from_sa1b, read_sa1b, sa1b_document, write_sa1b
from samkit.formats.sa1b import image_id_from_name
from samkit.types import Masks

IMAGE_KEYS = {"image_id", "width", "height", "file_name"}
ANNOTATION_KEYS = {
    "id",
    "segmentation",
    "area",
    "bbox",
    "predicted_iou",
    "stability_score",
    "point_coords",
    "crop_box",
}


# The arrays of `Masks`.
COLUMNS = ("boxes_xyxy", "areas", "scores", "stability", "points_xy", "crops_xyxy", "phrase_scores")


def assert_same(one, other):
    assert one.rles == other.rles
    assert one.size_hw == other.size_hw
    assert one.phrases == other.phrases
    for name in COLUMNS:
        if getattr(other, name) is None:
            assert getattr(one, name) is None
            continue
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_keys_and_values_are_those_of_the_data_set(masks, arrays):
    document = json.loads(json.dumps(sa1b_document(masks, file_name="a/b.jpg", image_id=7)))
    assert document["image"] == {"image_id": 7, "width": 90, "height": 60, "file_name": "a/b.jpg"}
    assert [one["id"] for one in document["annotations"]] == [1, 2, 3, 4, 5]
    for one, mask in zip(document["annotations"], arrays, strict=True):
        assert set(one) == ANNOTATION_KEYS
        np.testing.assert_array_equal(coco_mask.decode(one["segmentation"]), mask)
        assert one["area"] == mask.sum()
        x, y, width, height = one["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum()
    second = document["annotations"][1]
    assert second["predicted_iou"] == pytest.approx(0.93)
    assert second["stability_score"] == pytest.approx(0.96)
    assert second["point_coords"] == [[25.5, 40.25]]
    assert second["crop_box"] == [5, 10, 55, 50]


def test_masks_come_back_from_the_file(masks, tmp_path):
    path = write_sa1b(tmp_path / "a.json", masks, file_name="a.jpg")
    assert path == tmp_path / "a.json"
    assert_same(read_sa1b(path), masks)


def test_what_masks_are_called_comes_back(named, tmp_path):
    path = write_sa1b(tmp_path / "a.json", named, file_name="a.jpg")
    document = json.loads(path.read_text())
    assert [one["phrase"] for one in document["annotations"]] == list(named.phrases)
    assert document["annotations"][3]["phrase_score"] == pytest.approx(0.7)
    assert_same(read_sa1b(path), named)
    del document["annotations"][2]["phrase"]
    with pytest.raises(FormatError, match=r"phrases must be 5; got 4|phrase_scores must be"):
        masks_from_sa1b(document)


def test_what_was_not_measured_stays_so(arrays):
    plain = Masks.from_arrays(arrays, np.ones(len(arrays)))
    document = sa1b_document(plain, file_name="a.jpg")
    first = document["annotations"][0]
    assert first["stability_score"] is None
    assert first["point_coords"] == []
    assert first["crop_box"] == [0, 0, 90, 60]
    back = masks_from_sa1b(document)
    assert back.stability is None
    assert back.points_xy is None
    np.testing.assert_array_equal(back.to_arrays(), arrays)


def test_some_masks_may_be_without_measures(masks, tmp_path):
    """As where masks of a detector's boxes stand with those that answer points."""
    points, stability = masks.points_xy.copy(), masks.stability.copy()
    points[1], stability[2] = np.nan, np.nan
    mixed = replace(masks, points_xy=points, stability=stability)
    path = write_sa1b(tmp_path / "a.json", mixed, file_name="a.jpg")
    document = json.loads(path.read_text())
    assert document["annotations"][1]["point_coords"] == []
    assert document["annotations"][2]["stability_score"] is None
    assert_same(read_sa1b(path), mixed)


def test_no_masks(no_masks, tmp_path):
    back = read_sa1b(write_sa1b(tmp_path / "a.json", no_masks, file_name="a.jpg"))
    assert len(back) == 0
    assert back.size_hw == no_masks.size_hw


def test_boxes_are_made_from_the_masks_and_not_read(masks):
    """The released files hold floats, and boxes that end on the last pixel."""
    document = json.loads(json.dumps(sa1b_document(masks, file_name="a.jpg")))
    for one in document["annotations"]:
        x, y, width, height = one["bbox"]
        one["bbox"] = [float(x), float(y), width - 1.0, height - 1.0]
        one["crop_box"] = [float(value) for value in one["crop_box"]]
    assert_same(masks_from_sa1b(document), masks)


def test_image_id_depends_on_the_name_alone(masks):
    number = sa1b_document(masks, file_name="a.jpg")["image"]["image_id"]
    assert number == image_id_from_name("a.jpg") == 1418029965777532
    numbers = {image_id_from_name(f"{index}.jpg") for index in range(1000)}
    assert len(numbers) == 1000
    assert all(0 <= number < 2**52 for number in numbers)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda document: document.pop("image"), "KeyError 'image'"),
        (lambda document: document["annotations"][0].pop("area"), "KeyError 'area'"),
        (lambda document: document["image"].update(width=91), "must have the image's size"),
        (lambda document: document["annotations"][1].update(area=3), "mask 2 must have an area"),
        (lambda document: document["annotations"][1].update(point_coords=[[1]]), "not masks as in"),
        (lambda document: document.update(annotations=[5]), "not masks as in SA-1B"),
        (
            lambda document: document["annotations"][0]["segmentation"].update(counts="0"),
            "its RLE has",
        ),
    ],
)
def test_changed_documents_are_refused(change, part, masks, tmp_path, refusal):
    document = json.loads(json.dumps(sa1b_document(masks, file_name="a.jpg")))
    change(document)
    (tmp_path / "a.json").write_text(json.dumps(document))
    with refusal(FormatError, str(tmp_path / "a.json"), part):
        read_sa1b(tmp_path / "a.json")


def test_other_files_are_refused(tmp_path, refusal):
    with refusal(FormatError, "cannot read", "No such file"):
        read_sa1b(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"image": {"wid')
    with refusal(FormatError, "half.json is not JSON"):
        read_sa1b(tmp_path / "half.json")
    (tmp_path / "list.json").write_text("[]")
    with refusal(FormatError, "list.json: not masks as in SA-1B"):
        read_sa1b(tmp_path / "list.json")


def test_missing_folder(masks, tmp_path, refusal):
    with refusal(OutputError, "cannot write"):
        write_sa1b(tmp_path / "missing" / "a.json", masks, file_name="a.jpg")
