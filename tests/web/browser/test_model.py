"""The tab Model: versions and their figures, the way back, settings.

With SAMKIT_SCREENSHOTS=FOLDER the same run writes a picture.
"""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from samkit.dataengine import (
    Learning,
    Store,
    add_learned_model,
    get_project,
    list_model_versions,
    serving_version,
)
from samkit.learning import pack_decoder

pytestmark = pytest.mark.slow

FOLDER = os.environ.get("SAMKIT_SCREENSHOTS")
CLICKS = [(4.62, 3.71), (3.71, 3.05), (3.05, 3.1), (3.05, 2.48)]


def add_versions(server, predictor):
    """Versions with the server's own weights, the third one rejected; returns the base's id."""
    decoder = pack_decoder(predictor.model)
    with Store.open(server.where) as store:
        base = parent = list_model_versions(store)[0].id
        for number, (before, after) in enumerate(CLICKS, start=1):
            is_better = after < before
            one = add_learned_model(
                store,
                1,
                name=f"scenes {number}",
                checksum=f"{number:064}",
                parent_id=parent,
                decoder=decoder if is_better else None,
                num_images=6 * number,
                num_masks=40 * number,
                num_finished=55 * number,
                reason="as the test says",
                figures={
                    "clicks": [before, after],
                    "clicks90": [before + 1.4, after + 1.2],
                    "iou_1": [0.6, 0.6 + number / 20],
                },
            )
            parent = one.version.id if is_better else parent
    return base


def test_a_reviewer_sees_versions_and_goes_back(person, server, predictor):
    ann, rev = person("ann"), person("rev")
    ann.open_image(3)  # the model is loaded, and registered
    rev.page.goto(f"{server.url}/#/project/1")
    rev.page.click("nav.tabs a:has-text('Model')")
    rev.page.wait_for_selector("text=No model has learned from this project yet")
    base = add_versions(server, predictor)
    rev.page.wait_for_selector("dd:text-is('scenes 4')", timeout=20_000)  # by itself
    if FOLDER is not None:
        rev.page.screenshot(path=Path(FOLDER) / "model.png", full_page=True)
    rows = rev.page.locator(".table-card tbody tr")
    expect(rows).to_have_count(5)
    first = rows.nth(0).inner_text().split("\t")
    assert first[:6] == ["scenes 4", "160", "3.05", "2.48", "0.800", "promoted"]
    expect(rows.nth(1).locator("button")).to_have_count(0)  # rejected
    expect(rev.page.locator("figure path.line")).to_have_count(3)
    rows.nth(4).locator("button:text-is('Let it answer')").click()
    rev.page.click("dialog button:text-is('Change')")
    rev.page.wait_for_selector('dd:text-is("The server\'s own model")')
    with Store.open(server.where) as store:
        assert serving_version(store, 1) == base
    rev.page.fill("label:has-text('new masks') input", "25")
    rev.page.check("label:has-text('Put confident masks') input")
    rev.page.check("label:has-text('Offer first the images') input")
    rev.page.click("button:text-is('Save')")
    rev.page.wait_for_selector(".notice:has-text('Saved.')")
    with Store.open(server.where) as store:
        learning = get_project(store, 1).learning
    assert (learning.every_masks, learning.prefill, learning.choose_next) == (25, True, True)
    assert learning.target_precision == Learning().target_precision
    # Annotators see what answers, and cannot change it.
    ann.page.goto(f"{server.url}/#/project/1/model")
    ann.page.wait_for_selector('dd:text-is("The server\'s own model")')
    expect(ann.page.locator("button:text-is('Let it answer')")).to_have_count(0)
    expect(ann.page.locator("form")).to_have_count(0)
    # What was started is shown and can be stopped; others use this server as well.
    for box in ("Put confident masks", "Offer first the images"):
        rev.page.uncheck(f"label:has-text('{box}') input")
    rev.page.fill("label:has-text('new masks') input", "0")
    rev.page.click("button:text-is('Save')")
    rev.page.wait_for_selector(".notice:has-text('Saved.')")


def test_the_tiles_of_a_large_image_are_counted(person, server):
    rev = person("rev")

    def busy(route):
        said = {"doing": "prefill", "left": 2, "tiles": [3, 1256]}
        route.fulfill(json=route.fetch().json() | said)

    rev.page.route("**/api/projects/1/learning", busy)
    rev.page.goto(f"{server.url}/#/project/1/model")
    expect(rev.page.locator("p.message[role=status]")).to_contain_text(
        "2 images left. A large image: 3 of 1,256 tiles done."
    )
