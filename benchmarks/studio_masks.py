"""From a key to the painted picture in the studio, on an image with many masks.

    python benchmarks/studio_masks.py [--masks 5000]

Starts `samkit annotate` on one image of nuclei-like discs, opens it in Chromium (Playwright), and
presses keys that change what is seen. Prints the milliseconds from the key event to the end of the
animation frame that shows its effect; headless Chromium without a GPU draws on the CPU.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from samkit.dataengine import NewEvent, Store, create_user, list_images, list_projects
from samkit.dataengine.schema import ImageRow
from samkit.dataengine.work import MadeMask, add_made_masks
from samkit.geometry import encode_rle
from studio_server import Server

SIDE = 1600
ROUNDS = 8
KEYS = {
    "select the next mask": ["n"],
    "deselect": ["Escape"],
    "tool": ["b", "e", "q"],
    "opacity": ["o", "Shift+O"],
    "hide all, show all": ["h", "h"],
    "class of a mask": ["n", "Shift+1", "Escape"],
    "zoom in, whole image": ["+", "0"],
}
WATCH = """() => {
  window.spans_ = [];
  window.addEventListener('keydown', ({ timeStamp, key }) => {
    if (['Shift', 'Control'].includes(key)) return;
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => window.spans_.push(performance.now() - timeStamp);
      port2.postMessage(null);
    });
  }, true);
}"""


def main() -> None:
    """Make a folder, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--masks", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="samkit-masks-") as name:
        folder = Path(name)
        centres = make_image(folder, args.masks)
        classes = ",".join(f"class {i}" for i in range(args.classes))
        command = ["annotate", str(folder), "--no-browser", "--classes", classes]
        with Server(command, folder.parent / f"{folder.name}.log") as server:
            add_masks(folder / ".samkit" / "project.db", centres)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                print(json.dumps(measure(page, server.url), indent=1))
                browser.close()
            server.stop()


def make_image(folder: Path, count: int) -> np.ndarray:
    """Write an image of discs on a grid; return their centres (N, 2) as xy."""
    columns = int(np.ceil(np.sqrt(count)))
    places = (np.arange(columns) + 0.5) * SIDE / columns
    centres = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)[:count]
    image = np.full((SIDE, SIDE, 3), 230, np.uint8)
    for x, y in centres.astype(int):
        cv2.circle(image, (int(x), int(y)), max(2, int(0.4 * SIDE / columns)), (120, 60, 120), -1)
    cv2.imwrite(str(folder / "nuclei.png"), image)
    return centres


def add_masks(where: Path, centres: np.ndarray) -> None:
    """Add a disc for each centre, as soon as the image is in the store."""
    radius = 0.4 * SIDE / int(np.ceil(np.sqrt(len(centres))))
    with Store.open(where) as store:
        project = list_projects(store).items[0]
        while not list_images(store, project.id).items:
            time.sleep(0.1)
        user = create_user(store, name="robot", role="admin")
        with store.write() as session:
            image = session.get(ImageRow, list_images(store, project.id).items[0].id)
            masks = [made_mask(centre, radius) for centre in centres]
            add_made_masks(
                session, store, image, masks, user_id=user.id, class_ids={}, origin="discs"
            )


def made_mask(centre: np.ndarray, radius: float) -> MadeMask:
    """A mask of a disc in the image."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, tuple(int(value) for value in centre), max(2, int(radius)), 1, -1)
    return MadeMask(
        segmentation=encode_rle(mask.astype(bool)),
        class_name=None,
        score=None,
        stability=None,
        stage="imported",
        event=NewEvent(kind="import", data={}),
    )


def measure(page: Page, url: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of key, and of all."""
    page.set_default_timeout(300_000)
    page.goto(url)
    page.wait_for_selector(".card.project, .image-card, .studio")
    started = time.monotonic()
    page.goto(f"{url.split('?', maxsplit=1)[0]}#/image/1")
    page.wait_for_selector(".studio[data-ready] .mask-row")
    opened = time.monotonic() - started
    page.wait_for_timeout(8000)  # all masks are drawn, the image is sharp
    page.evaluate(WATCH)
    spans: dict[str, list[float]] = {name: [] for name in KEYS}
    for _ in range(ROUNDS):
        for name, keys in KEYS.items():
            page.evaluate("() => { window.spans_.length = 0; }")
            for key in keys:
                page.keyboard.press(key)
                page.wait_for_timeout(150)
            spans[name] += page.evaluate("() => window.spans_")
    every = [one for some in spans.values() for one in some]
    found = {name: figures(some) for name, some in spans.items()}
    return {"opened, s": {"first": round(opened, 2)}, **found, "all": figures(every)}


def figures(spans: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    p50, p95, longest = np.percentile(spans, [50, 95, 100])
    return {"p50": round(p50, 1), "p95": round(p95, 1), "longest": round(longest, 1)}


if __name__ == "__main__":
    main()
