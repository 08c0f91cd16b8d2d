"""Fixtures: a store on SQLite or PostgreSQL (URL in SAMKIT_TEST_POSTGRES), users and images."""

import os
import uuid
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, make_url, text

from samkit.dataengine import (
    Store,
    add_images,
    create_project,
    create_user,
    list_images,
    take_image,
)
from samkit.geometry import encode_rle

POSTGRES = os.environ.get("SAMKIT_TEST_POSTGRES")
HEIGHT, WIDTH = 12, 16


class Clock:
    """A clock that only moves when it is advanced."""

    def __init__(self):
        self.now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

    def __call__(self):
        return self.now

    def advance(self, **by):
        self.now += timedelta(**by)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    """Path or URL of an empty database."""
    if request.param == "sqlite":
        yield tmp_path / "store.db"
        return
    if POSTGRES is None:
        pytest.skip("SAMKIT_TEST_POSTGRES has no URL of a server")
    url = make_url(POSTGRES).set(drivername="postgresql+psycopg")
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        own = url.update_query_dict({"options": f"-csearch_path={schema}"})
        yield own.render_as_string(hide_password=False)
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    finally:
        engine.dispose()


@pytest.fixture
def store(where, clock):
    with Store.open(where, clock=clock) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path, clock):
    """For tests that do not depend on the database."""
    with Store.open(tmp_path / "store.db", clock=clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Four images, two of them in a subfolder."""
    root = tmp_path_factory.mktemp("images")
    (root / "deep").mkdir()
    for number, name in enumerate(("a.png", "b.png", "deep/c.png", "deep/d.jpg")):
        pixels = np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


class Scene:
    """A project of four images, and users."""

    def __init__(self, store, root):
        self.store = store
        self.project = create_project(store, name="cells", root=root)
        self.report = add_images(store, self.project.id)
        roles = {"ann": "annotator", "bob": "annotator", "rev": "reviewer", "adm": "admin"}
        people = {name: create_user(store, name=name, role=role) for name, role in roles.items()}
        self.ann, self.bob, self.rev, self.adm = (people[name].id for name in roles)
        self.images = list_images(store, self.project.id).items

    def hold(self, user_id, index=0):
        """Let a user take an image; return its id."""
        return take_image(self.store, self.images[index].id, user_id).image.id


@pytest.fixture
def scene(store, image_folder):
    return Scene(store, image_folder)


@pytest.fixture
def sqlite_scene(sqlite_store, image_folder):
    return Scene(sqlite_store, image_folder)


@pytest.fixture(scope="session")
def rle_of():
    """RLE of a filled box in an image of the scene."""

    def make(x0, y0, x1, y1, size_hw=(HEIGHT, WIDTH)):
        mask = np.zeros(size_hw, bool)
        mask[y0:y1, x0:x1] = True
        return encode_rle(mask)

    return make
