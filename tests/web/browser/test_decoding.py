"""Decoding in the browser: the server's masks, without the server."""

import numpy as np
import pytest
from playwright.sync_api import expect

from samkit.dataengine import Store, annotation_events

pytestmark = pytest.mark.slow

IN_BROWSER, ON_SERVER = (f".studio[data-decoder={place}]" for place in ("browser", "server"))


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def prompts_sent(one):
    """Prompts and previews that the page sends from now on."""
    sent = []

    def note(frame):
        sent.append(frame)

    one.page.on("websocket", lambda opened: opened.on("framesent", note))
    return sent


def open_image(one, number):
    one.open_image(number)
    one.page.wait_for_selector(IN_BROWSER, timeout=180_000)  # the decoder is made, once


def test_masks_are_the_servers(person, server, masks, library, predictor):
    ann = person("ann", decoder="browser")
    sent = prompts_sent(ann)
    before = len(masks(5))
    open_image(ann, 5)
    embedding = library(5)
    ann.click(150, 140)
    first = predictor.predict(embedding, points=[[150, 140]], labels=[1])
    best = int(np.argmax(first.iou_pred))
    shown = [float(text) for text in ann.page.locator(".candidate .iou").all_inner_texts()]
    expected = [min(max(float(value), 0), 1) for value in first.iou_pred]
    assert shown == pytest.approx(expected, abs=0.011)
    ann.press(str(best + 1))
    ann.click(60, 60, button="right")  # goes on from the first answer
    second = predictor.predict(
        embedding,
        points=[[150, 140], [60, 60]],
        labels=[1, 0],
        mask_logits=first.logits[best],
        multimask=False,
    )
    ann.accept()
    ann.press("w")
    ann.drag((40, 50), (230, 260))
    ann.wait_for_answer()
    boxed = predictor.predict(embedding, boxes=[40, 50, 231, 261], multimask=False)
    ann.accept()
    ann.press("q")
    ann.click(240, 100)
    third = predictor.predict(embedding, points=[[240, 100]], labels=[1]).best()
    ann.accept()
    found = masks(5)[before:]
    for (mask, annotation), answer in zip(found, (second, boxed, third), strict=True):
        assert iou(mask, answer.masks[0]) > 0.99
        assert annotation.score == pytest.approx(float(answer.iou_pred[0]), abs=0.01)
    with Store.open(server.where) as store:
        events = [event for _, one in found for event in annotation_events(store, one.id)]
    assert [event.kind for event in events] == ["point", "point", "box", "point"]
    assert len({event.model_version_id for event in events}) == 1
    assert events[0].model_version_id is not None
    assert sent == []


def test_clicks_are_answered_while_the_server_is_away(person, own_server, masks):
    ann = person("ann", on=own_server, decoder="browser")
    open_image(ann, 12)
    own_server.stop()
    try:
        ann.page.wait_for_selector(".banner[data-name=connection]")
        ann.click(150, 140)
        expect(ann.page.locator(".candidate")).to_have_count(3)
        ann.click(60, 60, button="right")
        ann.press("Enter")
        ann.page.wait_for_selector(".save-state.bad:has-text('1 change not saved yet')")
    finally:
        own_server.start()
    ann.page.wait_for_selector(".banner[data-name=connection]", state="detached")
    ann.wait_until_saved()
    [(mask, annotation)] = masks(12, on=own_server)
    assert mask.any()
    assert annotation.num_clicks == 2


def test_the_server_decodes_if_the_browser_cannot(person, masks, library, predictor):
    ann = person("ann", decoder="browser")
    sent = prompts_sent(ann)
    ann.page.route("**/api/projects/*/decoder/*", lambda route: route.abort())
    before = len(masks(6))
    ann.open_image(6)
    ann.click(150, 140)
    ann.accept()
    [(mask, _)] = masks(6)[before:]
    answer = predictor.predict(library(6), points=[[150, 140]], labels=[1]).best()
    assert iou(mask, answer.masks[0]) == 1.0
    assert any('"prompt"' in frame for frame in sent)
    ann.press("Shift+D")
    status = ann.page.locator("dialog [role=status]")
    expect(status).to_contain_text("The browser's decoder could not be loaded")
    ann.page.check("dialog input[value=server]")
    expect(status).not_to_contain_text("could not be loaded")
    ann.press("Escape")
    ann.page.wait_for_selector(ON_SERVER)


def test_a_decoder_that_fails_later_hands_over(person, masks, library, predictor):
    """The draft goes on, too: without the logits that only the worker had."""
    ann = person("ann", decoder="browser")
    before = len(masks(7))
    ann.page.add_init_script(
        """const { postMessage } = Worker.prototype;
        Worker.prototype.postMessage = function (message) {
            const broken = window.broken && message.call === 'ask';
            postMessage.call(this, broken ? {...message, call: 'nothing'} : message);
        };"""
    )
    open_image(ann, 7)
    ann.click(150, 140)
    ann.page.evaluate("window.broken = true")
    ann.click(60, 60, button="right")
    ann.page.wait_for_selector(ON_SERVER)
    ann.accept()
    [(mask, annotation)] = masks(7)[before:]
    answer = predictor.predict(
        library(7), points=[[150, 140], [60, 60]], labels=[1, 0], multimask=False
    )
    assert iou(mask, answer.masks[0]) == 1.0
    assert annotation.num_clicks == 2
