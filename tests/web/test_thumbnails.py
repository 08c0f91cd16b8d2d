"""Small pictures are made once, and the cache of them is bounded."""

from samkit.web.pictures import Picture
from samkit.web.routes import pictures as routes
from samkit.web.thumbnails import ThumbnailCache


def picture(number, num_bytes=10):
    return Picture(content=bytes([number]) * num_bytes, media_type="image/jpeg")


def test_least_recently_used_pictures_go_first():
    cache = ThumbnailCache(max_bytes=30)
    for number in range(3):
        cache.put(str(number), picture(number))
    assert cache.get("0") == picture(0)
    cache.put("3", picture(3))
    assert [cache.get(str(number)) for number in range(4)] == [
        picture(0),
        None,
        picture(2),
        picture(3),
    ]
    cache.put("2", picture(2, 25))  # in place of the smaller one
    assert cache.get("2") == picture(2, 25)
    assert cache.get("3") is None
    cache.put("4", picture(4, 31))  # larger than all the room
    assert cache.get("4") is None
    assert cache.get("2") is None
    cache.put("5", picture(5, 30))
    assert cache.get("5") == picture(5, 30)


def test_small_pictures_are_made_once(shared_server, monkeypatch):
    made = []
    show = routes.show

    def count(*args, **settings):
        made.append(settings["max_side"])
        return show(*args, **settings)

    monkeypatch.setattr(routes, "show", count)
    path = f"/api/images/{shared_server.scene.images[2].id}/content"
    for side in (128, 128, 256, 256, 512, 512):
        first, again = (
            shared_server.ann.get(path, params={"max_side": side}).content for _ in range(2)
        )
        assert first == again
    assert made == [128, 256, 512, 512, 512, 512]
    assert shared_server.stranger.get(path, params={"max_side": 128}).status_code == 401
