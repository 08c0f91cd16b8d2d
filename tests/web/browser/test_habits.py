"""What annotators do all day: settings that stay, undo, classes, messages, conflicts, mistakes."""

import re

import pytest
from playwright.sync_api import expect

from samkit.dataengine import (
    FINISHED,
    Store,
    add_class,
    annotation_history,
    get_image,
    list_actions,
    list_annotations,
    list_classes,
)

from .conftest import PASSWORD, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def day(tmp_path_factory, plain_backend):
    """A server for this module, whose images no other test changes."""
    with serving(tmp_path_factory.mktemp("day")) as server:
        yield server


@pytest.fixture
def ann(person, day):
    return person("ann", on=day)


def open_image(one, number):
    """Open an image, and wait until it can be changed by hand: the model may come later."""
    one.page.goto(f"{one.server.url}/#/image/{number}")
    wait_for_image(one, number)


def wait_for_image(one, number):
    one.page.wait_for_selector(f".studio[data-image='{number}'] .bar .primary:enabled")
    one.page.wait_for_selector(".stage[data-view]")


def paint(one, *places):
    one.press("b")
    one.drag(*places)


def pressed(one, part):
    return one.page.locator(f"{part}[aria-pressed=true]").get_attribute("aria-label")


def steps(one):
    return one.page.locator(".work-title .quiet").inner_text().strip(" ·")


def masks_of(server, number):
    with Store.open(server.where) as store:
        return list_annotations(store, number)


def test_settings_stay_from_image_to_image(ann, person, day):
    open_image(ann, 1)
    ann.press("e", "]", "]", "o", "h")
    ann.page.uncheck(".looks label input")
    ann.press("Control+Enter")
    ann.page.wait_for_selector("dialog h2:has-text('Submit without masks?')")
    ann.press("Enter")
    ann.page.wait_for_selector(".studio:not([data-image='1']) .bar .primary:enabled")
    for _ in range(2):
        tool = ann.page.locator(".tool:not(.sign)[aria-pressed=true]")
        expect(tool).to_have_attribute("aria-label", "Eraser")
        expect(ann.page.locator(".radius output")).to_have_text("19 px")
        expect(ann.page.locator(".looks input[type=range]")).to_have_value("35")
        assert not ann.page.is_checked(".looks label input")
        expect(ann.page.locator("[aria-label='Show all masks']")).to_have_count(1)
        ann.page.reload()
        ann.page.wait_for_selector(".studio .bar .primary:enabled")
    rev = person("rev", on=day)
    open_image(rev, 12)
    assert pressed(rev, ".tool:not(.sign)") == "Point"


def test_cancelled_mask_comes_back(ann, day):
    open_image(ann, 2)
    paint(ann, (30, 30), (60, 30))
    ann.accept()
    ann.drag((100, 100), (140, 100))
    ann.drag((100, 140), (140, 140))
    assert steps(ann) == "2 steps"
    ann.press("Escape")
    ann.page.wait_for_selector(".workbar", state="hidden")
    ann.press("Control+z")
    assert steps(ann) == "2 steps"
    expect(ann.page.locator(".mask-row")).to_have_count(1)
    ann.accept()
    assert len(masks_of(day, 2)) == 2
    ann.press("Control+z")  # what was accepted last, not what was cancelled before
    ann.page.wait_for_selector(".masks h2 .count:text-is('1')")
    ann.press("p")
    for place in ((200, 200), (250, 200), (250, 250)):
        ann.page.mouse.click(*ann.at(*place))
    title = ann.page.locator(".work-title")
    assert title.inner_text() == "Polygon, 3 corners"
    for lose in ("Escape", "v"):
        ann.press(lose)
        ann.page.wait_for_selector(".workbar", state="hidden")
        ann.press("Control+z")
        assert title.inner_text() == "Polygon, 3 corners"
    assert pressed(ann, ".tool:not(.sign)") == "Polygon"


def test_looking_at_a_mask_leaves_the_class_of_the_next_one(ann, day):
    with Store.open(day.where) as store:
        disc, star = (one.id for one in list_classes(store, 1))
    open_image(ann, 3)
    chosen = ann.page.locator(".class-row[aria-pressed=true] .name")
    assert chosen.inner_text() == "disc"  # the first one, not none
    ann.press("c", "ArrowUp", "Enter")
    paint(ann, (30, 30), (60, 30))
    ann.accept()
    ann.press("Shift+2")
    ann.press("n")
    assert chosen.inner_text() == "no class"
    ann.press("Escape")
    assert chosen.inner_text() == "star"
    ann.press("n", "Shift+1")  # a class for the selected mask is for this mask
    ann.wait_until_saved()
    ann.press("Escape")
    ann.drag((100, 100), (140, 100))
    ann.accept()
    assert [one.class_id for one in masks_of(day, 3)] == [disc, star]
    # Corrected and renamed together, it is saved once it is accepted.
    ann.press("n")
    ann.drag((30, 60), (60, 60))
    ann.press("Shift+2")
    ann.accept()
    assert [one.class_id for one in masks_of(day, 3)] == [star, star]


def test_masks_without_a_class_are_asked_about(ann, day):
    open_image(ann, 4)
    ann.press("c", "ArrowUp", "ArrowUp", "Enter")
    ann.page.click("[data-key=class-null]")
    paint(ann, (30, 30), (60, 30))
    ann.accept()
    ann.press("Control+Enter")
    ann.page.wait_for_selector("dialog p:has-text('1 mask of 1 has no class')")
    ann.press("Escape")
    with Store.open(day.where) as store:
        assert get_image(store, 4).review == "none"
    ann.press("n", "Shift+1", "Escape")
    ann.wait_until_saved()
    ann.press("Control+Enter")
    ann.page.wait_for_selector(".studio:not([data-image='4'])")
    with Store.open(day.where) as store:
        assert get_image(store, 4).review == "submitted"


def test_submission_is_taken_back(ann, day):
    open_image(ann, 5)
    paint(ann, (30, 30), (60, 30))
    ann.accept()
    for back in (".notice button", ".banner[data-name=lease] button.primary"):
        ann.press("Control+Enter")
        ann.page.wait_for_selector(".studio:not([data-image='5']) .bar .primary:enabled")
        with Store.open(day.where) as store:
            assert get_image(store, 5).review == "submitted"
        if "banner" in back:
            ann.page.wait_for_load_state("networkidle")  # the next image is opened to its end
            ann.page.goto(f"{day.url}/#/image/5")
        ann.page.click(f"{back}:has-text('Take back')")
        wait_for_image(ann, 5)
        with Store.open(day.where) as store:
            assert get_image(store, 5).review == "none"


def test_a_page_that_is_ready_too_late_leaves_the_next_one_alone(ann, day):
    """Images and projects are asked for while others open: their page and messages stay."""
    open_image(ann, 5)
    ann.press("Control+Enter")  # without masks: it asks
    ann.press("Enter")
    ann.page.wait_for_selector(".studio:not([data-image='5'])[data-image]")
    held_up = []

    def hold_up(route):
        held_up.append(route)

    ann.page.route("**/api/images/7/lease", hold_up)
    ann.page.goto(f"{day.url}/#/image/7")
    wait_until(lambda: held_up, ann)
    ann.page.goto(f"{day.url}/#/image/5")
    ann.page.wait_for_selector(".banner[data-name=lease]")
    for route in held_up:
        route.continue_()
    ann.page.wait_for_load_state("networkidle")
    ann.page.wait_for_timeout(500)
    expect(ann.page.locator(".banner[data-name=lease]")).to_be_visible()
    expect(ann.page.locator(".studio")).to_have_attribute("data-image", "5")
    ann.page.unroute("**/api/images/7/lease")
    held_up.clear()
    ann.page.route(re.compile(r"/api/projects(\?|$)"), hold_up)
    ann.page.goto(f"{day.url}/#/")
    wait_until(lambda: held_up, ann)
    open_image(ann, 7)
    for route in held_up:
        route.continue_()
    ann.page.wait_for_timeout(500)
    expect(ann.page.locator(".studio")).to_have_attribute("data-image", "7")


def wait_until(is_so, one):
    for _ in range(200):
        if is_so():
            return
        one.page.wait_for_timeout(50)
    raise AssertionError("it did not come about in ten seconds")


def test_messages_do_not_move_the_image(ann):
    open_image(ann, 6)
    before = ann.at(100, 100)
    show = "import('/notices.js').then((m) => m.banner('t', 'Something', [{label: 'Yes'}]))"
    ann.page.evaluate(show)
    ann.page.wait_for_selector(".banner[data-name=t]")
    assert ann.at(100, 100) == before


def test_selected_text_does_not_end_strokes(ann, day):
    open_image(ann, 7)
    ann.press("Control+a")
    assert ann.page.evaluate("getSelection().type") == "Range"
    paint(ann, (100, 100), (140, 100))
    assert steps(ann) == "1 step"
    assert ann.page.evaluate("getSelection().type") != "Range"
    ann.accept()
    assert len(masks_of(day, 7)) == 1


def test_eraser_takes_the_mask_under_it_and_ctrl_click_selects_with_each_tool(ann, day):
    open_image(ann, 8)
    paint(ann, (100, 100), (160, 100))
    ann.accept()
    [before] = masks_of(day, 8)
    ann.press("e")
    ann.drag((250, 250), (260, 250))
    ann.page.wait_for_selector(".notice:has-text('There is no mask here')")
    ann.drag((100, 100), (110, 100))
    ann.page.wait_for_selector(".work-title:has-text('Mask 1')")
    ann.accept()
    [after] = masks_of(day, 8)
    assert (after.id, after.version) == (before.id, 2)
    assert 0 < after.area_px < before.area_px
    for key in "qwbepv":
        ann.press(key)
        ann.page.keyboard.down("Control")
        ann.page.mouse.click(*ann.at(150, 100))
        ann.page.keyboard.up("Control")
        ann.page.wait_for_selector("li[aria-current] .number:text-is('1')")
        ann.press("Escape")
        ann.page.wait_for_selector(".workbar", state="hidden")
    assert masks_of(day, 8) == (after,)


@pytest.mark.parametrize(
    ("number", "choice", "whose"),
    [
        (9, "Save mine over it", ["mine"]),
        (10, "Save mine as a new mask", ["theirs", "mine"]),
        (11, "Take what is there now", ["theirs"]),
    ],
)
def test_mask_that_was_changed_in_two_tabs(ann, day, number, choice, whose):
    open_image(ann, number)
    paint(ann, (60, 60), (90, 60))
    ann.accept()
    other = type(ann)(ann.page.context.new_page(), day)
    other.page.set_default_timeout(60_000)
    open_image(other, number)
    for one, y, end in ((other, 120, 150), (ann, 200, 260)):
        one.press("n", "b")
        one.drag((60, y), (end, y))
        one.press("Enter")
        if one is other:
            one.wait_until_saved()
    theirs = masks_of(day, number)[0].area_px
    banner = ".banner[data-name=outbox]"
    ann.page.wait_for_selector(f"{banner}:has-text('changed elsewhere meanwhile')")
    ann.page.click(f"{banner} button:has-text('{choice}')")
    ann.page.wait_for_selector(banner, state="detached")
    ann.wait_until_saved()
    found = ["theirs" if one.area_px == theirs else "mine" for one in masks_of(day, number)]
    assert found == whose
    expect(ann.page.locator(".mask-row")).to_have_count(len(whose))
    with Store.open(day.where) as store:
        states = annotation_history(store, masks_of(day, number)[0].id)
    assert len(states) == (3 if choice == "Save mine over it" else 2)


def test_going_from_image_to_image(person, day):
    rev = person("rev", on=day)
    page = rev.page
    page.goto(f"{day.url}/#/image/8")
    page.wait_for_selector(".number-box .number:text-is('8 / 12')")
    with Store.open(day.where) as store:
        finished = [get_image(store, i).review in FINISHED for i in range(1, 13)]
    assert float(page.get_attribute("progress", "value")) == pytest.approx(sum(finished) / 12)
    for key, expected in (("PageDown", 9), (".", 10), (",", 9), ("PageUp", 8)):
        rev.press(key)
        page.wait_for_selector(f".number-box .number:text-is('{expected} / 12')")
        page.wait_for_selector(f".studio[data-image='{expected}']")
    for typed, expected in (("3", 3), ("SCENE-11", 12), ("1", 1)):
        rev.press("/")
        page.wait_for_selector("dialog input")
        page.keyboard.type(typed)
        rev.press("Enter")
        page.wait_for_selector(f".number-box .number:text-is('{expected} / 12')")
    rev.press(",")
    page.wait_for_selector(".notice:has-text('This is the first image')")
    rev.press("/")
    page.keyboard.type("scene-0")
    page.wait_for_selector(".found li >> nth=9")
    page.keyboard.type("zzz")
    page.wait_for_selector(".found li:has-text('No such image')")
    rev.press("Escape")
    page.click("[data-key=details]")
    held = page.locator(".details dd >> nth=3")
    assert held.inner_text().startswith("rev, until ")
    page.fill(".details input", "2")
    page.press(".details input", "Tab")
    page.wait_for_selector(".notice:has-text('is for 2 people')")
    with Store.open(day.where) as store:
        assert get_image(store, 1).num_annotators == 2


def test_reviewers_edit_classes_on_their_page(person, day):
    with Store.open(day.where) as store:
        add_class(store, 1, "persn")
        add_class(store, 1, "person")
    rev = person("rev", on=day)
    page = rev.page
    page.goto(f"{day.url}/#/project/1/classes")
    page.fill("[aria-label='New class']", "ant")
    page.press("[aria-label='New class']", "Enter")
    page.wait_for_selector("[aria-label='Name of ant']")
    page.fill("[aria-label='Name of ant']", "bee")
    page.press("[aria-label='Name of ant']", "Enter")
    page.wait_for_selector("[aria-label='Name of bee']")
    page.evaluate("""() => {
      const field = document.querySelector("[aria-label='Colour of bee']");
      field.value = '#102030';
      field.dispatchEvent(new Event('change'));
    }""")
    page.fill("[aria-label='Name of persn']", "person")  # a name that is there: merged
    page.press("[aria-label='Name of persn']", "Enter")
    page.click("dialog button:has-text('Merge')")
    page.wait_for_selector("[aria-label='Name of persn']", state="detached")
    page.click("[aria-label='Move up: bee']")
    page.wait_for_selector("tr:nth-child(3) [aria-label='Name of bee']")
    with Store.open(day.where) as store:
        names = [(one.name, one.color) for one in list_classes(store, 1)]
    assert [name for name, _ in names] == ["disc", "star", "bee", "person"]
    assert names[2][1] == "#102030"
    ann = person("ann", on=day).page
    ann.goto(f"{day.url}/#/project/1/classes")
    ann.wait_for_selector("td:has-text('bee')")
    expect(ann.locator(".content input")).to_have_count(0)


def test_wrong_old_password_does_not_sign_out(person, day):
    page = person("ann", on=day).page
    page.goto(f"{day.url}/#/project/1")
    page.click("button.user")
    page.fill("dialog input >> nth=0", "not the password")
    page.fill("dialog input >> nth=1", PASSWORD)
    page.press("dialog input >> nth=1", "Enter")
    page.wait_for_selector("dialog .failure:has-text('the old password is wrong')")
    expect(page.locator("form.sign-in")).to_have_count(0)


def test_admins_read_the_audit_log(person, day):
    page = person("ada", on=day).page
    page.goto(f"{day.url}/#/users")
    page.click("a:has-text('Audit log')")
    page.wait_for_selector("td:has-text('hold image')")
    with Store.open(day.where) as store:
        entries = list_actions(store, limit=200).items
    targets = page.locator("tbody tr td:nth-child(4)").all_inner_texts()
    assert targets == [one.target for one in entries]
    assert page.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0
