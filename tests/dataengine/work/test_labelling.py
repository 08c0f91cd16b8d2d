"""Attributes of masks, tags of images, keys of classes, required classes, and their history."""

import pytest

from samkit.dataengine import (
    Attribute,
    Labelling,
    accept_image,
    add_class,
    annotation_history,
    change_class,
    count_values,
    delete_class,
    delete_project,
    get_image,
    get_labelling,
    image_changes,
    image_tags,
    list_annotations,
    list_classes,
    redo_annotation,
    redo_tags,
    replace_annotation,
    restore_submissions,
    save_annotation,
    set_labelling,
    set_num_annotators,
    set_tags,
    submit_image,
    tag_history,
    take_image,
    undo_annotation,
    undo_tags,
)
from samkit.errors import ConflictError, MissingError, StoreError

LABELLING = Labelling(
    attributes=(
        Attribute(name="colour", kind="choice", choices=("red", "blue")),
        Attribute(name="age", kind="number"),
        Attribute(name="note", kind="text"),
        Attribute(name="mitotic", kind="flag"),
    ),
    tags=("blurred", "night"),
)


@pytest.fixture
def labelled(scene):
    set_labelling(scene.store, scene.project.id, LABELLING)
    return scene


@pytest.fixture
def save(labelled, rle_of):
    """Saves a mask on the first image, which ann holds."""
    image_id = labelled.hold(labelled.ann)

    def make(**more):
        given = {"image_id": image_id, "user_id": labelled.ann, "rle": rle_of(1, 2, 5, 6)}
        return save_annotation(labelled.store, **(given | more))

    return make


def test_what_people_are_asked_for_is_stored(scene, refusal):
    assert get_labelling(scene.store, scene.project.id) == Labelling()
    set_labelling(scene.store, scene.project.id, LABELLING)
    assert get_labelling(scene.store, scene.project.id) == LABELLING
    with refusal(MissingError, "there is no project 99"):
        get_labelling(scene.store, 99)
    with refusal(MissingError, "there is no project 99"):
        set_labelling(scene.store, 99, LABELLING)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attribute(name="", kind="flag"), "must have 1 to 100 characters"),
        (lambda: Attribute(name="a\nb", kind="flag"), "must be one line of printable text"),
        (lambda: Attribute(name="a", kind="date"), "kind must be one of flag, choice, number"),
        (lambda: Attribute(name="a", kind="choice"), "is a choice with 0"),
        (lambda: Attribute(name="a", kind="text", choices=("b",)), "is a text with 1"),
        (lambda: Attribute(name="a", kind="choice", choices=("b", "b")), "must differ"),
        (lambda: Attribute(name="crowd", kind="text"), "is a flag of every project"),
        (lambda: Labelling(tags=("a", "a")), "the tags must differ"),
        (lambda: Labelling(tags=tuple(map(str, range(101)))), "at most 100 tags; got 101"),
        (
            lambda: Labelling(attributes=(Attribute(name="occluded", kind="flag"),)),
            "occluded: every project has this flag already",
        ),
    ],
)
def test_labellings_check_themselves(make, message, refusal):
    with refusal(StoreError, message):
        make()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({}, {}),
        ({"occluded": True, "truncated": False}, {"occluded": True}),
        ({"occluded": 1, "crowd": "true", "difficult": "0"}, {"crowd": True, "occluded": True}),
        ({"colour": "red", "age": 3.0}, {"age": 3, "colour": "red"}),
        ({"age": "2.5", "note": ""}, {"age": 2.5}),
        ({"age": None, "note": 7}, {"note": "7"}),
        ({"note": "Ü <b>", "mitotic": True}, {"mitotic": True, "note": "Ü <b>"}),
        ({"age": 10**400}, "the attribute 'age' is a number"),
        ({"age": float("nan")}, "the attribute 'age' is a number; got nan"),
        ({"age": True}, "the attribute 'age' is a number; got True"),
        ({"colour": "green"}, "the attribute 'colour' is one of red, blue; got 'green'"),
        ({"mitotic": "maybe"}, "the attribute 'mitotic' is a flag; got 'maybe'"),
        ({"mitotic": 2}, "the attribute 'mitotic' is a flag; got 2"),
        ({"note": ["a"]}, "the attribute 'note' is a text"),
        ({"note": "a\x00b"}, "must be one line of printable text"),
        ({"size": 1}, "the project has no attribute 'size'"),
    ],
)
def test_values_fit_their_attribute(given, stored, save, labelled, refusal):
    if isinstance(stored, str):
        with refusal(StoreError, stored):
            save(attributes=given)
        return
    assert save(attributes=given).attributes == stored
    assert list_annotations(labelled.store, labelled.images[0].id)[0].attributes == stored


def test_attributes_are_part_of_a_masks_history(save, labelled):
    store, ann = labelled.store, labelled.ann
    first = save(attributes={"age": 1})
    other = {"user_id": ann, "rle": first.rle, "class_id": None}
    second = replace_annotation(
        store, first.id, version=1, attributes={"age": 2, "crowd": True}, **other
    )
    assert (second.attributes, second.score) == ({"age": 2, "crowd": True}, None)
    third = replace_annotation(store, first.id, version=2, **other)
    assert third.attributes == {"age": 2, "crowd": True}  # left as they were
    undone = undo_annotation(store, first.id, user_id=ann, version=3)
    undone = undo_annotation(store, first.id, user_id=ann, version=undone.version)
    assert undone.attributes == {"age": 1}
    redone = redo_annotation(store, first.id, user_id=ann, version=undone.version)
    assert redone.attributes == {"age": 2, "crowd": True}
    states = [dict(one.attributes) for one in annotation_history(store, first.id)]
    both = {"age": 2, "crowd": True}
    assert states == [{"age": 1}, both, both, both, {"age": 1}, both]


def test_values_stay_when_their_attribute_is_no_longer_offered(save, labelled, refusal):
    store = labelled.store
    one = save(attributes={"age": 1, "colour": "red"})
    fewer = Labelling(attributes=(Attribute(name="colour", kind="choice", choices=("blue",)),))
    set_labelling(store, labelled.project.id, fewer)
    same = {"user_id": labelled.ann, "rle": one.rle, "class_id": None}
    more = {**one.attributes, "crowd": True}
    changed = replace_annotation(store, one.id, version=1, attributes=more, **same)
    assert changed.attributes == {"age": 1, "colour": "red", "crowd": True}
    with refusal(StoreError, "the project has no attribute 'age'"):
        replace_annotation(store, one.id, version=2, attributes={"age": 2}, **same)
    cleared = replace_annotation(store, one.id, version=2, attributes={}, **same)
    undone = undo_annotation(store, one.id, user_id=labelled.ann, version=cleared.version)
    assert undone.attributes == changed.attributes


def test_what_a_person_submitted_comes_back_with_its_attributes(save, labelled):
    store, image_id = labelled.store, labelled.images[0].id
    one = save(attributes={"age": 1})
    submit_image(store, image_id, labelled.ann)
    take_image(store, image_id, labelled.rev)
    changed = replace_annotation(
        store,
        one.id,
        user_id=labelled.rev,
        version=1,
        rle=one.rle,
        class_id=None,
        attributes={},
    )
    assert changed.attributes == {}
    version = get_image(store, image_id).version
    restore_submissions(store, image_id, labelled.rev, version=version, of=[labelled.ann])
    assert list_annotations(store, image_id)[0].attributes == {"age": 1}


def test_tags_are_set_undone_and_redone(labelled, clock, refusal):
    store, ann, image_id = labelled.store, labelled.ann, labelled.hold(labelled.ann)
    assert image_tags(store, image_id).tags == ()
    first = set_tags(store, image_id, user_id=ann, version=0, tags=["night", "blurred", "night"])
    assert (first.tags, first.version) == (("blurred", "night"), 1)  # in the project's order
    clock.advance(seconds=1)
    second = set_tags(store, image_id, user_id=ann, version=1, tags=["night"])
    assert get_image(store, image_id).tags == ("night",)
    undone = undo_tags(store, image_id, user_id=ann, version=second.version)
    assert undone.tags == ("blurred", "night")
    undone = undo_tags(store, image_id, user_id=ann, version=undone.version)
    assert undone.tags == ()
    with refusal(StoreError, "the tags of a.png have nothing to undo"):
        undo_tags(store, image_id, user_id=ann, version=undone.version)
    redone = redo_tags(store, image_id, user_id=ann, version=undone.version)
    assert (redone.tags, redone.version) == (("blurred", "night"), 5)
    history = tag_history(store, image_id)
    assert [(one.version, one.change, len(one.tags)) for one in history] == [
        (1, "edit", 2),
        (2, "edit", 1),
        (3, "undo", 2),
        (4, "undo", 0),
        (5, "redo", 2),
    ]
    changes = image_changes(store, image_id, user_id=ann)
    assert [(one.annotation_id, one.version, one.change) for one in changes] == [
        (None, one.version, one.change) for one in history
    ]


def test_tags_are_refused(labelled, refusal):
    store, image_id = labelled.store, labelled.images[0].id
    change = {"user_id": labelled.ann, "version": 0, "tags": ["night"]}
    with refusal(ConflictError, "take"):
        set_tags(store, image_id, **change)
    labelled.hold(labelled.ann)
    with refusal(StoreError, "the project has no tag 'foggy'"):
        set_tags(store, image_id, **(change | {"tags": ["foggy"]}))
    set_tags(store, image_id, **change)
    with refusal(ConflictError, "are at version 1 now; the change is based on 0"):
        set_tags(store, image_id, **change)
    set_labelling(store, labelled.project.id, Labelling())
    assert image_tags(store, image_id).tags == ("night",)
    with refusal(MissingError, "there is no image 99"):
        image_tags(store, 99)


def test_changes_of_masks_and_tags_are_in_one_order(save, labelled, clock):
    store, ann, image_id = labelled.store, labelled.ann, labelled.images[0].id
    ids = []
    for version in range(2):
        ids.append(save(attributes={"age": version}).id)
        clock.advance(seconds=1)
        set_tags(store, image_id, user_id=ann, version=version, tags=["night"] * (1 - version))
        clock.advance(seconds=1)
    changes = image_changes(store, image_id, user_id=ann)
    assert [one.annotation_id for one in changes] == [ids[0], None, ids[1], None]


def test_accepted_images_are_to_be_reviewed_again_when_a_tag_changes(labelled):
    store, image_id = labelled.store, labelled.hold(labelled.ann)
    submit_image(store, image_id, labelled.ann)
    accept_image(store, image_id, labelled.rev, version=get_image(store, image_id).version)
    take_image(store, image_id, labelled.rev)
    before = get_image(store, image_id).version
    set_tags(store, image_id, user_id=labelled.rev, version=0, tags=["night"])
    after = get_image(store, image_id)
    assert (after.review, after.version, after.tags) == ("submitted", before + 1, ("night",))


def test_values_and_tags_are_counted(save, labelled):
    store = labelled.store
    for age in (1, 2):
        save(attributes={"age": age, "colour": "red", "crowd": True})
    save(attributes={"colour": "blue", "note": "x"})
    save()
    set_tags(store, labelled.images[0].id, user_id=labelled.ann, version=0, tags=["night"])
    counts = count_values(store, labelled.project.id)
    assert [(one.name, one.value, one.count) for one in counts] == [
        ("", "night", 1),
        ("age", None, 2),
        ("colour", "blue", 1),
        ("colour", "red", 2),
        ("crowd", True, 2),
        ("note", None, 1),
    ]


def test_masks_need_a_class_where_the_project_requires_one(save, labelled, rle_of, refusal):
    store, image_id = labelled.store, labelled.images[0].id
    set_labelling(store, labelled.project.id, Labelling(class_required=True))
    cat = add_class(store, labelled.project.id, "cat")
    save(class_id=cat.id)
    one = save()
    with refusal(StoreError, "a.png: 1 mask has no class, which the project requires"):
        submit_image(store, image_id, labelled.ann)
    replace_annotation(store, one.id, user_id=labelled.ann, version=1, rle=one.rle, class_id=cat.id)
    assert submit_image(store, image_id, labelled.ann).review == "submitted"


def test_others_masks_without_a_class_do_not_keep_one_from_submitting(save, labelled):
    store, image_id = labelled.store, labelled.images[0].id
    set_num_annotators(store, image_id, 2, user_id=labelled.rev)
    save()
    submit_image(store, image_id, labelled.ann)
    set_labelling(store, labelled.project.id, Labelling(class_required=True))
    take_image(store, image_id, labelled.bob)
    assert submit_image(store, image_id, labelled.bob).review == "submitted"


def test_classes_have_keys_of_their_own(scene, refusal):
    cat, dog = (add_class(scene.store, scene.project.id, name) for name in ("cat", "dog"))
    assert (cat.key, change_class(scene.store, cat.id, key="Alt+c").key) == ("", "Alt+c")
    with refusal(StoreError, "the key Alt+c is that of 'cat': choose another"):
        change_class(scene.store, dog.id, key="Alt+c")
    with refusal(StoreError, "a key must have 1 to 20 characters"):
        change_class(scene.store, dog.id, key="x" * 21)
    delete_class(scene.store, cat.id)
    change_class(scene.store, dog.id, key="Alt+c", name="hound")
    change_class(scene.store, dog.id, color="#000000")
    assert [one.key for one in list_classes(scene.store, scene.project.id)] == ["Alt+c"]
    assert change_class(scene.store, dog.id, key="").key == ""


def test_projects_with_tags_can_be_deleted(labelled):
    image_id = labelled.hold(labelled.ann)
    set_tags(labelled.store, image_id, user_id=labelled.ann, version=0, tags=["night"])
    delete_project(labelled.store, labelled.project.id)
    with pytest.raises(MissingError):
        tag_history(labelled.store, image_id)
