"""Which files below a folder are images: one rule for all commands."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samkit.formats import find_image_files, find_images_below, read_image, sort_out_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_copies_and_hidden_files_are_no_images(tmp_path):
    touch(
        tmp_path,
        "b.png",
        "a/c.JPG",
        ".ipynb_checkpoints/b-checkpoint.png",
        "a/.thumbnails/c.png",
        "._b.png",
        "__MACOSX/b.png",
        "a/@eaDir/c.jpg",
        "notes.txt",
        "noend",
    )
    found = find_images_below(tmp_path)
    assert found.names == ("a/c.JPG", "b.png")
    assert found.left_out == {}
    assert found.summary() == ""


def test_pictures_that_are_not_read_are_counted(tmp_path, caplog):
    touch(tmp_path, "a.png", "b.HEIC", "c.heic", "d.nef", "x.txt")
    (tmp_path / "far").mkdir()
    touch(tmp_path / "far", "f.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/link").symlink_to(tmp_path / "far")
    with caplog.at_level(logging.WARNING):
        assert find_image_files(tmp_path) == [tmp_path / "a.png", tmp_path / "far/f.png"]
    told = "4 left out: .heic (2), .nef (1), linked folders (1)"
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}: {told}"]


def test_a_folder_linked_to_itself_ends(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert find_images_below(tmp_path).names == ("a.png",)


def test_a_folder_that_is_skipped(tmp_path):
    touch(tmp_path, "a.png", "out/b.png")
    assert find_images_below(tmp_path, skip=str((tmp_path / "out").resolve())).names == ("a.png",)


def test_a_folder_that_is_hidden_itself_may_be_given(tmp_path):
    touch(tmp_path / ".cache", "a.png")
    assert find_images_below(tmp_path / ".cache").names == ("a.png",)


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPEG"])
def test_other_names_of_jpeg_are_read(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (5, 4), (250, 0, 0)).save(path, "JPEG")
    assert find_image_files(tmp_path) == [path]
    assert read_image(path).shape == (4, 5, 3)


PARTS = st.sampled_from(["a", "b", ".git", "__MACOSX", "c d"])
FILES = st.sampled_from(["x.png", "y.tif", ".z.png", "w.heic", "v.txt", "u.cr2", "t"])


PATHS = st.tuples(st.lists(PARTS, max_size=3), FILES).map(
    lambda path: "/".join([*path[0], path[1]])
)


@given(st.sets(PATHS))
def test_each_visible_picture_is_an_image_or_counted(names):
    found = sort_out_images(names)
    visible = [
        name
        for name in names
        if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    ]
    pictures = [name for name in visible if Path(name).suffix not in ("", ".txt")]
    assert len(found.names) + sum(found.left_out.values()) == len(pictures)
    assert set(found.names) <= set(visible)
    assert list(found.names) == sorted(found.names, key=lambda name: name.split("/"))
