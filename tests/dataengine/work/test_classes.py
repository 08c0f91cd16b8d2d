"""Classes: renamed, coloured, ordered, merged and deleted; ids never mean another class."""

import pytest

from samkit.dataengine import (
    add_class,
    annotation_history,
    change_class,
    count_class_masks,
    create_project,
    delete_annotation,
    delete_class,
    list_annotations,
    list_classes,
    merge_classes,
    order_classes,
    replace_annotation,
    save_annotation,
    undo_annotation,
)
from samkit.errors import MissingError, StoreError


def names(scene):
    return [one.name for one in list_classes(scene.store, scene.project.id)]


@pytest.fixture
def classes(scene):
    return [add_class(scene.store, scene.project.id, name) for name in ("cat", "dog", "cow")]


def save(scene, rle_of, class_id, index=0):
    """A mask of a class by ann, who holds the image."""
    return save_annotation(
        scene.store,
        image_id=scene.hold(scene.ann, index),
        user_id=scene.ann,
        rle=rle_of(2, 2, 6, 6),
        class_id=class_id,
    )


def test_name_and_colour_are_changed(scene, classes, refusal):
    cat, _, _ = classes
    changed = change_class(scene.store, cat.id, name="kitten", color="#102030")
    assert (changed.id, changed.name, changed.color) == (cat.id, "kitten", "#102030")
    assert names(scene) == ["kitten", "dog", "cow"]
    with refusal(StoreError, "there is a class 'dog' already"):
        change_class(scene.store, cat.id, name="dog")
    with refusal(StoreError, "a colour must be #rrggbb; got 'red'"):
        change_class(scene.store, cat.id, color="red")
    with refusal(StoreError, "must be one line of printable text"):
        change_class(scene.store, cat.id, name="a\nb")
    with refusal(MissingError, "there is no class 99"):
        change_class(scene.store, 99, name="x")


def test_order_is_set_and_new_classes_come_last(scene, classes, refusal):
    cat, dog, cow = (one.id for one in classes)
    order_classes(scene.store, scene.project.id, [cow, cat, dog])
    assert names(scene) == ["cow", "cat", "dog"]
    add_class(scene.store, scene.project.id, "ant")
    assert names(scene) == ["cow", "cat", "dog", "ant"]
    with refusal(StoreError, "must name each class of the project once"):
        order_classes(scene.store, scene.project.id, [cow, cat, dog])


def test_merged_class_is_the_other_one_in_all_states(scene, classes, rle_of):
    cat, dog, cow = (one.id for one in classes)
    first = save(scene, rle_of, cat)
    save(scene, rle_of, dog, index=1)
    undone = save(scene, rle_of, cat, index=2)
    undo_annotation(scene.store, undone.id, user_id=scene.ann, version=1)
    left = merge_classes(scene.store, cat, into=dog)
    assert left.name == "dog"
    assert names(scene) == ["dog", "cow"]
    found = [
        mask.class_id
        for image in scene.images[:3]
        for mask in list_annotations(scene.store, image.id, deleted=True)
    ]
    assert found == [dog, dog, dog]
    assert [one.class_id for one in annotation_history(scene.store, undone.id)] == [dog, dog]
    # A page that was offline meanwhile sends the old id; so do masks of classes merged twice.
    late = save(scene, rle_of, cat)
    assert late.class_id == dog
    merge_classes(scene.store, dog, into=cow)
    assert save(scene, rle_of, cat).class_id == cow
    counts = {
        one.class_id: (one.num_images, one.num_masks)
        for one in count_class_masks(scene.store, scene.project.id)
    }
    assert counts == {cow: (2, 4)}
    # The name is free, and no other class gets the id.
    again = add_class(scene.store, scene.project.id, "cat")
    assert again.id not in (cat, dog, cow)
    changed = replace_annotation(
        scene.store, first.id, user_id=scene.ann, version=1, rle=first.rle, class_id=again.id
    )
    assert changed.class_id == again.id


def test_only_unused_classes_are_deleted(scene, classes, rle_of, refusal):
    cat, dog, _ = (one.id for one in classes)
    mask = save(scene, rle_of, cat)
    with refusal(StoreError, "1 mask has the class 'cat': merge it into another one"):
        delete_class(scene.store, cat)
    delete_annotation(scene.store, mask.id, user_id=scene.ann, version=1)
    delete_class(scene.store, cat)
    assert names(scene) == ["dog", "cow"]
    restored = undo_annotation(scene.store, mask.id, user_id=scene.ann, version=2)
    assert restored.class_id is None
    every = list_classes(scene.store, scene.project.id, with_removed=True)
    assert [one.name for one in every] == [f"cat (removed {cat})", "dog", "cow"]
    with refusal(MissingError, f"there is no class {cat}"):
        merge_classes(scene.store, cat, into=dog)


def test_classes_of_different_projects_are_not_merged(scene, classes, image_folder, refusal):
    other = create_project(scene.store, name="other", root=image_folder)
    foreign = add_class(scene.store, other.id, "cat")
    for into in (foreign.id, classes[0].id):
        with refusal(StoreError, "cannot be merged into"):
            merge_classes(scene.store, classes[0].id, into=into)
