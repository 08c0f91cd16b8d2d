"""Images with thousands of masks: the page does no more work for a key than with a few."""

import numpy as np
import pytest

from samkit.dataengine import NewEvent, Store, list_users
from samkit.dataengine.schema import ImageRow
from samkit.dataengine.work import MadeMask, add_made_masks
from samkit.geometry import encode_rle

from .conftest import SIDE
from .test_habits import open_image

pytestmark = pytest.mark.slow

COUNT, IMAGE = 900, 11
STEP = SIDE // 30


@pytest.fixture(scope="module")
def crowded(own_server):
    """An image with 900 masks of 36 pixels, in 30 rows; its server."""
    with Store.open(own_server.where) as store:
        user = list_users(store).items[0].id
        with store.write() as session:
            image = session.get(ImageRow, IMAGE)
            made = [square(i % 30, i // 30) for i in range(COUNT)]
            add_made_masks(session, store, image, made, user_id=user, class_ids={}, origin="grid")
    return own_server


def square(column, row):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row * STEP + 2 : row * STEP + 8, column * STEP + 2 : column * STEP + 8] = True
    return MadeMask(
        segmentation=encode_rle(mask),
        class_name=None,
        score=None,
        stability=None,
        stage="imported",
        event=NewEvent(kind="import", data={}),
    )


COUNT_LAYERS = """async () => {
  const { MaskLayer } = await import('/layers.js');
  const draw = MaskLayer.prototype.drawTint;
  window.drawn_ = 0;
  MaskLayer.prototype.drawTint = function (...given) {
    window.drawn_ += 1;
    return draw.apply(this, given);
  };
}"""


# Pictures of many masks are drawn in slices, between frames.
WAIT_FOR_LAYERS = """async () => {
  let before = -1;
  while (window.drawn_ !== before) {
    before = window.drawn_;
    await new Promise((done) => setTimeout(done, 500));
  }
  window.drawn_ = 0;
}"""


def test_a_key_redraws_few_masks_and_rows(person, crowded):
    ada = person("ada", on=crowded)
    open_image(ada, IMAGE)
    ada.page.wait_for_selector(".mask-row")
    assert ada.page.locator(".masks h2 .count").inner_text() == str(COUNT)
    assert 5 < ada.page.locator(".mask-row").count() < 60
    last = ada.page.locator(".mask-row .number >> nth=0")
    assert last.inner_text() == str(COUNT)
    settle(ada)
    ada.page.evaluate(COUNT_LAYERS)
    ada.page.evaluate(WAIT_FOR_LAYERS)
    ada.press("o", "b", "]", "q")  # opacity and tools
    settle(ada)
    assert ada.page.evaluate("window.drawn_") == 0
    ada.press("n")
    ada.page.wait_for_selector("li[aria-current] .number:text-is('1')")  # scrolled to
    ada.press("n")
    ada.page.wait_for_selector("li[aria-current] .number:text-is('2')")
    settle(ada)
    assert 1 <= ada.page.evaluate("window.drawn_") < 150  # of 900


def test_selected_mask_comes_into_sight_and_hovered_row_lights_its_mask(person, crowded):
    ada = person("ada", on=crowded)
    open_image(ada, IMAGE)
    for _ in range(8):
        ada.press("+")
    ada.press("n")  # the first one, in the upper left corner
    ada.page.wait_for_selector("li[aria-current] .number:text-is('1')")
    x, y = ada.at(2, 2)
    box = ada.page.locator(".stage").bounding_box()
    assert box["x"] < x < box["x"] + box["width"]
    assert box["y"] < y < box["y"] + box["height"]
    ada.press("Escape")
    settle(ada)
    before = look_at(ada, 2, 5)
    ada.page.hover("[aria-label^='Mask 1,']")
    settle(ada)
    assert look_at(ada, 2, 5) != before


def test_first_undo_after_a_reload_asks_once(person, crowded):
    ada = person("ada", on=crowded)
    open_image(ada, IMAGE)
    asked = []
    ada.page.on("request", lambda one: asked.append(one.url.split("/api/")[-1]))
    ada.press("Control+z")
    ada.page.wait_for_selector(f".masks h2 .count:text-is('{COUNT - 1}')")
    ada.wait_until_saved()
    assert [one for one in asked if one.endswith(("history", "changes"))] == [
        f"images/{IMAGE}/changes"
    ]
    ada.press("Control+Shift+z")
    ada.page.wait_for_selector(f".masks h2 .count:text-is('{COUNT}')")
    ada.wait_until_saved()


def settle(person):
    """Until nothing is left to draw."""
    person.page.evaluate("""() => new Promise((resolve) => {
      const wait = (left) => left ? requestAnimationFrame(() => wait(left - 1)) : resolve();
      wait(40);
    })""")


def look_at(person, x, y):
    """What is seen around the corner of a pixel of the image."""
    left, top = person.at(x - 0.5, y - 0.5)
    clip = {"x": left - 3, "y": top - 3, "width": 6, "height": 6}
    return person.page.screenshot(clip=clip)
