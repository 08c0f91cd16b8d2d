"""Quality audits by HTTP: start, state, and the report of the same figures as the command's."""

import pytest

from samkit.dataengine import (
    create_project,
    delete_annotation,
    give_back,
    list_annotations,
    report_unusable,
    save_annotation,
    submit_image,
    take_next,
)


@pytest.fixture
def audited(sqlite_server, rle_of):
    """A server whose four images have two automatic masks each, and the URL of their audits."""
    scene = sqlite_server.scene
    for index, image in enumerate(scene.images):
        scene.hold(scene.adm, index)
        for x in (0, 8):
            save_annotation(
                scene.store,
                image_id=image.id,
                user_id=scene.adm,
                rle=rle_of(x, 0, x + 4, 4),
                stage="fully-automatic",
            )
        give_back(scene.store, image.id, scene.adm)
    return sqlite_server, f"/api/projects/{scene.project.id}/audits"


def test_an_audit_is_started_corrected_and_reported(audited):
    server, url = audited
    scene = server.scene
    assert server.ann.get(url).json()["items"] == []
    assert server.ann.post(url, json={"num_images": 2}).status_code == 403
    answer = server.rev.post(url, json={"num_images": 3, "seed": 5})
    assert answer.status_code == 201
    started = answer.json()
    assert [started[name] for name in ("seed", "num_images", "num_untouched", "num_open")] == [
        5,
        3,
        4,
        3,
    ]
    # One image is left as it is, one loses a mask, and one cannot be used.
    for act in range(3):
        image = take_next(scene.store, scene.project.id, scene.ann).image
        if act == 1:
            first = list_annotations(scene.store, image.id)[0]
            delete_annotation(scene.store, first.id, user_id=scene.ann, version=1)
        if act == 2:
            report_unusable(scene.store, image.id, scene.ann, reason="out of focus")
        else:
            submit_image(scene.store, image.id, scene.ann)
    (state,) = server.ann.get(url).json()["items"]
    counts = ("num_corrected", "num_unusable", "num_open")
    assert [state[name] for name in counts] == [2, 1, 0]
    report = server.ann.get(f"{url}/{started['id']}").json()
    assert report["audit"] == state
    masks = report["figures"]["masks"]
    assert (masks["automatic"], masks["corrected"], masks["unchanged"]) == (4, 3, 3)
    assert masks["deleted"] == 1
    assert report["figures"]["images"] == {"sampled": 3, "corrected": 2, "open": 0, "unusable": 1}


def test_what_cannot_be_audited_is_refused(audited, tmp_path):
    server, url = audited
    answer = server.rev.post(url, json={"num_images": 5})
    assert answer.status_code == 422
    assert "4 images have automatic masks" in answer.json()["detail"]
    for body in ({"num_images": 0}, {"num_images": 1, "seed": -1}, {}):
        assert server.rev.post(url, json=body).status_code == 422
    assert server.ann.get("/api/projects/99/audits").status_code == 404
    made = server.rev.post(url, json={"num_images": 1}).json()["id"]
    assert server.ann.get(f"{url}/{made + 1}").status_code == 404
    # By its own project's address only.
    other = create_project(server.scene.store, name="other", root=tmp_path).id
    assert server.ann.get(f"/api/projects/{other}/audits/{made}").status_code == 404
