"""How images are seen: filters, windows, overview, rulers, values; own keys; settings."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from samkit.dataengine import Store, list_annotations, list_users, read_settings
from samkit.geometry import decode_rle_patch

from .conftest import Server, make_images, make_project
from .test_habits import open_image, paint, pressed, wait_for_image

pytestmark = pytest.mark.slow

DEEP, LARGE = 13, 14  # the numbers of the 16-bit image, and of the one by tiles
LARGE_SIDE, DISC, RADIUS = 12_000, (9000, 8000), 150
HEIGHT, WIDTH = 200, 300
VALUES = (1000 + 20 * np.add.outer(np.zeros(HEIGHT), np.arange(WIDTH))).astype(np.uint16)


@pytest.fixture(scope="module")
def lab(tmp_path_factory, plain_backend):
    """A server for this module, with a 16-bit and a large image besides the others."""
    folder = tmp_path_factory.mktemp("lab")
    make_images(folder / "images")
    tifffile.imwrite(folder / "images" / "z-deep.tif", VALUES)
    large = Image.new("RGB", (LARGE_SIDE, LARGE_SIDE), (230, 230, 230))
    (x, y), around = DISC, (-RADIUS, RADIUS)
    ImageDraw.Draw(large).ellipse([(x + at, y + at) for at in around], fill=(40, 80, 200))
    large.save(folder / "images" / "zz-large.jpg")
    server = Server(folder, folder / "images")
    make_project(server.where, server.images)
    server.start()
    yield server
    server.end()


@pytest.fixture
def ann(person, lab):
    return person("ann", on=lab)


def stored(server, name):
    with Store.open(server.where) as store:
        user = next(one for one in list_users(store).items if one.name == name)
        return read_settings(store, user.id)


def colour_at(one, x, y):
    """The colour on the screen of a pixel of the image."""
    left, top = one.at(x, y)
    clip = {"x": round(left) - 1, "y": round(top) - 1, "width": 3, "height": 3}
    shot = Image.open(io.BytesIO(one.page.screenshot(clip=clip))).convert("RGB")
    return np.asarray(shot)[1, 1].astype(int)


def slide(one, key, value):
    slider = one.page.locator(f"[data-key='{key}']")
    slider.fill(str(value))


def leave(one):
    one.page.mouse.move(5, 400)  # not over the image, where the tool would be drawn


def test_brightness_contrast_gamma_and_channels_change_what_is_seen(ann):
    open_image(ann, 1)
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    plain = colour_at(ann, 20, 300)
    ann.press("Shift+v")
    slide(ann, "look-brightness", 0.2)
    assert np.abs(colour_at(ann, 20, 300) - (plain + 51).clip(0, 255)).max() <= 3
    slide(ann, "look-contrast", 2)
    expected = ((plain / 255 - 0.5) * 2 + 0.5 + 0.2).clip(0, 1)
    assert np.abs(colour_at(ann, 20, 300) - 255 * expected).max() <= 4
    slide(ann, "look-gamma", 2)
    assert np.abs(colour_at(ann, 20, 300) - 255 * expected**0.5).max() <= 4
    ann.page.click("[data-key='look-reset']")
    assert np.abs(colour_at(ann, 20, 300) - plain).max() <= 1
    ann.page.select_option("[data-key='look-channel']", "green")
    assert np.abs(colour_at(ann, 20, 300) - plain[1]).max() <= 2
    ann.page.click("[data-key='look-reset']")


def test_a_16_bit_image_is_seen_through_a_window(ann, lab):
    open_image(ann, DEEP)
    ann.page.wait_for_load_state("networkidle")
    ann.press("Shift+v")
    ann.page.wait_for_selector("[data-key='look-level']")
    assert "uint16, from 1000 to 6980" in ann.page.locator(".looks-panel .window").inner_text()
    with ann.page.expect_response(lambda one: "value_range=2500%2C3500" in one.url):
        slide(ann, "look-width", 1000)
        slide(ann, "look-level", 3000)
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    # Column 100 has the value 3000, in the middle; 70 and below are black, 130 and above white.
    for column, expected in ((40, 0), (100, 127), (112, 188), (200, 255)):
        assert np.abs(colour_at(ann, column, 100) - expected).max() <= 6, column
    ann.page.wait_for_timeout(1500)  # until it is stored
    assert stored(lab, "ann")["windows"] == {"1": [2500, 3500]}
    ann.page.reload()
    wait_for_image(ann, DEEP)
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    assert colour_at(ann, 40, 100).max() <= 6  # it stays, and so with the next image
    ann.press("Shift+v")
    ann.page.wait_for_selector("[data-key='look-level']")
    ann.page.click("[data-key='look-reset']")
    ann.page.wait_for_load_state("networkidle")


def test_values_under_the_pointer_are_those_of_the_file(ann):
    open_image(ann, DEEP)
    for x, y in ((123, 45), (299, 199)):
        ann.page.mouse.move(*ann.at(x, y))
        expect(ann.page.locator(".pixel-values")).to_have_text(str(VALUES[y, x]))
        expect(ann.page.locator(".place")).to_have_text(f"{x}, {y}")
    ann.page.mouse.move(5, 400)
    expect(ann.page.locator(".pixel-values")).to_have_text("")
    open_image(ann, 1)
    ann.page.mouse.move(*ann.at(20, 300))
    expect(ann.page.locator(".pixel-values")).to_have_text(
        " ".join(str(value) for value in scene(ann, 300, 20))
    )


def scene(one, y, x):
    import cv2

    return cv2.imread(str(one.server.images / "scene-00.png"))[y, x, ::-1].tolist()


def test_the_overview_moves_the_image(ann):
    open_image(ann, 2)
    overview = ann.page.locator(".minimap")
    assert not overview.is_visible()
    for _ in range(6):
        ann.press("+")
    overview.wait_for()
    box = overview.locator("canvas").bounding_box()
    ann.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    stage = ann.page.locator(".stage").bounding_box()
    middle = ann.place_of(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    assert np.abs(np.array(middle) - (80, 240)).max() < 4
    ann.press("Shift+v")
    ann.page.uncheck("[data-key='look-minimap']")
    assert not overview.is_visible()
    ann.page.check("[data-key='look-minimap']")


def test_rulers_are_drawn(ann):
    open_image(ann, 2)
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    stage = ann.page.locator(".stage").bounding_box()
    edge = {"x": stage["x"] + 300, "y": stage["y"], "width": 300, "height": 18}
    before = ann.page.screenshot(clip=edge)
    ann.press("Shift+v")
    ann.page.check("[data-key='look-rulers']")
    ann.press("Escape")
    ann.page.wait_for_timeout(200)
    assert ann.page.screenshot(clip=edge) != before
    ann.page.uncheck("[data-key='look-rulers']")


def test_alt_and_the_wheel_size_the_brush(ann):
    open_image(ann, 2)
    ann.press("b")
    ann.page.mouse.move(*ann.at(100, 100))
    shown = ann.page.locator(".radius output")
    before = float(shown.inner_text().split()[0])
    view = ann.view()
    ann.page.keyboard.down("Alt")
    ann.page.mouse.wheel(0, -300)
    ann.page.keyboard.up("Alt")
    expect(shown).to_have_text(f"{round(before * np.exp(0.6))} px")
    assert ann.view() == view
    ann.page.mouse.wheel(0, -300)
    ann.page.wait_for_timeout(200)
    assert ann.view() != view


def test_keys_are_changed_and_conflicts_are_told(ann, lab, person):
    open_image(ann, 3)
    ann.press("?")
    ann.page.click("[data-key='change-keys']")
    brush = ann.page.locator("[data-key='own-tool:brush']")
    brush.press("q")
    ann.page.wait_for_selector(".notice:has-text('Q is taken by: Point')")
    brush.press("Alt+b")
    expect(brush).to_have_value("Alt B")
    ann.page.keyboard.press("Escape")
    ann.page.wait_for_selector("dialog", state="detached")
    ann.press("q", "b")  # b means nothing now
    assert pressed(ann, ".tool:not(.sign)") != "Brush"
    ann.press("Alt+b")
    assert pressed(ann, ".tool:not(.sign)") == "Brush"
    assert ann.page.locator("[data-key='tool-brush'] kbd").inner_text() == "Alt B"
    ann.page.wait_for_timeout(1500)
    assert stored(lab, "ann")["keys"] == {"tool:brush": "Alt+b"}
    other = person("ann", on=lab, fresh=False)  # on another computer
    open_image(other, 4)
    other.press("Alt+b")
    assert pressed(other, ".tool:not(.sign)") == "Brush"
    other.drag((30, 30), (60, 30))
    other.accept()
    other.press("?")
    other.page.click("[data-key='change-keys']")
    other.page.click("[data-key='own-reset']")
    other.page.keyboard.press("Escape")
    other.page.wait_for_selector("dialog", state="detached")
    paint(other, (100, 30), (130, 30))
    other.accept()
    with Store.open(lab.where) as store:
        assert len(list_annotations(store, 4)) == 2


def zoom_to(one, x, y, scale):
    """Zoom in around a pixel of the image."""
    while one.view()[2] < scale:
        one.page.mouse.move(*one.at(x, y))
        one.page.mouse.wheel(0, -400)
        one.page.wait_for_timeout(50)  # the wheel has no answer


def test_image_of_144_megapixels_is_seen_and_masked_by_tiles(ann, lab):
    open_image(ann, LARGE)
    requests = []
    ann.page.on("request", lambda one: requests.append(one.url))
    assert ann.view()[2] < 0.06  # all of it is seen
    ann.page.wait_for_load_state("networkidle")
    blue, plain = (colour_at(ann, *place) for place in (DISC, (2000, 2000)))
    assert np.abs(blue - (40, 80, 200)).max() < 12
    assert np.abs(plain - 230).max() < 12
    zoom_to(ann, *DISC, 1)
    ann.page.wait_for_load_state("networkidle")
    tiles = [url for url in requests if "/tiles/" in url]
    assert any("/tiles/0/" in url for url in tiles)
    assert len(tiles) < 150  # of 780
    assert not any("/content" in url and f"/{LARGE}/" in url for url in requests)

    ann.page.wait_for_selector(".studio[data-ready]")
    ann.click(*DISC)
    ann.accept()
    zoom_to(ann, DISC[0] + RADIUS, DISC[1], 3)
    ann.press("b")
    far = (DISC[0] + RADIUS, DISC[1] - 60)
    ann.drag(far, (far[0], far[1] + 50))
    ann.accept()
    with Store.open(lab.where) as store:
        clicked, painted = list_annotations(store, LARGE)
    ys, xs = np.mgrid[-RADIUS - 20 : RADIUS + 20, -RADIUS - 20 : RADIUS + 20]
    disc = np.hypot(xs, ys) <= RADIUS
    box = [DISC[0] - RADIUS - 20, DISC[1] - RADIUS - 20, DISC[0] + RADIUS + 20]
    assert clicked.rle["size"] == [LARGE_SIDE, LARGE_SIDE]
    seen = decode_rle_patch(clicked.rle, [*box, DISC[1] + RADIUS + 20])
    assert (seen & disc).sum() / (seen | disc).sum() > 0.97
    assert abs(clicked.area_px - disc.sum()) < 0.03 * disc.sum()
    assert painted.box_xyxy[0] > DISC[0]
    assert painted.area_px > 12 * 50
