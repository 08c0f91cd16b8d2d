"""Decoding on WebGPU, in software and with a tiny model: the same masks, or WebAssembly.

The page does not use an adapter in software, which is slower than WebAssembly. Here it may, where a
test needs one: lines of the page's `webgpu.js` and `decoder_worker.js` are replaced on the way.
"""

import copy

import numpy as np
import pytest
from playwright.sync_api import expect

from conftest import randomise_weights
from samkit import Predictor
from samkit.models import CONFIGS, Sam
from samkit.weights import save_checkpoint

from .conftest import serving

pytestmark = pytest.mark.slow

SWIFTSHADER = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)
SOFTWARE_TOO = ("webgpu.js", "adapter.info.isFallbackAdapter", "false")
SLOWER_TOO = ("decoder_worker.js", "fast.ms < plain.ms", "true")
# An adapter in software, on a busy machine, takes longer than any graphics card.
PATIENT = (
    ("browser_decoder.js", "ANSWER_S = 20", "ANSWER_S = 600"),
    ("browser_decoder.js", "OPEN_S = 180", "OPEN_S = 600"),
    ("decoder_worker.js", "GPU_ANSWER_S = 10", "GPU_ANSWER_S = 300"),
    ("decoder_worker.js", "TRIAL_S = 120", "TRIAL_S = 300"),
)
NEVER_EQUAL = ("webgpu.js", "const LEAST_IOU = 0.99", "const LEAST_IOU = 1")
BUILD = "ort-wasm-simd-threaded.jspi.wasm"
LOSE_DEVICE = """async () => {
    const { env } = await import('/vendor/onnxruntime-web/ort.jspi.bundle.min.mjs');
    (await env.webgpu.device).destroy();
}"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    sam = Sam(copy.deepcopy(CONFIGS["tiny"]))
    randomise_weights(sam)
    save_checkpoint(sam, path, name="tiny")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, plain_backend, model):
    with serving(tmp_path_factory.mktemp("webgpu"), model=str(model)) as server:
        yield server


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor.load(model, backend="torch", precision="float32")


@pytest.fixture(scope="module")
def chromium(launch):
    with launch(*SWIFTSHADER) as browser:
        yield browser


@pytest.fixture
def opened(person):
    """Open an image, with lines of the page's files replaced; what is loaded, what WebGPU says."""

    def open_image(number, *replacements):
        ann = person("ann", decoder="browser")
        loaded, said = [], []
        ann.page.on("request", lambda one: loaded.append(one.url.rsplit("/", 1)[-1]))
        ann.page.on("console", lambda one: said.append(one.text))

        def replace(route):
            response = route.fetch()
            text = response.text()
            for file, old, new in replacements:
                if route.request.url.endswith(f"/{file}"):
                    assert text.count(old) == 1
                    text = text.replace(old, new)
            route.fulfill(response=response, body=text)

        for file in {file for file, *_ in replacements}:
            ann.page.route(f"**/{file}", replace)
        ann.open_image(number)
        return ann, loaded, said

    return open_image


def decoded_by(ann, runtime):
    """Wait until the dialog names what decodes."""
    ann.press("Shift+D")
    expect(ann.page.locator("dialog [role=status]")).to_contain_text(runtime, timeout=300_000)
    ann.press("Escape")


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_webgpu_gives_the_servers_masks_until_it_is_lost(opened, masks, library, predictor):
    ann, loaded, said = opened(1, SOFTWARE_TOO, SLOWER_TOO, *PATIENT)
    decoded_by(ann, "WebGPU")
    assert BUILD in loaded
    embedding = library(1)
    first = predictor.predict(embedding, points=[[150, 140]], labels=[1])
    best = int(np.argmax(first.iou_pred))

    def second(point):
        return predictor.predict(
            embedding,
            points=[[150, 140], point],
            labels=[1, 0],
            mask_logits=first.logits[best],
            multimask=False,
        )

    before = len(masks(1))
    expected = []
    for point in ([60, 60], [250, 90]):
        ann.click(150, 140)
        ann.press(str(best + 1))
        if expected:  # the draft goes on, without WebGPU
            [worker] = ann.page.workers
            worker.evaluate(LOSE_DEVICE)
        ann.click(*point, button="right")
        ann.accept()
        expected.append(second(point).masks[0])
        if len(expected) == 1:
            decoded_by(ann, "WebGPU")
    decoded_by(ann, "WebAssembly")
    found = masks(1)[before:]
    for (mask, annotation), answer in zip(found, expected, strict=True):
        assert answer.any()
        assert iou(mask, answer) > 0.99
        assert annotation.num_clicks == 2
    assert [text for text in said if "WebGPU" in text] == [
        "WebGPU does not decode: Device was destroyed."
    ]


@pytest.mark.parametrize(
    ("number", "replacements", "reason"),
    [
        (2, (), "the adapter is software"),
        (3, (SOFTWARE_TOO, *PATIENT), "on WebAssembly"),
        (
            4,
            (SOFTWARE_TOO, SLOWER_TOO, NEVER_EQUAL, *PATIENT),
            "its masks are others than WebAssembly's",
        ),
    ],
    ids=["software", "slower", "other masks"],
)
def test_webassembly_stays(opened, masks, library, predictor, number, replacements, reason):
    before = len(masks(number))
    ann, loaded, said = opened(number, *replacements)
    ann.page.wait_for_selector(".studio[data-decoder=browser]", timeout=180_000)
    while not any("WebGPU" in text for text in said):
        ann.page.wait_for_timeout(100)
    [why] = [text for text in said if "WebGPU" in text]
    assert reason in why
    assert (BUILD in loaded) == bool(replacements)
    ann.click(150, 140)
    ann.accept()
    [(mask, _)] = masks(number)[before:]
    answer = predictor.predict(library(number), points=[[150, 140]], labels=[1]).best()
    assert iou(mask, answer.masks[0]) > 0.99
    decoded_by(ann, "WebAssembly")
