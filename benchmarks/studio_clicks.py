"""Clicks and keys of a scripted person for 13 images, by hand and with masks that fit together.

    python benchmarks/studio_clicks.py [--images 13]

The person has the same drawn scenes twice, in Chromium (Playwright) on `samkit annotate`: each
object, the smaller ones first, is clicked until the model's best candidate is right or
--most-clicks are spent. No mask may overlap another, nor have islands:

- by hand, what lies over other masks, and each island, is erased from each mask before it is
  accepted: one drag of the eraser for each connected piece, however long;
- with masks that fit, new masks go under the others and are cleaned up, as the settings say.

Prints, for both, what was pressed for each mask and image, and what the stored masks are like.
Settings (the eraser's size for one, fitting and cleaning for the other) are chosen before, and not
counted.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, WebSocket, sync_playwright

from samkit.datasets.synthetic import Scenes
from samkit.geometry import decode_rle, farthest_point
from studio_server import Server

SIDE, SEED = 320, 17
LEAST_PX = 400  # of an object that is annotated
RIGHT = 0.9  # IoU at which the person is content
RADIUS = 3  # of the eraser
ISLAND_PX = 100  # parts that are smaller are islands, as the studio's settings have it
SEEN_PX = 4  # of overlap that is too small for anybody to erase
WAYS: dict[str, dict[str, Any]] = {
    "by hand": {"fit": "free", "cleanNew": False, "radius": RADIUS},
    "masks that fit": {"fit": "under", "cleanNew": True},
}

Mask = npt.NDArray[np.bool_]


def main() -> None:
    """Annotate the images in both ways, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=13)
    parser.add_argument("--most-clicks", type=int, default=4)
    args = parser.parse_args()
    scenes = Scenes(count=args.images, size=SIDE, seed=SEED)
    truths = [truth_of([decode_rle(rle) for rle in scene.rles]) for scene in scenes]
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for way, settings in WAYS.items():
            with tempfile.TemporaryDirectory(prefix="samkit-clicks-") as name:
                folder = Path(name)
                for i in range(args.images):
                    image = np.ascontiguousarray(scenes[i].image[..., ::-1])
                    cv2.imwrite(str(folder / f"scene-{i:02}.png"), image)
                log = folder.parent / f"{folder.name}.log"
                with Server(["annotate", str(folder), "--no-browser"], log) as server:
                    page = browser.new_page(viewport={"width": 1280, "height": 800})
                    person = Person(page, args.most_clicks, erases=way == "by hand")
                    person.arrive(server.url, settings)
                    for number, truth in enumerate(truths, start=1):
                        person.annotate(number, truth)
                    found[way] = person.report(truths)
                    page.close()
                    server.stop()
        browser.close()
    print(json.dumps(found, indent=1))


def truth_of(masks: list[Mask]) -> list[Mask]:
    """What is to be annotated, the smallest first: visible areas without overlap."""
    taken = np.zeros((SIDE, SIDE), bool)
    found = []
    for mask in sorted(masks, key=np.count_nonzero):
        own = mask & ~taken
        taken |= mask
        if own.sum() >= LEAST_PX:
            found.append(own)
    return found


@dataclass
class Person:
    """Somebody who works as told, and whose every press is counted.

    Attributes:
        pressed: clicks, drags and keys.
    """

    page: Page
    most_clicks: int
    erases: bool
    pressed: dict[str, int] = field(default_factory=lambda: {"clicks": 0, "drags": 0, "keys": 0})

    def arrive(self, url: str, settings: dict[str, Any]) -> None:
        """Open the page, with these settings."""
        page = self.page
        page.set_default_timeout(120_000)
        page.on("websocket", self._listen)
        page.goto(url)
        page.wait_for_selector(".image-card, .card.project, .studio")
        page.evaluate(
            """async (settings) => {
              const { csrf_token: token } = await (await fetch('/api/session')).json();
              const headers = { 'X-CSRF-Token': token, 'Content-Type': 'application/json' };
              const body = JSON.stringify({ settings });
              await fetch('/api/session/settings', { method: 'PUT', headers, body });
            }""",
            settings,
        )
        self._place = url.split("?", maxsplit=1)[0]
        page.goto(f"{self._place}#/image/1")
        page.reload()

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._hear)

    def _hear(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        if message["type"] == "masks":
            self._answer = message

    def annotate(self, number: int, truth: list[Mask]) -> None:
        """Make all masks of an image, and submit it."""
        self.page.wait_for_selector(f".studio[data-image='{number}'][data-ready]")
        self.page.wait_for_selector(".stage[data-view]")
        kept = np.zeros((SIDE, SIDE), bool)
        for wanted in truth:
            mask = self._click_until_right(wanted, kept)
            mask = self._erase(mask, kept) if self.erases else mask & ~kept
            self._key("Enter")
            self.page.wait_for_selector(".workbar", state="hidden")
            kept |= mask
        self.page.wait_for_selector(".save-state:text-is('Saved')")
        self._key("Control+Enter")

    def _click_until_right(self, wanted: Mask, kept: Mask) -> Mask:
        wrong, mask = wanted, np.zeros((SIDE, SIDE), bool)
        for _ in range(self.most_clicks):
            place = farthest_point(wrong)
            self._click(place.x, place.y, background=not wanted[place.y, place.x])
            candidates = [decode_rle(one["rle"]) for one in self._answer["masks"]]
            scores = [iou(one & ~kept, wanted) for one in candidates]
            best = int(np.argmax(scores))
            if best != self._answer["best"]:
                self._key(str(best + 1))
            mask = candidates[best]
            if scores[best] >= RIGHT:
                break
            errors = (mask & ~kept) ^ wanted
            wrong = largest(errors & wanted, errors & ~wanted)
        return mask

    def _erase(self, mask: Mask, kept: Mask) -> Mask:
        """Erase what lies over other masks, then islands; return what is left."""
        pieces = [(piece, kept) for piece in parts(mask & kept) if piece.sum() > SEEN_PX]
        islands = parts(mask & ~kept)
        biggest = max((one.sum() for one in islands), default=0)
        pieces += [(one, ~mask | one) for one in islands if one.sum() < min(ISLAND_PX, biggest)]
        if not pieces:
            return mask
        self._key("e")
        for piece, free in pieces:
            path = path_over(piece, free)
            self._drag(path)
            ink = np.zeros((SIDE, SIDE), np.uint8)
            cv2.polylines(ink, [np.array(path, np.int32)], False, 1, 2 * RADIUS)
            mask = mask & ~ink.astype(bool)
        self._key("q")
        return mask

    def _at(self, x: float, y: float) -> tuple[float, float]:
        left, top, scale = map(float, self.page.get_attribute(".stage", "data-view").split())
        box = self.page.locator(".stage").bounding_box()
        return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale

    def _click(self, x: int, y: int, *, background: bool) -> None:
        self.pressed["clicks"] += 1
        self._answer = None
        self.page.mouse.click(*self._at(x, y), button="right" if background else "left")
        while self._answer is None:
            self.page.wait_for_timeout(20)
        self.page.wait_for_selector(".workbar:not([data-waits])")

    def _drag(self, path: list[tuple[int, int]]) -> None:
        self.pressed["drags"] += 1
        self.page.mouse.move(*self._at(*path[0]))
        self.page.mouse.down()
        for place in path[1:]:
            self.page.mouse.move(*self._at(*place))
        self.page.mouse.up()

    def _key(self, key: str) -> None:
        self.pressed["keys"] += 1
        self.page.keyboard.press(key)

    def report(self, truths: list[list[Mask]]) -> dict[str, Any]:
        """What was pressed, and what the stored masks are like."""
        overlap = islands = 0
        ious = []
        for number, truth in enumerate(truths, start=1):
            path = f"{self._place}api/images/{number}/annotations"
            items = self.page.request.get(path).json()["items"]
            masks = [decode_rle(one["rle"]) for one in items]
            overlap += int((np.sum(masks, axis=0) > 1).sum())
            for mask in masks:
                sizes = sorted(one.sum() for one in parts(mask))
                islands += sum(int(size < ISLAND_PX) for size in sizes[:-1])
            ious += [iou(mask, one) for mask, one in zip(masks, truth, strict=True)]
        total, count = sum(self.pressed.values()), len(ious)
        return {
            "images": len(truths),
            "masks": count,
            **self.pressed,
            "a mask": round(total / count, 2),
            "an image": round(total / len(truths), 1),
            "pixels in two masks": overlap,
            "islands": islands,
            "mean IoU": round(float(np.mean(ious)), 3),
        }


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def parts(mask: Mask) -> list[Mask]:
    """Connected parts, by edges and corners."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == number for number in range(1, count)]


def largest(*masks: Mask) -> Mask:
    """The largest connected part of several masks."""
    return max((part for mask in masks for part in parts(mask)), key=np.count_nonzero)


def path_over(piece: Mask, free: Mask) -> list[tuple[int, int]]:
    """Places of the eraser, row by row and back, that cover a piece.

    It stays where it takes nothing else away, and where a piece is too thin for that, in its
    middle.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RADIUS + 1, 2 * RADIUS + 1))
    reach = cv2.dilate(piece.astype(np.uint8), disc).astype(bool)
    harmless = cv2.erode(free.astype(np.uint8), disc, borderValue=1).astype(bool)
    inside = harmless & reach
    covered = cv2.dilate(inside.astype(np.uint8), disc).astype(bool)
    if (piece & covered).sum() < piece.sum() / 2:
        inside = piece
    path: list[tuple[int, int]] = []
    rows = np.flatnonzero(inside.any(axis=1))
    for turn, y in enumerate(np.append(rows[:: 2 * RADIUS - 1], rows[-1])):
        columns = np.flatnonzero(inside[y])
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
        ends = max(runs, key=len)[[0, -1]][:: 1 if turn % 2 == 0 else -1]
        path += [(int(x), int(y)) for x in ends]
    return path


if __name__ == "__main__":
    main()
