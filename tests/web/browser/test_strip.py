"""The strip of thumbnails."""

import pytest
from sqlalchemy import insert

from samkit.dataengine import Store
from samkit.dataengine.schema import ImageRow

from .conftest import NUM_IMAGES
from .test_habits import ann, day, open_image, wait_for_image  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow

NUM_MISSING = 300


@pytest.fixture
def many(day):  # noqa: F811
    """Images in all, with some whose files are missing."""
    row = {
        "project_id": 1,
        "num_bytes": 1,
        "modified_ns": 0,
        "height": 100,
        "width": 200,
        "comment": "",
        "num_annotators": 1,
        "version": 1,
        "stage": "assisted-manual",
        "review": "accepted",
        "open": False,
        "num_masks": 0,
    }
    rows = [row | {"path": f"z/{i:03}.png", "sha256": f"{i:064x}"} for i in range(NUM_MISSING)]
    with Store.open(day.where) as store, store.write() as session:
        session.execute(insert(ImageRow), rows)
    return NUM_IMAGES + NUM_MISSING


def labels(one):
    return [
        node.get_attribute("aria-label") for node in one.page.locator(".strip a").element_handles()
    ]


def test_strip_shows_images_in_sight_with_their_states(ann, many):  # noqa: F811
    open_image(ann, 3)
    strip = ann.page.locator(".strip")
    assert strip.is_hidden()
    ann.press("Shift+m")
    ann.page.wait_for_selector(".strip a[aria-current]")
    assert strip.locator("a[aria-current]").get_attribute("aria-label").startswith("3: scene-02")
    assert "1: scene-00.png, to annotate" in labels(ann)
    assert len(labels(ann)) < 20
    assert ann.page.get_attribute(".strip li", "aria-setsize") == str(many)
    # Far away: loaded when it is scrolled to, and nothing that is out of sight stays.
    strip.evaluate("(node) => { node.scrollLeft = node.scrollWidth; }")
    ann.page.wait_for_selector(f".strip a[aria-label^='{many}: z/299.png']")
    assert f"{many}: z/299.png, accepted" in labels(ann)
    assert len(labels(ann)) < 20
    ann.page.wait_for_selector(".strip .broken >> nth=0")
    strip.evaluate("(node) => { node.scrollLeft = 0; }")
    ann.page.click(".strip a[aria-label^='1: ']")
    wait_for_image(ann, 1)
    # It stays open, also for the next visit, with the open image in sight.
    ann.page.wait_for_selector(".strip a[aria-current][aria-label^='1: ']")
    picture = ann.page.locator(".strip a[aria-current] img")
    picture.evaluate("(node) => node.decode()")
    assert picture.evaluate("(node) => node.naturalWidth") == 128
    ann.page.reload()
    wait_for_image(ann, 1)
    ann.page.wait_for_selector(".strip a[aria-current]")
    ann.page.evaluate(f"location.hash = '#/image/{many - 30}'")
    ann.page.wait_for_selector(f".strip a[aria-current][aria-label^='{many - 30}: ']")
    ann.press("Shift+m")
    ann.page.wait_for_selector(".strip", state="hidden")


def test_state_in_the_strip_is_the_present_one(ann, day):  # noqa: F811
    open_image(ann, 5)
    ann.press("Shift+m", "Control+Enter")
    ann.page.wait_for_selector("dialog h2:has-text('Submit without masks?')")
    ann.press("Enter")
    ann.page.wait_for_selector(".studio:not([data-image='5']) .bar .primary:enabled")
    ann.page.wait_for_selector(".strip a[aria-label='5: scene-04.png, submitted']")
    ann.page.click(".notice button:has-text('Take back')")
    wait_for_image(ann, 5)
    ann.page.wait_for_selector(".strip a[aria-label='5: scene-04.png, to annotate']")
    ann.press("Shift+m")
