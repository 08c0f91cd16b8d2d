"""Review by a second person, export, users, and lost connections."""

import io
import json
import zipfile

import pytest
from playwright.sync_api import expect

from samkit.dataengine import Store, get_image, list_annotations, list_images, list_users
from web.browser.conftest import PASSWORD

pytestmark = pytest.mark.slow


def image_of(server, number):
    with Store.open(server.where) as store:
        return get_image(store, number)


def submit_with_mask(ann, number, place):
    ann.open_image(number)
    ann.click(*place)
    ann.accept()
    ann.press("Control+Enter")
    ann.page.wait_for_selector(f".studio[data-ready]:not([data-image='{number}'])")


def test_another_person_returns_accepts_and_exports(person, server, masks):
    ann, rev = person("ann"), person("rev")
    submit_with_mask(ann, 10, (100, 100))
    submit_with_mask(ann, 11, (200, 200))

    rev.page.goto(f"{server.url}/#/project/1/review/10")
    rev.page.wait_for_selector(".review .mask-row")
    assert rev.page.locator(".title h1").inner_text() == "scene-09.png"
    rev.press("r")
    rev.page.fill("dialog textarea", "the lower edge <b>is missing</b>")
    rev.press("Control+Enter")
    rev.page.wait_for_selector(".notice:has-text('Returned: scene-09.png')")
    assert image_of(server, 10).review == "returned"
    rev.page.goto(f"{server.url}/#/project/1/review/11")
    rev.page.wait_for_selector(".title h1:has-text('scene-10.png')")
    rev.page.wait_for_selector(".review .mask-row")
    rev.press("a")
    rev.page.wait_for_selector(".notice:has-text('Accepted: scene-10.png')")
    assert image_of(server, 11).review == "accepted"

    # Its annotator gets the returned image first, with the comment as it was written.
    ann.page.goto(f"{server.url}/#/project/1")
    ann.page.click("button.primary:has-text('Annotate')")
    ann.page.wait_for_selector(".studio[data-image]")
    ann.page.goto(f"{server.url}/#/image/10")
    comment = ann.page.wait_for_selector(".banner[data-name=comment] span").inner_text()
    assert comment == "Returned by the reviewer: “the lower edge <b>is missing</b>”"

    rev.page.goto(f"{server.url}/#/project/1")
    rev.page.click("button:has-text('Export')")
    rev.page.uncheck("dialog label:has-text('Submitted') input")
    with rev.page.expect_download() as download:
        rev.page.click("dialog button:has-text('Download')")
    archive = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    [name] = [name for name in archive.namelist() if name.endswith(".json")]
    exported = json.loads(archive.read(name))
    [(_, annotation)] = masks(11)
    assert [one["segmentation"] for one in exported["annotations"]] == [annotation.rle]
    assert [one["file_name"] for one in exported["images"]] == ["scene-10.png"]
    # A reviewer may export, an annotator not.
    ann.page.goto(f"{server.url}/#/project/1")
    ann.page.wait_for_selector(".image-card")
    expect(ann.page.locator("button:has-text('Export')")).to_have_count(0)


def test_signing_in_and_people(chromium, server, person):
    page = chromium.new_page()
    page.goto(server.url)
    page.fill("[name=name]", "ada")
    page.fill("[name=password]", "not the password")
    page.press("[name=password]", "Enter")
    assert page.wait_for_selector(".failure:not(:empty)").inner_text() != ""
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_selector(".card.project")
    page.click("[aria-label=People]")
    page.click("button:has-text('Add person')")
    page.fill("dialog input >> nth=0", "eve")
    page.select_option("dialog select", "reviewer")
    page.fill("dialog input[type=password]", PASSWORD)
    page.press("dialog input[type=password]", "Enter")
    page.wait_for_selector("td:has-text('eve')")
    page.close()
    with Store.open(server.where) as store:
        assert {one.name: one.role for one in list_users(store).items}["eve"] == "reviewer"
    assert person("eve").page is not None  # who signs in with that password


def test_gallery_filters_and_statistics(person, server):
    ann, rev = person("ann"), person("rev")
    ann.open_image(12)
    ann.click(60, 60)
    ann.accept()
    rev.page.goto(f"{server.url}/#/project/1")
    rev.page.wait_for_selector(".image-card")
    with Store.open(server.where) as store:
        for state in ("none", "submitted", "returned", "accepted"):
            expected = [one.path for one in list_images(store, 1, review=state).items]
            rev.page.click(f"[data-key=review-{state}]")
            rev.page.wait_for_selector(f"[data-key=review-{state}][aria-pressed=true]")
            expect(rev.page.locator(".image-card .name")).to_have_text(expected)
            count = rev.page.locator(f"[data-key=review-{state}] .count").inner_text()
            assert int(count) == len(expected)
    rev.page.goto(f"{server.url}/#/project/1/statistics")
    rev.page.wait_for_selector("table td.number")
    numbers = rev.page.locator("tbody tr").first.locator("td").all_inner_texts()
    with Store.open(server.where) as store:
        present = [one for i in range(1, 13) for one in list_annotations(store, i, deleted=True)]
    own = [one for one in present if one.stage == "assisted-manual"]
    num_masks = sum(not one.deleted for one in own)
    assert numbers[1:5] == ["ann", "assisted manual", str(num_masks), "0"]
    assert numbers[5] == str(sum(one.num_clicks for one in own))
    tiles = dict(
        zip(
            *(rev.page.locator(f".tile {part}").all_inner_texts() for part in ("dt", "dd")),
            strict=True,
        )
    )
    assert tiles["Clicks per mask"] == numbers[7]
    assert tiles["Seconds per correction"] == "\u2013"
    assert rev.page.locator("svg.plot .mark").count() >= 2


def test_what_the_server_did_not_get_is_sent_when_it_is_back(person, own_server, masks):
    ann = person("ann", on=own_server)
    ann.open_image(1)
    ann.click(100, 100)
    ann.accept()
    [(_, acknowledged)] = masks(1, on=own_server)
    ann.click(200, 200)
    own_server.stop()  # kill -9
    ann.press("Enter")
    ann.page.wait_for_selector(".save-state.bad:has-text('1 change not saved yet')")
    ann.page.wait_for_selector(".banner[data-name=connection]")
    # By hand one can go on meanwhile.
    ann.press("b")
    ann.drag((30, 30), (60, 60))
    ann.press("Enter")
    ann.page.wait_for_selector(".save-state.bad:has-text('2 changes not saved yet')")
    expect(ann.page.locator(".mask-row")).to_have_count(3)
    own_server.start()
    ann.page.wait_for_selector(".save-state:text-is('Saved')")
    ann.page.wait_for_selector(".banner[data-name=connection]", state="detached")
    saved = [one for _, one in masks(1, on=own_server)]
    assert len(saved) == 3  # none lost, none duplicated
    assert saved[0].id == acknowledged.id
    ann.page.wait_for_selector(".studio[data-ready]")
    ann.press("q")
    ann.click(250, 60)
    expect(ann.page.locator(".candidate")).to_have_count(3)  # it answers again
    ann.press("Escape")

    # Somebody else takes the image: what was done since is neither lost nor saved over theirs.
    rev = person("rev", on=own_server)
    with Store.open(own_server.where) as store:
        from samkit.dataengine import give_back, take_image

        people = {one.name: one.id for one in list_users(store).items}
        give_back(store, 1, people["ann"])
        take_image(store, 1, people["rev"])
    ann.click(60, 250)
    ann.press("Enter")
    ann.page.wait_for_selector(".banner[data-name=outbox]:has-text('Your changes are stored here')")
    assert len(masks(1, on=own_server)) == 3
    with Store.open(own_server.where) as store:
        give_back(store, 1, people["rev"])
    ann.page.click(".banner[data-name=outbox] button.primary")
    ann.wait_until_saved()
    assert len(masks(1, on=own_server)) == 4
    assert rev.page is not None


def test_unsent_masks_survive_closing_the_page(person, own_server, masks):
    ann = person("ann", on=own_server)
    ann.open_image(2)
    ann.page.context.set_offline(True)
    ann.press("b")
    ann.drag((30, 30), (90, 90))
    ann.press("Enter")
    ann.page.wait_for_selector(".save-state.bad:has-text('1 change not saved yet')")
    assert masks(2, on=own_server) == []
    ann.page.close(run_before_unload=False)
    ann.page.context.set_offline(False)
    ann.page = ann.page.context.new_page()
    ann.page.goto(own_server.url)
    ann.page.wait_for_selector(".card.project")
    ann.open_image(2)
    expect(ann.page.locator(".mask-row")).to_have_count(1)
    assert len(masks(2, on=own_server)) == 1


def test_hint_after_a_while_on_one_mask(person, own_server):
    ann = person("ann", on=own_server)
    ann.open_image(3)
    ann.click(100, 100)  # this server's hint comes after a second
    ann.page.wait_for_selector(".banner[data-name=hint]:has-text('1 second on this mask')")
    ann.page.click(".banner[data-name=hint] button:has-text('Cancel')")
    ann.page.wait_for_selector(".workbar", state="hidden")
    expect(ann.page.locator(".banner[data-name=hint]")).to_have_count(0)


def test_gallery_of_many_images_keeps_few_in_the_document(person, own_server):
    with Store.open(own_server.where) as store:
        add_many(store, 1500)
    rev = person("rev", on=own_server)
    rev.page.goto(f"{own_server.url}/#/project/1")
    rev.page.wait_for_selector(".image-card")
    last = rev.page.locator(".image-card .name:text-is('copy-1499.png')")
    while last.count() == 0:
        rev.page.locator(".gallery").evaluate("node => node.scrollTop = node.scrollHeight")
        rev.page.wait_for_timeout(50)
    height = rev.page.locator(".gallery-space").bounding_box()["height"]
    assert height > 1400 / 5 * 200  # all pages of the list have come
    assert rev.page.locator(".image-card").count() < 60


def add_many(store, count):
    """Images that are rows only: thumbnails of files that are not there."""
    from sqlalchemy import insert

    from samkit.dataengine.schema import ImageRow

    with store.write() as session:
        row = session.get(ImageRow, 12)
        values = {
            c.name: getattr(row, c.name) for c in ImageRow.__table__.columns if c.name != "id"
        }
        many = [values | {"path": f"copy-{i}.png", "sha256": f"{i:064x}"} for i in range(count)]
        session.execute(insert(ImageRow), many)
