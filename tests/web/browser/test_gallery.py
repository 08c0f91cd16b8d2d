"""The gallery: searching, orders, and verdicts on many images."""

import numpy as np
import pytest
from playwright.sync_api import expect

from samkit.dataengine import (
    Store,
    get_image,
    list_images,
    list_users,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.geometry import encode_rle

from .conftest import NUM_IMAGES, SIDE
from .test_habits import ann, day  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worked(day):  # noqa: F811
    """Image n has n masks, up to the fourth, which is rev's; the others are ann's, submitted."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:60, 10:60] = True
    with Store.open(day.where) as store:
        users = {one.name: one.id for one in list_users(store).items}
        for number in range(1, 5):
            user = users["rev" if number == 4 else "ann"]
            take_image(store, number, user)
            for i in range(number):
                save_annotation(
                    store,
                    image_id=number,
                    user_id=user,
                    rle=encode_rle(mask),
                    class_id=1 + (number == 2 and i == 1),
                )
            if number < 4:
                submit_image(store, number, user)
    return day


def names(one):
    """The names in the gallery, in reading order."""
    texts = one.page.locator(".image-card .name").all_inner_texts()
    return [text.removeprefix("scene-")[:2] for text in texts]


def wait_for(one, found, expected):
    one.page.wait_for_selector(f".found-count:text-is('{found}')")
    for _ in range(100):
        if names(one) == expected:
            return
        one.page.wait_for_timeout(50)
    assert names(one) == expected


def choose(one, label, text):
    one.page.select_option(f".filters select[aria-label='{label}']", label=text)


def open_gallery(one):
    one.page.goto(f"{one.server.url}/#/project/1")
    one.page.wait_for_selector(".image-card")


def test_search_and_order(person, worked):
    rev = person("rev", on=worked)
    open_gallery(rev)
    wait_for(rev, "12 images", [f"{i:02}" for i in range(NUM_IMAGES)])
    rev.page.fill(".search", "E-0")
    wait_for(rev, "10 of 12 images", [f"{i:02}" for i in range(10)])
    choose(rev, "Number of masks", "With masks")
    wait_for(rev, "4 of 12 images", ["00", "01", "02", "03"])
    choose(rev, "Order", "Most masks first")
    wait_for(rev, "4 of 12 images", ["03", "02", "01", "00"])
    choose(rev, "Class", "star")
    wait_for(rev, "1 of 12 images", ["01"])
    choose(rev, "Class", "disc")
    choose(rev, "Person", "ann")
    wait_for(rev, "3 of 12 images", ["02", "01", "00"])
    # Back from an image it is as it was.
    rev.page.click(".image-card a")
    rev.page.wait_for_selector(".review, .studio")
    rev.page.go_back()
    wait_for(rev, "3 of 12 images", ["02", "01", "00"])
    assert rev.page.input_value(".search") == "E-0"
    rev.page.fill(".search", "nothing")
    wait_for(rev, "0 of 12 images", [])
    rev.page.fill(".search", "")
    choose(rev, "Order", "By name, backwards")
    choose(rev, "Person", "Everybody")
    choose(rev, "Class", "All classes")
    choose(rev, "Number of masks", "No masks")
    wait_for(rev, "8 of 12 images", [f"{i:02}" for i in range(11, 3, -1)])


def test_annotators_find_their_own_and_select_nothing(ann, worked):  # noqa: F811
    open_gallery(ann)
    choose(ann, "Person", "My images")
    wait_for(ann, "3 of 12 images", ["00", "01", "02"])
    expect(ann.page.locator(".pick")).to_have_count(0)


def states(server):
    with Store.open(server.where) as store:
        return [one.review for one in list_images(store, 1).items[:5]]


def test_verdicts_on_selected_images(person, worked):
    rev = person("rev", on=worked)
    open_gallery(rev)
    rev.page.check("[aria-label='Select scene-00.png']")
    rev.page.click("[aria-label='Select scene-03.png']", modifiers=["Shift"])
    bar = rev.page.locator(".selection strong")
    assert bar.inner_text() == "4 selected"
    rev.page.uncheck("[aria-label='Select scene-01.png']")
    rev.page.click(".selection button:has-text('Accept')")
    told = "2 images accepted, 1 not and still selected: scene-03.png"
    rev.page.wait_for_selector(f".notice:has-text('{told}')")
    assert states(worked) == ["accepted", "submitted", "accepted", "none", "none"]
    assert bar.inner_text() == "1 selected"
    assert rev.page.locator("[data-image='1'] .badge").inner_text() == "accepted"
    rev.page.click(".selection button:has-text('Clear')")
    assert rev.page.locator(".selection").is_hidden()
    rev.page.check("[aria-label='Select scene-01.png']")
    rev.page.click(".selection button:has-text('Return')")
    rev.page.fill("dialog textarea", "One is missing.")
    rev.page.click("dialog button:has-text('Return 1 image')")
    rev.page.wait_for_selector(".notice:has-text('1 image returned.')")
    with Store.open(worked.where) as store:
        assert get_image(store, 2).comment == "One is missing."
    # All that a search finds; another search begins anew.
    rev.page.fill(".search", "E-0")
    rev.page.wait_for_selector(".found-count:text-is('10 of 12 images')")
    rev.page.check("[aria-label='Select scene-05.png']")
    rev.page.click(".selection button:has-text('Select all 10')")
    rev.page.wait_for_selector(".selection strong:text-is('10 selected')")
    expect(rev.page.locator(".image-card.chosen")).to_have_count(10)
    rev.page.fill(".search", "")
    rev.page.wait_for_selector(".selection", state="hidden")
