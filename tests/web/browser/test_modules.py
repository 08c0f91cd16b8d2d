"""Modules of the page in the browser: codec, rasteriser, history, draft, keys, view."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from samkit.geometry import CoordMap, logits_to_rle

SHAPES = [(1, 1), (7, 5), (40, 33), (3, 400)]


@pytest.fixture(scope="module")
def module(chromium, server):
    """Call a function of a module of the page."""
    page = chromium.new_page()
    page.goto(server.url)

    def call(path, body, argument=None):
        code = f"async (given) => {{ const m = await import('/{path}'); {body} }}"
        return page.evaluate(code, argument)

    yield call
    page.close()


def some_masks():
    rng = np.random.default_rng(0)
    for height, width in SHAPES:
        yield np.zeros((height, width), bool)
        yield np.ones((height, width), bool)
        for share in (0.02, 0.5, 0.9):
            yield rng.random((height, width)) < share
    ys, xs = np.mgrid[:900, :1300]
    yield (xs - 600) ** 2 + (ys - 500) ** 2 < 300**2


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def test_codec_agrees_with_pycocotools(module):
    rles = [rle_of(mask) for mask in some_masks()]
    back = module(
        "rle.js",
        """return given.map((rle) => { const mask = m.decodeRle(rle);
            return {rle: m.encodeRle(mask), area: m.areaOf(mask), box: m.boxOf(mask)}; });""",
        rles,
    )
    assert [one["rle"] for one in back] == rles
    for one, mask in zip(back, some_masks(), strict=True):
        assert one["area"] == mask.sum()
        if mask.any():
            ys, xs = np.nonzero(mask)
            assert one["box"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        else:
            assert one["box"] is None


@pytest.mark.parametrize("counts", ["", "0", "P", "~~", "5"])
def test_malformed_counts_are_refused(module, counts):
    error = module(
        "rle.js",
        """try { m.decodeRle({size: [4, 4], counts: given}); return null; }
        catch (e) { return e.name; }""",
        counts,
    )
    assert error == "RangeError"


def test_masks_are_joined_and_cut(module):
    rng = np.random.default_rng(1)
    pairs = [(rng.random(shape) < 0.4, rng.random(shape) < 0.6) for shape in SHAPES]
    back = module(
        "rle.js",
        """return given.map(([a, b]) => [m.unite, m.cut, m.intersect].map(
            (f) => m.encodeRle(f(m.decodeRle(a), m.decodeRle(b)))));""",
        [[rle_of(one), rle_of(other)] for one, other in pairs],
    )
    for got, (one, other) in zip(back, pairs, strict=True):
        assert got == [rle_of(one | other), rle_of(one & ~other), rle_of(one & other)]


def test_strokes_cover_what_is_near(module, disc):
    from web.browser.conftest import SIDE

    places = [[20.3, 30.1], [200.7, 60.2], [210.1, 300.4], [5.2, 318.9]]
    got = module(
        "raster.js",
        f"""const {{encodeRle}} = await import('/rle.js');
        return given.map(([p, r]) => encodeRle(m.strokeMask({SIDE}, {SIDE}, p, r)));""",
        [[places, 9.37], [places[:1], 0.3], [places, 40.01]],
    )
    for rle, (some, radius) in zip(
        got, [(places, 9.37), (places[:1], 0.3), (places, 40.01)], strict=True
    ):
        assert rle == rle_of(disc(some, radius))


def test_polygons_have_the_pixels_whose_middles_are_inside(module):
    from skimage.draw import polygon2mask

    corners = [[10.2, 12.7], [80.4, 20.1], [60.3, 90.8], [40.1, 30.2], [15.9, 70.6]]
    got = module(
        "raster.js",
        """const {encodeRle} = await import('/rle.js');
        return encodeRle(m.polygonMask(100, 120, given));""",
        corners,
    )
    # There the pixel is the point at its index; here its middle is half a pixel further.
    expected = polygon2mask((100, 120), [(y - 0.5, x - 0.5) for x, y in corners])
    assert got == rle_of(expected)


def test_outlines_enclose_the_mask(module):
    rng = np.random.default_rng(2)
    mask = rng.random((30, 40)) < 0.55
    loops, box = module(
        "raster.js",
        """const {decodeRle} = await import('/rle.js');
        const bitmap = m.bitmapOf(decodeRle(given), 1024);
        return [m.outlinesOf(bitmap), bitmap.box];""",
        rle_of(mask),
    )
    # Inner and outer lines through the middles of cells' sides: each corner that they cut off is
    # an eighth of a cell, inwards and outwards in turn but for four more of an outer loop.
    area = 0.0
    for loop in loops:
        xs, ys = np.array(loop[::2]), np.array(loop[1::2])
        area += 0.5 * np.sum(xs * np.roll(ys, -1) - np.roll(xs, -1) * ys)
    from scipy.ndimage import label

    pieces = label(mask)[1]  # joined by sides
    holes = label(~np.pad(mask, 1), np.ones((3, 3)))[1] - 1  # and their background by corners too
    assert len(loops) == pieces + holes
    assert area == pytest.approx(mask.sum() - 0.5 * (pieces - holes))
    assert box[2] - box[0] <= 40


def test_undo_order_of_an_image_after_a_reload(module):
    changes = [
        {"annotation_id": mask, "change": change, "user_id": user}
        for mask, change, user in (
            (1, "edit", 7),
            (2, "edit", 7),
            (2, "edit", 8),
            (1, "edit", 7),
            (3, "edit", 7),
            (1, "undo", 7),
            (3, "undo", 7),
            (3, "redo", 7),
        )
    ]
    got = module("history.js", "return m.imageStacks(given, 7);", changes)
    # In time: 1 made, 2 made, 2 changed by somebody else (out of reach), 1 changed, 3 made,
    # 1 undone, 3 undone, 3 redone.
    assert got == {"past": [1, 3], "future": [1]}


def test_prompts_of_changes_that_were_undone_are_left_out(module):
    revisions = [
        {"version": version, "change": change}
        for version, change in enumerate(["edit", "edit", "undo", "edit", "undo", "redo"], start=1)
    ]
    events = [{"version": version, "kind": "point", "data": {}} for version in (1, 2, 4)]
    got = module("history.js", "return m.promptsOf(...given);", [revisions, events])
    assert [event["version"] for event in got] == [1, 4]


def test_events_name_the_model_version_of_their_own_answer(module):
    events = module(
        "draft.js",
        """const {emptyMask} = await import('/rle.js');
        const draft = new m.Draft([4, 4]);
        const answer = (modelVersionId) => {
            const masks = [0.9, 0.8].map((iou) => ({mask: emptyMask(4, 4), iou}));
            draft.take(draft.state.question.id, {masks, best: 0, modelVersionId});
        };
        draft.addPoint([1, 1], 1, 5);
        answer(7);
        draft.choose(1, 5);
        draft.stroke([[1, 1]], 1, false, 5);
        draft.addPoint([2, 2], 1, 5);  // replaced before its answer comes
        draft.addPoint([3, 3], 0, 5);
        answer(8);
        return draft.events;""",
    )
    named = [(event["kind"], event.get("model_version_id")) for event in events]
    assert named == [("point", 7), ("choose", 7), ("brush", None), ("point", 8), ("point", 8)]
    assert all(
        event.keys() <= {"kind", "data", "duration_ms", "model_version_id"} for event in events
    )


def test_box_to_take_away_is_no_prompt_to_answer_again(module):
    """A saved mask that a box was cut out of rests on itself: the next click is joined to it."""
    mask = np.ones((8, 8), bool)
    mask[:4, :4] = False
    found = module(
        "draft.js",
        """const { decodeRle, encodeRle } = await import('/rle.js');
        const draft = new m.Draft([8, 8]);
        draft.setBox([0, 0, 8, 8], 5);
        const whole = decodeRle(given.whole);
        draft.take(draft.state.question.id, {masks: [{mask: whole, iou: 1.02}], best: 0});
        const score = draft.score;
        draft.setBox([0, 0, 4, 4], 5, 0);
        const { question, joins } = draft.state;
        draft.take(question.id, {masks: [{mask: decodeRle(given.part), iou: 0.9}], best: 0});
        const saved = {mask: draft.mask, item: {}, events: draft.events};
        const again = new m.Draft([8, 8], saved);
        const before = [again.state.box, again.restsOnPrompts, encodeRle(again.mask)];
        again.addPoint([1, 1], 1, 5);
        const { ground, ...after } = again.state;
        return {data: draft.events.map(({ data }) => data), joins, before, score, own: draft.score,
            after: [after.joins, after.question.box, encodeRle(ground)]};""",
        {"whole": rle_of(np.ones((8, 8), bool)), "part": rle_of(~mask)},
    )
    assert found["data"] == [
        {"xyxy": [0, 0, 8, 8], "label": 1},
        {"xyxy": [0, 0, 4, 4], "label": 0},
    ]
    assert found["joins"] == 0
    assert found["before"] == [None, False, rle_of(mask)]
    assert found["after"] == [1, None, rle_of(mask)]
    assert (found["score"], found["own"]) == (1, None)


def test_only_one_connection_is_open_however_often_one_tries(module):
    sockets = module(
        "socket.js",
        """const made = [];
        const real = globalThis.WebSocket;
        globalThis.WebSocket = class {
            constructor() { this.open = true; made.push(this); }
            close() { this.open = false; this.onclose?.({code: 1000}); }
        };
        try {
            const socket = new m.PromptSocket(1, {});
            made[0].onclose({code: 1006});
            socket.retryNow();
            socket.retryNow();
            socket.close();
            const heard = made.filter((one) => one.onclose || one.onmessage).length;
            return [made.length, made.filter((one) => one.open).length, heard];
        } finally { globalThis.WebSocket = real; }""",
    )
    assert sockets == [3, 0, 0]


@pytest.mark.parametrize(
    ("code", "waits"), [(1011, [500, 1000, 2000, 4000, 8000, 8000]), (4422, []), (4403, [])]
)
def test_connection_that_fails_at_once_is_tried_less_and_less(module, code, waits):
    """The server answers each time, but cannot encode the image; or says that it never will."""
    found = module(
        "socket.js",
        """const [made, waits] = [[], []];
        const { WebSocket: real, setTimeout: later } = globalThis;
        globalThis.WebSocket = class { constructor() { made.push(this); } close() {} };
        globalThis.setTimeout = (act, ms) => { waits.push(ms); return later(act, 1e6); };
        try {
            const socket = new m.PromptSocket(1, {});
            for (let i = 0; i < 6; i++) {
                const last = made.at(-1);
                last.onmessage({data: JSON.stringify({type: "state", encoded: false})});
                last.onclose({code: given});
                if (waits.length > i) socket.open();
                else break;
            }
            socket.close();
            return waits;
        } finally { Object.assign(globalThis, {WebSocket: real, setTimeout: later}); }""",
        code,
    )
    assert found == waits


@pytest.mark.parametrize(
    "size_hw", [(320, 320), (700, 1100), (90, 64), (40, 2500), (1400, 500), (2, 900)]
)
def test_masks_of_logits_are_the_servers(module, size_hw):
    rng = np.random.default_rng(3)
    side, (height, width) = 64, size_hw
    coords = CoordMap(original_hw=size_hw, model_size=4 * side)
    smooth = cv2.resize(rng.normal(size=(9, 9)).astype(np.float32), (side, side))
    for logits in (smooth, smooth - 1.2, rng.normal(size=(side, side)).astype(np.float32) - 5):
        rle = module(
            "logits.js",
            """const { encodeRle } = await import('/rle.js');
            return encodeRle(m.maskOfLogits(Float32Array.from(given.logits), given.spaces));""",
            {
                "logits": logits.reshape(-1).tolist(),
                "spaces": {
                    "modelSide": 4 * side,
                    "side": side,
                    "height": height,
                    "width": width,
                },
            },
        )
        expected = coco_mask.decode(logits_to_rle(logits, coords))
        found = coco_mask.decode(rle)
        # But for rounding of logits that are 0 within single precision.
        assert np.count_nonzero(found != expected) <= 2


def test_a_draft_goes_on_with_the_decoder_that_it_began_with(module):
    asked, versions, sent = module(
        "prompter.js",
        """const { BrowserDecoder } = await import('/browser_decoder.js');
        const { choice } = await import('/decoder_choice.js');
        const [sockets, opened, versions] = [[], [], []];
        const { WebSocket: real } = globalThis;
        globalThis.WebSocket = class {
            static OPEN = 1;
            readyState = 1;
            sent = [];
            constructor() { sockets.push(this); }
            send(text) { this.sent.push(JSON.parse(text)); }
            close() {}
        };
        const { open } = BrowserDecoder;
        BrowserDecoder.open = async () => {
            const one = new BrowserDecoder(3 + opened.length);
            const asked = [];
            opened.push(asked);
            one.call = async (name, { question }) => {
                if (name === 'accelerate') return 'wasm';
                if (name !== 'ask') return 50;
                if (question.id === 5) throw new Error('broken');
                asked.push([question.id, question.continueFrom?.id ?? null]);
                return { masks: [], best: 0, runtime: 'wasm' };
            };
            return one;
        };
        const hear = (message) => sockets.at(-1).onmessage({ data: JSON.stringify(message) });
        const settled = () => new Promise((resolve) => setTimeout(resolve, 10));
        try {
            const prompter = new m.Prompter({ id: 1 }, {});
            const note = ({ detail }) => versions.push(detail.answer.modelVersionId);
            prompter.addEventListener('masks', note);
            const ask = async (id, prior) => {
                const continueFrom = prior && { id: prior, candidate: 0 };
                prompter.ask({ id, points: [], labels: [], box: null, continueFrom });
                await settled();
            };
            hear({ type: 'ready', model_version_id: 3 });
            await settled();
            await ask(1, null);
            hear({ type: 'version', model_version_id: 4 });
            await settled();
            await ask(2, 1); // with the version that it began with
            await ask(3, null);
            sockets.at(-1).onclose({ code: 1006 });
            await ask(4, 99); // of a draft that nobody knows: afresh
            await ask(5, 4); // by the server, which has no earlier answer
            prompter.retryNow();
            hear({ type: 'ready', model_version_id: 4 });
            prompter.close();
            const { sent } = sockets.at(-1);
            return [opened, versions, sent.map((one) => [one.id, one.continue_from])];
        } finally {
            choice.times = { browser: [], server: [] };
            BrowserDecoder.open = open;
            globalThis.WebSocket = real;
        }""",
    )
    assert asked[:2] == [[[1, None], [2, 1]], [[3, None], [4, None]]]
    assert versions == [3, 3, 4, 4]
    assert sent == [[5, None]]


def test_times_of_webassembly_say_nothing_about_webgpu(module):
    found = module(
        "decoder_choice.js",
        """const one = new m.DecoderChoice();
        return given.map(([runtime, ms]) => {
            one.noteBrowser(runtime, ms);
            return one.typicalMs("browser");
        });""",
        [["wasm", 300], ["wasm", 320], ["webgpu", 20], ["webgpu", 30], ["wasm", 310]],
    )
    assert found == [300, 320, 20, 30, 310]


def test_webgpu_must_give_the_same_masks(module):
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(2, 1000)).astype(np.float32)
    ious = [0.9, 0.4]
    other = logits.copy()
    other[1, np.flatnonzero(logits[1] > 0)[:6]] = -1  # of some 500 pixels
    empty = -np.abs(logits)
    one_empty = np.stack([logits[0], empty[1]])
    broken, zero = logits.copy(), logits.copy()
    broken[0, 7] = np.inf
    zero[1] = 0

    def judge(one, other, ious_of_other=ious):
        given = [
            {"logits": side.tolist(), "ious": values}
            for side, values in ((one, ious), (other, ious_of_other))
        ]
        return module("webgpu.js", "return m.agree(...given);", given)

    assert judge(logits, logits * np.float32(1.0001))
    assert not judge(logits, other)
    assert not judge(logits, logits, [0.9, 0.42])
    assert not judge(logits, empty)
    assert judge(one_empty, one_empty)
    assert not judge(empty, empty)  # which a GPU that gives nothing would give, too
    sound = """return given.map((logits) => m.isSound({
        logits: logits.map((one) => Float32Array.from(one, (value) => value ?? NaN)),
        ious: [0.9, 0.4],
    }));"""
    given = [np.where(np.isfinite(one), one, None).tolist() for one in (logits, broken, zero)]
    assert module("webgpu.js", sound, given) == [True, False, False]


def test_decoding_goes_where_answers_come_faster(module):
    places = module(
        "decoder_choice.js",
        """const one = new m.DecoderChoice();
        const places = [one.prefersBrowser];
        for (const [place, ms] of given) { one.note(place, ms); places.push(one.prefersBrowser); }
        return places;""",
        [["browser", 300], *[["server", ms] for ms in (200, 900, 400, 400, 90, 90, 90)]]
        + [["browser", 80]] * 3,
    )
    # Of the server the median counts; as long as nothing is known of it, only what is felt as at
    # once is a reason.
    assert places == [False, False, False, True, True, True, True, True, False, False, True, True]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"key": "z", "code": "KeyY", "ctrlKey": True}, "Ctrl+z"),  # German: by the character
        ({"key": "я", "code": "KeyZ", "ctrlKey": True}, "Ctrl+z"),  # Russian: there is no Latin one
        ({"key": "Ν", "code": "KeyN", "shiftKey": True}, "Shift+n"),  # noqa: RUF001 - Greek
        ({"key": "&", "code": "Digit1"}, "1"),  # French
        ({"key": "?", "code": "Minus", "shiftKey": True}, "?"),
        # German: AltGr and 8, on Windows and elsewhere
        ({"key": "[", "code": "Digit8", "ctrlKey": True, "altKey": True, "graph": True}, "["),
        ({"key": "[", "code": "Digit8", "graph": True}, "["),
    ],
)
def test_keys_of_other_layouts(module, event, name):
    body = """return m.nameOf({...given, getModifierState: () => given.graph ?? false});"""
    assert module("keys.js", body, event) == name


def test_view_fits_and_zooms_around_a_place(module):
    fitted, zoomed, place = module(
        "view.js",
        """const view = m.fitView({width: 800, height: 600, imageWidth: 6000, imageHeight: 4000});
        const zoomed = m.zoomView(view, 3, 200, 100);
        return [view, zoomed, [m.toImage(view, 200, 100), m.toImage(zoomed, 200, 100)]];""",
    )
    # 12 pixels around it, and 84 below, where bars are.
    assert fitted["scale"] == pytest.approx((600 - 12 - 84) / 4000)
    assert fitted["y"] == pytest.approx(12)
    assert fitted["x"] == pytest.approx((800 - 6000 * fitted["scale"]) / 2)
    assert zoomed["scale"] == pytest.approx(3 * fitted["scale"])
    assert place[0] == pytest.approx(place[1])


def test_axes_end_at_round_numbers(module):
    got = module("plots.js", "return given.map(m.niceTop);", [0, 0.7, 1, 3, 12, 81, 399, 1000])
    assert got == [1, 0.8, 1, 4, 20, 100, 400, 1000]


def test_part_that_the_model_sees_stays_while_the_view_changes_little(module):
    view = {"width": 1000, "height": 600, "imageWidth": 20_000, "imageHeight": 10_000}
    at = lambda x, y, scale: {**view, "scale": scale, "x": -x * scale, "y": -y * scale}  # noqa: E731
    steps = [
        (at(3010, 2010, 1), {"points": [[3500, 2300]]}),  # what is in view
        (at(3110, 2050, 1), {"points": [[3600, 2300]]}),  # moved a little: stays
        (at(3110, 2050, 1), {"points": [[4005, 2300]]}),  # at the part's edge: anew
        (at(3110, 2050, 1), {"points": [[5000, 2300]], "box": [3200, 2100, 3300, 2200]}),  # beyond
        (at(3110, 2050, 8), {"points": [[3150, 2060]]}),  # zoomed in: anew
        (at(0, 0, 0.05), {"points": [[0, 0], [19_999, 9_999]]}),  # all of the image
        (at(0, 0, 0.05), {"points": [[19_990, 9_990]]}),  # at the image's own edge: stays
    ]
    found = module(
        "seen_part.js",
        """let last = null;
            return given.map(([view, prompts]) => (last = m.seenPart(view, prompts, last)));""",
        steps,
    )
    assert found[0] == found[1] == [3008, 2000, 4016, 2624]
    assert found[2] == [3104, 2048, 4112, 2656]
    assert found[3] == [3104, 2048, 5056, 2656]
    assert found[4] == [3104, 2048, 3248, 2128]
    assert found[5] == found[6] == [0, 0, 20_000, 10_000]
