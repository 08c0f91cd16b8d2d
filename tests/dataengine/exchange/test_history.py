"""Export of the edit history as JSON lines."""

import json

import numpy as np

from samkit.dataengine import (
    NewEvent,
    accept_image,
    add_class,
    add_model_version,
    delete_annotation,
    export_history,
    replace_annotation,
    save_annotation,
    submit_image,
    undo_annotation,
)
from samkit.geometry import decode_rle


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_prompt_and_state_is_there(scene, rle_of, tmp_path):
    store, image_id = scene.store, scene.hold(scene.ann)
    cat = add_class(store, scene.project.id, "cat").id
    model = add_model_version(store, name="tiny", checksum="0" * 64, path="tiny").id
    click = NewEvent(
        kind="point", data={"xy": [3, 4], "label": 1}, duration_ms=900, model_version_id=model
    )
    stroke = NewEvent(kind="brush", data={"points": [[5, 5]], "radius_px": 2}, duration_ms=400)
    small, large = rle_of(2, 3, 5, 6), rle_of(2, 3, 7, 8)
    mine = {"user_id": scene.ann}
    one = save_annotation(store, image_id=image_id, rle=small, events=[click], score=0.5, **mine)
    replace_annotation(store, one.id, version=1, rle=large, class_id=cat, events=[stroke], **mine)
    undo_annotation(store, one.id, version=2, **mine)
    other = save_annotation(store, image_id=image_id, rle=large, **mine)
    delete_annotation(store, other.id, version=1, **mine)

    assert export_history(store, scene.project.id, tmp_path / "all.jsonl") == 2
    first, second = lines_of(tmp_path / "all.jsonl")
    head = {key: value for key, value in first.items() if key not in ("revisions", "sha256")}
    assert head == {
        "file_name": "a.png",
        "height": 12,
        "width": 16,
        "annotation_id": one.id,
        "user": "ann",
        "tags": [],
        "class": None,
        "attributes": {},
        "stage": "assisted-manual",
        "score": 0.5,
        "deleted": False,
    }
    assert first["sha256"] == scene.images[0].sha256
    states = first["revisions"]
    shown = [(one["version"], one["change"], one["class"], one["user"]) for one in states]
    assert shown == [(1, "edit", None, "ann"), (2, "edit", "cat", "ann"), (3, "undo", None, "ann")]
    assert [int(decode_rle(one["rle"]).sum()) for one in states] == [9, 25, 9]
    assert [[cause["kind"] for cause in one["events"]] for one in states] == [
        ["point"],
        ["brush"],
        ["undo"],
    ]
    (cause,) = states[0]["events"]
    assert (cause["data"], cause["duration_ms"], cause["model"]) == (
        {"xy": [3, 4], "label": 1},
        900,
        "tiny",
    )
    np.testing.assert_array_equal(np.argwhere(decode_rle(states[0]["rle"]))[0], [3, 2])
    assert second["deleted"]
    assert [one["deleted"] for one in second["revisions"]] == [False, True]


def test_only_accepted_images_where_asked(scene, rle_of, tmp_path):
    store = scene.store
    for index in (0, 1):
        image_id = scene.hold(scene.ann, index)
        save_annotation(store, image_id=image_id, user_id=scene.ann, rle=rle_of(1, 1, 3, 3))
        image = submit_image(store, image_id, scene.ann)
    accept_image(store, image.id, scene.rev, version=image.version)
    path = tmp_path / "accepted.jsonl"
    assert export_history(store, scene.project.id, path, states=["accepted"]) == 1
    assert [one["file_name"] for one in lines_of(path)] == ["b.png"]
