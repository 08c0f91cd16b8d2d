"""Teams on the page: assignment, notice of returned images, comments, verdicts, members, tokens."""

import re

import numpy as np
import pytest

from samkit.dataengine import (
    Store,
    assignees,
    get_image,
    get_members,
    list_annotations,
    list_comments,
    list_honey_pots,
    list_tokens,
    list_users,
    return_image,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.geometry import encode_rle

from .conftest import SIDE, serving
from .test_habits import open_image

pytestmark = pytest.mark.slow


def annotate(store, number, user_id):
    """Two squares, submitted."""
    take_image(store, number, user_id)
    for x in (20, 180):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[40:140, x : x + 100] = True
        save_annotation(store, image_id=number, user_id=user_id, rle=encode_rle(mask))
    return submit_image(store, number, user_id)


@pytest.fixture(scope="module")
def team(tmp_path_factory, plain_backend):
    """A server on which ann has submitted the images 1 to 3."""

    def prepare(server):
        with Store.open(server.where) as store:
            ann = {one.name: one.id for one in list_users(store).items}["ann"]
            for number in (1, 2, 3):
                annotate(store, number, ann)

    with serving(tmp_path_factory.mktemp("team"), prepare) as server:
        yield server


def users(team):
    with Store.open(team.where) as store:
        return {one.name: one.id for one in list_users(store).items}


def test_images_are_assigned_and_the_page_tells_what_was_returned(person, team):
    from playwright.sync_api import expect

    rev = person("rev", on=team)
    rev.page.goto(f"{team.url}/#/project/1")
    for number in (5, 6):
        rev.page.check(f"[data-image='{number}'] .pick")
    rev.page.click("button:has-text('Assign…')")
    rev.page.check("dialog label:has-text('ann') input")
    rev.page.select_option("dialog select", "high")
    rev.page.fill("dialog input[list]", "week 12")
    rev.page.click("dialog button:has-text('Assign')")
    rev.page.wait_for_selector(".notice:has-text('2 images assigned.')")
    expect(rev.page.locator("[data-image='5'] .badge.high")).to_be_visible()
    with Store.open(team.where) as store:
        assert assignees(store, 6) == (users(team)["ann"],)
        assert get_image(store, 6).batch == "week 12"
        version = get_image(store, 1).version
        return_image(store, 1, users(team)["rev"], version=version, comment="the left one")
    ann = person("ann", on=team)
    ann.page.goto(f"{team.url}/#/project/1")
    ann.page.wait_for_selector(".notice:has-text('1 image was returned to you in scenes.')")
    expect(ann.page.locator(".returned-link")).to_have_text("1 image returned to you")
    expect(ann.page.locator("button.primary .count")).to_have_text("1 returned, 2 for you")
    rev.page.click(".tabs a:has-text('Team')")
    row = rev.page.locator("table:has-text('Waiting for review') tr:has-text('ann') td")
    expect(row).to_have_text(["ann", "2", "0", "2", "0", "1", "0", "0"])
    expect(rev.page.locator("tr:has-text('week 12') td")).to_have_text(
        ["week 12", "2", "2", "0", "0"]
    )


def test_comments_and_verdicts_go_from_review_to_the_annotator(person, team):
    from playwright.sync_api import expect

    rev = person("rev", on=team)
    rev.page.goto(f"{team.url}/#/project/1/review/2")
    rev.page.wait_for_selector(".review .mask-row")
    rev.page.mouse.move(*rev.at(70, 90))
    rev.press("c")
    rev.page.fill("dialog textarea", "the <b>edge</b> is wrong")
    rev.press("Control+Enter")
    expect(rev.page.locator(".threads .said")).to_have_text("the <b>edge</b> is wrong")
    rev.page.mouse.move(*rev.at(70, 91))
    rev.press("2")
    rev.page.wait_for_selector(".verdict.rejected[aria-pressed=true]")
    rev.page.mouse.move(*rev.at(230, 90))
    rev.press("1")
    rev.page.wait_for_selector(".verdict.accepted[aria-pressed=true]")
    rev.press("a")
    rev.page.wait_for_selector("dialog:has-text('1 mask is rejected')")
    rev.page.click("dialog button:has-text('Cancel')")
    rev.press("r")
    rev.page.fill("dialog textarea", "see the comment")
    rev.press("Control+Enter")
    rev.page.wait_for_selector(".notice:has-text('Returned: scene-01.png')")
    with Store.open(team.where) as store:
        found = list_annotations(store, 2)
        assert [one.verdict for one in found] == ["rejected", "accepted"]
        (thread,) = list_comments(store, 2, user_id=users(team)["ann"])
        assert thread.annotation_id == found[0].id

    ann = person("ann", on=team)
    open_image(ann, 2)
    pin = ann.page.locator(".pin")
    expect(pin).to_have_attribute("aria-label", re.compile("Comment by rev on mask 1: the <b>"))
    box = pin.bounding_box()
    x, y = ann.place_of(box["x"] + 4, box["y"] + box["height"])
    assert abs(x - 70) < 3
    assert abs(y - 90) < 3
    ann.page.wait_for_selector(".mask-row:has-text('1') .rejected-mark")
    pin.click()
    ann.page.keyboard.type("better now")
    ann.press("Control+Enter")
    expect(ann.page.locator(".thread ol li")).to_have_count(2)
    ann.page.click(".thread button:has-text('Resolve')")
    expect(ann.page.locator(".pin")).to_have_count(0)
    ann.page.mouse.move(*ann.at(300, 300))
    ann.press("Shift+C")
    ann.page.wait_for_selector("dialog h2:has-text('Comment on this place')")
    ann.press("Escape")
    with Store.open(team.where) as store:
        (thread,) = list_comments(store, 2, user_id=users(team)["ann"])
        assert thread.resolved
        assert [one.text for one in thread.comments] == ["the <b>edge</b> is wrong", "better now"]


def test_admins_set_members_webhooks_and_honey_pots(person, team):
    from playwright.sync_api import expect

    ada = person("ada", on=team)
    ada.page.goto(f"{team.url}/#/project/1/review/3")
    ada.page.wait_for_selector(".review .mask-row")
    ada.press("a")
    ada.page.wait_for_selector(".notice:has-text('Accepted: scene-02.png')")
    ada.page.goto(f"{team.url}/#/project/1")
    ada.page.check("[data-image='3'] .pick")
    ada.page.click("button:has-text('Honey pots…')")
    ada.page.click("dialog button:has-text('Make honey pots')")
    ada.page.wait_for_selector(".notice:has-text('1 image is a honey pot now.')")
    ada.page.click(".tabs a:has-text('Team')")
    ada.page.click("summary:has-text('1 honey pot')")
    expect(ada.page.locator("tr:has-text('scene-02.png') td")).to_have_text(
        ["scene-02.png", "2", "0", re.compile("^.$"), "End"]
    )
    ada.page.click("[data-key=add-webhook]")
    ada.page.fill("dialog input[type=url]", "https://hooks.example.org/")
    ada.page.click("dialog button:has-text('Add')")
    secret = ada.page.wait_for_selector("dialog .secret").inner_text()
    assert secret.startswith("whsec_")
    ada.press("Escape")
    expect(ada.page.locator("tr:has-text('hooks.example.org')")).to_be_visible()
    ada.page.click("button:has-text('Change…')")
    ada.page.check("dialog label:has-text('Members only') input")
    ada.page.check("dialog .choices label:has-text('rev') input")
    ada.page.click("dialog button:has-text('Set')")
    ada.page.wait_for_selector("text=Only its members, and admins")
    with Store.open(team.where) as store:
        assert get_members(store, 1).user_ids == (users(team)["rev"],)
        assert [one.image_id for one in list_honey_pots(store, 1)] == [3]
    ada.page.click("button.user")
    ada.page.click("dialog button:has-text('API tokens…')")
    ada.page.fill("dialog input[placeholder='What it is for']", "nightly")
    ada.page.click("dialog button:has-text('Make a token')")
    token = ada.page.wait_for_selector("dialog .secret").inner_text()
    assert token.startswith("samkit_")
    ada.page.click("dialog button:has-text('Revoke')")
    ada.page.wait_for_selector("dialog td:has-text('revoked')")
    with Store.open(team.where) as store:
        (made,) = list_tokens(store, users(team)["ada"])
        assert (made.name, made.revoked) == ("nightly", True)
