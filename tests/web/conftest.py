"""Fixtures: a server over four images with the `tiny` model, and its users' browsers."""

import copy
from functools import cached_property

import pytest
from fastapi.testclient import TestClient

from dataengine.conftest import (  # noqa: F401 - fixtures
    Clock,
    Scene,
    clock,
    database_kind,
    image_folder,
    made_scene,
    reused,
    rle_of,
    scene,
    sqlite_scene,
    sqlite_store,
    store,
)
from samkit.dataengine import Store, open_sign_in
from samkit.models import CONFIGS, Sam
from samkit.predict import Predictor
from samkit.web import WebConfig, create_app

HOST = "http://testserver"


class Browser(TestClient):
    """A signed-in user's browser, which sends what the page sends."""

    def __init__(self, app, user_id=None):
        super().__init__(app, base_url=HOST, headers={"Origin": HOST})
        studio = app.state.studio
        if user_id is not None:
            token, current = open_sign_in(studio.store, user_id)
            self.cookies.set(studio.config.cookie_name, token)
            self.headers["X-CSRF-Token"] = current.csrf_token


@pytest.fixture(scope="session")
def tiny_predictor():
    """One for all tests of this folder; random weights, the same in each run."""
    import torch

    from conftest import randomise_weights

    torch.manual_seed(0)
    model = Sam(copy.deepcopy(CONFIGS["tiny"]))
    randomise_weights(model)
    return Predictor(model, model_name="tiny")


def settings(folder):
    """Small limits, which tests can reach."""
    return WebConfig(
        cache_folder=folder / "embeddings",
        allowed_roots=(folder,),
        max_upload_mb=1,
        max_unpacked_mb=2,
        max_megapixels=1,
    )


@pytest.fixture
def config(tmp_path):
    return settings(tmp_path)


class Server:
    """A running app, its scene, and browsers of the scene's people, who sign in when needed."""

    def __init__(self, app, scene):  # noqa: F811
        self.app, self.scene = app, scene
        self.stranger = Browser(app)

    @cached_property
    def ann(self):
        return Browser(self.app, self.scene.ann)

    @cached_property
    def bob(self):
        return Browser(self.app, self.scene.bob)

    @cached_property
    def rev(self):
        return Browser(self.app, self.scene.rev)

    @cached_property
    def adm(self):
        return Browser(self.app, self.scene.adm)

    @property
    def studio(self):
        return self.app.state.studio


def run_server(scene, config, predictor):  # noqa: F811
    app = create_app(scene.store, load_predictor=lambda: predictor, config=config)
    with TestClient(app, base_url=HOST):
        yield Server(app, scene)


@pytest.fixture
def server(scene, config, tiny_predictor):  # noqa: F811
    """On each database."""
    yield from run_server(scene, config, tiny_predictor)


@pytest.fixture
def sqlite_server(sqlite_scene, config, tiny_predictor):  # noqa: F811
    """For tests that do not depend on the database."""
    yield from run_server(sqlite_scene, config, tiny_predictor)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory, image_folder, tiny_predictor):  # noqa: F811
    """For tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("shared")
    with Store.open(folder / "store.db") as opened:
        yield from run_server(Scene(opened, image_folder), settings(folder), tiny_predictor)


@pytest.fixture(scope="session")
def document(tmp_path_factory, tiny_predictor):
    """The OpenAPI document, which is the same for all servers."""
    folder = tmp_path_factory.mktemp("operations")
    with Store.open(folder / "store.db") as opened:
        app = create_app(opened, load_predictor=lambda: tiny_predictor, config=settings(folder))
        return Browser(app).get("/api/openapi.json").json()


@pytest.fixture(scope="session")
def operations(document):
    """Method and path of everything in the OpenAPI document."""
    return [(method.upper(), path) for path, one in document["paths"].items() for method in one]
