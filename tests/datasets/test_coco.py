"""COCO files and the folders that their images are in."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from samkit.datasets import open_data
from samkit.errors import DataError, ImageError
from samkit.geometry import decode_rle


def change(path, document, **parts):
    path.write_text(json.dumps(document | parts))


def test_images_and_masks(coco_folder, make_colored):
    data = open_data(str(coco_folder(3)[0]))
    assert len(data) == 3
    for index in range(3):
        image, masks = make_colored(seed=index)
        sample = data[index]
        assert sample.key == data.key(index) == f"{index}.png"
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal([decode_rle(rle) for rle in sample.rles], masks)
        assert sample.faults == ()


@pytest.mark.parametrize(
    ("images", "document"),
    [
        ("val", "val.json"),
        (".", "val.json"),
        ("images", "val.json"),
        ("val2017", "annotations/instances_val2017.json"),  # as COCO itself comes
        ("val2017", "instances_val2017.json"),
    ],
)
def test_folder_of_images_is_found(images, document, coco_folder, tmp_path):
    (tmp_path / images).mkdir(exist_ok=True)
    path, _ = coco_folder(2, folder=images)
    target = tmp_path / document
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    assert open_data(str(target)).folder.resolve() == (tmp_path / images).resolve()


def test_folder_of_images_may_be_named(coco_folder, tmp_path, refusal):
    path, _ = coco_folder(2, folder="elsewhere")
    with refusal(DataError, "none of the images", "images="):
        open_data(str(path))
    assert open_data(f"coco:{path},images={tmp_path / 'elsewhere'}")[0].rles
    with refusal(DataError, str(tmp_path / "wrong")):
        open_data(f"coco:{path},images={tmp_path / 'wrong'}")


def test_image_that_is_missing_is_that_images_error_only(coco_folder, tmp_path, refusal):
    path, _ = coco_folder(3)
    (tmp_path / "val" / "0.png").unlink()
    data = open_data(str(path))
    with refusal(DataError, "0.png: ", "has no image of this name"):
        data[0]
    assert len(data[1].rles) > 0


def test_image_of_another_size_is_refused(coco_folder, tmp_path, refusal):
    path, _ = coco_folder(2)
    Image.new("RGB", (61, 40)).save(tmp_path / "val" / "1.png")
    with refusal(DataError, "1.png: the image is 61 x 40 pixels, but 60 x 40"):
        open_data(str(path))[1]


def test_broken_annotations_leave_the_others(coco_folder):
    path, document = coco_folder(2)
    whole = len(open_data(str(path))[0].rles)
    garbage = [
        5,
        None,
        {"image_id": 0},
        {"image_id": 0, "segmentation": [[1, 1, 2, 2]]},
        {"image_id": 0, "segmentation": {"size": [40, 60], "counts": "0"}},
        {"image_id": [0], "segmentation": []},
        {"image_id": 77, "segmentation": []},
        {"image_id": 0, "category_id": 9, "segmentation": [[0, 0, 9, 0, 9, 9]]},
    ]
    change(path, document, annotations=garbage + document["annotations"])
    sample = open_data(str(path))[0]
    assert len(sample.rles) == whole
    assert len(sample.faults) == 4
    assert open_data(str(path))[1].faults == ()


def test_broken_entries_of_images_are_told(coco_folder, caplog):
    path, document = coco_folder(2)
    change(path, document, images=[7, {"id": 5}, *document["images"], {"file_name": 1, "id": 2}])
    data = open_data(str(path))
    assert [data.key(index) for index in range(len(data))] == ["0.png", "1.png"]
    for number in (1, 2, 5):
        assert f"{path}: image {number}: not an image's entry" in caplog.text


def test_images_that_share_a_name_have_keys_of_their_own(coco_folder):
    path, document = coco_folder(2)
    first = document["images"][0]
    change(path, document, images=[*document["images"], first | {"id": 9}])
    data = open_data(str(path))
    assert [data.key(index) for index in range(3)] == ["0.png#0", "1.png", "0.png#2"]
    assert data[2].rles == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a COCO file"),
        ('{"images": [], "annotations": {}}', "is not a COCO file"),
        ('{"images": [], "annotations": []}', "lists no images"),
    ],
)
def test_other_files_are_refused(text, part, tmp_path, refusal):
    (tmp_path / "a.json").write_text(text)
    with refusal(DataError, str(tmp_path / "a.json"), part):
        open_data(f"coco:{tmp_path / 'a.json'}")


def test_missing_file_is_refused(tmp_path, refusal):
    with refusal(DataError, "cannot read", "No such file"):
        open_data(f"coco:{tmp_path / 'a.json'}")


def test_turned_and_resized_annotations_are_placed(tmp_path):
    """Masks drawn on the stored image, and on one of half its size."""
    pixels = np.zeros((40, 60), np.uint8)
    pixels[4:12, 10:40] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    for width, height, scale in ((60, 40, 1), (30, 20, 2)):
        left, top, right, bottom = (side / scale for side in (10, 4, 40, 12))
        polygon = [left, top, right, top, right, bottom, left, bottom]
        document = {
            "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
            "annotations": [{"image_id": 1, "segmentation": [polygon]}],
        }
        (tmp_path / "a.json").write_text(json.dumps(document))
        sample = open_data(str(tmp_path / "a.json"))[0]
        assert sample.image.shape == (60, 40, 3)
        np.testing.assert_array_equal(decode_rle(sample.rles[0]), sample.image[..., 0] > 0)


def test_it_can_be_sent_to_a_worker(coco_folder):
    data = open_data(str(coco_folder(2)[0]))
    assert pickle.loads(pickle.dumps(data))[1].rles == data[1].rles


def places(node, path=()):
    """Ways to all values in a document."""
    yield path
    if isinstance(node, dict):
        inner = list(node.items())
    else:
        inner = list(enumerate(node)) if isinstance(node, list) else []
    for key, value in inner:
        yield from places(value, (*path, key))


def put(document, path, value):
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def read_or_reason(data, index):
    """Why a sample cannot be read, None if it can; no other error is let through."""
    try:
        sample = data[index]
    except (DataError, ImageError) as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - any of several, or none
        return str(error)
    assert all(decode_rle(rle).shape == (40, 60) for rle in sample.rles)
    return None


garbage = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_document_no_image_disturbs_another(coco_folder, data):
    path, document = coco_folder(2)
    document["annotations"].append({"image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]})
    ways = [way for way in places(document) if len(way) > 1]
    put(document, data.draw(st.sampled_from(ways)), data.draw(garbage))
    path.write_text(json.dumps(document))
    opened = open_data(str(path))
    read = [read_or_reason(opened, index) for index in range(len(opened))]
    assert sum(reason is None for reason in read) >= 1
