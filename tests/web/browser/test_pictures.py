"""All pages on real images: layout, accessible names, and contrast.

With SAMKIT_SCREENSHOTS=FOLDER the same run writes the pictures for docs.
"""

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from samkit.dataengine import (
    NewEvent,
    Store,
    accept_image,
    add_class,
    add_images,
    create_project,
    give_back,
    list_images,
    list_users,
    return_image,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.geometry import encode_rle

pytestmark = pytest.mark.slow

FOLDER = os.environ.get("SAMKIT_SCREENSHOTS")
SAMPLES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket")
# What is there before: image, class, point.
THINGS = [
    ("astronaut", "person", (235, 330)),
    ("astronaut", "helmet", (400, 420)),
    ("astronaut", "badge", (172, 383)),
    ("chelsea", "cat", (200, 160)),
    ("chelsea", "eye", (185, 115)),
    ("coffee", "saucer", (180, 330)),
    ("coffee", "spoon", (375, 290)),
    ("rocket", "rocket", (322, 200)),
    ("retina", "optic disc", (420, 720)),
]
SIZES = {"laptop": (1280, 720), "small": (1024, 640), "phone": (390, 844)}


@pytest.fixture(scope="module")
def samples(tmp_path_factory, server, predictor):
    """A project of sample images with some masks, made over a week; its number, and the images'."""
    folder = tmp_path_factory.mktemp("samples")
    for name in SAMPLES:
        image = np.ascontiguousarray(getattr(data, name)()[..., ::-1])
        cv2.imwrite(str(folder / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    now = datetime.now(timezone.utc).replace(hour=10, minute=0)
    day = now
    with Store.open(server.where, clock=lambda: day) as store:
        project = create_project(store, name="Things and beings", root=folder)
        add_images(store, project.id)
        images = {Path(one.path).stem: one.id for one in list_images(store, project.id).items}
        people = {one.name: one.id for one in list_users(store).items}
        rng = np.random.default_rng(0)
        for i, (name, thing, point) in enumerate(THINGS):
            user = people["ann" if i % 3 else "ada"]
            day = now - timedelta(days=6 - i * 6 // len(THINGS))
            take_image(store, images[name], user)
            answer = predictor.predict(
                predictor.embed(folder / f"{name}.jpg"), points=[point], labels=[1]
            )
            best = int(np.argmax(answer.iou_pred))
            events = [
                NewEvent(kind="point", data={"xy": point, "label": 1}, duration_ms=int(ms))
                for ms in rng.integers(2500, 7000, 1 + i % 3)
            ]
            save_annotation(
                store,
                image_id=images[name],
                user_id=user,
                rle=encode_rle(answer.masks[best]),
                class_id=add_class(store, project.id, thing).id,
                events=events,
                score=float(answer.iou_pred[best]),
            )
            give_back(store, images[name], user)
        day = now
        for name in ("chelsea", "rocket", "retina", "astronaut"):
            take_image(store, images[name], people["ann"])
            submitted = submit_image(store, images[name], people["ann"])
            if name == "chelsea":
                accept_image(store, submitted.id, people["rev"], version=submitted.version)
            if name == "retina":
                comment = "The vessels are masks too."
                version = submitted.version
                return_image(store, submitted.id, people["rev"], version=version, comment=comment)
    return project.id, images


@pytest.fixture
def save():
    """Write a picture for docs, if they are wanted."""

    def save(person, name):
        person.page.wait_for_load_state("networkidle")
        person.page.wait_for_timeout(400 if FOLDER else 0)  # for thumbnails and sharper pictures
        if FOLDER:
            target = Path(FOLDER)
            target.mkdir(parents=True, exist_ok=True)
            picture = person.page.screenshot()
            image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
            write_small(target / f"{name}.png", image)

    return save


def write_small(path, image, most=300_000):
    """A PNG of all its colours if it is small enough, else of 256 or less."""
    from PIL import Image

    picture = Image.fromarray(image[..., ::-1])
    picture.save(path, optimize=True)
    plain = ((colors, dither) for colors in (256, 128, 64) for dither in (3, 0))
    while path.stat().st_size > most:
        colors, dither = next(plain)
        picture.quantize(colors, dither=Image.Dither(dither)).save(path, optimize=True)


def options(size, scheme="dark"):
    width, height = SIZES[size]
    phone = {"has_touch": True, "is_mobile": True} if size == "phone" else {}
    return {"viewport": {"width": width, "height": height}, "color_scheme": scheme, **phone}


CHECK = """() => {
  const shown = (node) => node.checkVisibility({visibilityProperty: true});
  const name = (node) => (node.getAttribute('aria-label') || node.innerText || node.title ||
    [...(node.labels ?? [])].map((label) => label.innerText).join('')).trim();
  const controls = [...document.querySelectorAll('button, a, input, select, textarea')];
  const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const channel = (value) => linear(value / 255);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const background = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    const unread = 'kbd, :disabled, svg, option, .faded, .visually-hidden';
    if (!own || !shown(node) || node.closest(unread)) continue;
    const pair = [light(parse(getComputedStyle(node).color)), light(background(node))].sort();
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < 4.5) faint.push(`${node.className}: ${node.innerText} ${contrast.toFixed(2)}`);
  }
  return {
    nameless: controls.filter((node) => shown(node) && !name(node)).map((node) => node.outerHTML),
    faint,
    overflow: [...document.querySelectorAll('html, .content, .bar')].flatMap((node) => {
      const end = node.getBoundingClientRect().left + node.clientLeft + node.clientWidth + 1;
      const out = [...node.querySelectorAll('*')].filter(
        (one) => shown(one) && one.getBoundingClientRect().right > end);
      const most = node.scrollWidth - node.clientWidth;
      return most ? [`${most}`, ...out.map((one) => one.outerHTML.slice(0, 120))] : [];
    }),
    cut: [...document.querySelectorAll('.bar')].flatMap((bar) => {
      const { top, bottom } = bar.getBoundingClientRect();
      return controls.filter((one) => bar.contains(one) && shown(one)).filter((one) => {
        const own = one.getBoundingClientRect();
        return own.top < top - 1 || own.bottom > bottom + 1;
      }).map((one) => one.outerHTML.slice(0, 120));
    }),
  };
}"""


def check(person):
    assert person.page.evaluate(CHECK) == {"nameless": [], "faint": [], "overflow": [], "cut": []}


@pytest.mark.parametrize(
    ("size", "scheme", "name"),
    [
        ("laptop", "dark", "studio-dark"),
        ("small", "light", "studio-light"),
        ("phone", "dark", "studio-phone"),
    ],
)
def test_studio(person, samples, save, size, scheme, name):
    _, images = samples
    ada = person("ada", **options(size, scheme))
    ada.open_image(images["coffee"])
    ada.page.wait_for_selector(".mask-row", state="attached")
    point = ada.at(300, 130)
    if size == "phone":
        ada.page.touchscreen.tap(*point)
    else:
        ada.page.mouse.click(*point)
    ada.wait_for_answer()
    ada.page.click(".candidate >> nth=0")  # the coffee alone
    check(ada)
    save(ada, name)
    if size == "laptop":
        ada.press("Shift+1", "?")
        ada.page.wait_for_selector(".help-sheet")
        check(ada)
        save(ada, "studio-keys")
        ada.press("Escape", "Escape")
        ada.page.mouse.move(*ada.at(375, 290))
        ada.press("s", "b")
        ada.page.mouse.move(*ada.at(350, 330))
        ada.page.wait_for_selector(".mask-row[aria-pressed=true]")
        check(ada)
        save(ada, "studio-brush")


def test_review(person, samples, save):
    project, images = samples
    rev = person("rev", **options("laptop"))
    rev.page.goto(f"{rev.server.url}/#/project/{project}/review/{images['astronaut']}")
    rev.page.wait_for_selector(".mask-row >> nth=2")
    rev.page.hover(".mask-row >> nth=1")
    check(rev)
    save(rev, "review")


@pytest.mark.parametrize(("size", "scheme"), [("laptop", "light"), ("phone", "light")])
def test_pages(person, samples, save, size, scheme):
    project, _ = samples
    ada = person("ada", **options(size, scheme))
    suffix = "-phone" if size == "phone" else ""
    for name, address, there in (
        ("projects", "/", ".project p:has-text('accepted')"),
        ("gallery", f"/project/{project}", ".image-card canvas"),
        ("statistics", f"/project/{project}/statistics", ".plot .mark"),
        ("people", "/users", "td .badge"),
    ):
        ada.page.goto(f"{ada.server.url}/#{address}")
        ada.page.wait_for_selector(there)
        check(ada)
        save(ada, f"{name}{suffix}")
