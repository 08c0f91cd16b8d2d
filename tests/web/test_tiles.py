"""Images too large to decode whole: tiles, small pictures, prompts about the part in view."""

import io
import json
import os
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from samkit.dataengine import (
    Store,
    add_images,
    create_project,
    create_user,
    list_annotations,
    list_images,
)
from samkit.errors import ConflictError, ImageError, PromptError
from samkit.formats import TILE_SIDE, Pyramid, Region, level_sizes, make_pyramid, region
from samkit.geometry import decode_rle, encode_rle
from samkit.types import Masks
from samkit.web import WebConfig, create_app
from samkit.web.embedder import MAX_AHEAD
from samkit.web.tiles import TileCache

from .conftest import HOST, Browser, TestClient
from .test_prompting import Page, connect

HEIGHT, WIDTH = 900, 1300


@pytest.fixture(scope="module")
def picture():
    """A picture in which each place looks different."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    bands = (x / WIDTH, y / HEIGHT, 0.5 + 0.5 * np.sin(x / 25) * np.cos(y / 30))
    return np.rint(255 * np.stack(bands, -1)).astype(np.uint8)


class Large:
    """A server on one image of 1.2 megapixels, whose limit is 1."""

    def __init__(self, app, image):
        self.app, self.image = app, image
        self.path = f"/api/images/{image.id}"

    @property
    def studio(self):
        return self.app.state.studio


@pytest.fixture(scope="module")
def large(picture, tmp_path_factory, tiny_predictor):
    folder = tmp_path_factory.mktemp("large")
    (folder / "images").mkdir()
    Image.fromarray(picture).save(folder / "images" / "a.png")
    Image.fromarray(picture[:20, :20]).save(folder / "images" / "b.png")
    config = WebConfig(cache_folder=folder / "cache", max_megapixels=1)
    with Store.open(folder / "store.db") as store:
        project = create_project(store, name="large", root=folder / "images")
        add_images(store, project.id)
        user = create_user(store, name="ann")
        app = create_app(store, load_predictor=lambda: tiny_predictor, config=config)
        with TestClient(app, base_url=HOST):
            server = Large(app, list_images(store, project.id).items[0])
            server.small = list_images(store, project.id).items[1]
            server.ann, server.user_id = Browser(app, user.id), user.id
            server.stranger = Browser(app)
            yield server


def pixels_of(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(float)


def test_levels_halve_and_tiles_show_their_places(large, picture):
    levels = large.ann.get(f"{large.path}/tiles").json()
    assert levels == {
        "tile_side": TILE_SIDE,
        "sizes_wh": [[1300, 900], [650, 450], [325, 225]],
        "has_values": True,
    }
    tile = large.ann.get(f"{large.path}/tiles/0/2/1")
    assert tile.headers["content-type"] == "image/jpeg"
    expected = picture[TILE_SIDE:, 2 * TILE_SIDE :]
    assert pixels_of(tile).shape == expected.shape
    assert np.abs(pixels_of(tile) - expected).mean() < 4
    halved = picture[:900, :1300].reshape(450, 2, 650, 2, 3).mean(axis=(1, 3))
    tile = large.ann.get(f"{large.path}/tiles/1/0/0")
    assert np.abs(pixels_of(tile) - halved[:TILE_SIDE, :TILE_SIDE]).mean() < 4


def test_tiles_are_kept_as_pictures_are(large):
    tile = large.ann.get(f"{large.path}/tiles/0/0/0")
    assert tile.headers["cache-control"] == "private, no-cache"
    etag = tile.headers["etag"]
    again = large.ann.get(f"{large.path}/tiles/0/0/0", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    other = large.ann.get(f"{large.path}/tiles/0/1/0", headers={"If-None-Match": etag})
    assert other.status_code == 200


def test_strangers_and_places_without_tiles(large):
    assert large.stranger.get(f"{large.path}/tiles").status_code == 401
    assert large.stranger.get(f"{large.path}/tiles/0/0/0").status_code == 401
    for place in ("0/3/0", "3/0/0", "0/0/2"):
        answer = large.ann.get(f"{large.path}/tiles/{place}")
        assert (answer.status_code, "has no tile" in answer.text) == (404, True)
    assert large.ann.get(f"{large.path}/tiles/0/-1/0").status_code == 422
    small = large.ann.get(f"/api/images/{large.small.id}/tiles")
    assert (small.status_code, small.json()["detail"]) == (
        409,
        "b.png is shown whole: it has no tiles",
    )


def test_small_pictures_come_from_the_tiles(large, picture):
    for side, size in ((256, (256, 177)), (1024, (650, 450))):
        found = pixels_of(large.ann.get(f"{large.path}/content?max_side={side}"))
        assert found.shape[1::-1] == size
        expected = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
        assert np.abs(found - np.asarray(expected)).mean() < 5
    whole = large.ann.get(f"{large.path}/content")
    assert (whole.status_code, "too large" in whole.json()["detail"]) == (422, True)


def proposals(large, **wanted):
    answer = large.ann.get(f"{large.path}/proposals", params=wanted)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def few_masks(predictor, embedding):
    """Stands for masks of everything, of which a model of random weights finds none."""
    found = predictor.predict(embedding, points=[[100, 100]], labels=[1])
    yield Masks.from_arrays(found.masks, np.linspace(1, 0.5, len(found.masks)))


def test_proposals_are_of_the_part_in_view(large, page, tiny_predictor, monkeypatch):
    monkeypatch.setattr("samkit.proposals.stream_masks", few_masks)
    view = (300, 200, 700, 500)
    *lines, last = proposals(large, view=view)
    assert last == {"done": True}
    seen = large.studio.tiles.ask(large.image).result().read(0, view)
    (expected,) = few_masks(tiny_predictor, tiny_predictor.embed(seen))
    for line, part in zip(lines, expected, strict=True):
        whole = decode_rle(line["rle"])
        assert whole.shape == (HEIGHT, WIDTH)
        assert np.array_equal(whole[200:500, 300:700], part)
        assert whole.sum() == part.sum() > 0


def test_proposals_without_a_view_are_refused_in_one_line(large):
    for query, told in (
        ("", "need the part that is in view"),
        ("?view=2000&view=0&view=3000&view=500", "must show some of the image"),
        ("?view=1&view=2", "view"),
        ("?view=1&view=2&view=3&view=nan", "view"),
    ):
        answer = large.ann.get(f"{large.path}/proposals{query}")
        assert (answer.status_code, told in answer.text) == (422, True), answer.text


@pytest.fixture
def page(large):
    with connect(large.ann, large.image.id) as socket:
        yield Page(socket).wait_until_ready()


def test_answer_is_of_the_part_in_view_at_full_resolution(large, page, picture, tiny_predictor):
    view = (300, 200, 700, 500)
    found = page.ask(1, points=[[400, 300], [450, 320]], labels=[1, 0], view=view)
    seen = large.studio.tiles.ask(large.image).result().read(0, view)
    assert np.abs(seen - picture[200:500, 300:700].astype(float)).mean() < 4
    embedding = tiny_predictor.embed(seen)
    expected = tiny_predictor.predict(embedding, points=[[100, 100], [150, 120]], labels=[1, 0])
    for mask, part in zip(found["masks"], expected.masks, strict=True):
        whole = decode_rle(mask["rle"])
        assert whole.shape == (HEIGHT, WIDTH)
        assert np.array_equal(whole[200:500, 300:700], part)
        assert whole.sum() == part.sum()


def test_next_answer_continues_in_the_same_part(page):
    view = (300, 200, 700, 500)
    first = page.ask(1, points=[[400, 300]], labels=[1], view=view)
    best = first["best"]
    later = {"points": [[400, 300], [500, 400]], "labels": [1, 0], "view": view}
    prior = {"id": 1, "candidate": best}
    continued = page.ask(2, **later, continue_from=prior, multimask=False)
    afresh = page.ask(3, **later, multimask=False)
    assert continued["masks"][0]["rle"] != afresh["masks"][0]["rle"]


def test_box_and_preview_are_in_the_image_s_pixels(page, tiny_predictor, large):
    view = (0, 0, 400, 400)
    boxed = page.ask(1, box=[100, 100, 250, 200], view=view)
    embedding = tiny_predictor.embed(large.studio.tiles.ask(large.image).result().read(0, view))
    expected = tiny_predictor.predict(embedding, boxes=[100, 100, 250, 200])
    assert np.array_equal(decode_rle(boxed["masks"][0]["rle"])[:400, :400], expected.masks[0])
    preview = page.ask(2, "preview", points=[[200, 150]], labels=[1], view=(100, 50, 500, 450))
    assert preview["box"] == [100, 50, 500, 450]
    assert preview["mask"]["rle"]["size"] == [400, 400]


def test_prompts_need_a_view_of_the_image(page):
    for view, told in (
        (None, "needs the part that is in view"),
        ((2000, 0, 3000, 500), "must show some of the image"),
        ((0, 0, 100, 100), "outside"),
    ):
        answer = page.ask(1, points=[[400, 300]], labels=[1], view=view)
        assert (answer["type"], told in answer["detail"]) == ("error", True), answer


def test_mask_is_saved_in_the_image_s_pixels(large, monkeypatch):
    monkeypatch.setattr("samkit.proposals.stream_masks", few_masks)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[600:650, 1200:1290] = True
    large.ann.post(f"{large.path}/lease")
    body = {"rle": encode_rle(mask), "class_id": None, "events": [], "request_id": "one"}
    saved = large.ann.post(f"{large.path}/annotations", json=body)
    assert saved.status_code == 201, saved.text
    (found,) = list_annotations(large.studio.store, large.image.id)
    assert np.array_equal(decode_rle(found.rle), mask)
    # What is alike is measured by the part of it that is in view.
    *lines, last = proposals(large, view=(1100, 500, 1300, 700), example=found.id)
    assert last == {"done": True}
    assert lines
    assert all(0 <= line["similarity"] <= 1 for line in lines)
    (last,) = proposals(large, view=(0, 0, 200, 200), example=found.id)
    assert last == {"error": "the mask that the others shall be like is not in view"}


def test_large_images_are_not_encoded_ahead(large):
    large.studio.embedder.encode_ahead([large.image] * (MAX_AHEAD + 1))
    assert not large.studio.embedder._ahead


def test_prompts_wait_for_the_model(large, tiny_predictor):
    """Tiles are there at once; a page that prompted before the model is loaded would be refused."""
    loaded = threading.Event()

    def load():
        loaded.wait(30)
        return tiny_predictor

    studio = large.studio
    app = create_app(studio.store, load_predictor=load, config=studio.config)
    with TestClient(app, base_url=HOST):
        ann = Browser(app, large.user_id)
        with connect(ann, large.image.id) as socket:
            assert socket.receive_json()["type"] == "state"
            assert ann.get(f"{large.path}/tiles").status_code == 200
            loaded.set()
            assert socket.receive_json()["type"] == "ready"
            answer = Page(socket).ask(1, points=[[40, 40]], labels=[1], view=(0, 0, 99, 99))
            assert answer["type"] == "masks"


# --- Regions ---


@pytest.fixture(scope="module")
def pyramid(picture, tmp_path_factory):
    path = tmp_path_factory.mktemp("pyramid") / "a.tiles"
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    make_pyramid(content, "a.png", path)
    return Pyramid(path)


def test_levels_are_known_without_the_tiles(pyramid):
    assert level_sizes((WIDTH, HEIGHT)) == pyramid.sizes_wh
    assert level_sizes((TILE_SIDE, 3)) == [(TILE_SIDE, 3)]
    assert level_sizes((TILE_SIDE + 1, 3)) == [(TILE_SIDE + 1, 3), (257, 2)]


def test_regions_are_no_longer_than_the_model_can_use(pyramid, monkeypatch, refusal):
    assert Region.of((-50, 10.5, 200.2, 99.5), pyramid.sizes_wh) == Region(
        level=0, box_xyxy=(0, 10, 201, 100)
    )
    monkeypatch.setattr(region, "REGION_SIDE", 400)
    whole = Region.of((0, 0, WIDTH, HEIGHT), pyramid.sizes_wh)
    assert whole == Region(level=2, box_xyxy=(0, 0, 325, 225))
    part = Region.of((501, 103, 1101, 500), pyramid.sizes_wh)
    assert (part, part.factor) == (Region(level=1, box_xyxy=(250, 51, 551, 250)), 2)
    assert part.corner_xy == (500, 102)
    with refusal(PromptError, "the view must show some of the image"):
        Region.of((5, 5, 5, 90), pyramid.sizes_wh)


# --- The folder ---


@pytest.fixture
def cache(tmp_path, large):
    def make(max_bytes):
        config = WebConfig(cache_folder=tmp_path, max_megapixels=1, cache_bytes=max_bytes)
        opened = TileCache(large.studio.store, config)
        opened.start()
        made.append(opened)
        return opened

    made = []
    yield make
    for one in made:
        one.stop()


def test_pyramid_is_made_once(cache, large, tmp_path, monkeypatch):
    first = cache(2**30)
    assert first.ask(large.image) is first.ask(large.image) or first.ask(large.image).done()
    content = first.ask(large.image).result(60).tile(0, 1, 1)
    monkeypatch.setattr("samkit.dataengine.work.image_files.make_pyramid", None)
    assert cache(2**30).ask(large.image).result(60).tile(0, 1, 1) == content
    assert [path.suffix for path in (tmp_path / "tiles").iterdir()] == [".tiles"]


def test_damaged_pyramid_is_made_again(cache, large, tmp_path):
    path = tmp_path / "tiles" / f"{large.image.pixels_key}.tiles"
    path.parent.mkdir()
    path.write_bytes(b"half of it")
    assert cache(2**30).ask(large.image).result(60).sizes_wh[0] == (WIDTH, HEIGHT)


def test_least_recently_used_and_abandoned_files_go_first(cache, large, tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    for age, name in enumerate(("young.tiles", "old.tiles")):
        (folder / name).write_bytes(bytes(1000))
        os.utime(folder / name, (1000 - age, 1000 - age))
    (folder / ".samkit.abandoned").write_bytes(b"1")
    os.utime(folder / ".samkit.abandoned", (900, 900))
    probe = cache(2**30)
    probe.ask(large.image).result(60)
    own = folder / f"{large.image.pixels_key}.tiles"
    size = own.stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["young.tiles", "old.tiles", own.name]
    )
    own.unlink()
    cache(size + 1500).ask(large.image).result(60)
    assert {path.name for path in folder.iterdir()} == {"young.tiles", own.name}
    own.unlink()
    cache(0).ask(large.image).result(60)  # the one that is asked for stays
    assert {path.name for path in folder.iterdir()} == {own.name}


def test_small_and_changed_images_have_no_pyramid(cache, large, tmp_path, picture, refusal):
    with refusal(ConflictError, "b.png is shown whole"):
        cache(0).ask(large.small)
    store = large.studio.store
    root = tmp_path / "images"
    root.mkdir()
    Image.fromarray(picture[::-1]).save(root / "c.png")
    project = create_project(store, name="changed", root=root)
    add_images(store, project.id)
    image = list_images(store, project.id).items[0]
    Image.fromarray(picture).save(root / "c.png")
    with refusal(ConflictError, "has changed"):
        cache(0).ask(image).result(60)
    assert not list((tmp_path / "tiles").iterdir())
    with refusal(ImageError, "is no pyramid"):
        Pyramid(tmp_path / "tiles" / "none")


# --- Values ---


@pytest.fixture(scope="module")
def deep(large, tmp_path_factory):
    """An image of 16 bits by tiles; its own values are from 500 to 4,099."""
    folder = tmp_path_factory.mktemp("deep")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = (500 + 2 * x + y).astype(np.uint16)
    tifffile.imwrite(folder / "a.tif", values, tile=(256, 256))
    Image.fromarray(values[:, ::-1]).save(folder / "b.png")
    store = large.studio.store
    project = create_project(store, name="deep", root=folder)
    add_images(store, project.id)
    found = Large(large.app, list_images(store, project.id).items[0])
    found.png = list_images(store, project.id).items[1]
    found.values, found.ann, found.stranger = values, large.ann, large.stranger
    return found


def windowed(values, low, high):
    return np.rint(((values.astype(float) - low) * 255 / (high - low)).clip(0, 255))


def test_values_are_read_once_they_are_asked_for(deep):
    levels = deep.ann.get(f"{deep.path}/tiles").json()
    assert (levels["has_values"], len(levels["sizes_wh"])) == (False, 3)
    facts = deep.ann.get(f"{deep.path}/values/facts").json()
    assert (facts["dtype"], facts["num_channels"], facts["is_deep"]) == ("uint16", 1, True)
    assert (facts["lowest"], facts["highest"]) == (500, deep.values.max())
    assert 500 <= facts["low"] < facts["high"] <= facts["highest"]
    assert deep.ann.get(f"{deep.path}/tiles").json()["has_values"]
    folder = deep.studio.config.tile_folder
    assert (folder / f"{deep.image.sha256}.values").exists()


def test_tiles_are_seen_through_a_window(deep):
    plain = deep.ann.get(f"{deep.path}/tiles/0/1/1")
    path = f"{deep.path}/tiles/0/1/1?value_range=2000,2600"
    tile = deep.ann.get(path)
    own = deep.values[TILE_SIDE:, TILE_SIDE : 2 * TILE_SIDE]
    found = pixels_of(tile)[..., 0]
    assert found.shape == own.shape
    assert np.abs(found - windowed(own, 2000, 2600)).mean() < 2
    assert np.abs(pixels_of(plain)[..., 0] - windowed(own, 2000, 2600)).mean() > 20
    assert plain.headers["etag"] != tile.headers["etag"]
    seen_before = {"If-None-Match": tile.headers["etag"]}
    assert deep.ann.get(path, headers=seen_before).status_code == 304
    other = deep.ann.get(f"{deep.path}/tiles/0/1/1?value_range=2000,2601", headers=seen_before)
    assert other.status_code == 200
    halved = deep.values.reshape(450, 2, 650, 2).mean(axis=(1, 3))
    found = pixels_of(deep.ann.get(f"{deep.path}/tiles/1/0/0?value_range=1000,3000"))[..., 0]
    expected = windowed(halved[:TILE_SIDE, :TILE_SIDE], 1000, 3000)
    assert np.abs(found - expected).mean() < 2
    small = deep.ann.get(f"{deep.path}/content?max_side=1024&value_range=1000,3000")
    assert np.abs(pixels_of(small)[..., 0] - windowed(halved, 1000, 3000)).mean() < 2


def test_windows_make_no_pyramid_of_pixels_and_are_bounded(deep):
    folder = deep.studio.config.tile_folder
    before = sorted(path.name for path in folder.iterdir())
    for high in (2500, 2600, 2700):
        assert deep.ann.get(f"{deep.path}/tiles/0/0/0?value_range=2000,{high}").status_code == 200
    assert sorted(path.name for path in folder.iterdir()) == before
    cache = deep.studio.window_tiles
    assert 0 < cache._num_bytes <= cache.max_bytes


def test_windows_that_are_none_and_tiles_that_are_none(deep, large):
    for place, told in (("0/3/0", "has no tile 3, 0"), ("3/0/0", "has no tile 0, 0 at level 3")):
        answer = deep.ann.get(f"{deep.path}/tiles/{place}?value_range=0,9")
        assert (answer.status_code, told in answer.text) == (404, True)
    for one in (deep, large):
        answer = one.ann.get(f"{one.path}/tiles/0/0/0?value_range=9,0")
        assert (answer.status_code, "low < high" in answer.text) == (422, True)
    for path in ("tiles/0/0/0?value_range=0,9", "values/facts", "values?x=0&y=0"):
        assert deep.stranger.get(f"{deep.path}/{path}").status_code == 401


def test_values_under_the_pointer_are_those_of_the_file(deep):
    def block(x, y, side, image=deep.image):
        answer = deep.ann.get(
            f"/api/images/{image.id}/values", params={"x": x, "y": y, "side": side}
        ).json()
        assert (answer["x"], answer["y"], answer["is_exact"]) == (x, y, True)
        return np.array(answer["values"])

    assert np.array_equal(block(500, 480, 64)[..., 0], deep.values[480:544, 500:564])
    assert np.array_equal(block(1280, 890, 64)[..., 0], deep.values[890:, 1280:])
    assert block(5000, 0, 1).size == 0
    assert np.array_equal(block(10, 20, 5, deep.png)[..., 0], deep.values[20:25, ::-1][:, 10:15])


def test_eight_bits_are_as_the_tiles_show_them(large, picture):
    assert large.ann.get(f"{large.path}/tiles").json()["has_values"]
    plain = large.ann.get(f"{large.path}/tiles/0/0/0")
    same = large.ann.get(f"{large.path}/tiles/0/0/0?value_range=10,20")
    assert (same.content, same.headers["etag"]) == (plain.content, plain.headers["etag"])
    facts = large.ann.get(f"{large.path}/values/facts").json()
    assert (facts["dtype"], facts["is_deep"], facts["highest"]) == ("uint8", False, 255)
    path = f"{large.path}/values"
    found = large.ann.get(path, params={"x": 500, "y": 500, "side": 20}).json()
    assert not found["is_exact"]
    assert np.abs(np.array(found["values"]) - picture[500:520, 500:520].astype(int)).mean() < 4
    assert large.ann.get(path, params={"x": 1300, "y": 0}).json()["values"] == []
    assert large.ann.get(path, params={"x": 1299, "y": 0, "side": 9}).json()["values"][0]


def test_model_sees_a_deep_image_by_the_range_of_its_project(deep, tiny_predictor):
    """Whatever window somebody looks through: as with images that are decoded whole."""
    view = (300, 200, 700, 500)
    with connect(deep.ann, deep.image.id) as socket:
        page = Page(socket).wait_until_ready()
        deep.ann.get(f"{deep.path}/tiles/0/0/0?value_range=2000,2001")
        found = page.ask(1, points=[[400, 300]], labels=[1], view=view)
    seen = deep.studio.tiles.ask(deep.image).result().read(0, view)
    low, high = (deep.ann.get(f"{deep.path}/values/facts").json()[side] for side in ("low", "high"))
    assert np.abs(seen[..., 0] - windowed(deep.values[200:500, 300:700], low, high)).mean() < 3
    embedding = tiny_predictor.embed(seen)
    expected = tiny_predictor.predict(embedding, points=[[100, 100]], labels=[1])
    for mask, part in zip(found["masks"], expected.masks, strict=True):
        assert np.array_equal(decode_rle(mask["rle"])[200:500, 300:700], part)


def test_values_are_bounded_with_the_other_tiles(cache, deep, tmp_path):
    probe = cache(0)
    assert not probe.has_values(deep.image)
    probe.ask_values(deep.image).result(60)
    assert probe.has_values(deep.image)
    probe.ask(deep.image).result(60)
    names = {path.name for path in (tmp_path / "tiles").iterdir()}
    assert names == {f"{deep.image.pixels_key}.tiles"}  # the one that is asked for stays
    assert not probe.has_values(deep.image)
    assert probe.ask_values(deep.image).result(60).values(0, 0, 0)[0, 0, 0] == 500  # it is open
