"""Fixtures: the `tiny` model in a worker of this process, an app over it, and its client."""

import copy
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from conftest import randomise_weights
from samkit.models import CONFIGS, Sam
from samkit.predict import Predictor
from samkit.serving import (
    Client,
    Limits,
    ModelSpec,
    ServedModel,
    ServingConfig,
    ThreadWorker,
    WorkerPool,
    create_app,
)

HOST = "http://testserver"


def png(pixels):
    """An image as the content of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def draw(seed, size_hw=(40, 56)):
    """A noisy image, another one for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)


@pytest.fixture(scope="session")
def predictor():
    """One for all tests; random weights, the same in each run."""
    model = Sam(copy.deepcopy(CONFIGS["tiny"]))
    randomise_weights(model)
    return Predictor(model, model_name="tiny", iou_thresh=0.0)


@pytest.fixture(scope="session")
def spec(tmp_path_factory):
    return ModelSpec(cache_folder=tmp_path_factory.mktemp("embeddings"), max_megapixels=1)


@pytest.fixture(scope="session")
def config(spec):
    """Small limits, which tests can reach."""
    limits = Limits(max_image_mb=1, max_video_mb=1, max_queue=8)
    return ServingConfig(limits=limits, cache_folder=spec.cache_folder)


@pytest.fixture(scope="session")
def pool(predictor, spec, config):
    with WorkerPool(
        lambda: ThreadWorker(lambda: ServedModel(predictor, spec)), limits=config.limits
    ) as running:
        yield running


@pytest.fixture(scope="session")
def http(pool, config):
    """A program that speaks HTTP."""
    with TestClient(create_app(pool, config), HOST, raise_server_exceptions=False) as running:
        yield running


@pytest.fixture
def client(http):
    return Client(HOST, http=http)


@pytest.fixture(scope="session")
def image():
    return draw(0)


@pytest.fixture(scope="session")
def content(image):
    return png(image)


@pytest.fixture(scope="session")
def sha256(http, content):
    """The hash of an image that the server has embedded."""
    return http.post("/v1/embed", content=content).json()["image"]
