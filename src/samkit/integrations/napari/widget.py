"""The dock widget of the napari plugin."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    LineEdit,
    PushButton,
    create_widget,
)
from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils.notifications import show_warning
from napari.viewer import Viewer

from samkit.integrations.napari.layers import (
    NEGATIVE,
    POSITIVE,
    meaning_of_next_point,
    set_meaning_of_next_point,
)
from samkit.integrations.napari.session import LayerSession
from samkit.predict import REFINE_LEVELS, Predictor
from samkit.proposals import PRESETS, TileConfig
from samkit.weights import DEFAULT_MODEL


@lru_cache(maxsize=1)
def load_predictor(model: str) -> Predictor:
    """Load a model, or return it if it is the one that was loaded last."""
    return Predictor.load(model)


def run_in_thread(work: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """Run in one of napari's worker threads; see `samkit.integrations.napari.session.Run`."""
    create_worker(work, _connect={"returned": done})


class SegmentWidget(Container):  # type: ignore[misc]
    """Segments the slice that is shown, by the points and boxes of two layers.

    The image is encoded in the background, once for each slice; then an answer takes some
    milliseconds.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.session: LayerSession | None = None
        self.image = create_widget(label="image", annotation=Image)
        self.model = LineEdit(
            label="model", value=DEFAULT_MODEL, tooltip="a name of `samkit models`, or a file"
        )
        self.refine = ComboBox(
            label="refine",
            choices=REFINE_LEVELS,
            value="none",
            tooltip="best: slower, and finer for small objects and large images",
        )
        self.begin = PushButton(text="Begin", tooltip="adds layers for points, boxes and masks")
        self.meaning = ComboBox(
            label="points are", choices=(POSITIVE, NEGATIVE), tooltip="key T in the layer of points"
        )
        self.undo = PushButton(text="Undo", tooltip="removes the last point or box; key Z")
        self.next = PushButton(
            text="Next object", tooltip="masks stay, prompts go, and labels count on; key N"
        )
        self.preset = ComboBox(label="preset", choices=tuple(PRESETS), value="instant")
        self.tiles = CheckBox(
            text="in tiles", tooltip="for large images: tiles of 1024 pixels, one by one"
        )
        self.everything = PushButton(text="Everything", tooltip="masks of everything in this slice")
        self.status = Label(value="choose an image, then Begin")
        self.extend(
            [
                self.image, self.model, self.refine, self.begin, self.meaning, self.undo, self.next,
                self.preset, self.tiles, self.everything, self.status,
            ]
        )  # fmt: skip
        self.begin.changed.connect(self._begin)
        self.meaning.changed.connect(self._choose_meaning)
        self.refine.changed.connect(self._choose_refine)
        self.undo.changed.connect(lambda: self._with_session(LayerSession.undo))
        self.next.changed.connect(lambda: self._with_session(LayerSession.next_object))
        self.everything.changed.connect(lambda: self._with_session(self._segment_everything))

    def _begin(self) -> None:
        if self.image.value is None:
            show_warning("open an image first")
            return
        if self.session is not None:
            self.session.close()
        self.status.value = "the image is encoded ..."
        model = self.model.value
        self.session = LayerSession(
            self._viewer,
            self.image.value,
            lambda: load_predictor(model),
            refine=self.refine.value,
            run=run_in_thread,
            report=self._report,
        )
        points = self.session.points
        points.bind_key("t", lambda _: self._toggle())
        points.bind_key("n", lambda _: self._with_session(LayerSession.next_object))
        points.bind_key("z", lambda _: self._with_session(LayerSession.undo))
        self.meaning.value = meaning_of_next_point(points)

    def _report(self, line: str) -> None:
        self.status.value = line

    def _with_session(self, use: Callable[[LayerSession], None]) -> None:
        if self.session is None or not self.session.is_open:
            self._report("choose an image, then Begin")
        else:
            use(self.session)

    def _segment_everything(self, session: LayerSession) -> None:
        self._report("everything is segmented ...")
        tiling = TileConfig() if self.tiles.value else None
        session.segment_everything(self.preset.value, tiling)

    def _toggle(self) -> None:
        self.meaning.value = NEGATIVE if self.meaning.value == POSITIVE else POSITIVE

    def _choose_meaning(self, meaning: str) -> None:
        if self.session is not None and self.session.is_open:
            set_meaning_of_next_point(self.session.points, meaning)

    def _choose_refine(self, refine: Any) -> None:
        if self.session is not None:
            self.session.change_refine(refine)
