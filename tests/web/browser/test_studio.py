"""The studio: the page shows and saves the library's masks."""

import numpy as np
import pytest
from playwright.sync_api import expect
from skimage.draw import polygon2mask

from samkit.dataengine import Store, annotation_events, list_classes, list_model_versions

pytestmark = pytest.mark.slow


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.fixture
def ann(person):
    return person("ann")


def events_of(server, annotation):
    with Store.open(server.where) as store:
        return annotation_events(store, annotation.id)


def test_click_gives_the_librarys_mask(ann, server, masks, library, predictor):
    ann.open_image(1)
    ann.click(150, 140)
    candidates = ann.page.locator(".candidate")
    expect(candidates).to_have_count(3)
    answer = predictor.predict(library(1), points=[[150, 140]], labels=[1])
    best = int(np.argmax(answer.iou_pred))
    assert candidates.nth(best).get_attribute("aria-pressed") == "true"
    shown = [float(text) for text in ann.page.locator(".candidate .iou").all_inner_texts()]
    # A calibrated IoU may be a little below 0, which is shown as 0.
    assert shown == [round(min(max(float(value), 0), 1), 2) for value in answer.iou_pred]
    ann.accept()
    [(mask, annotation)] = masks(1)
    assert iou(mask, answer.masks[best]) == 1.0
    assert annotation.score == pytest.approx(float(answer.iou_pred[best]), abs=1e-6)
    [event] = events_of(server, annotation)
    assert (event.kind, event.data) == ("point", {"xy": [150, 140], "label": 1})
    with Store.open(server.where) as store:
        versions = list_model_versions(store)  # other tests may have made some of a project
    assert event.model_version_id == min(one.id for one in versions)
    assert annotation.duration_ms == event.duration_ms > 0


def test_candidates_are_chosen_by_key(ann, masks, library, predictor):
    ann.open_image(2)
    ann.click(160, 160)
    answer = predictor.predict(library(2), points=[[160, 160]], labels=[1])
    best = int(np.argmax(answer.iou_pred))
    ann.press("Tab")
    second = (best + 1) % 3
    pressed = ann.page.locator(".candidate[aria-pressed=true] kbd")
    assert pressed.inner_text() == str(second + 1)
    third = (best + 2) % 3
    ann.press(str(third + 1))
    assert pressed.inner_text() == str(third + 1)
    ann.accept()
    [(mask, _)] = masks(2)
    assert iou(mask, answer.masks[third]) == 1.0


def test_correct_brush_undo_redo_and_find_it_after_a_reload(
    ann, server, masks, library, predictor, disc
):
    ann.open_image(3)
    ann.click(150, 150)
    ann.click(40, 290, button="right")
    embedding = library(3)
    first = predictor.predict(embedding, points=[[150, 150]], labels=[1])
    best = int(np.argmax(first.iou_pred))
    second = predictor.predict(
        embedding,
        points=[[150, 150], [40, 290]],
        labels=[1, 0],
        mask_logits=first.logits[best],
        multimask=False,
    )
    model_mask = second.masks[0]

    ann.press("b", "]", "]")  # 12 px, larger twice
    radius = 18.8
    assert ann.page.locator(".radius output").inner_text() == "19 px"
    ann.drag((20, 20), (60, 20))
    ann.press("e")
    ann.drag((150, 150))
    steps = ann.page.locator(".work-title .quiet")
    assert steps.inner_text().strip(" ·") == "4 steps"
    ann.press("Control+z", "Control+z")
    assert steps.inner_text().strip(" ·") == "2 steps"
    ann.press("Control+Shift+z")
    assert steps.inner_text().strip(" ·") == "3 steps"
    ann.accept()
    [(mask, annotation)] = masks(3)
    kinds = [event.kind for event in events_of(server, annotation)]
    assert kinds == ["point", "point", "brush"]
    stroke = events_of(server, annotation)[-1].data
    assert stroke["radius_px"] == radius
    expected = model_mask | disc(stroke["points"], radius)
    # A pixel whose middle lies on the very edge may fall to either side.
    assert np.abs(mask.astype(int) - expected).sum() <= 2
    assert annotation.score is None  # it is no longer the model's

    # Undo continues with saved masks, also after a reload.
    ann.page.reload()
    ann.open_image(3)
    expect(ann.page.locator(".mask-row")).to_have_count(1)
    ann.press("Control+z")
    ann.page.wait_for_selector(".mask-list .empty")
    ann.wait_until_saved()
    assert masks(3) == []
    ann.press("Control+Shift+z")
    ann.page.wait_for_selector(".mask-row")
    ann.wait_until_saved()
    [(again, _)] = masks(3)
    assert iou(again, mask) == 1.0


def test_saved_mask_is_corrected_with_its_own_prompts(ann, server, masks, library, predictor):
    ann.open_image(4)
    ann.click(150, 150)
    ann.accept()
    [(before, saved)] = masks(4)
    ann.page.locator(".mask-row").click()
    ann.page.wait_for_selector(".workbar[data-prompts='1']")  # they come from the store
    ann.page.keyboard.down("Alt")
    ann.click(290, 20)
    ann.page.keyboard.up("Alt")
    ann.accept()
    [(after, corrected)] = masks(4)
    assert corrected.id == saved.id
    assert corrected.version == 2
    expected = predictor.predict(
        library(4), points=[[150, 150], [290, 20]], labels=[1, 0], multimask=False
    )
    assert iou(after, expected.masks[0]) == 1.0
    ann.press("Control+z")
    ann.wait_until_saved()
    [(undone, _)] = masks(4)
    assert iou(undone, before) == 1.0


def test_box_and_polygon(ann, server, masks, library, predictor, disc):
    ann.open_image(5)
    ann.drag((60, 50), (250, 260))  # with the point tool
    ann.wait_for_answer()
    ann.accept()
    [(mask, annotation)] = masks(5)
    [event] = events_of(server, annotation)
    x0, y0, x1, y1 = event.data["xyxy"]
    assert np.abs(np.subtract([x0, y0, x1, y1], [60, 50, 250, 260])).max() <= 1
    expected = predictor.predict(library(5), boxes=[x0, y0, x1, y1], multimask=False)
    assert iou(mask, expected.masks[0]) == 1.0

    ann.press("p")
    corners = [(20, 20), (120, 30), (60, 130)]
    for corner in corners:
        ann.page.mouse.click(*ann.at(*corner))
    ann.press("Enter")
    ann.accept()
    (_, (polygon, annotation)) = masks(5)
    [event] = events_of(server, annotation)
    assert event.kind == "polygon"
    assert len(event.data["points"]) == 3
    for (x, y), point in zip(corners, event.data["points"], strict=True):
        assert point == pytest.approx([x + 0.5, y + 0.5], abs=0.6)
    inside = polygon2mask(polygon.shape, [(y - 0.5, x - 0.5) for x, y in event.data["points"]])
    edge = disc([*event.data["points"], event.data["points"][0]], 0.01)  # may fall to either side
    assert (polygon == inside)[~edge].all()
    assert polygon.sum() > 5000


def test_classes_lists_and_deleting(ann, server, masks):
    ann.open_image(6)
    ann.press("Shift+2")  # "star", the second class
    ann.click(160, 160)
    ann.accept()
    ann.press("c")
    ann.page.keyboard.type("dsc")
    ann.press("Enter")  # there is no such class, and annotators add none
    ann.press("c", "d", "Enter")
    ann.page.wait_for_selector(".class-row[aria-pressed=true]:has-text('disc')")
    ann.press("c", "ArrowDown", "Enter")
    ann.page.wait_for_selector(".class-row[aria-pressed=true]:has-text('star')")
    ann.press("c", "ArrowUp", "ArrowUp", "Enter")
    ann.page.wait_for_selector(".class-row[aria-pressed=true]:has-text('no class')")
    ann.click(30, 30)
    ann.accept()
    rows = ann.page.locator(".mask-row .name")
    assert rows.all_inner_texts() == ["no class", "star"]  # the newest first
    with Store.open(server.where) as store:
        assert [one.name for one in list_classes(store, 1)] == ["disc", "star"]
    ann.press("Shift+n")  # the last one
    ann.press("Shift+1")
    ann.wait_until_saved()
    assert rows.all_inner_texts() == ["disc", "star"]
    ann.press("Delete")
    ann.wait_until_saved()
    assert rows.all_inner_texts() == ["star"]
    [(_, left)] = masks(6)
    [point] = events_of(server, left)
    assert point.data["xy"] == [160, 160]
    ann.press("Control+z")
    ann.wait_until_saved()
    assert len(masks(6)) == 2


def test_keyboard_alone(ann, server, masks):
    ann.open_image(7)
    ann.press("ArrowRight", "Shift+ArrowLeft", "f")  # the crosshair starts in the middle
    ann.wait_for_answer()
    place = ann.page.locator(".place").inner_text()
    ann.press("1", "Space")
    ann.page.wait_for_selector(".workbar", state="hidden")
    ann.press("w", "f")
    for _ in range(8):
        ann.press("ArrowRight", "ArrowDown")
    ann.press("f")
    ann.wait_for_answer()
    ann.accept()
    (_, first), (_, second) = masks(7)
    [point, *chosen] = events_of(server, first)
    assert f"{point.data['xy'][0]}, {point.data['xy'][1]}" == place
    assert [event.data for event in chosen] in ([], [{"candidate": 0}])
    [box] = events_of(server, second)
    x0, y0, x1, y1 = box.data["xyxy"]
    assert x1 - x0 == y1 - y0 > 8
    # The help sheet has each key, and submitting leads to another image.
    ann.press("?")
    sheet = ann.page.locator("dialog .help-sheet")
    assert sheet.locator("dt").count() >= 35
    ann.press("Escape", "Control+Enter")
    ann.page.wait_for_selector(".studio[data-ready]:not([data-image='7'])")
    with Store.open(server.where) as store:
        from samkit.dataengine import get_image

        assert get_image(store, 7).review == "submitted"


def test_zoom_keeps_the_place_under_the_pointer(ann):
    ann.open_image(8)
    x, y = (round(value) for value in ann.at(80, 200))  # wheels come at whole pixels
    ann.page.mouse.move(x, y)
    fitted, before = ann.view(), ann.place_of(x, y)
    ann.page.mouse.wheel(0, -600)
    while ann.view() == fitted:
        ann.page.wait_for_timeout(20)
    assert ann.place_of(x, y) == pytest.approx(before, abs=1e-6)
    ann.press("z")
    assert ann.view()[2] == pytest.approx(1)
    before = ann.at(80, 200)
    ann.page.mouse.down(button="middle")
    ann.page.mouse.move(x + 60, y - 20)
    ann.page.mouse.up(button="middle")
    after = ann.at(80, 200)
    assert np.subtract(after, before) == pytest.approx([60, -20], abs=0.01)
    assert ann.page.locator(".workbar:not(.proposals)").is_hidden()  # moving the image is no click


def test_touch_taps_and_pinches(person, server, masks):
    ann = person("ann", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    ann.open_image(9)
    ann.page.touchscreen.tap(*ann.at(160, 160))
    ann.wait_for_answer()
    ann.page.tap(".workbar .primary")
    ann.page.wait_for_selector(".workbar", state="hidden")
    ann.wait_until_saved()
    scale = ann.view()[2]
    touch = ann.page.context.new_cdp_session(ann.page)
    x, y = ann.at(160, 160)
    moves = (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None))
    for kind, apart in moves:
        sides = () if apart is None else (-apart, apart)
        fingers = [{"x": x + side, "y": y, "id": i} for i, side in enumerate(sides)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    assert ann.view()[2] == pytest.approx(2 * scale, rel=0.05)
    assert ann.page.locator(".workbar:not(.proposals)").is_hidden()  # two fingers are no click
    assert len(masks(9)) == 1
    # Once a pen has painted, one finger moves the image.
    ann.page.tap("[data-key=tool-brush]")
    pen = {"button": "left", "pointerType": "pen", "clickCount": 1}
    for kind, along in (("mousePressed", 0), ("mouseMoved", 30), ("mouseReleased", 30)):
        place = {"x": x + along, "y": y, "buttons": int(kind != "mouseReleased")}
        touch.send("Input.dispatchMouseEvent", {"type": kind, **place, **pen})
    ann.page.wait_for_selector(
        ".workbar:has-text('New mask') .work-title:has-text('1 step')", state="attached"
    )
    left = ann.view()[0]
    for kind, along in (("touchStart", 0), ("touchMove", 25), ("touchEnd", None)):
        fingers = [] if along is None else [{"x": x + along, "y": y + 60, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    assert ann.view()[0] - left == pytest.approx(25, abs=0.01)
    assert "1 step" in ann.page.locator(".work-title").first.text_content()
    # What there is no room for, and no key on a touch screen.
    ann.page.click(".bar .more")  # a tap would only stop the fling
    ann.page.click("[data-key=more-looks]")
    ann.page.wait_for_selector(".looks-panel input")
