"""The tracker on frozen features: it needs nothing but the weights of a model for images.

In each frame three things say where an object is. Optical flow carries its last mask along: right
for small movements, and what keeps look-alikes apart. A linear classifier of pixels, fitted to the
object's masks so far, knows what it looks like: right about what flow has not seen, and what finds
it again. Both together prompt the mask decoder, which knows what objects look like at all, by a box
and mask logits; its answer is added to theirs. docs/video.md has what each is worth.

Shape legend: S side of the logits space, O objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from samkit.arrays import BoolArray, FloatArray, Logits, RgbImage
from samkit.geometry import CoordMap, mask_to_logits
from samkit.predict import Predictor
from samkit.types import Prompts
from samkit.video.features import FrameFeatures, encode_frame
from samkit.video.interface import ObjectAnswer, State
from samkit.video.motion import Flow, carry, flow_back
from samkit.video.pixel_classifier import Moments, moments_of

OUTSIDE = -9.0  # logits where an object cannot be, unless the decoder is sure
PROMPT_LIMIT = 12.0  # as of masks that are given; see `mask_to_logits`
# Regions smaller than this fraction of the largest one do not count for the box.
SPECK = 0.02
AREA_SHARE = 0.2  # weight of the latest area in the moving average


@dataclass(frozen=True, kw_only=True)
class FeatureTrackerConfig:
    """Settings of the tracker, all in logits; the defaults are those that docs/video.md measures.

    Attributes:
        classifier_gain: logits for a pixel that the classifier is sure of are half of it.
        flow_blur: standard width of the blur of a carried mask, in cells: its outline is not sure.
        flow_limit: logits of a carried mask, at most.
        flow_weight: weight of the carried mask beside the classifier's.
        decoder_limit: logits of the decoder's answer, at most.
        decoder_weight: weight of the decoder's answer beside these two.
        prompt_gain: the sum of those two times this is the mask prompt.
        reach: how far around the carried mask the object may be: cells, and a fraction of its size.
        new_share: weight of the latest frame in the classifier.
        anchor_share: weight of the confirmed frames, which is put back with each frame.
        search_anchor_share: likewise, for the search for an object that was absent.
        flow_gap: frames over which flow is followed.
        present, uncertain: classifier's mean inside the mask from which an object counts as there.
        found_iou: predicted IoU from which an object that was absent is back.
        found_size: its area then, as a multiple of what it was.
    """

    classifier_gain: float = 8.0
    flow_blur: float = 1.5
    flow_limit: float = 3.0
    flow_weight: float = 0.7
    decoder_limit: float = 8.0
    decoder_weight: float = 0.5
    prompt_gain: float = 3.0
    reach: tuple[int, float] = (16, 0.2)
    new_share: float = 0.1
    anchor_share: float = 0.1
    search_anchor_share: float = 0.5
    flow_gap: int = 3
    present: float = 0.6
    uncertain: float = 0.3
    found_iou: float = 0.6
    found_size: tuple[float, float] = (0.12, 3.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenMask:
    """A mask in a frame, as the memory has it.

    Attributes:
        index: of the frame.
        logits: (S, S).
        grey: the frame's picture for flow.
        moments: of the classifier up to and with this frame.
    """

    index: int
    logits: Logits
    grey: npt.NDArray[np.uint8]
    moments: Moments


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureAnswer(ObjectAnswer):
    """An answer with what the memory needs of it.

    Attributes:
        looks: (S, S), what the classifier said.
    """

    looks: Logits


@dataclass(kw_only=True)
class ObjectMemory:
    """What is known of one object.

    Attributes:
        confirmed: the masks of confirmed frames.
        latest: the mask tracked last; None right after a confirmed frame.
        scales: of the features' levels, from the first frame.
        is_lost: whether the object was absent in the frame tracked last.
        area: of masks that were certain, in cells: a moving average.
    """

    confirmed: dict[int, SeenMask] = field(default_factory=dict)
    latest: SeenMask | None = None
    scales: Tensor | None = None
    is_lost: bool = False
    area: float = 0.0

    def anchors(self, index: int, *, reverse: bool) -> list[SeenMask]:
        """The confirmed masks that count for a frame, the nearest last."""
        known = [
            one for at, one in self.confirmed.items() if (at >= index if reverse else at <= index)
        ]
        return sorted(known, key=lambda one: -abs(one.index - index))


class FeatureTracker:
    """Follows objects by flow, a classifier of pixels on frozen features, and the mask decoder."""

    def __init__(self, predictor: Predictor, config: FeatureTrackerConfig | None = None) -> None:
        self.predictor = predictor
        self.config = FeatureTrackerConfig() if config is None else config

    def describe(self) -> dict[str, Any]:
        return {"name": "features", **asdict(self.config)}

    def coords(self, size_hw: tuple[int, int]) -> CoordMap:
        return CoordMap.of(size_hw, self.predictor.model.image_spec)

    def encode(self, frame: RgbImage) -> FrameFeatures:
        return encode_frame(self.predictor, frame)

    def start(self) -> ObjectMemory:
        return ObjectMemory()

    def prompt(
        self,
        features: FrameFeatures,
        memory: ObjectMemory,  # noqa: ARG002 - prompts alone decide
        index: int,  # noqa: ARG002
        prompts: Prompts,
        previous: Logits | None,
    ) -> ObjectAnswer:
        coords = features.coords
        if prompts.mask_logits is not None:
            mask = prompts.mask_logits[0, 0]
            assert mask.dtype == np.bool_
            logits = mask_to_logits(np.asarray(mask, bool), coords)
            return ObjectAnswer(
                logits=logits, coords=coords, score=1.0, exact=np.asarray(mask, bool)
            )
        is_click = prompts.are_clicks and previous is None
        answer = self.predictor.predict(
            features.embedding,
            points=None if prompts.points_xy is None else prompts.points_xy[0],
            labels=None if prompts.labels is None else prompts.labels[0],
            boxes=None if prompts.boxes_xyxy is None else prompts.boxes_xyxy[0],
            mask_logits=previous,
            multimask=is_click,
        ).best()
        return ObjectAnswer(logits=answer.logits[0], coords=coords, score=float(answer.iou_pred[0]))

    def track(
        self,
        features: FrameFeatures,
        memories: Sequence[ObjectMemory],
        index: int,
        *,
        reverse: bool,
    ) -> list[ObjectAnswer]:
        flows: dict[int, Flow] = {}  # by the earlier frame: objects share them
        answers = []
        for memory in memories:
            anchors = memory.anchors(index, reverse=reverse)
            last = memory.latest or anchors[-1]
            is_far = memory.is_lost or abs(index - last.index) > self.config.flow_gap
            known = last.moments
            if is_far:  # what was learned last may be what covered the object
                known = known.mixed(mean_moments(anchors), self.config.search_anchor_share)
            looks = self._classify(features, memory, known)
            if is_far:
                expected = self._search(memory, looks)
            else:
                if last.index not in flows:
                    flows[last.index] = flow_back(features.grey, last.grey, features.used_hw())
                expected = self._expect(last, flows[last.index], looks)
            answers.append(self._decide(features, memory, expected, looks))
        return answers

    def memorise(
        self,
        features: FrameFeatures,
        memory: ObjectMemory,
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,
    ) -> None:
        if memory.scales is None:
            memory.scales = features.scales()
        memory.is_lost = answer.state == "absent"
        if answer.state == "present":
            area = float((answer.logits > 0).sum())
            is_first = prompted or not memory.area
            memory.area = area if is_first else memory.area + AREA_SHARE * (area - memory.area)
        if prompted:
            moments = moments_of(features, answer.logits, memory.scales)
            memory.latest = None
            memory.confirmed[index] = SeenMask(
                index=index, logits=answer.logits, grey=features.grey, moments=moments
            )
            return
        anchors = memory.anchors(index, reverse=reverse)
        last = memory.latest or anchors[-1]
        if memory.is_lost:  # nothing is learned, and the last mask stays as it was
            memory.latest = last
            return
        known = last.moments
        if answer.state == "present":
            known = known.mixed(mean_moments(anchors), self.config.anchor_share)
            looks = answer.looks if isinstance(answer, FeatureAnswer) else None
            new = moments_of(features, answer.logits, memory.scales, looks)
            known = known.mixed(new, self.config.new_share)
        memory.latest = SeenMask(
            index=index, logits=answer.logits, grey=features.grey, moments=known
        )

    def release(self, memory: ObjectMemory, index: int | None = None) -> None:
        memory.latest, memory.is_lost = None, False
        if index is not None:
            del memory.confirmed[index]

    def _classify(self, features: FrameFeatures, memory: ObjectMemory, moments: Moments) -> Logits:
        """What the classifier says of each pixel (S, S): about 1 inside, 0 outside."""
        assert memory.scales is not None
        weights = moments.solve()
        looks: Logits = features.dot(weights[None, :-1], memory.scales)[0]
        looks += float(weights[-1])
        height, width = features.used_hw()
        looks[height:] = looks[:, width:] = 0  # the padding
        return looks

    def _expect(self, last: SeenMask, flow: Flow, looks: Logits) -> Logits:
        """Logits of where the object should be, before the decoder is asked."""
        config = self.config
        carried = carry(sigmoid(last.logits), flow)
        blurred = np.asarray(cv2.GaussianBlur(carried, (0, 0), config.flow_blur), np.float32)
        moved = np.clip(logit(blurred), -config.flow_limit, config.flow_limit)
        expected = config.flow_weight * moved + config.classifier_gain * (looks - 0.5)
        rows, cols = np.nonzero(carried > 0.3)
        if not len(rows):
            return np.full_like(looks, OUTSIDE)
        cells, fraction = config.reach
        near = np.full(looks.shape, OUTSIDE, np.float32)
        window = tuple(
            slice(
                max(0, int(low - cells - fraction * (high - low))),
                int(high + cells + fraction * (high - low)),
            )
            for low, high in ((rows.min(), rows.max() + 1), (cols.min(), cols.max() + 1))
        )
        near[window] = expected[window]
        return near

    def _search(self, memory: ObjectMemory, looks: Logits) -> Logits:
        """Logits of where a lost object may be, in the whole frame: the region most like it."""
        labels, number, inside = components(looks > 0.5)
        totals = np.bincount(labels.reshape(-1), (looks - 0.5).reshape(-1), minlength=number)
        totals[0] = 0
        totals[~self._fits(memory, inside)] = 0
        best = int(totals.argmax()) if totals.any() else 0
        expected = self.config.classifier_gain * (looks - 0.5)
        return np.where(labels == best, expected, OUTSIDE) if best else np.full_like(looks, OUTSIDE)

    def _fits(self, memory: ObjectMemory, area: npt.NDArray[Any]) -> BoolArray:
        """Whether areas are such as the object may have when it comes back."""
        least, most = self.config.found_size
        return np.asarray((area >= least * memory.area) & (area <= most * memory.area))

    def _decide(
        self,
        features: FrameFeatures,
        memory: ObjectMemory,
        expected: Logits,
        looks: Logits,
    ) -> ObjectAnswer:
        """Ask the decoder, and decide where the object is, if it is there at all."""
        config, coords = self.config, features.coords
        absent = ObjectAnswer(
            logits=np.full_like(looks, OUTSIDE), coords=coords, score=0.0, state="absent"
        )
        box = box_of(expected > 0, coords)
        if box is None:
            return absent
        prompt = np.clip(expected * config.prompt_gain, -PROMPT_LIMIT, PROMPT_LIMIT)
        answer = self.predictor.predict(
            features.embedding, boxes=box, mask_logits=prompt.astype(np.float32), multimask=False
        )
        decoded = np.clip(answer.logits[0], -config.decoder_limit, config.decoder_limit)
        logits = (expected + config.decoder_weight * decoded).astype(np.float32)
        inside = logits > 0
        likeness = float(looks[inside].mean()) if inside.any() else -1.0
        score = float(answer.iou_pred[0])
        state: State = "present" if likeness >= config.present else "uncertain"
        if likeness < config.uncertain:
            return absent
        if memory.is_lost:
            is_back = state == "present" and score >= config.found_iou
            if not is_back or not self._fits(memory, np.array(inside.sum())):
                return absent
        return FeatureAnswer(logits=logits, coords=coords, score=score, state=state, looks=looks)


def sigmoid(values: Logits) -> Logits:
    """Logits to probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)


def logit(values: Logits) -> Logits:
    """Probabilities to logits."""
    inner = np.clip(values, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(inner / (1 - inner)), np.float32)


def mean_moments(masks: Sequence[SeenMask]) -> Moments:
    """Mean of the moments of masks."""
    return Moments(
        features=sum((one.moments.features for one in masks[1:]), masks[0].moments.features)
        / len(masks),
        target=sum((one.moments.target for one in masks[1:]), masks[0].moments.target) / len(masks),
    )


def components(inside: BoolArray) -> tuple[npt.NDArray[np.int32], int, npt.NDArray[np.int32]]:
    """Connected regions: their labels (S, S), 0 outside; their number with 0; their areas."""
    number, labels, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
    return np.asarray(labels), int(number), np.asarray(stats[:, cv2.CC_STAT_AREA])


def box_of(inside: BoolArray, coords: CoordMap) -> FloatArray | None:
    """Box in pixels of the frame around the regions of some size; None if nothing is inside."""
    labels, number, areas = components(inside)
    if number < 2:
        return None
    large = np.flatnonzero(areas[1:] >= SPECK * areas[1:].max()) + 1
    rows, cols = np.nonzero(np.isin(labels, large))
    cells = np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1], np.float64)
    box: FloatArray = cells * coords.logits_stride / np.tile(coords.scale_xy, 2)
    return box
