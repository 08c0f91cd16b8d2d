"""Segmentation of an image layer in napari: prompts in layers, masks in a Labels layer.

Without Qt: what takes long is given to `run`, which the widget sends to a thread.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.errors import SamkitError
from samkit.formats import RangeLike
from samkit.integrations.napari.layers import (
    ObjectPrompt,
    add_prompt_layers,
    read_prompts,
)
from samkit.integrations.napari.planes import Plane, read_plane, shown_plane, value_range

if TYPE_CHECKING:
    from samkit.predict import Predictor, Refine
    from samkit.proposals import TileConfig
    from samkit.types import ImageEmbedding, Masks

log = logging.getLogger(__name__)
NUM_EMBEDDINGS = 16  # of the slices seen last, 4 MB each
LayerEvents = Sequence[tuple[Any, Callable[..., None]]]
# Runs the first function, in a thread or at once, then the second with its result in this thread.
Run = Callable[[Callable[[], Any], Callable[[Any], None]], None]


def run_at_once(work: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """Run in this thread."""
    done(work())


@dataclass(frozen=True, kw_only=True)
class Request:
    """The prompts of a slice."""

    plane: Plane
    limits: RangeLike
    objects: tuple[ObjectPrompt, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """Labels (H, W) of a slice before and after the masks of the prompts were drawn."""

    before: npt.NDArray[Any]
    after: npt.NDArray[Any]


class LayerSession:
    """The prompts and masks of one image layer, with layers of their own.

    Masks depend on the prompts alone: removing a point restores what was there before it.

    Attributes:
        points, boxes, labels: the layers; drawn in, cleared and removed by the user as any others.
    """

    def __init__(
        self,
        viewer: Any,
        image: Any,
        load: Callable[[], Predictor],
        *,
        refine: Refine = "none",
        run: Run = run_at_once,
        report: Callable[[str], None] = log.info,
    ) -> None:
        """Add the layers, and encode the slice that is shown.

        Args:
            viewer: napari's viewer, or its model.
            image: a layer of it.
            load: gives the predictor, when it is needed first.
            refine: see `samkit.Predictor.predict`.
            run: runs what takes long.
            report: called with a line about what happens, or what is wrong.
        """
        self.viewer, self.image, self.load = viewer, image, load
        self.refine: Refine = refine
        self.run, self.report = run, report
        self._embeddings: OrderedDict[tuple[Plane, RangeLike], ImageEmbedding] = OrderedDict()
        self._previews: dict[Plane, Preview] = {}
        self._history: list[Any] = []  # the layer of each prompt, in their order
        self._answered: Request | None = None
        self._is_busy = self._is_clearing = False
        self.points, self.boxes, self.labels = add_prompt_layers(viewer, image)
        self._listeners: LayerEvents = (
            (self.points.events.data, self._prompted),
            (self.points.events.features, self._prompted),
            (self.boxes.events.data, self._prompted),
            (viewer.dims.events.current_step, self._prompted),
            (viewer.dims.events.order, self._prompted),
            (viewer.dims.events.ndisplay, self._prompted),
            (image.events.data, self._image_changed),
            (viewer.layers.events.removed, self._layer_removed),
        )
        for event, listener in self._listeners:
            event.connect(listener)
        self.update()

    def close(self) -> None:
        """Listen to the viewer no more; the layers stay."""
        for event, listener in self._listeners:
            event.disconnect(listener)
        self._listeners = ()

    @property
    def is_open(self) -> bool:
        """Whether prompts are answered."""
        return bool(self._listeners)

    def update(self) -> None:
        """Answer the prompts of the slice that is shown, or else encode it."""
        if self._is_busy or self._is_clearing or not self.is_open:
            return  # what has changed meanwhile is seen when the answer is there
        try:
            request = self._request()
        except SamkitError as error:
            self.report(str(error))
            return
        if request != self._answered:
            self._start(lambda: self._answer(request), lambda masks: self._show(request, masks))

    def next_object(self) -> None:
        """Finish: masks stay, prompts go, and the next mask gets a new label."""
        if self._is_busy:
            self.report("wait for the answer")
            return
        self._previews.clear()
        self._history.clear()
        self._clear_prompts()
        self.labels.selected_label = self._free_label()
        self._answered = None
        self.update()

    def undo(self) -> None:
        """Remove the prompt that was added last."""
        while self._history:
            layer = self._history.pop()
            if len(layer.data):
                layer.selected_data = {len(layer.data) - 1}
                layer.remove_selected()
                return

    def change_refine(self, refine: Refine) -> None:
        """Refine answers from now on, those of the slice that is shown included."""
        self.refine = refine
        self._answered = None
        self.update()

    def segment_everything(self, preset: str = "instant", tiling: TileConfig | None = None) -> None:
        """Add masks of everything in the slice that is shown, each with a label of its own.

        Args:
            preset: of `samkit auto`.
            tiling: tiles, for large images.
        """
        if self._is_busy:
            self.report("wait for the answer")
            return
        try:
            request = self._request()
        except SamkitError as error:
            self.report(str(error))
            return
        self._start(
            lambda: self._find_all(request, preset, tiling),
            lambda masks: self._add_all(request, masks),
        )

    def _request(self) -> Request:
        plane = shown_plane(self.image, self.viewer.dims)
        return Request(
            plane=plane,
            limits=value_range(self.image),
            objects=read_prompts(self.points, self.boxes, self.image, plane),
        )

    def _start(self, work: Callable[[], Any], use: Callable[[Any], None]) -> None:
        """Do some work, then use its result; an error is reported, or raised in this thread."""

        def attempt() -> tuple[Any, Exception | None]:
            try:
                return work(), None
            except Exception as error:  # noqa: BLE001 - handed to the other thread
                return None, error

        def done(outcome: tuple[Any, Exception | None]) -> None:
            result, error = outcome
            self._is_busy = False
            if isinstance(error, SamkitError):
                self.report(str(error))
            elif error is not None:
                raise error
            elif self.is_open:
                use(result)
                self.update()

        self._is_busy = True
        self.run(attempt, done)

    def _embedding(self, request: Request) -> ImageEmbedding:
        """The embedding of a slice, in memory or made now."""
        key = (request.plane, request.limits)
        if key not in self._embeddings:
            pixels = read_plane(self.image, request.plane, request.limits)
            self._embeddings[key] = self.load().embed(pixels)
        self._embeddings.move_to_end(key)
        while len(self._embeddings) > NUM_EMBEDDINGS:
            self._embeddings.popitem(last=False)
        return self._embeddings[key]

    def _answer(self, request: Request) -> list[BoolArray]:
        """The best mask (H, W) of each object."""
        embedding = self._embedding(request)
        predictor = self.load()
        image = None
        if self.refine == "best" and request.objects:
            image = read_plane(self.image, request.plane, request.limits)
        masks = []
        for one in request.objects:
            answer = predictor.predict(
                embedding,
                points=one.points_xy or None,
                labels=one.labels or None,
                boxes=one.box_xyxy,
                multimask=one.box_xyxy is None and len(one.points_xy) == 1,
                refine=self.refine,
                image=image,
            )
            masks.append(answer.best().masks[0])
        return masks

    def _find_all(self, request: Request, preset: str, tiling: TileConfig | None) -> Masks:
        from samkit.proposals import PRESETS, AutoMasker

        masker = AutoMasker(self.load(), PRESETS[preset])
        pixels = read_plane(self.image, request.plane, request.limits)
        if tiling is not None:
            return masker.generate_tiled(pixels, tiling)
        return masker.generate(pixels, embedding=self._embedding(request))

    def _show(self, request: Request, masks: list[BoolArray]) -> None:
        """Draw the masks of prompts in place of those drawn before."""
        self._answered = request
        values = request.plane.of(self.labels.data)
        shown = self._previews.pop(request.plane, None)
        if shown is not None:  # what the user has painted meanwhile stays
            drawn = (shown.after != shown.before) & (values == shown.after)
            values[drawn] = shown.before[drawn]
        if masks:
            before = values.copy()
            self._draw(values, masks, self._labels_for(len(masks)))
            self._previews[request.plane] = Preview(before=before, after=values.copy())
        self.labels.refresh()
        self.report(f"{len(masks)} mask{'s' * (len(masks) != 1)}" if masks else "ready for prompts")

    def _add_all(self, request: Request, masks: Masks) -> None:
        first = self._free_label()
        values = request.plane.of(self.labels.data)
        self._draw(values, list(masks), range(first, first + len(masks)))
        self.labels.refresh()
        self.report(f"{len(masks)} masks of everything")

    def _draw(
        self, values: npt.NDArray[Any], masks: Sequence[BoolArray], labels: Sequence[int]
    ) -> None:
        """Draw masks into labels (H, W), smaller ones over larger ones."""
        free = values == 0 if self.labels.preserve_labels else np.ones(values.shape, bool)
        for number in np.argsort([-mask.sum() for mask in masks], kind="stable"):
            values[masks[number] & free] = labels[number]

    def _labels_for(self, count: int) -> list[int]:
        """The label that is selected, then new ones."""
        free = self._free_label()
        first = int(self.labels.selected_label) or free
        return [first, *range(max(free, first + 1), max(free, first + 1) + count - 1)]

    def _free_label(self) -> int:
        return int(self.labels.data.max()) + 1

    def _clear_prompts(self) -> None:
        """Remove all prompts without an answer to each change."""
        self._is_clearing = True
        try:
            for layer in (self.points, self.boxes):
                layer.selected_data = set(range(len(layer.data)))
                layer.remove_selected()
        finally:
            self._is_clearing = False

    def _prompted(self, event: Any = None) -> None:
        if event is not None and getattr(event, "action", None) == "added":
            self._history.append(event.source)
        self.update()

    def _image_changed(self) -> None:
        self._embeddings.clear()
        self._answered = None
        self.update()

    def _layer_removed(self, event: Any) -> None:
        if event.value in (self.image, self.points, self.boxes, self.labels):
            self.close()
            self.report(f"layer {event.value.name!r} is gone: begin again")
