"""16-bit images by tiles: windows, values under the pointer, and masks that no window changes."""

import os

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import expect

from samkit.dataengine import Store, list_annotations

from .conftest import Server, make_project
from .test_habits import open_image, wait_for_image
from .test_seeing import colour_at, leave, slide, zoom_to

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 1200, 1600  # 1.9 megapixels; the server decodes one as a whole
DEEP, PLAIN = 1, 2  # numbers of the images


def deep_values():
    """Values from 1,000 to 5,797, each column a step of 3, with a disc that is 9,000."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = (1000 + 3 * x).astype(np.uint16)
    values[np.hypot(x - 400, y - 300) < 90] = 9000
    return values


@pytest.fixture(scope="module")
def lab(tmp_path_factory, plain_backend):
    folder = tmp_path_factory.mktemp("tiled")
    (folder / "images").mkdir()
    values = deep_values()
    tifffile.imwrite(folder / "images" / "a-deep.tif", values, tile=(256, 256))
    Image.fromarray((values >> 6).astype(np.uint8)).save(folder / "images" / "b-plain.png")
    server = Server(folder, folder / "images", max_megapixels=1)
    make_project(server.where, server.images)
    server.start()
    yield server
    server.end()


@pytest.fixture
def ann(person, lab):
    return person("ann", on=lab)


def masks_of(server):
    with Store.open(server.where) as store:
        return [(one.rle, one.version) for one in list_annotations(store, DEEP)]


def test_window_and_values_of_a_tiled_16_bit_image(ann, lab):
    values = deep_values()
    open_image(ann, DEEP)
    ann.page.wait_for_load_state("networkidle")
    zoom_to(ann, 800, 600, 1)
    ann.press("b")
    ann.drag((700, 500), (760, 500))
    ann.accept()
    before = masks_of(lab)
    assert len(before) == 1
    # Values are not read for whoever does not ask.
    ann.page.mouse.move(*ann.at(805, 605))
    expect(ann.page.locator(".place")).to_have_text("805, 605")
    ann.page.wait_for_timeout(300)
    expect(ann.page.locator(".pixel-values")).to_have_text("")

    ann.press("Shift+v")
    ann.page.wait_for_selector("[data-key='look-level']")
    assert "uint16, from 1000 to 9000" in ann.page.locator(".looks-panel .window").inner_text()
    with ann.page.expect_response(
        lambda one: "/tiles/0/" in one.url and "value_range=3250%2C3550" in one.url
    ):
        slide(ann, "look-width", 300)
        slide(ann, "look-level", 3400)
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    # Column 800 has the value 3400, in the middle; 750 and below are black, 850 and above white.
    for column, expected in ((700, 0), (800, 127), (825, 191), (900, 255)):
        assert np.abs(colour_at(ann, column, 650) - expected).max() <= 8, column
    if "SAMKIT_TEST_PICTURES" in os.environ:
        ann.page.mouse.move(*ann.at(820, 640))
        ann.page.wait_for_timeout(500)
        ann.page.screenshot(path=f"{os.environ['SAMKIT_TEST_PICTURES']}/tiled-window.png")
    for x, y in ((805, 605), (880, 513)):
        ann.page.mouse.move(*ann.at(x, y))
        expect(ann.page.locator(".pixel-values")).to_have_text(str(values[y, x]))
    assert masks_of(lab) == before

    ann.page.wait_for_timeout(1500)  # until the window is stored
    ann.page.reload()
    wait_for_image(ann, DEEP)
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    ann.page.wait_for_timeout(500)
    assert colour_at(ann, 1500, 1000).min() >= 250  # it stays; 5500 is gray without it
    assert colour_at(ann, 100, 1000).max() <= 6
    ann.press("Shift+v")
    ann.page.wait_for_selector("[data-key='look-level']")
    ann.page.click("[data-key='look-reset']")
    ann.page.wait_for_load_state("networkidle")
    leave(ann)
    ann.page.wait_for_timeout(500)
    assert 100 < colour_at(ann, 1500, 1000).max() < 200


def test_values_of_8_bits_are_near_and_there_is_no_window(ann):
    open_image(ann, PLAIN)
    ann.page.wait_for_load_state("networkidle")
    ann.page.mouse.move(*ann.at(400, 300))
    shown = ann.page.locator(".pixel-values")
    expect(shown).to_contain_text("≈ 1")
    found = [int(one) for one in shown.inner_text().removeprefix("≈ ").split()]
    assert np.abs(np.array(found) - (9000 >> 6)).max() <= 4
    ann.press("Shift+v")
    expect(ann.page.locator(".looks-panel")).to_contain_text("Values from 0 to 255")
    assert ann.page.locator("[data-key='look-level']").count() == 0
