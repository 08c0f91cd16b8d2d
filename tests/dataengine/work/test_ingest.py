"""Ingest: each image once, and nothing from outside of the root."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import ImageSource, add_images, create_project, list_images
from samkit.errors import StoreError


@pytest.fixture
def root(tmp_path, image_folder):
    return shutil.copytree(image_folder, tmp_path / "root")


def test_images_of_all_folders_are_added_with_what_they_are(scene, image_folder):
    assert [one.path for one in scene.images] == ["a.png", "b.png", "deep/c.png", "deep/d.jpg"]
    for one in scene.images:
        content = (image_folder / one.path).read_bytes()
        assert one.sha256 == hashlib.sha256(content).hexdigest()
        assert (one.num_bytes, one.size_hw, one.review) == (len(content), (12, 16), "none")
    assert (scene.report.num_added, scene.report.num_known, scene.report.faults) == (4, 0, ())


def test_second_time_adds_only_what_is_new_and_reads_nothing_twice(scene, monkeypatch):
    monkeypatch.setattr(ImageSource, "open", None)  # a file that is read would fail
    report = add_images(scene.store, scene.project.id)
    assert (report.num_added, report.num_known) == (0, 4)


def test_duplicates_changes_and_broken_files_are_told(store, root):
    project = create_project(store, name="p", root=root)
    shutil.copy(root / "a.png", root / "deep" / "copy.png")
    (root / "broken.png").write_bytes(b"no image")
    (root / "notes.txt").write_text("not looked at")
    report = add_images(store, project.id)
    assert (report.num_added, report.duplicates) == (4, (("deep/copy.png", "a.png"),))
    assert report.faults == ("broken.png is not an image that can be read",)
    Image.new("RGB", (16, 12), "red").save(root / "b.png")
    report = add_images(store, project.id)
    assert report.num_added == 0
    assert any("b.png has changed since it was added" in fault for fault in report.faults)


def test_cut_file_is_found_when_pixels_are_read(store, root):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(root / "cut.png")
    data = (root / "cut.png").read_bytes()
    (root / "cut.png").write_bytes(data[: len(data) // 2])
    project = create_project(store, name="p", root=root)
    report = add_images(store, project.id, decode=True)
    assert report.num_added == 4
    assert len(report.faults) == 1
    assert report.faults[0].startswith("cut.png cannot be read")


def test_turned_image_has_its_upright_size(sqlite_store, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "t.jpg", exif=exif)
    project = create_project(sqlite_store, name="p", root=tmp_path)
    add_images(sqlite_store, project.id)
    assert list_images(sqlite_store, project.id).items[0].size_hw == (20, 10)


def test_nothing_outside_of_the_root_is_opened(sqlite_store, root, tmp_path, refusal):
    Image.new("RGB", (5, 5)).save(tmp_path / "secret.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "folder").symlink_to(tmp_path)
    project = create_project(sqlite_store, name="p", root=root)
    report = add_images(sqlite_store, project.id)
    assert report.num_added == 4
    assert len(report.faults) == 2
    source = ImageSource(root)
    for path in (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "",
        ".",
        "folder/secret.png",
        "deep/../../secret.png",
    ):
        with refusal(StoreError, "outside of the project's root"):
            source.open(path)
    for path in ("missing.png", "deep", "a\x01.png"):
        with refusal(StoreError):
            source.open(path)


def test_link_within_the_root_is_followed(root):
    (root / "link.png").symlink_to(root / "a.png")
    with ImageSource(root).open("link.png") as file:
        assert file.read() == (root / "a.png").read_bytes()


def test_images_behind_a_url(store, image_folder, refusal, memory_files):
    files = memory_files
    for name in ("a.png", "deep/c.png"):
        files.pipe(f"/bucket/{name}", (image_folder / name).read_bytes())
    files.pipe("/secret.png", b"secret")
    project = create_project(store, name="p", root="memory://bucket")
    assert add_images(store, project.id).num_added == 2
    assert [one.path for one in list_images(store, project.id).items] == ["a.png", "deep/c.png"]
    assert add_images(store, project.id).num_known == 2
    with refusal(StoreError, "outside of the project's root"):
        ImageSource("memory://bucket").open("../secret.png")


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_name_that_is_no_text_is_told(sqlite_store, root):
    shutil.copy(os.fsencode(root / "a.png"), os.fsencode(root) + b"/\xff.png")
    project = create_project(sqlite_store, name="p", root=root)
    report = add_images(sqlite_store, project.id)
    assert report.num_added == 4
    assert "not valid UTF-8" in report.faults[0]


def test_root_that_is_none_is_refused(sqlite_store, root, refusal):
    for where in (root / "missing", root / "a.png", "unheard-of://x"):
        with refusal(StoreError):
            create_project(sqlite_store, name="p", root=where)
