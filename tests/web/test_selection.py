"""Searches by REST, and verdicts on many images."""

from samkit.dataengine import create_project


def test_search_and_count(server):
    scene = server.scene
    path = f"/api/projects/{scene.project.id}/images"
    found = server.ann.get(path, params={"name": ".PNG", "order": "name", "descending": True})
    assert [one["path"] for one in found.json()["items"]] == ["deep/c.png", "b.png", "a.png"]
    assert server.ann.get(f"{path}/count", params={"name": "deep"}).json() == {"num_images": 2}
    assert server.ann.get(f"{path}/count").json() == {"num_images": 4}
    # Annotators find what they did themselves, reviewers what anybody did.
    for user, status in ((scene.ann, 200), (scene.bob, 403)):
        for one in (path, f"{path}/count"):
            assert server.ann.get(one, params={"user_id": user}).status_code == status
            assert server.rev.get(one, params={"user_id": user}).status_code == 200
    for wrong in ({"order": "size"}, {"min_masks": 2, "max_masks": 1}, {"class_id": 0}):
        assert server.ann.get(path, params=wrong).status_code == 422
    assert server.ann.get("/api/projects/99/images/count").status_code == 404


def test_verdicts_on_many_images(server):
    scene = server.scene
    first, second, third, last = (one.id for one in scene.images)
    for image in (first, second, third):
        assert server.ann.post(f"/api/images/{image}/lease").status_code == 200
        assert server.ann.post(f"/api/images/{image}/submit").status_code == 200
    versions = {
        one: server.rev.get(f"/api/images/{one}").json()["version"]
        for one in (first, second, third, last)
    }
    path = f"/api/projects/{scene.project.id}/images/review"

    def judge(verdict, *images, **more):
        chosen = [{"id": one, "version": versions[one]} for one in images]
        body = {"verdict": verdict, "images": chosen, **more}
        answer = server.rev.post(path, json=body)
        assert answer.status_code == 200, answer.text
        done, refused = answer.json()["done"], answer.json()["refused"]
        versions.update({one["id"]: one["version"] for one in done})
        states = {one["id"]: one["review"] for one in done}
        return states, {one["id"]: one["detail"] for one in refused}

    done, refused = judge("return", first, second)
    assert done == {}
    assert all("a comment must have" in detail for detail in refused.values())
    done, refused = judge("accept", first, last)
    assert done == {first: "accepted"}
    assert list(refused) == [last]
    assert "d.jpg" in refused[last]
    done, refused = judge("return", last, second, comment="more, please")
    assert done == {second: "returned"}
    assert list(refused) == [last]
    assert server.ann.get(f"/api/images/{second}").json()["comment"] == "more, please"
    # What has changed since it was shown is refused, and so is an image of another project.
    versions[third] -= 1
    done, refused = judge("accept", third)
    assert done == {}
    assert list(refused) == [third]
    other = create_project(scene.store, name="other", root=scene.project.root)
    path = f"/api/projects/{other.id}/images/review"
    versions[third] += 1
    done, refused = judge("accept", third)
    assert done == {}
    assert "another project" in refused[third]
    path = f"/api/projects/{scene.project.id}/images/review"
    assert judge("accept", third)[0] == {third: "accepted"}
    assert server.ann.post(path, json={"verdict": "accept", "images": []}).status_code == 403
    assert server.rev.post(path, json={"verdict": "accept", "images": []}).status_code == 422


def test_set_aside_images_are_reopened(server):
    image = server.scene.images[0].id
    server.ann.post(f"/api/images/{image}/lease")
    shown = server.ann.post(f"/api/images/{image}/unusable", json={"reason": "dark"}).json()
    path = f"/api/projects/{server.scene.project.id}/images/review"
    chosen = [{"id": image, "version": shown["version"]}]
    answer = server.rev.post(path, json={"verdict": "reopen", "images": chosen}).json()
    assert [one["review"] for one in answer["done"]] == ["none"]
