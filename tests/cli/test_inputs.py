"""Which photos inputs mean, and what their results are called."""

import os
from pathlib import Path

import pytest

from samkit.cli.inputs import Photo, find_photos, name_results
from samkit.cli.mask_files import SUFFIXES
from samkit.errors import SamkitError

FILES = [
    "photos/b.JPG",
    "photos/a.png",
    "photos/notes.txt",
    "photos/.hidden.png",
    "photos/.thumbs/a.png",
    "photos/deep/er/a.tiff",
    "photos/deep/c.webp",
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
    photos, skipped = find_photos(inputs, Path(output))
    return [(str(photo.path), photo.name) for photo in photos], [one.image for one in skipped]


def test_folders_are_searched_with_all_below_them(folder):
    photos, skipped = found("photos")
    assert photos == [
        ("photos/a.png", "a.png"),
        ("photos/b.JPG", "b.JPG"),
        ("photos/deep/c.webp", "deep/c.webp"),
        ("photos/deep/er/a.tiff", "deep/er/a.tiff"),
    ]
    assert skipped == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos/*", ["a.png", "b.JPG"]),
        ("photos/*.png", ["a.png"]),
        ("photos/**/*.[tw]*", ["deep/c.webp", "deep/er/a.tiff"]),
        ("phot*/?.png", ["photos/a.png"]),
        ("photos/**", ["a.png", "b.JPG", "deep/c.webp", "deep/er/a.tiff"]),
    ],
)
def test_patterns(pattern, names, folder):
    photos, skipped = found(pattern)
    assert [name for _, name in photos] == names
    assert skipped == []


def test_files_are_taken_whatever_their_names_are(folder):
    photos, skipped = found("photos/notes.txt", "none.jpg", "[1].jpg", "photos/.hidden.png")
    assert [name for _, name in photos] == ["notes.txt", "none.jpg", "[1].jpg", ".hidden.png"]
    assert skipped == []


def test_each_photo_is_taken_once(folder):
    photos, _ = found("photos/a.png", "photos", "photos/*.png", str(folder / "photos/a.png"))
    assert [name for _, name in photos] == ["a.png", "b.JPG", "deep/c.webp", "deep/er/a.tiff"]


def test_results_are_not_taken_for_photos(folder):
    assert found(".", output="photos")[0] == [("[1].jpg", "[1].jpg"), ("single.jpg", "single.jpg")]
    assert [n for _, n in found("**/*.*", output="photos/deep")[0]] == [
        "[1].jpg",
        "photos/a.png",
        "photos/b.JPG",
        "single.jpg",
    ]
    # A folder in the results' folder is not of the results.
    assert len(found("photos/deep", output="photos")[0]) == 2
    assert found("photos", output="photos") == ([], ["photos"])
    assert found("photos", output="./photos/../photos/") == ([], ["photos"])


def test_inputs_without_photos_are_told(folder):
    Path("empty").mkdir()
    assert found("empty", "*.bmp", "single.jpg") == (
        [("single.jpg", "single.jpg")],
        ["empty", "*.bmp"],
    )


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_links_to_folders_are_not_followed(folder):
    Path("photos/loop").symlink_to(folder / "photos")
    assert len(found("photos")[0]) == 4


def named(*names, reserved=()):
    photos = [Photo(path=Path(name), name=name) for name in names]
    return [one.base for one in name_results(photos, list(SUFFIXES.values()), reserved)]


def test_results_are_named_after_photos_without_suffix():
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
def test_results_of_different_photos_never_have_the_same_name(names, bases):
    assert named(*names, reserved=["coco.json"]) == bases


def test_same_names_are_refused(refusal):
    photos = [Photo(path=Path(folder, "a.jpg"), name="a.jpg") for folder in ("x", "y")]
    with refusal(SamkitError, "x/a.jpg and y/a.jpg would write the same files", "--output"):
        name_results(photos, list(SUFFIXES.values()), ["coco.json"])
