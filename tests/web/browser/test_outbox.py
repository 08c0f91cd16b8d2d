"""The outbox: several tabs, expired sign-ins, refusals, and broken answers."""

import pytest
from playwright.sync_api import expect

from samkit.dataengine import Store, give_back, list_users, take_image
from web.browser.conftest import PASSWORD

pytestmark = pytest.mark.slow

ANNOTATIONS = "**/annotations"
UNSENT = ".save-state.bad:has-text('1 change not saved yet')"


@pytest.fixture
def ann(person, own_server):
    return person("ann", on=own_server)


def draw(person):
    """A mask by hand, accepted."""
    person.press("b")
    person.drag((30, 30), (90, 90))
    person.press("Enter")


def other_tab(person):
    tab = type(person)(person.page.context.new_page(), person.server)
    tab.page.set_default_timeout(60_000)
    tab.page.goto(person.server.url)
    tab.page.wait_for_selector(".card.project")
    return tab


def sign_in_elsewhere(person, name):
    answer = person.page.context.request.post(
        f"{person.server.url}/api/session",
        data={"name": name, "password": PASSWORD},
        headers={"Origin": person.server.url},
    )
    assert answer.ok


def test_signing_in_in_another_tab_does_not_stop_this_one(ann, own_server, masks):
    ann.open_image(4)
    sign_in_elsewhere(ann, "ann")
    draw(ann)
    ann.wait_until_saved()
    assert len(masks(4, on=own_server)) == 1


def test_nothing_is_sent_in_somebody_elses_name(ann, own_server, masks):
    ann.open_image(5)
    sign_in_elsewhere(ann, "rev")
    draw(ann)
    ann.page.wait_for_selector("dialog[open] form.sign-in")
    assert masks(5, on=own_server) == []
    ann.page.click("dialog[open] header button")  # closed: it can be had again
    ann.page.click(".banner[data-name=sign-in] button")
    ann.page.fill("dialog[open] input[name=name]", "ann")
    ann.page.fill("dialog[open] input[name=password]", PASSWORD)
    ann.page.press("dialog[open] input[name=password]", "Enter")
    ann.wait_until_saved()
    [(_, saved)] = masks(5, on=own_server)
    with Store.open(own_server.where) as store:
        names = {one.id: one.name for one in list_users(store).items}
    assert names[saved.user_id] == "ann"


def test_tabs_do_not_lose_each_others_changes(ann, own_server, masks):
    other = other_tab(ann)
    ann.open_image(6)
    ann.page.route(ANNOTATIONS, lambda route: route.abort())
    draw(ann)
    ann.page.wait_for_selector(UNSENT)
    other.open_image(7)
    draw(other)
    other.wait_until_saved()
    ann.page.close(run_before_unload=False)
    assert masks(6, on=own_server) == []
    third = other_tab(ann)
    third.open_image(6)
    expect(third.page.locator(".mask-row")).to_have_count(1)
    assert len(masks(6, on=own_server)) == len(masks(7, on=own_server)) == 1


def test_page_of_a_network_is_no_acknowledgement(ann, own_server, masks):
    ann.open_image(8)
    ann.page.route(
        ANNOTATIONS,
        lambda route: route.fulfill(content_type="text/html", body="<h1>Sign in to the Wi-Fi</h1>"),
    )
    draw(ann)
    ann.page.wait_for_selector(UNSENT)
    ann.page.unroute(ANNOTATIONS)
    ann.wait_until_saved()
    assert len(masks(8, on=own_server)) == 1


def test_refused_change_does_not_hold_up_other_images(ann, own_server, masks):
    ann.open_image(9)
    with Store.open(own_server.where) as store:
        people = {one.name: one.id for one in list_users(store).items}
        give_back(store, 9, people["ann"])
        take_image(store, 9, people["rev"])
    draw(ann)
    ann.page.wait_for_selector(".banner[data-name=outbox]:has-text('held by somebody else')")
    ann.page.evaluate("location.hash = '#/image/10'")
    ann.page.wait_for_selector(".studio[data-image='10'][data-ready]")
    draw(ann)
    ann.page.wait_for_selector(UNSENT)
    assert len(masks(10, on=own_server)) == 1
    ann.page.click(".banner[data-name=outbox] button:has-text('Discard')")
    ann.page.click("dialog[open] button.primary")
    ann.wait_until_saved()
    assert (masks(9, on=own_server), ann.page.locator(".mask-row").count()) == ([], 1)
