"""Functions for CVAT's auto-annotation, called as CVAT's own package calls them."""

import numpy as np
import PIL.Image
import pytest

from other_programs import load
from samkit import Predictor, VideoPredictor
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError
from samkit.integrations import cvat
from samkit.proposals import PRESETS, AutoMasker

sdk = load("cvat_sdk.auto_annotation")
masks_of_cvat = load("cvat_sdk.masks")
SIDE = 96


@pytest.fixture(scope="module")
def scene():
    return np.ascontiguousarray(Scenes(count=1, size=SIDE, seed=3)[0].image)


@pytest.fixture(scope="module")
def picture(scene):
    return PIL.Image.fromarray(scene)


def decoded(points):
    return masks_of_cvat.decode_mask(points, image_width=SIDE, image_height=SIDE)


class Context(sdk.DetectionFunctionContext):
    frame_name = "scene.png"

    def __init__(self, conf_threshold=None, conv_mask_to_poly=False):
        self._values = (conf_threshold, conv_mask_to_poly)

    conf_threshold = property(lambda self: self._values[0])
    conv_mask_to_poly = property(lambda self: self._values[1])


class Prompts(sdk.InteractionPrompts):
    def __init__(self, pos=(), neg=(), box=None):
        self._values = (pos, neg, box)

    pos_points = property(lambda self: self._values[0])
    neg_points = property(lambda self: self._values[1])
    bounding_box = property(lambda self: self._values[2])


@pytest.fixture(scope="module")
def expected(scene):
    return AutoMasker(Predictor.load(), PRESETS["instant"]).generate(scene)


def test_masks_of_everything(picture, expected):
    function = cvat.create(classes="cell")
    assert [(one.id, one.name, one.type) for one in function.spec.labels] == [(0, "cell", "mask")]
    shapes = function.detect(Context(), picture)
    assert {(one.type.value, one.label_id, one.frame) for one in shapes} == {("mask", 0, 0)}
    assert len(shapes) == len(expected) > 3
    for shape, mask in zip(shapes, expected.to_arrays(), strict=True):
        assert (decoded(shape.points) == mask).all()
    least = float(np.median(expected.scores))
    some = function.detect(Context(conf_threshold=least), picture)
    assert len(some) == (expected.scores >= least).sum() < len(expected)


def test_polygons_where_cvat_asks_for_them(picture, expected):
    shapes = cvat.create().detect(Context(conv_mask_to_poly=True), picture)
    assert {one.type.value for one in shapes} == {"polygon"}
    assert len(shapes) >= len(expected)
    for one in shapes:
        assert len(one.points) >= 6
        assert 0 <= min(one.points) <= max(one.points) <= SIDE


def test_a_click_and_a_box(scene, picture):
    function = cvat.create("click")
    encoded = function.preprocess_image(None, picture)
    predictor = Predictor.load()
    embedding = predictor.embed(scene)
    for prompts, given in (
        (Prompts(pos=[(40, 30)]), {"points": [[40, 30]], "labels": [1]}),
        (
            Prompts(pos=[(40, 30)], neg=[(5, 5)], box=((10, 10), (60, 50))),
            {
                "points": [[40, 30], [5, 5]],
                "labels": [1, 0],
                "boxes": [10, 10, 60, 50],
                "multimask": False,
            },
        ),
    ):
        [shape] = function.detect(None, encoded, prompts)
        best = predictor.predict(embedding, **given).best()
        assert shape.type == "mask"
        assert (decoded(shape.points) == best.masks[0]).all()
        [confidence] = shape.attributes
        assert float(confidence.value) == pytest.approx(float(best.iou_pred[0]), abs=1e-3)
    assert function.detect(None, encoded, Prompts()) == []


@pytest.mark.parametrize("kind", ["mask", "rectangle"])
def test_a_shape_is_followed(kind, scene, picture):
    function = cvat.create("track")
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:50, 20:60] = True
    points = cvat.encode(mask) if kind == "mask" else [20.0, 20.0, 60.0, 50.0]
    moved = PIL.Image.fromarray(np.roll(scene, 3, axis=1))
    first, second = (function.preprocess_image(None, one) for one in (picture, moved))
    shape = sdk.TrackableShape(type=kind, points=points)
    state = function.init_tracking_state(None, first, shape)
    found = function.track(None, second, state)
    stream = VideoPredictor.load().stream()
    stream.track(scene)
    stream.prompt(**({"mask": mask} if kind == "mask" else {"boxes": points}))
    answer = stream.track(np.asarray(moved))
    assert answer.present[0]
    assert found.type == kind
    if kind == "mask":
        assert (decoded(found.points) == answer.masks[0]).all()
    else:
        assert found.points == list(answer.results[0].box_xyxy)


def test_bad_parameters_say_what_is_allowed(refusal):
    for given, part in (
        ({"what": "guess"}, "detect, click or track"),
        ({"preset": "best"}, "unknown preset"),
        ({"classes": "cat,dog"}, "text_model"),
    ):
        with refusal(ConfigError, part):
            cvat.create(**given)
