"""Teams by REST: members of projects."""

import pytest
from starlette.websockets import WebSocketDisconnect

from samkit.dataengine import save_annotation, set_members

NAMES = ("project_id", "image_id", "annotation_id", "class_id")


def test_members_are_read_by_reviewers_and_set_by_admins(server):
    scene = server.scene
    path = f"/api/projects/{scene.project.id}/members"
    answer = server.adm.put(path, json={"user_ids": [scene.ann, scene.rev]}).json()
    assert (answer["everybody"], answer["user_ids"]) == (False, [scene.ann, scene.rev])
    assert [one["name"] for one in answer["people"]] == ["ann", "rev", "adm"]
    assert server.rev.get(path).json() == answer
    assert server.adm.put(path, json={"user_ids": [999]}).status_code == 404
    assert server.adm.put(path, json={}).status_code == 422
    assert server.adm.put(path, json={"user_ids": None}).json()["everybody"]


def test_nothing_of_a_project_is_there_for_whoever_is_no_member(sqlite_server, rle_of, operations):
    scene, bob = sqlite_server.scene, sqlite_server.bob
    image_id = scene.hold(scene.ann)
    mask = save_annotation(
        scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 2, 2)
    )
    made = sqlite_server.rev.post(
        f"/api/projects/{scene.project.id}/classes", json={"name": "cell"}
    )
    keys = (scene.project.id, image_id, mask.id, made.json()["id"])
    assert bob.get(f"/api/images/{image_id}").status_code == 200
    set_members(scene.store, scene.project.id, [scene.ann], user_id=scene.adm)
    asked = 0
    for method, path in operations:
        own = path
        for name, key in zip(NAMES, keys, strict=True):
            own = own.replace(f"{{{name}}}", str(key))
        if own != path and "{" not in own:
            asked += 1
            for browser in (bob, sqlite_server.rev):
                answer = browser.request(method, own, json={})
                assert answer.status_code in (403, 404), (method, path)
                if answer.status_code == 404:
                    assert answer.json()["detail"].startswith("there is no "), (method, path)
    assert asked > 50
    assert bob.get("/api/projects").json()["items"] == []
    assert sqlite_server.ann.get(f"/api/images/{image_id}").status_code == 200
    with bob.websocket_connect(f"/api/images/{image_id}/prompt") as socket:
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 4404


def test_images_are_assigned_and_people_told(server):
    scene = server.scene
    ids = [one.id for one in scene.images]
    path = f"/api/projects/{scene.project.id}"
    body = {"image_ids": ids[:2], "user_ids": [scene.ann, scene.bob], "deal": True}
    answer = server.rev.post(
        f"{path}/images/assign", json={**body, "batch": "b", "priority": "high"}
    )
    assert [(one["id"], one["batch"], one["priority"]) for one in answer.json()["images"]] == [
        (ids[0], "b", "high"),
        (ids[1], "b", "high"),
    ]
    assert server.bob.get(f"/api/images/{ids[1]}/assignees").json()["items"] == [
        {"user_id": scene.bob, "user_name": "bob"}
    ]
    batches = server.ann.get(f"{path}/batches").json()["items"]
    assert [(one["batch"], one["num_images"]) for one in batches] == [("", 2), ("b", 2)]
    (work,) = server.bob.get("/api/session/work").json()["items"]
    assert (work["num_returned"], work["num_assigned"]) == (0, 1)
    assert server.bob.post(f"{path}/next").json()["lease"]["image"]["id"] == ids[1]
    found = server.rev.get(f"{path}/images", params={"batch": "b", "assigned_to": scene.ann})
    assert [one["id"] for one in found.json()["items"]] == [ids[0]]
    assert server.ann.get(f"{path}/images", params={"assigned_to": scene.bob}).status_code == 403
    wrong = {"image_ids": ids, "priority": "soon"}
    assert server.rev.post(f"{path}/images/assign", json=wrong).status_code == 422


def test_comments(server):
    image_id = server.scene.images[0].id
    path = f"/api/images/{image_id}/comments"
    made = server.rev.post(path, json={"text": "here", "xy": [3, 4]})
    assert (made.status_code, made.json()["xy"]) == (201, [3, 4])
    own = f"/api/comments/{made.json()['id']}"
    answered = server.ann.post(f"{own}/answers", json={"text": "done"}).json()
    assert [(one["user_name"], one["text"]) for one in answered["comments"]] == [
        ("rev", "here"),
        ("ann", "done"),
    ]
    assert server.rev.put(f"{own}/resolved", json={"resolved": True}).json()["resolved"]
    assert server.bob.get(path).json()["items"] == [{**answered, "resolved": True}]
    assert server.bob.get(f"/api/images/{image_id}").json()["num_open_comments"] == 0
    for wrong in ({"text": "x", "xy": [1]}, {"text": ""}, {"text": "x", "xy": [-1, 0]}):
        assert server.ann.post(path, json=wrong).status_code == 422
    found = server.ann.get(
        f"/api/projects/{server.scene.project.id}/images", params={"commented": True}
    )
    assert found.json()["items"] == []


def test_single_masks_are_judged(server, rle_of):
    scene = server.scene
    image_id = scene.hold(scene.ann)
    mask = save_annotation(
        scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 2, 2)
    )
    server.ann.post(f"/api/images/{image_id}/submit")
    path = f"/api/annotations/{mask.id}/verdict"
    judged = server.rev.put(path, json={"version": 1, "verdict": "rejected"})
    assert judged.json()["verdict"] == "rejected"
    (seen,) = server.ann.get(f"/api/images/{image_id}/annotations").json()["items"]
    assert seen == judged.json()
    version = server.rev.get(f"/api/images/{image_id}").json()["version"]
    refused = server.rev.post(f"/api/images/{image_id}/accept", json={"version": version})
    assert refused.status_code == 422
    assert server.rev.put(path, json={"version": 1, "verdict": None}).json()["verdict"] is None
    assert server.rev.put(path, json={"version": 1, "verdict": "good"}).status_code == 422


def test_honey_pots(server, rle_of):
    scene = server.scene
    image_id = scene.hold(scene.bob)
    save_annotation(scene.store, image_id=image_id, user_id=scene.bob, rle=rle_of(0, 0, 4, 4))
    version = server.bob.post(f"/api/images/{image_id}/submit").json()["version"]
    server.rev.post(f"/api/images/{image_id}/accept", json={"version": version})
    path = f"/api/projects/{scene.project.id}/honey_pots"
    made = server.rev.post(path, json={"image_ids": [image_id]})
    assert (made.status_code, made.json()["every"]) == (201, 10)
    assert server.ann.get(f"/api/images/{image_id}").json()["review"] == "none"
    assert server.ann.get(f"/api/images/{image_id}/reviews").json()["items"] == []
    scene.hold(scene.ann)
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=rle_of(0, 0, 4, 2))
    server.ann.post(f"/api/images/{image_id}/submit")
    assert server.ann.get(f"/api/images/{image_id}/agreement").json()["items"] == []
    found = server.rev.put(f"{path}/every", json={"every": 5}).json()
    assert (found["every"], found["images"][0]["num_masks"]) == (5, 1)
    (person,) = found["people"]
    assert (person["user_name"], person["num_images"], person["mean_iou"]) == ("ann", 1, 0.5)
    ended = server.rev.post(f"{path}/end", json={"image_ids": [image_id]}).json()
    assert ended["images"][0]["ended_at"] is not None
    assert server.rev.get(f"/api/images/{image_id}").json()["review"] == "accepted"
    assert server.rev.post(f"{path}/end", json={"image_ids": [image_id]}).status_code == 422


def test_reviewers_see_who_holds_what(server):
    scene = server.scene
    path = f"/api/projects/{scene.project.id}/holders"
    assert server.rev.get(path).json()["items"] == []
    image_id = scene.hold(scene.ann, 2)
    (held,) = server.rev.get(path).json()["items"]
    assert (held["image_id"], held["path"], held["user_name"]) == (image_id, "deep/c.png", "ann")
    server.ann.delete(f"/api/images/{image_id}/lease")
    assert server.rev.get(path).json()["items"] == []
