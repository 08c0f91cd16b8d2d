"""Files of prompts: each image's entry is read, or its fault is told."""

import json
from pathlib import Path

import pytest
from PIL import Image

from samkit.batch import PromptedImage, Skipped, read_prompted_images
from samkit.batch.prompt_results import prompt_record


@pytest.fixture
def write(tmp_path):
    def write(entries, head=b""):
        path = tmp_path / "prompts.json"
        path.write_bytes(head + json.dumps(entries).encode())
        return path

    return write


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
def test_a_file_may_begin_with_a_byte_order_mark(head, write):
    path = write({"a.png": {"points": [3, 4]}}, head)
    ((only,), skipped) = read_prompted_images(path, [])
    assert only.image == path.parent / "a.png"
    assert prompt_record(only.prompt) == {"points": [[[3, 4]]], "labels": [[1]]}
    assert skipped == []


def test_images_are_found_by_path_then_by_name_and_others_are_skipped(write):
    path = write({"x/a.png": {"box": [0, 0, 1, 1]}, "a.png": {"box": [0, 0, 2, 2]}})
    images = [Path("x/a.png"), Path("y/a.png"), Path("b.png")]
    found, skipped = read_prompted_images(path, images)
    assert [one.image for one in found] == images[:2]
    boxes = [one.prompt.prompts.boxes_xyxy.tolist() for one in found]
    assert boxes == [[[0, 0, 1, 1]], [[0, 0, 2, 2]]]
    assert skipped == [Skipped(image="b.png", error=f"{path} has no prompt for it")]


def test_a_fault_is_its_images_alone(write):
    path = write({"a.png": {}, "b.png": {"points": [1, 1]}, "c.png": {"box": [5, 5, 1, 9]}})
    (found,), skipped = read_prompted_images(path, [])
    assert isinstance(found, PromptedImage)
    assert found.image.name == "b.png"
    assert [Path(one.image).name for one in skipped] == ["a.png", "c.png"]


def test_prompts_may_differ_in_their_number_of_points(write):
    points, labels = [[[1, 2]], [[3, 4], [5, 6]]], [[1], [1, 0]]
    (found,), _ = read_prompted_images(write({"a.png": {"points": points, "labels": labels}}), [])
    assert prompt_record(found.prompt) == {"points": points, "labels": labels}


def test_an_empty_list_of_boxes_is_no_fault(write):
    (found,), skipped = read_prompted_images(write({"a.png": {"box": []}}), [])
    assert len(found.prompt.prompts) == 0
    assert skipped == []


def test_names_may_have_the_backslashes_of_windows(write):
    path = write({".\\b.png": {"points": [1, 2]}, "x\\c.png": {"points": [3, 4]}})
    found, _ = read_prompted_images(path, [])
    assert [one.image for one in found] == [path.parent / "b.png", path.parent / "x/c.png"]
    found, skipped = read_prompted_images(path, [Path("b.png"), Path("x/c.png"), Path("d.png")])
    assert [one.prompt.prompts.points_xy.tolist() for one in found] == [[[[1, 2]]], [[[3, 4]]]]
    assert [one.image for one in skipped] == ["d.png"]


def test_a_picture_of_an_empty_mask_is_refused(write):
    path = write({"a.png": {"mask": "empty.png"}})
    Image.new("L", (9, 7)).save(path.parent / "empty.png")
    found, (skipped,) = read_prompted_images(path, [])
    assert found == []
    assert "the mask has no pixel" in skipped.error
