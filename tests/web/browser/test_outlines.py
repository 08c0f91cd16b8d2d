"""Masks as polygons and back, and prompts that are moved and removed."""

import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage

from .test_habits import ann, day, masks_of, open_image, paint, steps  # noqa: F401 - fixtures
from .test_modules import module, rle_of  # noqa: F401 - fixture
from .test_shapes import kinds_of, pixels, some_masks
from .test_studio import events_of

pytestmark = pytest.mark.slow


def rings_and_mask(module, mask, tolerance):  # noqa: F811
    code = """const {decodeRle, encodeRle} = await import('/rle.js');
        const {ringsMask} = await import('/raster.js');
        const mask = decodeRle(given.rle);
        const rings = m.ringsOf(mask, given.tolerance);
        return [rings, encodeRle(ringsMask(mask.height, mask.width, rings))];"""
    rings, rle = module("outlines.js", code, {"rle": rle_of(mask), "tolerance": tolerance})
    return rings, coco_mask.decode(rle).astype(bool)


def test_exact_outlines_give_the_mask_back(module):  # noqa: F811
    for mask in some_masks():
        rings, back = rings_and_mask(module, mask, 0)
        assert (back == mask).all()
        assert bool(rings) == bool(mask.any())


@pytest.mark.parametrize("tolerance", [0.8, 3])
def test_outlines_with_fewer_corners_stay_near(module, tolerance):  # noqa: F811
    rng = np.random.default_rng(4)
    mask = ndimage.gaussian_filter(rng.random((120, 150)), 6) > 0.5
    exact, _ = rings_and_mask(module, mask, 0)
    rings, back = rings_and_mask(module, mask, tolerance)
    assert sum(map(len, rings)) < sum(map(len, exact)) / 2
    # A pixel that differs lies between the outlines, which are no further apart than the tolerance.
    inner = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    outer = ndimage.distance_transform_edt(~mask)
    assert np.maximum(inner, outer)[back != mask].max(initial=0) <= tolerance + 1


def test_only_what_lies_at_a_changed_corner_changes(module):  # noqa: F811
    ys, xs = np.mgrid[:200, :200] + 0.5
    mask = (xs - 100) ** 2 + (ys - 100) ** 2 < 60**2
    mask &= (xs.astype(int) + ys.astype(int)) % 7 > 0  # finer than any outline
    code = """const {decodeRle, encodeRle} = await import('/rle.js');
        const mask = decodeRle(given);
        const before = [[[40, 100], [100, 40], [160, 100], [100, 160]]];
        const after = [[[40, 100], [100, 40], [190, 100], [100, 160]]];
        return encodeRle(m.reshaped(mask, before, after, 1));"""
    got = coco_mask.decode(module("outlines.js", code, rle_of(mask))).astype(bool)
    assert (got == mask)[:, :90].all()
    assert got[100, 161:185].all()
    assert not got[95:105, 191:].any()


def test_moved_and_removed_prompts_are_asked_and_replayed(module):  # noqa: F811
    rle = rle_of(np.ones((8, 8), bool))
    got = module(
        "draft.js",
        """const {decodeRle} = await import('/rle.js');
        const mask = decodeRle(given);
        const draft = new m.Draft([8, 8]);
        const masks = [{mask, iou: 1}];
        const answer = () => draft.take(draft.state.question.id, {masks, best: 0});
        draft.setBox([0, 0, 8, 8], 1);
        answer();
        for (const [xy, label] of [[[1, 1], 1], [[2, 2], 0], [[3, 3], 1]]) {
          draft.addPoint(xy, label, 1);
          answer();
        }
        draft.movePoint(0, [4, 5], 1);
        const moved = draft.state.question;
        answer();
        draft.removePoint(1, 1);
        answer();
        draft.removeBox(1);
        const removed = draft.state.question;
        answer();
        const again = new m.Draft([8, 8], {mask, item: {}, events: draft.events}).state;
        draft.removePoint(0, 1);
        answer();
        draft.removePoint(0, 1);
        const nothing = [draft.mask, draft.waits, draft.state.points.length];
        draft.undo();
        return {moved, removed, again, nothing, points: draft.state.points,
            kinds: draft.events.map((event) => event.kind)};""",
        rle,
    )
    moved, removed = got["moved"], got["removed"]
    assert moved["points"] == [[4, 5], [2, 2], [3, 3]]
    assert moved["labels"] == [1, 0, 1]
    assert moved["continueFrom"] is None  # the answer before was for another prompt
    assert removed["points"] == [[4, 5], [3, 3]]
    assert removed["box"] is None
    assert got["again"]["points"] == [[4, 5], [3, 3]]
    assert got["again"]["labels"] == [1, 1]
    assert got["again"]["box"] is None
    assert got["nothing"] == [None, False, 0]
    assert got["points"] == [[3, 3]]
    assert got["kinds"] == ["box", *["point"] * 3, "move", *["remove"] * 3]


def corner_places(one):
    """The corners of the mask at work, in the image."""
    return one.page.evaluate("window.outline_?.() ?? []")


def wait_for_corners(one, expected=None):
    """Wait until the mask at work has one ring, of so many corners if they are given."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [len(ring) for ring in corner_places(one)]
        if len(found) == 1 and found[0] == (expected or found[0]):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(found)


SHOW_RINGS = """async () => {
  const { OutlineTool } = await import('/tools/outline.js');
  const draw = OutlineTool.prototype.draw;
  OutlineTool.prototype.draw = function (...given) {
    window.outline_ = () => this.actions.rings();
    return draw.apply(this, given);
  };
}"""


def test_corners_are_moved_added_and_removed(ann, day):  # noqa: F811
    open_image(ann, 9)
    ann.page.evaluate(SHOW_RINGS)
    ann.press("p")
    for place in ((80, 80), (220, 80), (220, 220), (80, 220)):
        ann.page.mouse.click(*ann.at(place[0] - 0.5, place[1] - 0.5))
    ann.press("Enter")
    ann.accept()
    [square] = pixels(day, 9)
    ann.press("n", "Shift+p")
    wait_for_corners(ann, 4)  # as they were drawn
    # A corner is moved.
    ann.drag((219.5, 79.5), (249.5, 49.5))
    assert steps(ann) == "1 step"
    # The outline is dragged where it has no corner.
    ann.drag((79.5, 150), (59.5, 150))
    [ring] = corner_places(ann)
    assert len(ring) == 5
    # One is added by a click, and removed by a right click.
    ann.page.mouse.click(*ann.at(150, 219.5))
    assert len(corner_places(ann)[0]) == 6
    ann.page.mouse.click(*ann.at(150, 219.5), button="right")
    assert len(corner_places(ann)[0]) == 5
    ann.press("Control+z", "Control+z")
    assert len(corner_places(ann)[0]) == 5
    assert steps(ann) == "2 steps"
    ann.accept()
    [mask] = pixels(day, 9)
    assert mask[55, 243]
    assert mask[150, 62]
    assert not mask[85, 62]
    assert mask[200, 200]
    assert mask[90, 90]
    assert square.sum() < mask.sum()
    [saved] = masks_of(day, 9)
    assert kinds_of(day, saved) == ["polygon", "outline"]
    assert saved.score is None
    # After a reload the corners are those that were set.
    ann.page.reload()
    open_image(ann, 9)
    ann.page.evaluate(SHOW_RINGS)
    ann.press("n", "Shift+p")
    wait_for_corners(ann, 5)
    ann.page.mouse.click(*ann.at(219.5, 219.5), button="right")
    ann.accept()
    [less] = pixels(day, 9)
    assert not less[215, 215]
    assert (less <= mask).all()


def test_painted_masks_have_corners_too(ann, day):  # noqa: F811
    open_image(ann, 10)
    ann.page.evaluate(SHOW_RINGS)
    paint(ann, (60, 60), (60, 61))
    before = ann.page.locator(".radius output").inner_text()
    ann.press("Shift+p")
    many = wait_for_corners(ann)
    ann.press("]", "]", "]", "]")
    few = len(corner_places(ann)[0])
    assert 3 <= few < many
    ann.press("[", "[", "[", "[")
    assert len(corner_places(ann)[0]) == many
    # Without a mouse: F takes a corner, and lets it go.
    top = min(corner_places(ann)[0], key=lambda corner: corner[1])
    ann.page.mouse.move(*ann.at(top[0] - 0.5, top[1] - 0.5))
    ann.press("Shift+ArrowUp", "f", *["ArrowUp"] * 6, "f")
    ann.accept()
    [mask] = pixels(day, 10)
    assert np.nonzero(mask)[0].min() < top[1] - 3
    # Where no mask is at work, a click selects one.
    ann.page.mouse.click(*ann.at(60, 60))
    ann.page.wait_for_selector(".work-title:has-text('Mask 1')")
    ann.press("Escape", "b")
    assert ann.page.locator(".radius output").inner_text() == before


def test_clicks_are_moved_and_removed(person, server, masks, library, predictor):
    ann = person("ann")  # noqa: F811
    ann.open_image(8)
    ann.press("q")
    ann.click(100, 100)
    ann.click(200, 200)
    ann.drag((100, 100), (160, 150))
    ann.wait_for_answer()
    assert ann.page.get_attribute(".workbar", "data-prompts") == "2"
    ann.click(200, 200, button="right")
    assert ann.page.get_attribute(".workbar", "data-prompts") == "1"
    ann.press("1")
    ann.accept()
    [(mask, annotation)] = masks(8)
    answer = predictor.predict(library(8), points=[[160, 150]], labels=[1])
    assert (mask == answer.masks[0]).all()
    assert annotation.num_clicks == 4
    # The same for the box: a corner is dragged, then it is removed.
    ann.drag((40, 40), (120, 120))
    ann.wait_for_answer()
    ann.drag((119.5, 119.5), (200, 180))
    ann.wait_for_answer()
    ann.accept()
    mask, annotation = masks(8)[1]
    assert annotation.num_clicks == 2
    [*_, event] = events_of(server, annotation)
    assert np.abs(np.subtract(event.data["xyxy"], [40, 40, 200, 180])).max() <= 1
    answer = predictor.predict(library(8), boxes=event.data["xyxy"], multimask=False)
    assert (mask == answer.masks[0]).all()
    ann.drag((40, 40), (120, 120))
    ann.wait_for_answer()
    ann.page.mouse.click(*ann.at(39.5, 39.5), button="right")
    ann.press("Enter")
    ann.page.wait_for_selector(".notice:has-text('The mask is empty')")
    ann.press("Escape")
