"""Attributes of masks, tags of images, and keys of classes on the page."""

import pytest
from playwright.sync_api import expect

from samkit.dataengine import (
    Attribute,
    Labelling,
    Store,
    get_image,
    get_labelling,
    list_annotations,
    list_classes,
    list_users,
    set_labelling,
    set_tags,
    tag_history,
    take_image,
)

from .conftest import serving
from .test_habits import open_image, paint, wait_for_image

pytestmark = pytest.mark.slow

LABELLING = Labelling(
    attributes=(
        Attribute(name="colour", kind="choice", choices=("red", "blue")),
        Attribute(name="age", kind="number"),
        Attribute(name="note", kind="text"),
    ),
    tags=("blurred", "night"),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, plain_backend):
    """A server for this module, whose project has attributes and tags."""

    def set_up(server):
        with Store.open(server.where) as store:
            set_labelling(store, 1, LABELLING)

    with serving(tmp_path_factory.mktemp("shop"), set_up) as server:
        yield server


@pytest.fixture
def ann(person, shop):
    return person("ann", on=shop)


def values(server, number):
    with Store.open(server.where) as store:
        return [one.attributes for one in list_annotations(store, number)]


def tags(server, number):
    with Store.open(server.where) as store:
        return get_image(store, number).tags


def field(one, name):
    return one.page.locator(f"[data-key='attribute-{name}']")


def is_on(one, key):
    return one.page.locator(f"[data-key='{key}']").get_attribute("aria-pressed") == "true"


def test_a_mask_gets_attributes_while_it_is_made_and_later(ann, shop):
    open_image(ann, 1)
    assert not ann.page.locator(".values").is_visible()  # there is no mask
    paint(ann, (30, 30), (60, 30))
    field(ann, "occluded").click()
    field(ann, "colour").select_option("blue")
    ann.accept()
    assert values(shop, 1) == [{"occluded": True, "colour": "blue"}]
    ann.drag((100, 100), (140, 100))
    assert not is_on(ann, "attribute-occluded")  # each mask has its own
    ann.accept()
    ann.press("n")  # the first mask
    assert (is_on(ann, "attribute-occluded"), field(ann, "colour").input_value()) == (True, "blue")
    field(ann, "age").fill("2.5")
    field(ann, "note").fill("torn at the left")
    ann.page.keyboard.press("Enter")
    ann.wait_until_saved()
    full = {"occluded": True, "colour": "blue", "age": 2.5, "note": "torn at the left"}
    assert values(shop, 1) == [full, {}]
    row = ann.page.locator(".mask-row").nth(1)
    assert (
        row.locator(".words").inner_text()
        == "age 2.5, colour blue, note torn at the left, occluded"
    )
    ann.page.reload()
    wait_for_image(ann, 1)
    ann.press("Control+z")  # after a reload, too
    ann.page.wait_for_selector(".words:text-is('age 2.5, colour blue, occluded')")
    assert values(shop, 1) == [{"occluded": True, "colour": "blue", "age": 2.5}, {}]
    ann.press("Control+Shift+z")
    ann.wait_until_saved()
    assert values(shop, 1) == [full, {}]


def test_attributes_have_keys(ann, shop):
    open_image(ann, 2)
    paint(ann, (30, 30), (60, 30))
    ann.press("Alt+4", "Alt+5", "Alt+3", "Alt+3")  # truncated, red, occluded there and back
    ann.accept()
    assert values(shop, 2) == [{"truncated": True, "colour": "red"}]
    ann.press("n", "Alt+5", "Alt+5", "Alt+1")  # blue, none; crowd
    ann.press("Alt+6")
    ann.page.keyboard.type("7")
    ann.page.keyboard.press("Enter")
    ann.press("e")  # the keys work the image again
    ann.wait_until_saved()
    assert values(shop, 2) == [{"truncated": True, "crowd": True, "age": 7}]
    assert is_on(ann, "tool-eraser")
    ann.press("Escape", "Alt+1")  # no mask is selected
    assert values(shop, 2) == [{"truncated": True, "crowd": True, "age": 7}]


def test_attributes_stay_with_a_mask_that_is_corrected_or_split(ann, shop):
    open_image(ann, 3)
    paint(ann, (30, 30), (60, 30))
    ann.drag((200, 200), (240, 200))
    ann.press("Alt+2")
    ann.accept()
    ann.press("n", "b")
    ann.drag((30, 60), (60, 60))
    ann.press("Alt+3")
    ann.accept()
    assert values(shop, 3) == [{"difficult": True, "occluded": True}]
    ann.press("n", "u")
    ann.page.wait_for_selector(".masks h2 .count:text-is('3')")
    ann.wait_until_saved()
    assert values(shop, 3) == [{"difficult": True, "occluded": True}] * 3


def test_tags_are_set_and_undone(ann, shop):
    open_image(ann, 4)
    ann.page.click("[data-key='tag-night']")
    ann.wait_until_saved()
    assert tags(shop, 4) == ("night",)
    paint(ann, (30, 30), (60, 30))
    ann.accept()
    ann.press("Alt+Shift+1")
    ann.wait_until_saved()
    assert tags(shop, 4) == ("blurred", "night")
    ann.press("Control+z")
    ann.page.wait_for_selector("[data-key='tag-blurred'][aria-pressed=false]")
    ann.page.reload()
    wait_for_image(ann, 4)
    assert (is_on(ann, "tag-blurred"), is_on(ann, "tag-night")) == (False, True)
    for _ in range(2):  # the mask, then the tag before it
        ann.press("Control+z")
    ann.page.wait_for_selector("[data-key='tag-night'][aria-pressed=false]")
    ann.wait_until_saved()
    assert (tags(shop, 4), values(shop, 4)) == ((), [])
    for _ in range(3):
        ann.press("Control+Shift+z")
    ann.page.wait_for_selector("[data-key='tag-blurred'][aria-pressed=true]")
    ann.wait_until_saved()
    assert (tags(shop, 4), len(values(shop, 4))) == (("blurred", "night"), 1)


def test_tags_changed_elsewhere_are_told(ann, shop):
    open_image(ann, 5)
    with Store.open(shop.where) as store:
        user_id = next(one.id for one in list_users(store).items if one.name == "ann")
        take_image(store, 5, user_id)
        set_tags(store, 5, user_id=user_id, version=0, tags=["blurred"])
    ann.page.click("[data-key='tag-night']")
    banner = ann.page.locator("[data-name=outbox]")
    banner.wait_for()
    assert "the tags were changed elsewhere meanwhile" in banner.inner_text()
    assert banner.locator("button").all_inner_texts() == [
        "Save mine over it",
        "Take what is there now",
    ]
    banner.get_by_text("Save mine over it").click()
    ann.wait_until_saved()
    assert tags(shop, 5) == ("night",)
    with Store.open(shop.where) as store:
        assert [one.tags for one in tag_history(store, 5)] == [("blurred",), ("night",)]


def test_reviewers_say_what_is_asked_for(person, shop):
    rev = person("rev", on=shop)
    page = rev.page
    page.goto(f"{shop.url}/#/project/1/statistics")
    page.wait_for_selector("section:has(h2:text-is('Attributes and tags')) tr:has-text('occluded')")
    page.goto(f"{shop.url}/#/project/1/classes")
    page.fill("[data-key='new-attribute']", "stage")
    page.select_option("[data-key='new-kind']", "choice")
    page.fill("[data-key='new-choices']", "early, late")
    page.press("[data-key='new-choices']", "Enter")
    page.wait_for_selector("[data-key='choices-stage']")
    page.fill("[data-key='choices-stage']", "early, late, dead")
    page.press("[data-key='choices-stage']", "Enter")
    page.fill("[data-key='new-tag']", "foggy")
    page.press("[data-key='new-tag']", "Enter")
    page.wait_for_selector("span.chip:has-text('foggy')")
    page.click("[data-key='remove-age']")
    page.get_by_role("button", name="Remove", exact=True).click()  # two masks have it
    page.wait_for_selector("[data-key='remove-age']", state="detached")
    page.check("[data-key='class-required']")
    page.wait_for_load_state("networkidle")
    page.fill("[data-key='new-attribute']", "crowd")
    page.press("[data-key='new-attribute']", "Enter")
    page.wait_for_selector(".notice:has-text('every project has this flag already')")
    page.reload()
    page.wait_for_selector("[data-key='choices-stage']")
    with Store.open(shop.where) as store:
        found = get_labelling(store, 1)
        assert [(one.name, one.choices) for one in found.attributes] == [
            ("colour", ("red", "blue")),
            ("note", ()),
            ("stage", ("early", "late", "dead")),
        ]
        assert (found.tags, found.class_required) == (("blurred", "night", "foggy"), True)
        set_labelling(store, 1, LABELLING)


def test_classes_have_keys_of_their_own(person, ann, shop):
    rev = person("rev", on=shop)
    page = rev.page
    page.goto(f"{shop.url}/#/project/1/classes")
    star = page.get_by_label("Key of star")
    star.press("b")
    page.wait_for_selector(".notice:has-text('B is a key of the studio already: Brush')")
    star.press("Alt+s")
    expect(star).to_have_value("Alt S")
    page.get_by_label("Key of disc").press("Alt+s")
    page.wait_for_selector(".notice:has-text(\"the key Alt+s is that of 'star'\")")
    with Store.open(shop.where) as store:
        disc, star_class = list_classes(store, 1)
        assert (disc.key, star_class.key) == ("", "Alt+s")
    open_image(ann, 6)
    assert ann.page.locator(f"[data-key='class-{star_class.id}'] kbd").inner_text() == "Alt S"
    paint(ann, (30, 30), (60, 30))
    ann.press("Alt+s")
    ann.accept()
    with Store.open(shop.where) as store:
        assert [one.class_id for one in list_annotations(store, 6)] == [star_class.id]


def test_required_classes_are_asked_for_before_an_image_is_submitted(ann, shop):
    with Store.open(shop.where) as store:
        set_labelling(store, 1, Labelling(class_required=True))
    open_image(ann, 7)
    ann.page.click("[data-key='class-null']")
    paint(ann, (30, 30), (60, 30))
    ann.accept()
    ann.press("Control+Enter")
    told = ".notice:has-text('1 mask of 1 has no class, which the project requires')"
    ann.page.wait_for_selector(told)
    ann.press("n", "Shift+1")
    ann.wait_until_saved()
    ann.press("Control+Enter")
    ann.page.wait_for_selector(".studio:not([data-image='7'])")
    with Store.open(shop.where) as store:
        assert get_image(store, 7).review == "submitted"
        set_labelling(store, 1, LABELLING)
