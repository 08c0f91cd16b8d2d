"""Image files: reading, uploads, and scans in the background."""

import shutil

import numpy as np
import pytest
from PIL import Image

from samkit.dataengine import (
    SCAN,
    add_image,
    add_job,
    create_project,
    get_job,
    list_images,
    open_image_file,
    read_stored_image,
    receive_image,
    take_job,
    upload_folder,
    work_once,
)
from samkit.errors import ConflictError, ImageError, StoreError


def read_content(store, image):
    with open_image_file(store, image) as file:
        return file.read()


@pytest.fixture
def project(sqlite_store, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return create_project(sqlite_store, name="p", root=root)


@pytest.fixture
def send(sqlite_store, project):
    """Receive a picture of one value under a name."""

    def receive(name, value=0, size_hw=(4, 6), max_pixels=1000, content=None):
        folder = upload_folder(sqlite_store, project.id)
        received = folder / ".samkit.received"
        if content is None:
            Image.fromarray(np.full((*size_hw, 3), value, np.uint8)).save(received, "PNG")
        else:
            received.write_bytes(content)
        try:
            return receive_image(sqlite_store, project.id, received, name, max_pixels=max_pixels)
        finally:
            received.unlink()

    return receive


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_received_image_is_in_the_project(send, sqlite_store, project, tmp_path):
    image = send("new.png", 7)
    assert (image.path, image.size_hw) == ("new.png", (4, 6))
    assert names_in(tmp_path / "root") == ["new.png"]
    assert list_images(sqlite_store, project.id).items == (image,)
    assert (read_stored_image(sqlite_store, image, max_pixels=24) == 7).all()
    assert add_image(sqlite_store, project.id, "new.png") == image


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "/a.png",
        "x/a.png",
        "..\\a.png",
        "C:a.png",
        ".a.png",
        "a\0.png",
        "a\n.png",
        ".",
    ],
)
def test_names_that_are_paths_are_refused(name, send, tmp_path, refusal):
    with refusal(StoreError, "is not a valid file name"):
        send(name)
    assert names_in(tmp_path) == ["root", "store.db", "store.db-shm", "store.db-wal"]
    assert names_in(tmp_path / "root") == []


@pytest.mark.parametrize(
    ("change", "kind", "part"),
    [
        ({"name": "a.html"}, StoreError, "must have the suffix of an image"),
        ({"max_pixels": 23}, ImageError, "is too large"),
        ({"content": b"<svg onload=alert(1)>"}, ImageError, "is not an image"),
        ({"content": b""}, ImageError, "is empty"),
    ],
)
def test_what_is_no_image_leaves_nothing(change, kind, part, send, tmp_path, refusal):
    with refusal(kind, part):
        send(**{"name": "a.png", **change})
    assert names_in(tmp_path / "root") == []


def test_file_that_is_there_is_not_replaced(send, tmp_path, refusal):
    send("a.png", 1)
    before = (tmp_path / "root" / "a.png").read_bytes()
    with refusal(ConflictError, "there is a file 'a.png' already"):
        send("a.png", 2)
    assert (tmp_path / "root" / "a.png").read_bytes() == before


def test_content_that_is_there_is_not_kept_twice(send, tmp_path, refusal):
    send("a.png", 1)
    with refusal(ConflictError, "already has this image: a.png"):
        send("b.png", 1)
    assert names_in(tmp_path / "root") == ["a.png"]


def test_image_that_has_changed_is_not_read(send, sqlite_store, tmp_path, refusal):
    image, other = send("a.png", 1), send("b.png", 2)
    shutil.copy(tmp_path / "root" / "b.png", tmp_path / "root" / "a.png")
    with refusal(ConflictError, "a.png has changed"):
        read_content(sqlite_store, image)
    assert read_content(sqlite_store, other)[:4] == b"\x89PNG"
    with refusal(ImageError, "is too large"):
        read_stored_image(sqlite_store, other, max_pixels=23)


def test_scan_adds_images_and_tells_what_it_found(scene):
    job = add_job(scene.store, scene.project.id, SCAN, {"num_annotators": 2})
    foreign = add_job(scene.store, scene.project.id, "train", {})
    assert work_once(scene.store).id == job.id
    done = get_job(scene.store, job.id)
    assert (done.state, done.progress) == ("done", 1.0)
    assert done.data["report"]["num_known"] == len(scene.images)
    assert done.data["num_annotators"] == 2
    assert work_once(scene.store) is None
    assert take_job(scene.store).id == foreign.id


def test_scan_that_fails_says_why(sqlite_store, project, tmp_path):
    (tmp_path / "root").rmdir()
    job = add_job(sqlite_store, project.id, SCAN, {})
    work_once(sqlite_store)
    failed = get_job(sqlite_store, job.id)
    assert (failed.state, failed.progress) == ("failed", 0.0)
    assert "no such folder" in failed.error
