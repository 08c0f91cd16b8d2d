"""Images that are skipped or cannot be used, phones, double annotation, and signing out."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from samkit.dataengine import (
    Store,
    annotation_events,
    create_user,
    get_image,
    list_actions,
    list_annotations,
    list_classes,
    list_submissions,
    list_users,
    measure_agreement,
    save_annotation,
    set_num_annotators,
    submit_image,
    take_image,
)
from samkit.geometry import encode_rle

from .conftest import PASSWORD, SIDE, Server, make_images, make_project

pytestmark = pytest.mark.slow

DAMAGED, FIRST_DOUBLE = 1, 3  # ids of images
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def team(tmp_path_factory, plain_backend):
    """A server whose first image is damaged, and whose images 3 to 5 two people have annotated."""
    folder = tmp_path_factory.mktemp("team")
    make_images(folder / "images")
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    (folder / "images" / "aa-damaged.jpg").write_bytes(content[:9000])
    server = Server(folder, folder / "images")
    make_project(server.where, server.images)
    with Store.open(server.where) as store:
        create_user(store, name="bob", password=PASSWORD)
        people = {one.name: one.id for one in list_users(store).items}
        for number in range(FIRST_DOUBLE, FIRST_DOUBLE + 3):
            set_num_annotators(store, number, 2, user_id=people["rev"])
            for name, boxes in (("ann", [(20, 90)]), ("bob", [(20, 100), (150, 200)])):
                take_image(store, number, people[name])
                for low, high in boxes:
                    rle = box_rle(low, high)
                    save_annotation(store, image_id=number, user_id=people[name], rle=rle)
                submit_image(store, number, people[name])
    server.start()
    yield server
    server.end()


def box_rle(low, high):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[low:high, low:high] = True
    return encode_rle(mask)


def stored(server, number):
    """An image, its masks and its submissions in the store."""
    with Store.open(server.where) as store:
        return (
            get_image(store, number),
            list_annotations(store, number),
            list_submissions(store, number),
        )


def test_damaged_image_is_said_to_be_and_holds_nobody_up(person, team):
    page, sockets = person("ann", on=team).page, []
    page.clock.install()
    page.on("websocket", lambda one: sockets.append(one.url))
    page.goto(f"{team.url}/#/project/1")
    page.click("button.primary:has-text('Annotate')")
    page.wait_for_selector(f".studio[data-image='{DAMAGED}'] .unreadable h2")
    page.wait_for_selector(".unreadable p:has-text('truncated')")
    expect(page.locator(".banner[data-name=connection]")).to_have_count(0)
    for _ in range(5):  # as a tab that is forgotten for hours
        page.clock.fast_forward(3_600_000)
    assert len(sockets) == 1
    with Store.open(team.where) as store:
        assert [one.action for one in list_actions(store).items].count("hold_image") <= 1
    page.click(".unreadable button:has-text('Next image')")
    page.wait_for_selector(".studio[data-image='2']")
    image, _, (submission,) = stored(team, DAMAGED)
    assert (image.review, submission.outcome) == ("skipped", "skipped")
    assert "truncated" in submission.reason
    # Annotating goes on elsewhere, until somebody else reports it.
    page.goto(f"{team.url}/#/project/1")
    page.click("button.primary:has-text('Annotate')")
    page.wait_for_selector(".studio[data-image='2']")
    rev = person("rev", on=team).page
    rev.goto(f"{team.url}/#/image/{DAMAGED}")
    rev.click(".unreadable button:has-text('Report as unusable')")
    rev.wait_for_selector(f".studio:not([data-image='{DAMAGED}'])")
    assert stored(team, DAMAGED)[0].review == "unusable"
    rev.goto(f"{team.url}/#/project/1")
    rev.click("[data-key=review-unusable]")
    expect(rev.locator(".image-card .badge")).to_have_text(["cannot be used"])
    rev.goto(f"{team.url}/#/image/{DAMAGED}")
    rev.click(".banner[data-name=comment] button:has-text('Reopen')")
    rev.wait_for_selector(".notice:has-text('Reopened')")
    assert stored(team, DAMAGED)[0].review == "none"


def test_image_is_skipped_with_a_reason(person, team):
    ann = person("ann", on=team)
    ann.open_image(6)
    ann.press("k")
    ann.page.click("dialog .chip:has-text('Blurred')")
    ann.press("Enter")
    ann.page.wait_for_selector(".studio:not([data-image='6'])")
    image, _, (submission,) = stored(team, 6)
    assert (image.review, submission.reason) == ("skipped", "Blurred or too dark")
    ann.page.goto(f"{team.url}/#/image/6")
    banner = ann.page.wait_for_selector(".banner[data-name=comment] span")
    assert banner.inner_text() == "Skipped: “Blurred or too dark”"


def test_class_is_chosen_on_a_phone(person, team, masks):
    ann = person("ann", on=team, **PHONE)
    ann.open_image(7)
    panel = ann.page.locator(".panel")
    for shown in (True, False, True):
        ann.page.tap("[aria-label='Masks and classes']")
        assert panel.is_visible() is shown
    ann.page.tap(".class-row:has-text('star')")
    assert not panel.is_visible()
    ann.page.touchscreen.tap(*ann.at(160, 160))
    ann.wait_for_answer()
    assert ann.page.locator(".class-chip").inner_text() == "star"
    ann.page.tap(".workbar .primary")
    ann.wait_until_saved()
    with Store.open(team.where) as store:
        star = next(one.id for one in list_classes(store, 1) if one.name == "star")
    [(_, annotation)] = masks(7, on=team)
    assert annotation.class_id == star
    ann.page.tap("[aria-label='Masks and classes']")
    assert panel.locator(".mask-row").is_visible()


def test_box_to_take_away_keeps_its_sign(person, team, masks):
    ann = person("ann", on=team)
    ann.open_image(8)
    ann.press("w")
    ann.drag((20, 20), (300, 300))
    ann.wait_for_answer()
    ann.page.mouse.move(*ann.at(120, 120))
    ann.page.mouse.down(button="right")
    ann.page.mouse.move(*ann.at(200, 200), steps=4)
    ann.page.mouse.up(button="right")
    ann.wait_for_answer()
    ann.accept()
    [(mask, annotation)] = masks(8, on=team)
    with Store.open(team.where) as store:
        events = annotation_events(store, annotation.id)
    assert [(one.kind, one.data["label"]) for one in events] == [("box", 1), ("box", 0)]
    # Taken up again after a reload, it is what it was, and a click adds to it.
    ann.page.reload()
    ann.open_image(8)
    with ann.page.expect_response("**/events"):
        ann.page.click(".mask-row")
    ann.press("q")
    ann.click(160, 160)
    ann.accept()
    [(again, _)] = masks(8, on=team)
    assert (mask & ~again).sum() == 0
    assert again[160, 160]


def test_mask_that_was_changed_by_hand_has_no_predicted_iou(person, team, masks):
    ann = person("ann", on=team)
    ann.open_image(9)
    ann.click(160, 160)
    ann.accept()
    [(_, before)] = masks(9, on=team)
    assert 0 < before.score <= 1
    ann.page.click(".mask-row")
    ann.page.click(".class-row:has-text('star')")  # its mask stays the same
    ann.press("Escape")
    ann.wait_until_saved()
    [(_, named)] = masks(9, on=team)
    assert (named.score, named.version) == (before.score, 2)
    ann.page.click(".mask-row")
    ann.press("b")
    ann.drag((10, 10), (60, 60))
    ann.accept()
    [(_, after)] = masks(9, on=team)
    assert (after.score, after.version) == (None, 3)


def open_review(rev, number):
    rev.page.goto(f"{rev.server.url}/#/project/1/review/{number}")
    rev.page.wait_for_selector(f".title h1:has-text('scene-{number - 2:02}.png')")
    rev.page.wait_for_selector(".people li >> nth=2")


def areas(server, number):
    return [one.area_px for one in stored(server, number)[1]]


def test_reviewer_takes_one_persons_masks(person, team):
    rev, number = person("rev", on=team), FIRST_DOUBLE
    open_review(rev, number)
    with Store.open(team.where) as store:
        before = measure_agreement(store, number)
    rev.press("a")
    notice = rev.page.wait_for_selector(".notice")
    assert "ann and bob annotated this image: take one person's masks" in notice.inner_text()
    own, others = [4900], [6400, 2500]
    for name, expected in (("ann", own), ("Everyone", own + others), ("bob", others)):
        rev.page.click(f"[data-key='take-{name}']")
        rev.page.wait_for_selector(f"[data-key='take-{name}'][aria-pressed=true]")
        assert areas(team, number) == expected
        expect(rev.page.locator(".review .mask-row")).to_have_count(len(expected))
    rev.press("a")
    rev.page.wait_for_selector(".notice:has-text('Accepted')")
    assert stored(team, number)[0].review == "accepted"
    assert areas(team, number) == [6400, 2500]
    with Store.open(team.where) as store:
        assert measure_agreement(store, number) == before


def test_reviewer_chooses_mask_by_mask(person, team):
    rev, number = person("rev", on=team), FIRST_DOUBLE + 1
    open_review(rev, number)
    rev.page.uncheck(".mask-list li >> nth=1 >> input")
    rev.page.wait_for_selector(".mask-list li.faded")
    rev.press("a")
    rev.page.wait_for_selector(".notice:has-text('Accepted')")
    assert areas(team, number) == [4900, 2500]


def test_reviewer_returns_to_whom_they_choose(person, team):
    rev, number = person("rev", on=team), FIRST_DOUBLE + 2
    open_review(rev, number)
    rev.press("r")
    boxes = rev.page.locator("dialog .choices input")
    assert [boxes.nth(i).is_checked() for i in range(2)] == [True, True]
    boxes.nth(1).uncheck()
    rev.page.fill("dialog textarea", "too small")
    rev.press("Control+Enter")
    rev.page.wait_for_selector(".notice:has-text('Returned')")
    ann, bob = stored(team, number)[2]
    assert (ann.returned, bob.returned) == (True, False)


def test_export_dialog_has_a_box_for_each_state(person, team):
    rev = person("rev", on=team).page
    rev.goto(f"{team.url}/#/project/1")
    rev.click("button:has-text('Export')")
    checked = rev.locator("dialog .choices label:has(:checked)").all_inner_texts()
    assert [one.split()[0] for one in checked] == ["Submitted", "Accepted"]
    rev.uncheck("dialog .choices label:has-text('Submitted') input")
    rev.uncheck("dialog .choices label:has-text('Accepted') input")
    rev.click("dialog button:has-text('Download')")
    assert rev.locator("dialog .failure").inner_text() == "Choose at least one kind of images."
    rev.check("dialog .choices label:has-text('To annotate') input")
    with rev.expect_download() as download:
        rev.click("dialog button:has-text('Download')")
    archive = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    [name] = [name for name in archive.namelist() if name.endswith(".json")]
    images = json.loads(archive.read(name))["images"]
    with Store.open(team.where) as store:
        begun = [get_image(store, number) for number in range(1, 13)]
    expected = [one.path for one in begun if one.review == "none" and one.num_masks]
    assert [one["file_name"] for one in images] == expected


def test_pictures_cannot_be_seen_after_signing_out(person, team):
    page = person("ann", on=team).page
    page.goto(f"{team.url}/#/project/1")
    page.wait_for_selector(".image-card")
    fetch = "fetch('/api/images/2/content?max_side=256').then(({status}) => status)"
    assert [page.evaluate(fetch) for _ in range(2)] == [200, 200]
    page.click("[aria-label='Sign out']")
    page.wait_for_selector("form.sign-in")
    assert page.evaluate(fetch) == 401
