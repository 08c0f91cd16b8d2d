"""Moved images keep their masks."""

import shutil

import pytest

from samkit.dataengine import (
    ImageSource,
    add_images,
    create_project,
    delete_project,
    get_image,
    get_project,
    list_annotations,
    list_classes,
    list_images,
    move_project,
    rename_project,
    save_annotation,
)
from samkit.errors import MissingError, StoreError


@pytest.fixture
def masked(scene, rle_of):
    """The scene with a mask on its first image."""
    save_annotation(
        scene.store, image_id=scene.hold(scene.ann), user_id=scene.ann, rle=rle_of(1, 2, 5, 6)
    )
    return scene


def paths(scene):
    return {one.id: one.path for one in list_images(scene.store, scene.project.id).items}


def test_whole_folder_moves(masked, image_folder, tmp_path):
    target = tmp_path / "elsewhere"
    shutil.copytree(image_folder, target)
    before = paths(masked)
    report = move_project(masked.store, masked.project.id, target)
    assert (report.num_same, report.moved, report.missing) == (4, (), ())
    assert get_project(masked.store, masked.project.id).root == str(target)
    assert paths(masked) == before
    # The files' new times are known: adding reads nothing anew and finds nothing new.
    added = add_images(masked.store, masked.project.id)
    assert (added.num_added, added.num_known, added.faults) == (0, 4, ())


def test_images_are_found_by_content_also_where_two_changed_places(masked, image_folder, tmp_path):
    target = tmp_path / "sorted"
    shutil.copytree(image_folder, target)
    first, second = target / "a.png", target / "b.png"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    (target / "new").mkdir()
    (target / "deep" / "d.jpg").rename(target / "new" / "e.jpeg")
    seen = []
    report = move_project(
        masked.store, masked.project.id, target, on_image=lambda *done: seen.append(done)
    )
    assert sorted(report.moved) == [
        ("a.png", "b.png"),
        ("b.png", "a.png"),
        ("deep/d.jpg", "new/e.jpeg"),
    ]
    assert report.num_same == 1
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    image = get_image(masked.store, masked.images[0].id)
    assert image.path == "b.png"
    assert len(list_annotations(masked.store, image.id)) == 1
    with ImageSource(target).open(image.path) as file:
        assert file.read() == content


def test_missing_images_stop_it_unless_allowed(masked, image_folder, tmp_path, refusal):
    target = tmp_path / "part"
    shutil.copytree(image_folder, target)
    (target / "a.png").unlink()
    (target / "b.png").write_bytes(b"another")
    with refusal(StoreError, "2 of 4 images are not below", "a.png, b.png"):
        move_project(masked.store, masked.project.id, target)
    assert get_project(masked.store, masked.project.id).root == str(image_folder)
    report = move_project(masked.store, masked.project.id, target, allow_missing=True)
    assert (report.num_same, report.missing) == (2, ("a.png", "b.png"))
    assert len(list_annotations(masked.store, masked.images[0].id)) == 1


def test_project_is_renamed_and_deleted_with_all_of_it(masked, image_folder, refusal):
    store, number = masked.store, masked.project.id
    assert rename_project(store, number, "nuclei").name == "nuclei"
    with refusal(StoreError, "1 to 200 characters"):
        rename_project(store, number, " ")
    delete_project(store, number)
    with refusal(MissingError, f"there is no project {number}"):
        get_project(store, number)
    assert list_images(store, number).items == ()
    assert list_classes(store, number) == ()
    assert (image_folder / "a.png").is_file()


def test_a_taken_name_is_refused(masked, image_folder, refusal):
    other = create_project(masked.store, name="other", root=image_folder)
    with refusal(StoreError, "there is a project 'cells' already"):
        rename_project(masked.store, other.id, "cells")
