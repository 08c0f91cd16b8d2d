"""Fixtures: a store on SQLite or PostgreSQL (URL in SAMKIT_TEST_POSTGRES), users and images."""

import copy
import os
import shutil
import uuid
from contextlib import contextmanager
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
def database_kind(request):
    if request.param == "postgresql" and POSTGRES is None:
        pytest.skip("SAMKIT_TEST_POSTGRES has no URL of a server")
    return request.param


@contextmanager
def new_schema():
    """URL of a new, empty schema of PostgreSQL, which is the only one that its users see."""
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
def where(database_kind, tmp_path):
    """Path or URL of an empty database."""
    if database_kind == "sqlite":
        yield tmp_path / "store.db"
        return
    with new_schema() as url:
        yield url


class Reused:
    """A store on PostgreSQL that is emptied after each test: a fifth of the time of a new one."""

    def __init__(self, url):
        self.url = url
        Store.open(url).close()
        self.engine = create_engine(url)
        with self.engine.begin() as connection:
            found = connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            )
            self.tables = sorted({name for (name,) in found} - {"alembic_version"})

    def empty(self):
        parts = [f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in self.tables]
        used = "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()"
        with self.engine.begin() as connection:
            filled = [name for (name,) in connection.execute(text(" UNION ALL ".join(parts)))]
            if filled:
                # Of all tables that refer to these, too.
                connection.execute(text(f"TRUNCATE {', '.join(filled)} CASCADE"))
            for (name,) in connection.execute(text(f"{used} AND last_value IS NOT NULL")).all():
                connection.execute(text(f"ALTER SEQUENCE {name} RESTART"))


@pytest.fixture(scope="session")
def reused(quick_stores):
    """The store on PostgreSQL of this process's tests."""
    with new_schema() as url:
        reused = Reused(url)
        try:
            yield reused
        finally:
            reused.engine.dispose()


@pytest.fixture
def store(request, database_kind, tmp_path, clock, empty_store):
    if database_kind == "sqlite":
        with Store.open(shutil.copyfile(empty_store, tmp_path / "store.db"), clock=clock) as opened:
            yield opened
        return
    reused = request.getfixturevalue("reused")
    with Store.open(reused.url, clock=clock) as opened:
        yield opened
    reused.empty()


@pytest.fixture
def sqlite_store(tmp_path, clock, empty_store):
    """For tests that do not depend on the database."""
    with Store.open(shutil.copyfile(empty_store, tmp_path / "store.db"), clock=clock) as opened:
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


@pytest.fixture(scope="session")
def made_scene(tmp_path_factory, empty_store, image_folder):
    """A scene, and the file of its closed store, to be copied."""
    path = shutil.copyfile(empty_store, tmp_path_factory.mktemp("scene") / "store.db")
    with Store.open(path, clock=Clock()) as opened:
        return Scene(opened, image_folder), path


@pytest.fixture
def sqlite_scene(tmp_path, clock, made_scene):
    scene, path = copy.copy(made_scene[0]), made_scene[1]
    with Store.open(shutil.copyfile(path, tmp_path / "store.db"), clock=clock) as opened:
        scene.store = opened
        yield scene


@pytest.fixture(scope="session")
def rle_of():
    """RLE of a filled box in an image of the scene."""

    def make(x0, y0, x1, y1, size_hw=(HEIGHT, WIDTH)):
        mask = np.zeros(size_hw, bool)
        mask[y0:y1, x0:x1] = True
        return encode_rle(mask)

    return make
