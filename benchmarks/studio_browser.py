"""From a click to the painted mask, decoded in the browser and on the server.

    python benchmarks/studio_browser.py [--clicks 20] [--delay-ms 0]

A scripted person clicks in Chromium (Playwright) on `samkit serve` with the embedded model, first
with the setting "On the server", then with "In the browser", at the same places of the same images:
an object, whose mask has three candidates, then the background beside it, which goes on from the
first answer. The time is measured in the page, from the pressed button to the frame after the
mask is there. `--delay-ms` holds up what goes between page and server by the WebSocket, each way,
as a network does. Both share this machine, so that its load is printed, too.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from studio_server import PASSWORD, Server, make_images, make_store, serve_command

SIZE_HW = (800, 1200)
TIMEOUT_MS = 300_000
# Times of clicks, from the event to the frame after the last answer.
MEASURE = """() => {
  window.times = [];
  let pressed = 0;
  addEventListener('pointerdown', () => { pressed = performance.now(); }, true);
  const look = () => {
    const bar = document.querySelector('.workbar[data-prompts]:not([data-waits])');
    if (pressed && bar && !bar.hidden && bar.dataset.prompts === String(window.expected)) {
      window.times.push(performance.now() - pressed);
      pressed = 0;
    }
    requestAnimationFrame(look);
  };
  look();
}"""

# What goes by the WebSocket is held up, each way.
DELAY = """{
  const { WebSocket: plain } = window;
  window.WebSocket = class extends plain {
    send(message) { setTimeout(() => super.send(message), DELAY_MS); }
    set onmessage(act) { super.onmessage = act && ((event) => setTimeout(act, DELAY_MS, event)); }
  };
}"""


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clicks", type=int, default=20, help="of each kind, at each place")
    parser.add_argument("--delay-ms", type=float, default=0, help="of each message")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="samkit-browser-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        make_images(folder / "images", 2, SIZE_HW)
        where = str(folder / "store.db")
        _, [user] = make_store(where, folder / "images", 1)
        log = folder / "log"
        with Server(serve_command(where), log, cache=folder / "cache") as server:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=["--no-sandbox"]
                )
                for place in ("server", "browser"):
                    found = measure(browser, server.url, user, place, args.clicks, args.delay_ms)
                    found["load"] = round(os.getloadavg()[0], 1)
                    print(json.dumps({"decoded on": place, **found}))
                browser.close()
            server.stop()


def measure(  # noqa: PLR0917 - of one call
    browser: Browser, url: str, user: str, place: str, clicks: int, delay_ms: float
) -> dict[str, Any]:
    """Times of clicks of somebody whose prompts are decoded at a place."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    sign_in = {"name": user, "password": PASSWORD}
    origin = {"Origin": url}
    answer = context.request.post(f"{url}/api/session", data=sign_in, headers=origin)
    headers = {**origin, "X-CSRF-Token": answer.json()["csrf_token"]}
    settings = {"settings": {"decoder": place}}
    context.request.put(f"{url}/api/session/settings", data=settings, headers=headers)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.add_init_script(DELAY.replace("DELAY_MS", str(delay_ms)))
    opened = [open_image(page, url, number, place) for number in (1, 2)]
    page.evaluate(MEASURE)
    random = np.random.default_rng(0)
    for _ in range(clicks + 1):
        click(page, *random.uniform(0.2, 0.8, 2), prompts=1)
        click(page, *random.uniform(0.2, 0.8, 2), prompts=2)
        page.keyboard.press("Escape")
        page.wait_for_selector(".workbar", state="hidden")
    times = np.array(page.evaluate("window.times")).reshape(-1, 2)[1:]  # without the first
    context.close()
    kinds = {"click": times[:, 0], "click that goes on": times[:, 1]}
    return {
        "seconds to open": [round(one, 1) for one in opened],
        **{
            f"{kind}, ms least p50 p95": [
                round(float(ms)) for ms in np.percentile(values, [0, 50, 95])
            ]
            for kind, values in kinds.items()
        },
    }


def open_image(page: Page, url: str, number: int, place: str) -> float:
    """Open an image; seconds until clicks on it are answered by a place."""
    started = time.perf_counter()
    page.goto(f"{url}/#/image/{number}")
    page.wait_for_selector(f".studio[data-image='{number}'][data-ready][data-decoder={place}]")
    return time.perf_counter() - started


def click(page: Page, x: float, y: float, *, prompts: int) -> None:
    """Click at fractions of the stage, and wait for the answer: the second time on background."""
    page.evaluate("(expected) => { window.expected = expected; }", prompts)
    done = page.evaluate("window.times.length")
    stage = page.locator(".stage").bounding_box()
    assert stage is not None
    at = stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]
    page.mouse.click(*at, button="left" if prompts == 1 else "right")
    page.wait_for_function("(done) => window.times.length > done", arg=done)


if __name__ == "__main__":
    main()
