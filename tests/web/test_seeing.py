"""What the page needs to show images: values of pixels, windows, and each person's settings."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.dataengine import add_images, create_project, list_actions, list_images
from samkit.errors import StoreError
from samkit.web.image_values import ValueCache

DEEP = (np.arange(20 * 30, dtype=np.uint16) * 7 + 500).reshape(20, 30)


@pytest.fixture
def deep(sqlite_server, tmp_path):
    """Ids of an image of 16 bits, and one of floats with NaN."""
    folder = tmp_path / "deep"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", DEEP)
    floats = DEEP.astype(np.float32) / 1000
    floats[0, 1] = np.nan
    tifffile.imwrite(folder / "b.tif", floats)
    store = sqlite_server.scene.store
    project = create_project(store, name="deep", root=folder)
    add_images(store, project.id)
    return [one.id for one in list_images(store, project.id).items]


def picture(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))[..., 0]


def test_values_are_those_of_the_file(deep, sqlite_server):
    ann, (a, b) = sqlite_server.ann, deep
    block = ann.get(f"/api/images/{a}/values", params={"x": 10, "y": 5, "side": 4}).json()
    assert (block["x"], block["y"]) == (10, 5)
    assert np.array_equal(np.array(block["values"])[..., 0], DEEP[5:9, 10:14])
    edge = ann.get(f"/api/images/{a}/values", params={"x": 28, "y": 19, "side": 64}).json()
    assert np.array_equal(np.array(edge["values"])[..., 0], DEEP[19:, 28:])
    beyond = ann.get(f"/api/images/{a}/values", params={"x": 99, "y": 99}).json()
    assert beyond["values"] == []
    first = ann.get(f"/api/images/{b}/values", params={"x": 0, "y": 0, "side": 2}).json()
    assert first["values"][0] == [[0.5], [None]]
    color = sqlite_server.scene.images[1].id
    rgb = ann.get(f"/api/images/{color}/values", params={"x": 0, "y": 0}).json()["values"]
    assert rgb == [[[20, 20, 20]]]
    assert ann.get(f"/api/images/{a}/values", params={"x": -1, "y": 0}).status_code == 422
    assert ann.get("/api/images/99/values", params={"x": 0, "y": 0}).status_code == 404


def test_facts_say_what_a_window_may_be(deep, sqlite_server):
    ann, (a, b) = sqlite_server.ann, deep
    facts = ann.get(f"/api/images/{a}/values/facts").json()
    assert (facts["dtype"], facts["num_channels"], facts["is_deep"]) == ("uint16", 1, True)
    assert (facts["lowest"], facts["highest"]) == (500, 500 + 7 * 599)
    assert 500 <= facts["low"] < facts["high"] <= facts["highest"]
    floats = ann.get(f"/api/images/{b}/values/facts").json()
    assert (floats["lowest"], floats["highest"]) == (0.5, pytest.approx(4.693))
    plain = ann.get(f"/api/images/{sqlite_server.scene.images[0].id}/values/facts").json()
    assert (plain["dtype"], plain["is_deep"], plain["low"], plain["high"]) == (
        "uint8",
        False,
        0,
        255,
    )


def test_pictures_are_drawn_by_the_window_that_is_asked_for(deep, sqlite_server):
    ann, a = sqlite_server.ann, deep[0]
    path = f"/api/images/{a}/content"
    plain = ann.get(path)
    windowed = ann.get(path, params={"value_range": "1000,2000"})
    expected = np.rint((DEEP.astype(float) - 1000).clip(0, 1000) * 255 / 1000)
    assert np.abs(picture(windowed) - expected).max() <= 1
    assert not np.array_equal(picture(plain), picture(windowed))
    assert windowed.headers["etag"] != plain.headers["etag"]
    again = ann.get(
        path,
        params={"value_range": "1000.0,2000"},
        headers={"If-None-Match": windowed.headers["etag"]},
    )
    assert again.status_code == 304
    refused = ann.get(path, params={"value_range": "5,1"})
    assert refused.status_code == 422
    eight = f"/api/images/{sqlite_server.scene.images[1].id}/content"
    same = ann.get(eight, params={"value_range": "1000,2000"})
    assert np.array_equal(picture(same), picture(ann.get(eight)))


def test_images_are_decoded_once_within_bounds():
    num_read = 0

    def read(size):
        nonlocal num_read
        num_read += 1
        return np.zeros(size, np.uint8)

    cache = ValueCache(max_bytes=100)
    for key, size in (("a", 60), ("a", 60), ("b", 30), ("a", 60), ("c", 30), ("a", 60), ("b", 30)):
        assert cache.get(key, lambda size=size: read(size)).nbytes == size
    assert num_read == 4  # b was dropped for c, since a was asked for after it
    cache.get("large", lambda: read(1000))
    cache.get("large", lambda: read(1000))
    assert num_read == 6  # too large to be cached


def test_settings_follow_the_person(server):
    path = "/api/session/settings"
    assert server.ann.get(path).json() == {"settings": {}}
    settings = {"tool": "brush", "keys": {"accept": "Alt+x"}, "radius": 3.5}
    assert server.ann.put(path, json={"settings": settings}).json() == {"settings": settings}
    assert server.ann.get(path).json() == {"settings": settings}
    assert server.bob.get(path).json() == {"settings": {}}
    assert "put_settings" not in {one.action for one in list_actions(server.scene.store).items}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"a": "x" * 40_000}, "settings have at most 32,768 bytes; got 40,009"),
        ({"a": "\ud800"}, "settings must be JSON"),
    ],
)
def test_settings_are_bounded(settings, text, sqlite_server, refusal):
    from samkit.dataengine import read_settings, save_settings

    store, ann = sqlite_server.scene.store, sqlite_server.scene.ann
    with refusal(StoreError, text):
        save_settings(store, ann, settings)
    with refusal(StoreError, "settings must be JSON"):
        save_settings(store, ann, {"a": float("nan")})
    assert read_settings(store, ann) == {}
