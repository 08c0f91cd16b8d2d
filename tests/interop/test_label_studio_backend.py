"""What the backend for Label Studio answers, checked by Label Studio's own package."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from other_programs import load
from samkit.datasets.synthetic import Scenes
from samkit.predict import Predictor
from samkit.serving import (
    Limits,
    ModelSpec,
    ServedModel,
    ServingConfig,
    ThreadWorker,
    WorkerPool,
    create_app,
)
from samkit.serving.jobs import ImageFile
from serving.conftest import png

brush = load("label_studio_sdk.converter.brush")
interfaces = load("label_studio_sdk.label_interface")
SIDE = 96
INTERFACE = """<View><Image name="image" value="$image"/>
<BrushLabels name="mask" toName="image"><Label value="cell"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="cell"/></KeyPointLabels>
</View>"""


@pytest.fixture(scope="module")
def scene():
    return np.ascontiguousarray(Scenes(count=1, size=SIDE, seed=3)[0].image)


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load()


@pytest.fixture(scope="module")
def backend(scene, predictor, tmp_path_factory):
    class Images:
        """Has the same image for each task."""

        def known(self, url):
            return None

        def fetch(self, url, task_id):
            return ImageFile(sha256="0" * 64, content=png(scene))

    spec = ModelSpec(cache_folder=tmp_path_factory.mktemp("embeddings"))
    limits = Limits()
    with WorkerPool(
        lambda: ThreadWorker(lambda: ServedModel(predictor, spec)), limits=limits
    ) as pool:
        app = create_app(pool, ServingConfig(limits=limits), label_studio=Images())
        with TestClient(app, "http://testserver/label-studio") as running:
            yield running


def predict(backend, context):
    task = {"id": 1, "data": {"image": "/data/upload/1/scene.png"}}
    asked = {"tasks": [task], "label_config": INTERFACE, "params": {"context": context}}
    (found,) = backend.post("/predict", json=asked).json()["results"]
    assert interfaces.LabelInterface(INTERFACE).validate_prediction(found)
    masks = [
        brush.decode_rle(one["value"]["rle"]).reshape(SIDE, SIDE, 4)[..., 3] > 0
        for one in found["result"]
    ]
    return found, masks


def test_everything_is_a_valid_prediction(backend):
    found, masks = predict(backend, None)
    assert len(masks) > 1
    assert all(mask.any() for mask in masks)
    assert {tuple(one["value"]["brushlabels"]) for one in found["result"]} == {("cell",)}


def test_a_click_is_the_predictors_mask(backend, predictor, scene):
    point = {
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "original_width": SIDE,
        "original_height": SIDE,
        "image_rotation": 0,
        "is_positive": True,
        "value": {"x": 50, "y": 50, "width": 1, "keypointlabels": ["cell"]},
    }
    _, (mask,) = predict(backend, {"result": [point]})
    answer = predictor.predict(
        predictor.embed(scene), points=[[SIDE / 2, SIDE / 2]], labels=[1], refine="fast"
    )
    np.testing.assert_array_equal(mask, answer.best().masks[0])
