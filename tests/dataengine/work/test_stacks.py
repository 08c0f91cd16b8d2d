"""Pages of stacks are images of their own; the project's range is that of all its images."""

import hashlib
import io
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.dataengine import (
    add_image,
    add_images,
    create_project,
    create_user,
    export_project,
    get_image,
    get_project,
    import_masks,
    list_annotations,
    list_images,
    move_project,
    open_image_file,
    read_stored_image,
    save_annotation,
    set_value_range,
    submit_image,
    take_image,
)
from samkit.dataengine.work import image_files
from samkit.dataengine.work.sources import page_sha256
from samkit.errors import ConfigError, ConflictError
from samkit.formats import read_image

MAX_PIXELS = 10_000
PAGES = ["s/stack.tif", "s/stack.tif#page=2", "s/stack.tif#page=3"]


def pages_of(seed=0):
    """Three pages of 12 bits."""
    return np.random.default_rng(seed).integers(0, 4000, (3, 12, 16)).astype(np.uint16)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "s").mkdir(parents=True)
    tifffile.imwrite(folder / "s/stack.tif", pages_of(), photometric="minisblack")
    Image.new("RGB", (16, 12), (1, 2, 3)).save(folder / "a.png")
    return folder


@pytest.fixture
def project(store, root):
    return create_project(store, name="stacks", root=root)


@pytest.fixture
def stack(store, project):
    """The images of the project, by path."""
    assert add_images(store, project.id).num_added == 4
    return images_of(store, project)


def images_of(store, project):
    return {one.path: one for one in list_images(store, project.id).items}


def test_each_page_is_an_image(store, project, stack, root):
    assert list(stack) == ["a.png", *PAGES]
    sha256 = hashlib.sha256((root / "s/stack.tif").read_bytes()).hexdigest()
    for number, path in enumerate(PAGES, start=1):
        image = stack[path]
        assert (image.page, image.size_hw) == (number, (12, 16))
        assert image.sha256 == page_sha256(sha256, number)
        pixels = read_stored_image(store, image, max_pixels=MAX_PIXELS)
        np.testing.assert_array_equal(pixels, read_image(pages_of()[number - 1]))
    assert len({one.sha256 for one in stack.values()}) == 4
    assert len({one.pixels_key for one in stack.values()}) == 4


def test_scanned_again_adds_nothing(store, project, stack):
    report = add_images(store, project.id)
    assert (report.num_added, report.num_known, report.faults) == (0, 2, ())


def test_copy_of_a_stack_is_a_duplicate(store, project, stack, root):
    shutil.copy(root / "s/stack.tif", root / "z.tif")
    report = add_images(store, project.id)
    assert report.num_added == 0
    expected = [("z.tif", PAGES[0]), ("z.tif#page=2", PAGES[1]), ("z.tif#page=3", PAGES[2])]
    assert list(report.duplicates) == expected


def test_all_pages_of_an_uploaded_file_are_added(store, project, root):
    image = add_image(store, project.id, "s/stack.tif")
    assert image.path == PAGES[0]
    assert list(images_of(store, project)) == PAGES
    assert add_image(store, project.id, "s/stack.tif") == image


def test_changed_stack_is_not_read(store, project, stack, root, refusal):
    for number in (1, 2):  # the checksum of an unchanged file is computed once
        with open_image_file(store, stack[PAGES[number]]) as file:
            assert file.read(4) == b"II*\0"
    tifffile.imwrite(root / "s/stack.tif", pages_of(seed=1), photometric="minisblack")
    for path in PAGES:
        with refusal(ConflictError, f"{path} has changed since it was added"):
            read_stored_image(store, stack[path], max_pixels=MAX_PIXELS)
    assert "s/stack.tif has changed since it was added" in add_images(store, project.id).faults[0]


@pytest.mark.parametrize("max_bytes", [0, 10**6])
def test_large_files_are_not_read_into_memory_and_small_ones_are(
    max_bytes, store, project, stack, monkeypatch
):
    monkeypatch.setattr(image_files, "MAX_IN_MEMORY", max_bytes)
    for path in ("a.png", *PAGES):
        with open_image_file(store, stack[path]) as file:
            assert isinstance(file, io.BytesIO) == (max_bytes > 0)
            head = file.read(4)
        assert head == (b"\x89PNG" if path == "a.png" else b"II*\0")


def test_moved_stack_is_found_with_all_its_pages(store, project, stack, root, tmp_path):
    new = tmp_path / "new"
    (new / "deep").mkdir(parents=True)
    shutil.move(root / "s/stack.tif", new / "deep/other.tif")
    shutil.move(root / "a.png", new / "a.png")
    report = move_project(store, project.id, new)
    assert (report.num_same, len(report.moved), report.missing) == (1, 3, ())
    found = images_of(store, project)
    expected = ["deep/other.tif", "deep/other.tif#page=2", "deep/other.tif#page=3"]
    assert sorted(found) == ["a.png", *expected]
    for number, path in enumerate(expected):
        assert found[path].id == stack[PAGES[number]].id
        assert read_stored_image(store, found[path], max_pixels=MAX_PIXELS).shape == (12, 16, 3)


@pytest.mark.parametrize("file_format", ["coco", "sa1b", "png"])
def test_masks_of_pages_leave_and_come_back(file_format, store, project, stack, tmp_path, rle_of):
    ann = create_user(store, name="ann", role="admin").id
    drawn = {}
    for number, path in enumerate(PAGES, start=1):
        image = take_image(store, stack[path].id, ann).image
        rle = rle_of(number, number, number + 4, number + 3)
        save_annotation(store, image_id=image.id, user_id=ann, rle=rle)
        drawn[path] = rle
        submit_image(store, image.id, ann)
    export_project(store, project.id, tmp_path / "out", file_format=file_format, copy_images=True)
    folder = {"png": "all/images"}.get(file_format, "all")
    copies = [tmp_path / "out" / folder / "s" / f"stack_page{page}.png" for page in (2, 3)]
    for number, copy in enumerate(copies, start=1):
        np.testing.assert_array_equal(read_image(copy), read_image(pages_of()[number]))
    assert (tmp_path / "out" / folder / "s/stack.tif").is_file()

    again = create_project(store, name="again", root=project.root)
    add_images(store, again.id)
    place = {"coco": "all.json", "sa1b": "all", "png": "all/masks"}[file_format]
    report = import_masks(
        store, again.id, tmp_path / "out" / place, file_format=file_format, user_id=ann
    )
    assert (report.num_added, report.faults) == (3, ())
    for path, image in images_of(store, again).items():
        masks = [one.rle for one in list_annotations(store, image.id)]
        assert masks == ([drawn[path]] if path in drawn else [])


def test_range_of_a_project_is_that_of_its_images(store, project, stack, root):
    assert (project.value_range, stack[PAGES[1]].value_range) == ("auto", "auto")
    assert set_value_range(store, project.id, "0,4095").value_range == "0.0,4095.0"
    assert get_project(store, project.id).value_range == "0.0,4095.0"
    tifffile.imwrite(root / "later.tif", pages_of(seed=2)[0])
    add_images(store, project.id)
    found = images_of(store, project)
    assert {one.value_range for one in found.values()} == {"0.0,4095.0"}
    seen = read_stored_image(store, found[PAGES[1]], max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(seen, read_image(pages_of()[1], value_range=(0, 4095)))
    # What is cached of the earlier pixels is not of these.
    assert found[PAGES[1]].pixels_key != stack[PAGES[1]].pixels_key
    assert get_image(store, stack[PAGES[1]].id).pixels_key == found[PAGES[1]].pixels_key


def test_range_that_is_none_is_refused(store, project, refusal):
    with refusal(ConfigError, "range of values"):
        set_value_range(store, project.id, "bright")
    with refusal(ConfigError, "range of values"):
        create_project(store, name="p", root=project.root, value_range=(5, 1))


def test_what_is_left_out_is_counted(store, project, root, tmp_path):
    (root / "x.heic").write_bytes(b"")
    (root / ".thumbnails").mkdir()
    Image.new("RGB", (4, 4)).save(root / ".thumbnails/t.png")
    (root / "link").symlink_to(tmp_path)
    report = add_images(store, project.id)
    assert report.left_out == {".heic": 1, "linked folders": 1}
    assert report.num_added == 4
