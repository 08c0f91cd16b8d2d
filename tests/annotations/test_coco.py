"""Reading COCO data sets, also partly broken ones."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samkit.annotations import ReadOptions, draw_image, open_annotations, read_coco
from samkit.annotations.numbers import id_text
from samkit.errors import DataError
from samkit.formats import coco_writer, write_coco
from samkit.geometry import decode_rle, encode_rle

IMAGE = {"id": 1, "file_name": "a.png", "width": 30, "height": 20}
SQUARE = [2, 2, 8, 2, 8, 8, 2, 8]
CATEGORY = {"id": 7, "name": "cat"}


def annotation(**fields):
    return {"image_id": 1, "category_id": 7, "segmentation": [SQUARE]} | fields


@pytest.fixture
def write(tmp_path):
    def write(**document):
        path = tmp_path / "a.json"
        base = {"images": [IMAGE], "annotations": [], "categories": [CATEGORY]}
        path.write_text(json.dumps(base | document))
        return path

    return write


@pytest.fixture
def read(write):
    """Masks of a file's images, drawn at their size, with all faults and the number of entries."""

    def read(options=None, **document):
        found = open_annotations(write(**document), "coco", options)
        images = [found.read(index) for index in range(len(found))]
        drawn = [draw_image(image, (20, 30), 1) for image in images]
        masks = [decode_rle(rle) for one in drawn for rle in one.rles]
        names = [mask.class_name for one in drawn for mask in one.masks]
        faults = [*found.faults, *(fault for one in drawn for fault in one.faults)]
        left_out = sum(fault.num_annotations for fault in faults)
        assert len(masks) + left_out == len(document["annotations"])  # nothing is lost
        return masks, names, [fault.text for fault in faults]

    return read


def test_written_data_set_comes_back(named, masks, no_masks, tmp_path):
    images = [("a.jpg", named), ("empty.jpg", no_masks), ("b/c.png", masks)]
    path = write_coco(tmp_path / "coco.json", images)
    found = open_annotations(path)
    assert found.format_name == "coco"
    assert [found.key(index) for index in range(3)] == ["a.jpg", "empty.jpg", "b/c.png"]
    for index, (_, own) in enumerate(images):
        image = found.read(index)
        assert image.faults == ()
        assert draw_image(image, own.size_hw, 1).rles == own.rles
    names = [one.class_name for one in found.read(0).masks]
    assert names == [phrase or None for phrase in named.phrases]


def test_run_length_codes_marked_as_crowds_are_masks(read):
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:20] = True
    annotations = [annotation(segmentation=encode_rle(mask), iscrowd=flag) for flag in (1, "1", 0)]
    masks, _, faults = read(annotations=annotations)
    np.testing.assert_array_equal(masks, [mask] * 3)
    assert faults == []
    masks, _, faults = read(ReadOptions(crowds=False), annotations=annotations)
    assert len(masks) == 1
    assert faults == ["2 crowd regions left out, as asked for"]


@pytest.mark.parametrize("flag", ["0", 0, 0.0, False, None, "false", ""])
def test_flags_that_say_no_are_no_crowds(flag, read):
    masks, _, _ = read(ReadOptions(crowds=False), annotations=[annotation(iscrowd=flag)])
    assert len(masks) == 1


numbers = st.integers(0, 10**12)


@given(number=numbers)
def test_ids_are_compared_by_value(number):
    same = {id_text(value) for value in (number, float(number), str(number), f" {number} ")}
    assert same == {str(number)}
    assert id_text(f"00{number}") not in same
    assert id_text(True) not in same


@pytest.mark.parametrize("other", ["1", 1.0, "1.0"])
def test_ids_of_another_type_are_matched(other, read):
    _, names, faults = read(annotations=[annotation(image_id=other, category_id="7")])
    assert (names, faults) == (["cat"], [])
    images = [IMAGE | {"id": other}]
    _, names, faults = read(images=images, annotations=[annotation(category_id=7.0)])
    assert (names, faults) == (["cat"], [])


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (annotation(image_id=5), "annotation no. 1: its image 5 is not listed"),
        ({"category_id": 7, "segmentation": [SQUARE]}, "it names no image"),
        (annotation(category_id=99), "its category 99 is not listed"),
        (annotation(category_id=None), "it has no category"),
        (annotation(id=31, category_id=99), "annotation 31: its category"),
        (annotation(segmentation=[[1, 1, 2, 2]]), "at least three points"),
        (annotation(segmentation=None, bbox=[1, 1, 4, 4]), "it has a box but no mask"),
        (annotation(segmentation=[]), "must be polygons or a run-length code"),
        (annotation(image_id=[1]), "its image [1] is not listed"),
        (5, "not an annotation: 5"),
        (None, "not an annotation: None"),
    ],
)
def test_what_belongs_to_nothing_is_a_fault(entry, part, read):
    masks, _, faults = read(annotations=[entry, annotation()])
    assert len(masks) == 1
    assert len(faults) == 1
    assert part in faults[0]


def test_boxes_are_masks_if_wanted(read):
    entry = annotation(segmentation=[], bbox=[2, 3, 5, 4])
    masks, _, faults = read(ReadOptions(boxes=True), annotations=[entry])
    expected = np.zeros((20, 30), bool)
    expected[3:7, 2:7] = True
    np.testing.assert_array_equal(masks, [expected])
    assert faults == []


def test_ids_that_several_have_are_faults(read):
    images = [IMAGE, IMAGE | {"file_name": "b.png"}]
    _, _, faults = read(images=images, annotations=[annotation()])
    assert "several images have the id 1, among them b.png" in faults[0]
    assert "several images have its image's id 1" in faults[1]
    categories = [CATEGORY, {"id": "7", "name": "dog"}]
    masks, _, faults = read(categories=categories, annotations=[annotation()])
    assert masks == []
    assert "'dog' has the id of 'cat'" in faults[0]
    assert "several categories have its category's id 7" in faults[1]
    # The same twice is no question.
    masks, _, faults = read(
        images=[IMAGE, IMAGE], categories=[CATEGORY, CATEGORY], annotations=[annotation()]
    )
    assert (len(masks), faults) == (1, [])


def test_files_without_categories_have_masks_without_classes(read):
    entry = {"image_id": 1, "segmentation": [SQUARE]}
    assert read(categories=[], annotations=[entry])[1:] == ([None], [])
    assert "category 7 is not listed" in read(categories=None, annotations=[annotation()])[2][0]


@pytest.mark.parametrize("entry", [7, None, {}, {"id": 5}, {"id": [1], "file_name": "a"}])
def test_broken_image_entry_leaves_the_others(entry, read):
    masks, _, faults = read(images=[entry, IMAGE], annotations=[annotation()])
    assert len(masks) == 1
    assert "image 1: not an image's entry" in faults[0]


def test_flat_and_partly_broken_polygons(read):
    masks, _, faults = read(
        annotations=[
            annotation(segmentation=SQUARE),
            annotation(segmentation=[SQUARE, [9, 9, 12, 12]]),
        ]
    )
    assert [mask.sum() for mask in masks] == [36, 36]
    assert len(faults) == 1
    assert "annotation no. 2: 1 of 2 polygons left out: a polygon must be" in faults[0]


def test_counts_may_be_floats(read):
    mask = np.zeros((20, 30), bool)
    mask[:, :2] = True
    whole = {"size": [20, 30], "counts": [0.0, 40.0, 560.0]}
    broken = {"size": [20, 30], "counts": [0.5, 39.5, 560]}
    masks, _, faults = read(
        annotations=[annotation(segmentation=whole), annotation(segmentation=broken)]
    )
    np.testing.assert_array_equal(masks, [mask])
    assert "counts must be a string or whole numbers" in faults[0]


def test_size_that_is_none_leaves_out_the_image(write):
    found = open_annotations(write(images=[IMAGE | {"width": "wide"}], annotations=[annotation()]))
    image = found.read(0)
    assert image.masks == ()
    assert image.faults[0].text == "'wide' x 20 is not the size of an image"
    assert image.num_annotations == 1


@pytest.mark.parametrize("missing", [None, 0, "", "0"])
def test_size_may_be_missing(missing, read):
    masks, _, faults = read(
        images=[IMAGE | {"width": missing, "height": missing}], annotations=[annotation()]
    )
    assert (len(masks), faults) == (1, [])


def test_mark_tells_masks_without_a_class_from_a_class_called_object(tmp_path):
    categories = [
        {"id": 1, "name": "object"},
        {"id": 2, "name": "object", "samkit": {"unlabelled": True}},
    ]
    with coco_writer(tmp_path / "a.json", lambda: categories) as writer:
        writer.add_image("a.png", (1, 1), [{"category_id": number} for number in (1, 2)])
    file = read_coco(tmp_path / "a.json")
    annotations = file.images[0].annotations
    assert [file.class_name(one) for _, one in annotations] == ["object", None]


@pytest.mark.parametrize("entry", [5, {"id": 1}, {"id": 1, "name": 7}, {"name": "x"}])
def test_broken_categories_are_faults(entry, read):
    masks, _, faults = read(categories=[entry, CATEGORY], annotations=[annotation()])
    assert len(masks) == 1
    assert "category 1: it needs an id and a name" in faults[0]


@pytest.mark.parametrize("content", ["[]", '{"images": []}', '{"images": 1, "annotations": []}'])
def test_other_files_are_refused(content, tmp_path, refusal):
    (tmp_path / "a.json").write_text(content)
    with refusal(DataError, "a.json is not a COCO file"):
        read_coco(tmp_path / "a.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_text_of_other_encodings_is_read(encoding, tmp_path):
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "目标"}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding=encoding)
    assert read_coco(path).category_names == {"1": "目标"}


def test_roboflow_folders_are_one_set(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        document = {
            "images": [IMAGE | {"id": 0, "file_name": f"{split}_jpg.rf.0123456789abcdef.jpg"}],
            "annotations": [annotation(image_id=0)],
            "categories": [{"id": 0, "name": "animals"}, CATEGORY],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(document))
    found = open_annotations(tmp_path)
    assert (found.format_name, len(found)) == ("coco", 2)
    assert [found.read(index).folder for index in range(2)] == ["train", "valid"]


garbage = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(entries=st.lists(garbage | st.fixed_dictionaries({"image_id": garbage}), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_annotations_are_their_sum_is_right(entries, read):
    read(annotations=[*entries, annotation()])


def test_a_broken_file_of_a_folder_is_a_fault(write, tmp_path):
    write(annotations=[annotation()]).rename(tmp_path / "val.json")
    (tmp_path / "train.json").write_text('{"images": [')
    found = open_annotations(tmp_path, "coco")
    assert len(found) == 1
    (fault,) = found.faults
    assert "train.json is not JSON" in fault.text


def test_a_category_without_a_name_is_no_class(read):
    assert read(categories=[CATEGORY | {"name": " "}], annotations=[annotation()])[1] == [None]
