"""A project whose exports other programs read with their own packages.

The packages are no test dependencies, since they want other versions of what samkit needs, or a
screen: `make test-interop` installs them, without what they depend on, in an environment of their
own.
"""

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from samkit.dataengine import (
    Store,
    add_class,
    add_images,
    create_project,
    create_user,
    export_project,
    list_images,
    save_annotation,
    submit_image,
    take_image,
)
from samkit.geometry import encode_rle

HEIGHT, WIDTH = 48, 64
CELL, CAT = "cell", "кот 😀"
TURNED_RIGHT = 6  # EXIF's orientation of a file that must be turned clockwise


def make_masks():
    """Masks by name: with a hole, of two parts, over one another, one pixel thin, and noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = (x - 16) ** 2 + (y - 16) ** 2
    two, box, thin = (np.zeros((HEIGHT, WIDTH), bool) for _ in range(3))
    two[30:40, 5:15] = two[32:46, 22:30] = True
    box[10:30, 24:60] = True
    thin[5, 3:60] = thin[5:40, 3] = True
    triangle = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(triangle, [np.array([[40, 5], [63, 20], [35, 47]])], 1)
    noise = np.random.default_rng(3).random((HEIGHT, WIDTH)) < 0.3
    return {
        "ring": (distance <= 121) & (distance > 16),
        "two": two,
        "box": box,
        "triangle": triangle > 0,
        "thin": thin,
        "noise": noise & (x < 20) & (y < 20),
    }


class Exported:
    """A project with its truth, which is exported into folders.

    Attributes:
        masks: by the image's path: class ("object" for none) and mask of each.
    """

    def __init__(self, folder, masks):
        self.folder = folder
        self.masks = masks

    def export(self, file_format, **options):
        """Export; return the folder."""
        out = self.folder / f"out-{file_format}"
        with Store.open(self.folder / "store.db") as store:
            report = export_project(
                store, 1, out, file_format=file_format, copy_images=True, **options
            )
        assert report.faults == ()
        return out


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interop")
    drawn = make_masks()
    plan = {
        "a.png": [(CELL, "ring"), (CAT, "two"), (CELL, "box"), (None, "triangle")],
        "deep/b c.jpg": [(CAT, "thin"), (CELL, "noise")],
        "none.png": [],
        "turned.jpg": [(CELL, "triangle")],
    }
    images = folder / "images"
    (images / "deep").mkdir(parents=True)
    for number, path in enumerate(plan):
        pixels = np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8)
        exif = Image.Exif()
        if path == "turned.jpg":
            pixels = np.rot90(pixels)
            exif[ExifTags.Base.Orientation] = TURNED_RIGHT
        Image.fromarray(pixels).save(images / path, exif=exif)
    with Store.open(folder / "store.db") as store:
        project = create_project(store, name="p", root=images).id
        user = create_user(store, name="u", role="admin").id
        add_images(store, project)
        classes = {name: add_class(store, project, name).id for name in (CELL, CAT)}
        for image in list_images(store, project).items:
            take_image(store, image.id, user)
            for name, mask in plan[image.path]:
                save_annotation(
                    store,
                    image_id=image.id,
                    user_id=user,
                    rle=encode_rle(drawn[mask]),
                    class_id=classes.get(name),
                )
            submit_image(store, image.id, user)
    truth = {
        path: [(name or "object", drawn[mask]) for name, mask in masks]
        for path, masks in plan.items()
    }
    return Exported(folder, truth)


@pytest.fixture(scope="session")
def assert_same():
    """Compare classes and masks of images, in any order of the masks."""

    def check(found, expected):
        assert {path: len(masks) for path, masks in found.items()} == {
            path: len(masks) for path, masks in expected.items()
        }
        for path, masks in expected.items():
            assert sorted((n, np.asarray(m, bool).tobytes()) for n, m in found[path]) == sorted(
                (name, mask.tobytes()) for name, mask in masks
            ), path

    return check


@pytest.fixture(scope="session")
def assert_drawn():
    """Compare masks of one line each with the true ones, in order.

    Those of one part without holes must be equal; others may have more pixels, where lines join
    parts and holes.
    """

    def check(found, expected):
        assert [name for name, _ in found] == [name for name, _ in expected]
        for (_, one), (_, other) in zip(found, expected, strict=True):
            assert (one | ~other).all()
            contours, _ = cv2.findContours(
                other.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
            )
            more = (one & ~other).sum()
            assert more <= (0 if len(contours) == 1 else len(contours) * 20)

    return check
