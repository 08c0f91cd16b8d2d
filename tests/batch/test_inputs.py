"""Work lists of images, and the names of their results."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.batch import (
    SUFFIXES,
    InputImage,
    PageChoice,
    find_images,
    name_results,
    split_into_pages,
)
from samkit.errors import SamkitError

FILES = [
    "images/b.JPG",
    "images/a.png",
    "images/notes.txt",
    "images/.hidden.png",
    "images/.thumbs/a.png",
    "images/deep/er/a.tiff",
    "images/deep/c.webp",
    "single.jpg",
    "[1].jpg",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def found(*inputs, output="out"):
    images, skipped = find_images(inputs, Path(output))
    return [(image.source, image.name) for image in images], [one.image for one in skipped]


def test_folders_are_searched_with_all_below_them(folder):
    images, skipped = found("images")
    assert images == [
        ("images/a.png", "a.png"),
        ("images/b.JPG", "b.JPG"),
        ("images/deep/c.webp", "deep/c.webp"),
        ("images/deep/er/a.tiff", "deep/er/a.tiff"),
    ]
    assert skipped == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("images/*", ["a.png", "b.JPG"]),
        ("images/*.png", ["a.png"]),
        ("images/**/*.[tw]*", ["deep/c.webp", "deep/er/a.tiff"]),
        ("imag*/?.png", ["images/a.png"]),
        ("images/**", ["a.png", "b.JPG", "deep/c.webp", "deep/er/a.tiff"]),
    ],
)
def test_patterns(pattern, names, folder):
    images, skipped = found(pattern)
    assert [name for _, name in images] == names
    assert skipped == []


def test_files_are_taken_whatever_their_names_are(folder):
    images, skipped = found("images/notes.txt", "none.jpg", "[1].jpg", "images/.hidden.png")
    assert [name for _, name in images] == ["notes.txt", "none.jpg", "[1].jpg", ".hidden.png"]
    assert skipped == []


def test_each_image_is_taken_once(folder):
    images, _ = found("images/a.png", "images", "images/*.png", str(folder / "images/a.png"))
    assert [name for _, name in images] == ["a.png", "b.JPG", "deep/c.webp", "deep/er/a.tiff"]


def test_results_are_not_taken_for_images(folder):
    assert found(".", output="images")[0] == [("[1].jpg", "[1].jpg"), ("single.jpg", "single.jpg")]
    assert [n for _, n in found("**/*.*", output="images/deep")[0]] == [
        "[1].jpg",
        "images/a.png",
        "images/b.JPG",
        "single.jpg",
    ]
    # A folder in the results' folder is not of the results.
    assert len(found("images/deep", output="images")[0]) == 2
    assert found("images", output="images") == ([], ["images"])
    assert found("images", output="./images/../images/") == ([], ["images"])


def test_inputs_without_images_are_told(folder):
    Path("empty").mkdir()
    assert found("empty", "*.bmp", "single.jpg") == (
        [("single.jpg", "single.jpg")],
        ["empty", "*.bmp"],
    )


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_links_to_folders_are_not_followed(folder):
    Path("images/loop").symlink_to(folder / "images")
    assert len(found("images")[0]) == 4


def named(*names, reserved=()):
    images = [InputImage(source=name, name=name) for name in names]
    return [one.base for one in name_results(images, list(SUFFIXES.values()), reserved)]


def test_results_are_named_after_images_without_suffix():
    assert named("a.jpg", "deep/a.jpg", "b.c.png", "plain") == ["a", "deep/a", "b.c", "plain"]


@pytest.mark.parametrize(
    ("names", "bases"),
    [
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b"]),
        (["coco.jpg"], ["coco.jpg"]),
        (["x/coco.jpg"], ["x/coco"]),
        (["a.jpg", "a_masks/0001.jpg"], ["a.jpg", "a_masks/0001"]),
        (["a_labels.png", "a.png"], ["a_labels", "a"]),
    ],
)
def test_results_of_different_images_never_have_the_same_name(names, bases):
    assert named(*names, reserved=["coco.json"]) == bases


def test_same_names_are_refused(refusal):
    images = [InputImage(source=f"{folder}/a.jpg", name="a.jpg") for folder in ("x", "y")]
    with refusal(SamkitError, "x/a.jpg and y/a.jpg would write the same files", "--output"):
        name_results(images, list(SUFFIXES.values()), ["coco.json"])


def test_patterns_follow_the_rule_of_folders(folder, caplog):
    for name in ("images/__MACOSX/a.png", "images/deep/x.heic"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    by_folder, _ = find_images(["images"], Path("out"))
    by_pattern, skipped = find_images(["images/**/*"], Path("out"))
    assert by_pattern == by_folder
    assert skipped == []
    told = [record.getMessage() for record in caplog.records]
    assert told == ["images: 1 left out: .heic (1)", "images/**/*: 1 left out: .heic (1)"]


def test_pages_are_chosen_by_number(folder, tmp_path):
    tifffile.imwrite("stack.tif", np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    Image.new("L", (5, 4)).save("plain.png")
    for choice, pages in (
        (PageChoice(), (1, 2, 3)),
        (PageChoice(first=2, last=2), (2,)),
        (PageChoice(first=3, last=9), (3,)),
    ):
        expected = [Path(f"stack.tif#page={page}") for page in pages]
        assert choice.pages_of(Path("stack.tif")) == expected
        assert choice.pages_of(Path("plain.png")) == [Path("plain.png")]
        assert choice.pages_of(Path("stack.tif#page=3")) == [Path("stack.tif#page=3")]
    images, _ = find_images(["stack.tif", "plain.png"], Path("out"))
    images, without = split_into_pages(images, PageChoice(first=2))
    assert [image.name for image in images] == [
        "stack.tif#page=2",
        "stack.tif#page=3",
        "plain.png",
    ]
    assert {image.file for image in images} == {"stack.tif", "plain.png"}
    named = name_results(images, [".json"], [])
    assert [image.base for image in named] == ["stack_page2", "stack_page3", "plain"]
    _, without = split_into_pages(images[-1:], PageChoice(first=4))
    assert without == []  # it is no stack
    _, without = split_into_pages([InputImage(source="stack.tif", name="s")], PageChoice(first=4))
    assert [one.error for one in without] == ["stack.tif has 3 pages: there is no page 4"]
