"""An image's way through the API: take, annotate, undo, submit, review, export."""

import io
import json
import zipfile

import pytest
from sqlalchemy import text


@pytest.fixture
def held(server):
    """An image that ann holds."""
    lease = server.ann.post(f"/api/projects/{server.scene.project.id}/next").json()["lease"]
    assert lease["user_id"] == server.scene.ann
    return lease["image"]["id"]


@pytest.fixture
def save(server, held, rle_of):
    """Save a mask as ann."""

    def post(box=(2, 3, 9, 8), browser=None, **more):
        body = {"rle": rle_of(*box), **more}
        return (browser or server.ann).post(f"/api/images/{held}/annotations", json=body)

    return post


def code(answer):
    """Status and detail of a refusal, which is one line."""
    detail = answer.json()["detail"]
    assert answer.json().keys() == {"detail"}
    assert len(detail.splitlines()) == 1
    return answer.status_code, detail


def test_mask_is_kept_with_its_events(server, save, rle_of):
    event = {"kind": "point", "data": {"xy": [3, 4], "label": 1}, "duration_ms": 1500}
    made = save(events=[event], score=0.9, request_id="r")
    assert made.status_code == 201
    one = made.json()
    assert one["rle"] == rle_of(2, 3, 9, 8)
    assert (one["box_xyxy"], one["area_px"]) == ([2, 3, 9, 8], 35)
    assert (one["user_name"], one["num_clicks"], one["duration_ms"]) == ("ann", 1, 1500)
    assert save(events=[event], score=0.9, request_id="r").json() == one
    listed = server.bob.get(f"/api/images/{one['image_id']}/annotations").json()
    assert listed == {"items": [one], "next_after": None}
    events = server.ann.get(f"/api/annotations/{one['id']}/events").json()["items"]
    assert [(each["kind"], each["data"]) for each in events] == [("point", event["data"])]


def test_masks_are_changed_undone_and_redone(server, save, rle_of):
    ann, one = server.ann, save().json()
    path = f"/api/annotations/{one['id']}"
    changed = ann.put(path, json={"version": 1, "rle": rle_of(0, 0, 5, 5), "class_id": None})
    assert changed.json()["area_px"] == 25
    assert ann.post(f"{path}/undo", json={"version": 2}).json()["area_px"] == 35
    assert ann.post(f"{path}/redo", json={"version": 3}).json()["area_px"] == 25
    gone = ann.delete(path, params={"version": 4})
    assert gone.json()["deleted"] is True
    image = f"/api/images/{one['image_id']}/annotations"
    assert ann.get(image).json()["items"] == []
    assert len(ann.get(image, params={"deleted": True}).json()["items"]) == 1
    states = ann.get(f"{path}/history").json()["items"]
    assert [state["change"] for state in states] == ["edit", "edit", "undo", "redo", "edit"]


def test_conflicts_are_409(server, save, held, rle_of):
    one = save().json()
    stale = {"version": 7, "rle": rle_of(0, 0, 5, 5)}
    assert code(server.ann.put(f"/api/annotations/{one['id']}", json=stale))[0] == 409
    assert code(save(browser=server.bob))[0] == 409
    assert code(server.bob.post(f"/api/images/{held}/lease"))[0] == 409
    assert server.ann.delete(f"/api/images/{held}/lease").status_code == 204
    assert code(save())[0] == 409
    assert server.bob.post(f"/api/images/{held}/lease").json()["user_id"] == server.scene.bob


MALFORMED = [
    {"size": [12, 16], "counts": "0"},
    {"size": [2**31 - 1, 2**31 - 1], "counts": "oooo3"},
    {"size": [12, 16], "counts": "ooooooooooooooo"},
    {"size": [12, 16], "counts": "\u00ff\u0000"},
    {"size": [12, 16], "counts": ""},
    {"size": [12, 16], "counts": [-5, 197]},
    {"size": [12, -16], "counts": "0"},
    {"size": [12], "counts": "0"},
    {"size": [12, 16], "counts": "P" * 100_000},
    {"counts": "0"},
    None,
    "0",
]


def test_malformed_codes_are_422(save):
    answers = {str(rle)[:80]: code(save(rle=rle))[0] for rle in MALFORMED}
    assert answers == dict.fromkeys(answers, 422)


def test_what_is_unknown_is_404(server, rle_of):
    ann = server.ann
    below = [f"images/99/{name}" for name in ("annotations", "content")]
    for path in ("projects/99", "images/99", "jobs/99", *below):
        assert code(ann.get(f"/api/{path}"))[0] == 404
    body = {"version": 1, "rle": rle_of(0, 0, 5, 5)}
    assert code(ann.put("/api/annotations/99", json=body))[0] == 404
    assert code(ann.get("/api/nothing"))[0] == 404
    assert code(ann.get(f"/api/images/{2**62}"))[0] == 404


def test_review(server, save, held):
    save()
    rev = server.rev
    assert server.ann.post(f"/api/images/{held}/submit").json()["review"] == "submitted"
    assert code(server.ann.post(f"/api/images/{held}/accept", json={"version": 1}))[0] == 403
    version = rev.get(f"/api/images/{held}").json()["version"]
    body = {"version": version, "comment": "look at the left"}
    back = rev.post(f"/api/images/{held}/return", json=body).json()
    assert (back["review"], back["comment"]) == ("returned", "look at the left")
    lease = server.ann.post(f"/api/projects/{back['project_id']}/next").json()["lease"]
    assert lease["image"]["id"] == held
    version = server.ann.post(f"/api/images/{held}/submit").json()["version"]
    assert code(rev.post(f"/api/images/{held}/accept", json={"version": 1}))[0] == 409
    done = rev.post(f"/api/images/{held}/accept", json={"version": version}).json()
    assert done["review"] == "accepted"
    verdicts = rev.get(f"/api/images/{held}/reviews").json()["items"]
    assert [(one["verdict"], one["user_name"]) for one in verdicts] == [
        ("returned", "rev"),
        ("accepted", "rev"),
    ]


def test_lists_are_paged_and_filtered(server, held):
    path = f"/api/projects/{server.scene.project.id}/images"
    first = server.ann.get(path, params={"limit": 3}).json()
    rest = server.ann.get(path, params={"limit": 3, "after": first["next_after"]}).json()
    assert [len(page["items"]) for page in (first, rest)] == [3, 1]
    assert rest["next_after"] is None
    server.ann.post(f"/api/images/{held}/submit")
    found = server.ann.get(path, params={"review": "submitted"}).json()["items"]
    assert [one["id"] for one in found] == [held]
    for bad in ({"review": "x"}, {"limit": 0}, {"limit": 1001}, {"after": -1}):
        assert code(server.ann.get(path, params=bad))[0] == 422


def test_statistics_and_agreement(server, save, held, rle_of):
    server.rev.put(f"/api/images/{held}/num_annotators", json={"num_annotators": 2})
    made = save(events=[{"kind": "box", "duration_ms": 3000}]).json()
    server.ann.post(f"/api/images/{held}/submit")
    server.bob.post(f"/api/images/{held}/lease")
    assert server.bob.get(f"/api/images/{held}/annotations").json()["items"] == []
    for part in ("history", "events"):  # of the mask that the other one has made
        path = f"/api/annotations/{made['id']}/{part}"
        assert [one.get(path).status_code for one in (server.bob, server.rev)] == [403, 200]
    save((2, 3, 9, 8), browser=server.bob)
    server.bob.post(f"/api/images/{held}/submit")
    project = f"/api/projects/{server.scene.project.id}"
    numbers = server.ann.get(f"{project}/statistics").json()
    assert numbers["images"]["submitted"] == {
        "num_images": 1,
        "num_masks": 2,
        "masks_per_image": 2.0,
    }
    day = numbers["days"][0]
    assert (day["user_name"], day["seconds_per_mask"], day["clicks_per_mask"]) == ("ann", 3.0, 1.0)
    assert (day["stage"], day["num_corrected"]) == ("assisted-manual", 0)
    brief = server.ann.get(f"{project}/statistics", params={"days": "false"}).json()
    assert brief == numbers | {"days": []}
    for path in (f"{project}/agreement", f"/api/images/{held}/agreement"):
        (pair,) = server.rev.get(path).json()["items"]
        assert (pair["user_names"], pair["mean_iou"]) == (["ann", "bob"], 1.0)


def test_export_without_an_image_is_no_zip(server, held, save, tmp_path):
    """A zip would look complete."""
    save((0, 0, 4, 4))
    server.ann.post(f"/api/images/{held}/submit")
    with server.scene.store.write() as session:
        session.execute(text("UPDATE images SET path = 'gone.png' WHERE id = :id"), {"id": held})
    path = f"/api/projects/{server.scene.project.id}/export"
    status, message = code(server.rev.get(path, params={"format": "coco", "copy_images": True}))
    assert status == 422
    assert message.startswith("1 image cannot be exported: gone.png: no such file")
    assert message.endswith("`samkit engine export` exports the others")
    assert server.rev.get(path, params={"format": "coco"}).status_code == 200
    with server.scene.store.write() as session:
        session.execute(text("UPDATE images SET path = 'gone' || id, review = 'submitted'"))
    number = len(server.scene.images)
    _, message = code(server.rev.get(path, params={"format": "coco", "copy_images": True}))
    assert message.startswith(f"{number} images cannot be exported: gone")
    assert (message.count("no such file"), f"; and {number - 3} more. " in message) == (3, True)


def test_image_is_skipped_reported_and_reopened(server, held, save):
    image, ann = f"/api/images/{held}", server.ann
    assert code(ann.post(f"{image}/skip", json={"reason": " "}))[0] == 422
    assert code(server.bob.post(f"{image}/skip", json={"reason": "?"}))[0] == 409
    skipped = ann.post(f"{image}/skip", json={"reason": "too dark"}).json()
    assert (skipped["review"], skipped["comment"], skipped["open"]) == ("skipped", "too dark", True)
    project = f"/api/projects/{server.scene.project.id}"
    following = ann.post(f"{project}/next").json()["lease"]["image"]
    assert following["id"] != held
    assert server.bob.post(f"{project}/next").json()["lease"]["image"]["id"] == held
    reported = server.bob.post(f"{image}/unusable", json={"reason": "damaged"}).json()
    assert (reported["review"], reported["open"]) == ("unusable", False)
    found = server.rev.get(f"{image}/submissions").json()["items"]
    assert [(one["user_name"], one["outcome"], one["reason"]) for one in found] == [
        ("ann", "skipped", "too dark"),
        ("bob", "unusable", "damaged"),
    ]
    counts = ann.get(f"{project}/statistics").json()["images"]
    assert (counts["unusable"]["num_images"], counts["skipped"]["num_images"]) == (1, 0)
    listed = ann.get(f"{project}/images", params={"review": "unusable"}).json()["items"]
    assert [one["id"] for one in listed] == [held]
    at = {"version": reported["version"]}
    assert server.rev.post(f"{image}/reopen", json=at).json()["review"] == "none"
    history = ann.get(f"{image}/reviews").json()["items"]
    assert [one["verdict"] for one in history] == ["skipped", "unusable", "reopened"]


def test_one_persons_masks_are_taken_accepted_and_returned(server, save, held, rle_of):
    image = f"/api/images/{held}"
    server.rev.put(f"{image}/num_annotators", json={"num_annotators": 2})
    own = save((0, 0, 4, 4)).json()["id"]
    server.ann.post(f"{image}/submit")
    server.bob.post(f"{image}/lease")
    other = save((0, 0, 4, 2), browser=server.bob).json()["id"]
    version = server.bob.post(f"{image}/submit").json()["version"]
    refused = server.rev.post(f"{image}/accept", json={"version": version})
    assert code(refused)[0] == 422
    assert "has the masks of several people" in code(refused)[1]
    ann, bob = (one["user_id"] for one in server.rev.get(f"{image}/submissions").json()["items"])
    taken = server.rev.post(f"{image}/restore", json={"version": version, "user_ids": [bob]})
    listed = server.rev.get(f"{image}/annotations").json()["items"]
    assert [one["id"] for one in listed] == [other]
    at = {"version": taken.json()["version"], "user_ids": [ann, bob]}
    both = server.rev.post(f"{image}/restore", json=at).json()
    at = {"version": both["version"], "annotation_ids": [own]}
    accepted = server.rev.post(f"{image}/accept", json=at).json()
    assert (accepted["review"], accepted["num_masks"]) == ("accepted", 1)
    (pair,) = server.rev.get(f"{image}/agreement").json()["items"]
    assert pair["mean_iou"] == 0.5
    at = {"version": accepted["version"], "comment": "edge", "user_ids": [bob]}
    assert server.rev.post(f"{image}/return", json=at).json()["review"] == "returned"
    assert server.ann.post(f"{image}/lease").status_code == 403
    assert server.bob.post(f"{image}/lease").status_code == 200


def test_score_of_a_changed_mask_is_that_which_is_sent(server, save, rle_of):
    one = save(score=0.9).json()
    path, body = f"/api/annotations/{one['id']}", {"rle": rle_of(0, 0, 5, 5), "class_id": None}
    assert server.ann.put(path, json=body | {"version": 1}).json()["score"] is None
    changed = {"version": 2, "score": 0.7, "rle": rle_of(0, 0, 6, 6)}
    assert server.ann.put(path, json=body | changed).json()["score"] == 0.7
    history = server.ann.get(f"{path}/history").json()["items"]
    assert [state["score"] for state in history] == [0.9, None, 0.7]
    for score in (-5, 1e308):
        assert code(save(score=score))[0] == 422


def test_events_that_could_not_be_read_again_are_refused(server, save, held):
    nested = "x"
    for _ in range(900):
        nested = [nested]
    path = f"/api/images/{held}/annotations"
    for data in ('{"a": "\\ud800"}', json.dumps({"a": nested})):
        mask = json.dumps({"size": [12, 16], "counts": "P6"})
        body = f'{{"rle": {mask}, "events": [{{"kind": "point", "data": {data}}}]}}'
        answer = server.ann.post(path, content=body, headers={"Content-Type": "application/json"})
        assert code(answer)[0] == 422
    assert server.ann.get(path).json()["items"] == []


def test_classes(server, rle_of):
    path = f"/api/projects/{server.scene.project.id}/classes"
    rev, ann = server.rev, server.ann
    cell = rev.post(path, json={"name": "cell", "color": "#ff0000"}).json()
    assert server.bob.get(path).json()["items"] == [cell]
    assert code(rev.post(path, json={"name": "x", "color": "red"}))[0] == 422
    assert code(ann.post(path, json={"name": "x"}))[0] == 403
    cel, dot = (rev.post(path, json={"name": name}).json()["id"] for name in ("cel", "dot"))
    changed = rev.patch(f"/api/classes/{dot}", json={"name": "spot", "color": "#00ff00"}).json()
    assert (changed["id"], changed["name"], changed["color"]) == (dot, "spot", "#00ff00")
    order = rev.put(f"{path}/order", json={"class_ids": [dot, cel, cell["id"]]}).json()["items"]
    assert [one["name"] for one in order] == ["spot", "cel", "cell"]
    image = server.scene.hold(server.scene.ann)
    made = ann.post(
        f"/api/images/{image}/annotations", json={"rle": rle_of(2, 3, 9, 8), "class_id": cel}
    )
    assert made.status_code == 201
    assert code(rev.delete(f"/api/classes/{cel}"))[0] == 422
    assert rev.post(f"/api/classes/{cel}/merge", json={"into": cell["id"]}).json() == cell
    counts = ann.get(f"{path}/counts").json()["items"]
    assert counts == [{"class_id": cell["id"], "num_images": 1, "num_masks": 1}]
    assert rev.delete(f"/api/classes/{dot}").status_code == 204
    assert [one["name"] for one in ann.get(path).json()["items"]] == ["cell"]


def test_submission_is_taken_back(server):
    image = server.scene.hold(server.scene.ann)
    path = f"/api/images/{image}"
    assert server.ann.get(f"{path}/submission").json() == {"submission": None}
    server.ann.post(f"{path}/submit")
    own = server.ann.get(f"{path}/submission").json()["submission"]
    assert (own["user_name"], own["outcome"], own["returned"]) == ("ann", "annotated", False)
    assert code(server.bob.post(f"{path}/take_back"))[0] == 422
    lease = server.ann.post(f"{path}/take_back").json()
    assert (lease["user_id"], lease["image"]["review"]) == (server.scene.ann, "none")
    server.ann.post(f"{path}/submit")
    server.rev.post(f"{path}/lease")
    assert code(server.ann.post(f"{path}/take_back"))[0] == 409


def test_place_of_an_image(server):
    first, second, *_ = (one.id for one in server.scene.images)
    place = server.ann.get(f"/api/images/{first}/place").json()
    assert place == {
        "number": 1,
        "num_images": 4,
        "num_finished": 0,
        "previous_id": None,
        "next_id": second,
    }
    path = f"/api/projects/{server.scene.project.id}/images"
    found = server.ann.get(path, params={"name": "deep", "skip": 1}).json()["items"]
    assert [one["path"] for one in found] == ["deep/d.jpg"]


def test_changes_of_an_image_hide_what_others_do_alone(server, save):
    mask = save((0, 0, 4, 4)).json()
    path = f"/api/images/{mask['image_id']}"
    server.ann.post(f"/api/annotations/{mask['id']}/undo", json={"version": 1})
    found = server.ann.get(f"{path}/changes").json()["items"]
    assert [(one["annotation_id"], one["version"], one["change"]) for one in found] == [
        (mask["id"], 1, "edit"),
        (mask["id"], 2, "undo"),
    ]
    assert server.bob.get(f"{path}/changes").json()["items"] == found
    server.rev.put(f"{path}/num_annotators", json={"num_annotators": 2})
    assert server.bob.get(f"{path}/changes").json()["items"] == []
    assert server.rev.get(f"{path}/changes").json()["items"] == found


def test_export_and_import_lose_nothing(server, save, rle_of):
    save((0, 0, 4, 4))
    save((5, 5, 9, 9))
    project = f"/api/projects/{server.scene.project.id}"
    chosen = {"format": "coco", "copy_images": True, "states": ["none", "accepted"]}
    answer = server.rev.get(f"{project}/export", params=chosen)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len([name for name in archive.namelist() if name.endswith((".png", ".jpg"))]) == 1
        masks = json.loads(archive.read("all.json"))
    assert [one["segmentation"] for one in masks["annotations"]] == [
        rle_of(0, 0, 4, 4),
        rle_of(5, 5, 9, 9),
    ]
    held = server.ann.get(project + "/images").json()["items"][0]["id"]
    server.ann.delete(f"/api/images/{held}/lease")
    report = server.adm.post(f"{project}/import", params={"format": "coco"}, json=masks).json()
    assert (report["num_images"], report["num_added"], report["faults"]) == (1, 2, [])
    again = server.adm.post(f"{project}/import", params={"format": "coco"}, json=masks).json()
    assert (again["num_added"], again["num_known"]) == (0, 2)


def test_scan_runs_in_the_background(server):
    project = server.scene.project.id
    job = server.adm.post(f"/api/projects/{project}/scan", json={})
    assert job.status_code == 202
    server.studio.background.submit(1, lambda: None).result(30)  # after it
    done = server.ann.get(f"/api/jobs/{job.json()['id']}").json()
    assert (done["state"], done["data"]["report"]["num_known"]) == ("done", 4)


def test_users(server):
    made = server.adm.post("/api/users", json={"name": "new", "password": "correct horse"})
    assert made.status_code == 201
    path = f"/api/users/{made.json()['id']}"
    assert server.adm.patch(path, json={"role": "reviewer"}).json()["role"] == "reviewer"
    assert server.adm.patch(path, json={"active": False}).json()["active"] is False
    assert code(server.adm.post("/api/users", json={"name": "new"}))[0] == 422
    own = f"/api/users/{server.scene.adm}"
    assert "there must be an active admin" in code(server.adm.patch(own, json={"active": False}))[1]
    assert [one["name"] for one in server.adm.get("/api/users").json()["items"]][-1] == "new"


def test_status(server):
    server.studio.embedder.ask(server.scene.images[0]).result(60)
    status = server.ann.get("/api/status").json()
    assert status["model"]["name"] == "tiny"
    assert (status["local"], status["max_megapixels"], status["hint_after_s"]) == (False, 1, 30.0)


def test_leads_see_who_holds_an_image_and_how_far_people_are(server, held):
    path = f"/api/images/{held}"
    holder = server.rev.get(f"{path}/lease").json()["holder"]
    assert holder["user_name"] == "ann"
    server.ann.post(f"{path}/submit")
    assert server.rev.get(f"{path}/lease").json() == {"holder": None}
    second = server.scene.hold(server.scene.ann, 1)
    server.ann.post(f"/api/images/{second}/skip", json={"reason": "too hard"})
    server.scene.hold(server.scene.ann, 2)
    people = f"/api/projects/{server.scene.project.id}/people"
    [one] = server.rev.get(people).json()["items"]
    counts = {name: one[name] for name in one if name.startswith("num_") and one[name]}
    assert (one["user_name"], counts) == (
        "ann",
        {"num_waiting": 1, "num_skipped": 1, "num_held": 1},
    )
    version = server.rev.get(path).json()["version"]
    server.rev.post(f"{path}/accept", json={"version": version})
    [one] = server.rev.get(people).json()["items"]
    assert (one["num_waiting"], one["num_accepted"], one["num_returned"]) == (0, 1, 0)
    server.rev.post(f"{path}/return", json={"version": version + 1, "comment": "more"})
    [one] = server.rev.get(people).json()["items"]
    assert (one["num_accepted"], one["num_returned"]) == (0, 1)
