"""Attributes, tags, keys of classes and required classes through the API."""

import pytest

LABELLING = {
    "attributes": [
        {"name": "age", "kind": "number", "choices": []},
        {"name": "colour", "kind": "choice", "choices": ["red", "blue"]},
    ],
    "tags": ["blurred", "night"],
    "class_required": False,
}


@pytest.fixture
def labelled(server):
    path = f"/api/projects/{server.scene.project.id}/labelling"
    assert server.rev.put(path, json=LABELLING).json() == LABELLING
    return server


@pytest.fixture
def held(labelled):
    image_id = labelled.scene.images[0].id
    assert labelled.ann.post(f"/api/images/{image_id}/lease").status_code == 200
    return image_id


def detail(answer):
    assert answer.status_code == 422
    return answer.json()["detail"]


def test_reviewers_say_what_people_are_asked_for(labelled):
    path = f"/api/projects/{labelled.scene.project.id}/labelling"
    assert labelled.ann.get(path).json() == LABELLING
    assert labelled.ann.put(path, json=LABELLING).status_code == 403
    twice = {"tags": ["a", "a"]}
    assert detail(labelled.rev.put(path, json=twice)) == "the tags must differ; got 'a, a'"
    assert labelled.rev.put(path, json={}).json() == {
        "attributes": [],
        "tags": [],
        "class_required": False,
    }
    assert labelled.rev.get("/api/projects/99/labelling").status_code == 404


def test_masks_have_attributes(labelled, held, rle_of):
    ann, body = labelled.ann, {"rle": rle_of(2, 3, 9, 8)}
    values = {"age": 3, "colour": "red", "occluded": True}
    made = ann.post(f"/api/images/{held}/annotations", json={**body, "attributes": values})
    assert (made.status_code, made.json()["attributes"]) == (201, values)
    path = f"/api/annotations/{made.json()['id']}"
    changed = ann.put(path, json={**body, "version": 1, "attributes": {"age": 2.5}}).json()
    assert changed["attributes"] == {"age": 2.5}
    assert ann.put(path, json={**body, "version": 2}).json()["attributes"] == {"age": 2.5}
    for _ in range(2):
        version = ann.get(f"{path}/history").json()["items"][-1]["version"]
        undone = ann.post(f"{path}/undo", json={"version": version}).json()
    assert undone["attributes"] == values
    states = ann.get(f"{path}/history").json()["items"]
    assert [one["attributes"].get("age") for one in states] == [3, 2.5, 2.5, 2.5, 3]
    wrong = ann.put(path, json={**body, "version": 5, "attributes": {"colour": "green"}})
    assert detail(wrong) == "the attribute 'colour' is one of red, blue; got 'green'"
    nested = ann.put(path, json={**body, "version": 5, "attributes": {"age": [1]}})
    assert nested.status_code == 422


def test_images_have_tags(labelled, held):
    ann, path = labelled.ann, f"/api/images/{held}/tags"
    assert ann.get(path).json() == {"image_id": held, "tags": [], "version": 0}
    first = ann.put(path, json={"version": 0, "tags": ["night", "blurred"]})
    assert first.json() == {"image_id": held, "tags": ["blurred", "night"], "version": 1}
    assert ann.get(f"/api/images/{held}").json()["tags"] == ["blurred", "night"]
    assert ann.post(f"{path}/undo", json={"version": 1}).json()["tags"] == []
    assert ann.post(f"{path}/redo", json={"version": 2}).json()["tags"] == ["blurred", "night"]
    history = ann.get(f"{path}/history").json()["items"]
    assert [(one["change"], len(one["tags"])) for one in history] == [
        ("edit", 2),
        ("undo", 0),
        ("redo", 2),
    ]
    changes = ann.get(f"/api/images/{held}/changes").json()["items"]
    assert [(one["annotation_id"], one["change"]) for one in changes] == [
        (None, "edit"),
        (None, "undo"),
        (None, "redo"),
    ]
    assert ann.put(path, json={"version": 1, "tags": []}).status_code == 409
    unknown = ann.put(path, json={"version": 3, "tags": ["foggy"]})
    assert detail(unknown) == "the project has no tag 'foggy'"
    assert labelled.bob.put(path, json={"version": 3, "tags": []}).status_code == 409
    counts = ann.get(f"/api/projects/{labelled.scene.project.id}/labelling/counts").json()
    assert [(one["name"], one["value"], one["count"]) for one in counts["items"]] == [
        ("", "blurred", 1),
        ("", "night", 1),
    ]


def test_classes_have_keys(labelled):
    base = f"/api/projects/{labelled.scene.project.id}/classes"
    one, other = (labelled.rev.post(base, json={"name": name}).json() for name in ("cat", "dog"))
    changed = labelled.rev.patch(f"/api/classes/{one['id']}", json={"key": "Alt+c"}).json()
    assert (changed["key"], changed["name"]) == ("Alt+c", "cat")
    taken = labelled.rev.patch(f"/api/classes/{other['id']}", json={"key": "Alt+c"})
    assert detail(taken) == "the key Alt+c is that of 'cat': choose another"


def test_images_need_classes_where_the_project_requires_them(labelled, held, rle_of):
    path = f"/api/projects/{labelled.scene.project.id}/labelling"
    labelled.rev.put(path, json={**LABELLING, "class_required": True})
    labelled.ann.post(f"/api/images/{held}/annotations", json={"rle": rle_of(2, 3, 9, 8)})
    refused = labelled.ann.post(f"/api/images/{held}/submit")
    assert detail(refused) == (
        "a.png: 1 mask has no class, which the project requires: choose one for each"
    )
