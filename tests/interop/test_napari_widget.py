"""The napari plugin's dock widget in a real window.

That needs Qt and a screen with OpenGL, such as of `xvfb-run`. `make test-interop` installs none
(docs/decisions.md), and leaves these out.
"""

import os
import time

import numpy as np
import pytest

from other_programs import load
from samkit import Predictor

if "DISPLAY" not in os.environ:
    pytest.skip("napari's window needs a screen: xvfb-run", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")
napari = load("napari")
pytest.importorskip("qtpy", reason="napari has no Qt here: pip install PySide6 qtpy superqt")
IMAGE = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def viewer():
    viewer = napari.Viewer(show=False)
    yield viewer
    viewer.close()


@pytest.fixture
def widget(viewer, tiny_sam, monkeypatch):
    """The widget as napari docks it, with a tiny model, and an image that is open."""
    module = load("samkit.integrations.napari.widget")
    predictor = Predictor(tiny_sam, model_name="tiny")
    monkeypatch.setattr(module, "load_predictor", {module.DEFAULT_MODEL: predictor}.__getitem__)
    viewer.add_image(IMAGE, rgb=True)
    _, widget = viewer.window.add_plugin_dock_widget("samkit", "Segment anything")
    widget.predictor = predictor
    return widget


@pytest.fixture
def wait():
    from qtpy.QtWidgets import QApplication

    def until(condition):
        for _ in range(3000):
            QApplication.processEvents()
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("nothing happened in 30 s")

    return until


def is_drawn(session, mask):
    return bool(((session.labels.data == 1) == mask).all())


def test_clicks_of_the_widget_give_the_predictors_masks(viewer, widget, wait):
    widget.begin.changed.emit(True)
    wait(lambda: widget.status.value == "ready for prompts")
    session = widget.session
    session.points.add((20, 30))
    wait(lambda: widget.status.value == "1 mask")
    embedding = widget.predictor.embed(IMAGE)
    first = widget.predictor.predict(embedding, points=[30.5, 20.5]).best().masks[0]
    assert first.any()
    assert is_drawn(session, first)
    widget.meaning.value = "negative"
    session.points.add((40, 8))
    assert session.points.features["prompt"].tolist() == ["positive", "negative"]
    refined = widget.predictor.predict(
        embedding, points=[[30.5, 20.5], [8.5, 40.5]], labels=[1, 0], multimask=False
    )
    wait(lambda: is_drawn(session, refined.best().masks[0]))
    widget.undo.changed.emit(True)
    wait(lambda: is_drawn(session, first))
    widget.next.changed.emit(True)
    wait(lambda: widget.status.value == "ready for prompts")
    assert session.labels.selected_label == 2
    assert is_drawn(session, first)


def test_keys_are_for_the_layer_of_points(viewer, widget, wait):
    widget.begin.changed.emit(True)
    wait(lambda: widget.status.value == "ready for prompts")
    keys = {str(key): action for key, action in widget.session.points.keymap.items()}
    keys["T"](widget.session.points)
    assert widget.meaning.value == "negative"
    keys["T"](widget.session.points)
    assert widget.meaning.value == "positive"
    widget.session.points.add((20, 30))
    wait(lambda: widget.status.value == "1 mask")
    keys["Z"](widget.session.points)
    wait(lambda: not widget.session.labels.data.any())


def test_everything_and_what_is_wrong(viewer, widget, wait):
    widget.everything.changed.emit(True)
    assert widget.status.value == "choose an image, then Begin"
    widget.begin.changed.emit(True)
    wait(lambda: widget.status.value == "ready for prompts")
    widget.preset.value = "instant"  # whose proposal head is for another encoder
    widget.everything.changed.emit(True)
    wait(lambda: "proposal" in widget.status.value)
    widget.preset.value = "fast"
    widget.everything.changed.emit(True)
    wait(lambda: "masks of everything" in widget.status.value)
